//! `stop`, `status` and `logs` of a local instance, from outside its process.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use domain::error::Error;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::home::Home;
use super::{Result, ServerInfo};

/// An instance finishes requests and saves its worker for up to this long before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(45);
/// How long an instance may take to answer `status`.
const ANSWER: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub enum Status {
    Running { info: ServerInfo, answers: bool },
    Stopped,
}

/// Is an instance there, and does it answer?
pub fn status(home: &Home) -> Status {
    let Some(info) = home.running() else {
        return Status::Stopped;
    };
    let answers = answers(info.port).unwrap_or(false);
    Status::Running { info, answers }
}

/// Asks `/healthz`, over the loopback address that every instance listens on unless it was told otherwise.
fn answers(port: u16) -> std::io::Result<bool> {
    let socket = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&socket, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.ends_with(b" 200"))
}

/// Ends the instance and waits until it is gone. `None` if none ran.
pub fn stop(home: &Home) -> Result<Option<ServerInfo>> {
    let Some(info) = home.running() else { return Ok(None) };
    let pid = i32::try_from(info.pid)
        .ok()
        .filter(|pid| *pid > 0)
        .map(Pid::from_raw)
        .ok_or_else(|| {
            Error::conflict(format!(
                "the instance on {} is just starting; try again",
                home.root().display()
            ))
        })?;
    signal(pid, Signal::SIGTERM)?;
    if !gone(home, &info, STOP_PATIENCE) {
        signal(pid, Signal::SIGKILL)?;
        if !gone(home, &info, Duration::from_secs(5)) {
            return Err(Error::internal(format!("process {pid} does not end")));
        }
    }
    Ok(Some(info))
}

fn signal(pid: Pid, signal: Signal) -> Result<()> {
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(Error::permission(format!("cannot end process {pid}: {error}"))),
    }
}

fn gone(home: &Home, info: &ServerInfo, patience: Duration) -> bool {
    let start = Instant::now();
    loop {
        if home.running().is_none_or(|now| now.pid != info.pid) && !is_alive(info.pid) {
            return true;
        }
        if start.elapsed() > patience {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// Is there such a process, and not only the remains that its parent has not collected?
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may contain anything, so the state is what follows the last one.
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !stat.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Writes the last `lines` lines of the log to `out` and, when asked to, what is added until the process is interrupted.
pub fn logs(home: &Home, lines: usize, follow: bool, out: &mut impl Write) -> Result<()> {
    let path = home.log();
    let text = tail(&path, lines).map_err(|error| {
        Error::not_found(format!(
            "no log at {} ({error}); has the instance been started?",
            path.display()
        ))
    })?;
    let failed = |error: std::io::Error| Error::internal(format!("cannot show {}: {error}", path.display()));
    out.write_all(text.as_bytes()).map_err(failed)?;
    if !follow {
        return Ok(());
    }
    let mut file = File::open(&path).map_err(failed)?;
    file.seek(SeekFrom::End(0)).map_err(failed)?;
    loop {
        if std::io::copy(&mut file, out).map_err(failed)? == 0 {
            std::thread::sleep(Duration::from_millis(200));
        }
        out.flush().map_err(failed)?;
    }
}

/// The last lines of a text file, reading only its end.
pub fn tail(path: &Path, lines: usize) -> std::io::Result<String> {
    const BLOCK: u64 = 64 << 10;
    let mut file = File::open(path)?;
    let mut start = file.metadata()?.len();
    let mut text = Vec::new();
    while start > 0 && text.split(|byte| *byte == b'\n').count() <= lines + 1 {
        let size = start.min(BLOCK);
        start -= size;
        file.seek(SeekFrom::Start(start))?;
        let mut block = vec![0; size as usize];
        file.read_exact(&mut block)?;
        block.extend_from_slice(&text);
        text = block;
    }
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.split_inclusive('\n').collect();
    Ok(all[all.len().saturating_sub(lines)..].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let lines: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
        let text = lines.join("\n") + "\n";
        std::fs::write(&path, &text).unwrap();
        assert_eq!(tail(&path, 2).unwrap(), "line 19998\nline 19999\n");
        assert_eq!(tail(&path, 0).unwrap(), "");
        assert_eq!(tail(&path, 100_000).unwrap(), text);
    }
}
