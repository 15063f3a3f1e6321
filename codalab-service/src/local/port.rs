//! The listening sockets, and a diagnosis that names who holds a port that is taken.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use domain::error::Error;

use super::Result;

/// Sockets for `host:port`; `localhost` means both loopback addresses, as far as the machine has them. Port 0 picks one.
pub fn listen(host: &str, port: u16) -> Result<(Vec<TcpListener>, u16)> {
    let addresses = resolve(host)?;
    let first = bind(addresses[0], port)?;
    let port = first
        .local_addr()
        .map_err(|error| Error::internal(format!("no local address: {error}")))?
        .port();
    let mut listeners = vec![first];
    for address in &addresses[1..] {
        match TcpListener::bind(SocketAddr::new(*address, port)) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(taken(SocketAddr::new(*address, port))),
            // The machine has no such address family.
            Err(_) => {}
        }
    }
    for listener in &listeners {
        listener
            .set_nonblocking(true)
            .map_err(|error| Error::internal(format!("cannot use the listening socket: {error}")))?;
    }
    Ok((listeners, port))
}

fn resolve(host: &str) -> Result<Vec<IpAddr>> {
    if host.is_empty() || host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .map(|address| vec![address])
        .map_err(|_| {
            Error::usage(format!(
                "--host {host}: give an IP address of this machine, or localhost"
            ))
        })
}

fn bind(address: IpAddr, port: u16) -> Result<TcpListener> {
    let socket = SocketAddr::new(address, port);
    TcpListener::bind(socket).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => taken(socket),
        ErrorKind::PermissionDenied => Error::usage(format!(
            "port {port} needs privileges; choose one above 1023 with --port"
        )),
        _ => Error::usage(format!("cannot listen on {socket}: {error}")),
    })
}

fn taken(socket: SocketAddr) -> Error {
    let owner = owner_of(socket.port()).unwrap_or_else(|| "another process (not visible to this user)".into());
    Error::usage(format!(
        "port {} is taken by {owner}; stop that, or choose another port with --port N (0 picks a free one)",
        socket.port()
    ))
}

/// `process 4711 (python3 -m http.server 2900)` for whoever listens on the port.
fn owner_of(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(handles) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = handles
            .flatten()
            .filter_map(|handle| fs::read_link(handle.path()).ok())
            .any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()));
        if holds {
            let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command)
                .trim_end_matches('\0')
                .replace('\0', " ");
            return Some(format!("process {pid} ({command})"));
        }
    }
    None
}

/// Inodes of the sockets that listen on `port` in a table of `/proc/net`.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1)?.rsplit(':').next()?;
            let wanted = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == LISTEN;
            wanted.then(|| fields.get(9)?.parse().ok()).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder_and_the_way_out() {
        let (listeners, port) = listen("127.0.0.1", 0).unwrap();
        let error = listen("127.0.0.1", port).unwrap_err().to_string();
        assert!(error.contains(&format!("process {} (", std::process::id())), "{error}");
        assert!(error.contains("--port"), "{error}");
        drop(listeners);
        listen("127.0.0.1", port).unwrap();
    }

    #[test]
    fn tables_of_the_kernel_are_understood() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:0B54 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n\
            1: 0100007F:0B54 0100007F:9000 01 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0\n";
        assert_eq!(listening_inodes(table, 2900), vec![4242]);
        assert_eq!(listening_inodes("nonsense\nx y", 2900), Vec::<u64>::new());
    }

    #[test]
    fn hosts_are_addresses() {
        assert_eq!(resolve("localhost").unwrap().len(), 2);
        assert_eq!(resolve("[::1]").unwrap(), vec![IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert!(resolve("no such host").is_err());
    }
}
