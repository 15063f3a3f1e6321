//! Ranges of network addresses, as operators write them: `10.0.0.0/8`, `fd00::/8`, `192.0.2.1`.

use std::net::{IpAddr, Ipv6Addr};

use crate::error::{Error, Result};

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// As IPv6; IPv4 addresses are mapped.
    bits: u128,
    /// How many of the 128 bits count.
    prefix: u32,
}

impl Network {
    /// Parses an address, or an address and the length of its prefix.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = || {
            Error::usage(format!(
                "Invalid network: {text}, expected an address such as 10.0.0.1 or 10.0.0.0/8"
            ))
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| invalid())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length: u32 = match length {
            Some(length) => length.trim().parse().map_err(|_| invalid())?,
            None => whole,
        };
        if length > whole {
            return Err(invalid());
        }
        let prefix = 128 - whole + length;
        Ok(Self {
            bits: mapped(address) & mask(prefix),
            prefix,
        })
    }

    /// Whether an address is in this range. An IPv4 address and its form in IPv6 are the same.
    pub fn contains(&self, address: IpAddr) -> bool {
        mapped(address) & mask(self.prefix) == self.bits
    }
}

/// What counts as one place in limits: an IPv4 address, or the /64 network of an IPv6 address, which one client owns.
pub fn place(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{}/64", Ipv6Addr::from(u128::from(address) & mask(64))),
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn mask(prefix: u32) -> u128 {
    u128::MAX.checked_shl(128 - prefix).unwrap_or(0)
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
            ("::/0", "1.2.3.4", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::1", "::1", true),
        ] {
            let network = Network::parse(network).unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                inside,
                "{network:?} {address}"
            );
        }
        for bad in ["", "x", "10.0.0.0/33", "10.0.0/8", "::1/129", "10.0.0.1/-1", "1.2.3.4/"] {
            assert!(Network::parse(bad).is_err(), "{bad}");
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
