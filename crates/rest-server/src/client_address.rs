//! Where a request comes from.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use domain::network::{self, Network};
use http::HeaderMap;
use http::request::Parts;

use crate::state::AppState;

/// The address of the client: that of the connection, unless it belongs to a proxy that is trusted (this machine, and
/// `server/trusted_proxies`); then the last address in `X-Forwarded-For` that is not itself such a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// What counts as one client in limits.
    pub fn place(self) -> String {
        network::place(self.0)
    }
}

impl FromRequestParts<AppState> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0.ip());
        Ok(Self(behind_proxies(
            peer,
            &parts.headers,
            &state.config.trusted_proxies,
        )))
    }
}

fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_proxy = |address: IpAddr| {
        address.to_canonical().is_loopback() || trusted.iter().any(|network| network.contains(address))
    };
    let mut said: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let mut address = peer;
    while is_proxy(address) {
        match said.pop().map(address_in) {
            Some(Some(before)) => address = before,
            _ => break,
        }
    }
    address.to_canonical()
}

/// An address with or without a port.
fn address_in(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bare = text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    bare.or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_proxies_are_believed() {
        let trusted = ["10.0.0.0/8".parse::<Network>().unwrap()];
        for (peer, said, expected) in [
            ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
            ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("::1", "2001:db8::7", "2001:db8::7"),
            ("::ffff:127.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
            ("127.0.0.1", "203.0.113.9, 10.1.2.3", "203.0.113.9"),
            ("10.1.2.3", "203.0.113.9:4711", "203.0.113.9"),
            ("10.1.2.3", "[2001:db8::7]:4711", "2001:db8::7"),
            ("127.0.0.1", "", "127.0.0.1"),
            ("127.0.0.1", "unknown", "127.0.0.1"),
            ("127.0.0.1", "203.0.113.9, unknown", "127.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_static(said));
            let found = behind_proxies(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer}: {said}");
        }
    }
}
