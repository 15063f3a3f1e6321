//! Ranges of network addresses, as operators write them: `10.0.0.0/8`, `fd00::/8`, `192.0.2.1`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::{Error, Result};

/// All addresses of one family that begin with the same bits. An IPv4 address and its form in IPv6 are the same; no range
/// of IPv6 holds IPv4 addresses, not even `::/0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether an address is in this range.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = Error;

    /// Reads an address, or an address and the length of its prefix.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::usage(format!(
                "Invalid network: {text}, expected an address such as 10.0.0.1 or 10.0.0.0/8"
            ))
        };
        let trimmed = text.trim();
        let network = if trimmed.contains('/') {
            trimmed.parse::<IpNet>().map_err(|_| invalid())?
        } else {
            IpNet::from(trimmed.parse::<IpAddr>().map_err(|_| invalid())?)
        };
        Ok(Self(canonical(network)))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Ranges of IPv4 addresses in their IPv6 form become what they mean.
fn canonical(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(wide) => wide
            .addr()
            .to_ipv4_mapped()
            .zip(wide.prefix_len().checked_sub(96))
            .and_then(|(address, length)| Ipv4Net::new(address, length).ok())
            .map_or(network, IpNet::V4),
        IpNet::V4(_) => network,
    }
}

/// What counts as one place in limits: an IPv4 address, or the /64 network of an IPv6 address, which one client owns.
pub fn place(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => Ipv6Net::new_assert(address, 64).trunc().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "1.2.3.4", false),
            ("::/0", "2001:db8::1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::1", "::1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                inside,
                "{network:?} {address}"
            );
        }
        for bad in ["", "x", "10.0.0.0/33", "10.0.0/8", "::1/129", "10.0.0.1/-1", "1.2.3.4/"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_client_is_one_place() {
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(place(address.parse().unwrap()), expected);
        }
    }
}
