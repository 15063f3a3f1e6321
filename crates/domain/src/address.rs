//! Which network addresses the server may reach on behalf of a user who gives it a URL.
//!
//! Only addresses of the public internet, unless the operator has allowed more (`storage.fetch` of `config.json`).
//! The ranges are those of the IANA special-purpose registries.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::Ipv4Net;

use crate::error::{Error, Result};
use crate::network::Network;

/// What may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Every address, also of the private network and of this machine.
    pub allow_private: bool,
    /// Exceptions for single hosts and networks.
    pub allow: Vec<AddressRule>,
}

/// One exception: a host by its name, or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressRule {
    /// This host, whatever addresses it has. Lower case.
    Host(String),
    /// All addresses of a range.
    Network(Network),
}

impl AddressPolicy {
    /// Whether `host` (as the URL names it) may be reached at `address`.
    pub fn permits(&self, host: &str, address: IpAddr) -> bool {
        self.allow_private || is_public(address) || self.allow.iter().any(|rule| rule.covers(host, address))
    }
}

impl AddressRule {
    fn covers(&self, host: &str, address: IpAddr) -> bool {
        match self {
            Self::Host(name) => name.eq_ignore_ascii_case(host.trim_end_matches('.')),
            Self::Network(network) => network.contains(address),
        }
    }
}

impl FromStr for AddressRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::usage(format!(
                "'{text}' is neither a host name, nor an address, nor a network such as 10.1.0.0/16"
            ))
        };
        let text = text.trim();
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        let is_name = !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if is_name {
            Ok(Self::Host(text.trim_end_matches('.').to_ascii_lowercase()))
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Network(network) => network.fmt(f),
        }
    }
}

/// True for addresses that anybody on the internet can reach; false for this machine, the private network, multicast,
/// documentation and everything else with a special purpose.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const fn special([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
    }
    const SPECIAL: [Ipv4Net; 15] = [
        special([0, 0, 0, 0], 8),
        special([10, 0, 0, 0], 8),
        special([100, 64, 0, 0], 10),
        special([127, 0, 0, 0], 8),
        special([169, 254, 0, 0], 16),
        special([172, 16, 0, 0], 12),
        special([192, 0, 0, 0], 24),
        special([192, 0, 2, 0], 24),
        special([192, 88, 99, 0], 24),
        special([192, 168, 0, 0], 16),
        special([198, 18, 0, 0], 15),
        special([198, 51, 100, 0], 24),
        special([203, 0, 113, 0], 24),
        special([224, 0, 0, 0], 4),
        special([240, 0, 0, 0], 4),
    ];
    !SPECIAL.iter().any(|network| network.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    // NAT64: what counts is the IPv4 address inside.
    if parts[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public_v4(Ipv4Addr::from_bits((u32::from(parts[6]) << 16) | u32::from(parts[7])));
    }
    let global = parts[0] & 0xe000 == 0x2000;
    // 2001::/23 (Teredo and other protocols), 2001:db8::/32 and 3fff::/20 (documentation), 2002::/16 (6to4).
    let special = (parts[0] == 0x2001 && (parts[1] < 0x200 || parts[1] == 0xdb8))
        || parts[0] == 0x2002
        || (parts[0] == 0x3fff && parts[1] < 0x1000);
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for (address, expected) in [
            ("8.8.8.8", true),
            ("1.1.1.1", true),
            ("172.15.255.255", true),
            ("172.32.0.1", true),
            ("192.167.1.1", true),
            ("2606:4700::1111", true),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::808:808", true),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::127.0.0.1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.1.2.3", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b:1::1", false),
            ("fe80::1", false),
            ("fc00::1", false),
            ("fd12:3456::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("2002:7f00:1::", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn exceptions_name_hosts_and_networks() {
        let policy = AddressPolicy {
            allow_private: false,
            allow: ["Git.Lab.example", "10.1.0.0/16", "127.0.0.1", "fd00::/8"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect(),
        };
        for (host, address, expected) in [
            ("git.lab.example", "192.168.7.7", true),
            ("git.lab.example.", "192.168.7.7", true),
            ("evil.example", "192.168.7.7", false),
            ("x", "10.1.255.1", true),
            ("x", "10.2.0.1", false),
            ("x", "127.0.0.1", true),
            ("x", "::ffff:127.0.0.1", true),
            ("x", "127.0.0.2", false),
            ("x", "fd00::1", true),
            ("x", "fe80::1", false),
            ("x", "9.9.9.9", true),
        ] {
            assert_eq!(
                policy.permits(host, address.parse().unwrap()),
                expected,
                "{host} {address}"
            );
        }
        let open = AddressPolicy {
            allow_private: true,
            allow: Vec::new(),
        };
        assert!(open.permits("x", "127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn malformed_rules_are_named() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "a b", "http://x/", "::/129"] {
            let message = text.parse::<AddressRule>().unwrap_err().message;
            assert!(message.contains(text), "{message}");
        }
        assert_eq!("10.0.0.0/8".parse::<AddressRule>().unwrap().to_string(), "10.0.0.0/8");
    }
}
