//! Open connections, in all and by address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::limits::Limits;

/// Who is connected.
#[derive(Debug, Default)]
pub struct Connections {
    most_per_address: usize,
    private_too: bool,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    open: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Connections {
    pub fn new(limits: &Limits) -> Self {
        Self {
            most_per_address: limits.max_connections_per_address,
            private_too: limits.limit_private_addresses,
            ..Self::default()
        }
    }

    /// Counts a connection until the place is dropped; none where its address has too many.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let counted = (self.most_per_address > 0 && (self.private_too || !is_private(address))).then(|| block(address));
        if let Some(block) = counted {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_address.entry(block).or_default();
            if *count >= self.most_per_address {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            *count += 1;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Some(Place {
            connections: Arc::clone(self),
            counted,
        })
    }

    /// Open now.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    counted: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        let Some(block) = self.counted else { return };
        let mut by_address = self
            .connections
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&block) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&block);
            }
        }
    }
}

/// Where proxies and the machines of an instance are.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// One customer has at least a /64 of IPv6.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
        let limits = Limits {
            max_connections_per_address: 2,
            ..Limits::default()
        };
        let connections = Arc::new(Connections::new(&limits));
        let enter = |address: &str| connections.enter(address.parse().unwrap());
        let first = enter("203.0.113.7");
        let second = enter("::ffff:203.0.113.7");
        assert!(first.is_some() && second.is_some());
        assert!(enter("203.0.113.7").is_none());
        assert!(enter("203.0.113.8").is_some());
        drop(first);
        assert!(enter("203.0.113.7").is_some());
        let proxies: Vec<_> = (0..5).map(|_| enter("10.1.2.3")).collect();
        assert!(proxies.iter().all(Option::is_some));
        let network: Vec<_> = ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(enter).into();
        assert!(network[2].is_none(), "a /64 is one address");
        drop((second, proxies, network));
        assert_eq!((connections.open(), connections.refused()), (0, 2));
    }
}
