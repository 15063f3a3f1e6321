//! Identifiers: bundle, worksheet, group and store uuids, user ids and worker ids (data-model section 1.1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Length of a uuid's text: `0x` and 32 hex digits.
pub const UUID_LENGTH: usize = 34;

/// The user id of the root account in a default installation.
pub const ROOT_USER_ID: &str = "0";

/// The user id of the system in a default installation; need not exist as an account.
pub const SYSTEM_USER_ID: &str = "-1";

/// `0x` followed by 32 lower-case hex digits. Cheap to copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; UUID_LENGTH]);

impl Uuid {
    /// Parses a full uuid; a prefix or an upper-case digit is an error.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes: [u8; UUID_LENGTH] = text.as_bytes().try_into().map_err(|_| invalid(text))?;
        if bytes.starts_with(b"0x") && bytes[2..].iter().all(|b| is_lower_hex(*b)) {
            Ok(Self(bytes))
        } else {
            Err(invalid(text))
        }
    }

    /// Makes a uuid of 16 random bytes, with the version and variant bits of a UUIDv4.
    pub fn from_random(random: [u8; 16]) -> Self {
        let digits = uuid::Builder::from_random_bytes(random).into_uuid();
        let mut text = [0; UUID_LENGTH];
        text[..2].copy_from_slice(b"0x");
        digits.simple().encode_lower(&mut text[2..]);
        Self(text)
    }

    /// The 34 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of ASCII by construction")
    }

    /// The first eight characters (`0x` and six digits), as used in short listings.
    pub fn short(&self) -> &str {
        &self.as_str()[..8]
    }
}

/// Whether the text is a full uuid.
pub fn is_uuid(text: &str) -> bool {
    Uuid::parse(text).is_ok()
}

/// Whether the text is a proper prefix of a uuid: `0x` and 1 to 31 hex digits.
pub fn is_uuid_prefix(text: &str) -> bool {
    text.strip_prefix("0x")
        .is_some_and(|digits| (1..32).contains(&digits.len()) && digits.bytes().all(is_lower_hex))
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn invalid(text: &str) -> Error {
    Error::usage(format!(
        "Invalid uuid '{text}': expected 0x followed by 32 lower-case hexadecimal digits"
    ))
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AsRef<str> for Uuid {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for Uuid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Uuid {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Uuid> for String {
    fn from(uuid: Uuid) -> Self {
        uuid.as_str().to_owned()
    }
}

impl PartialEq<str> for Uuid {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
    };
}

text_id! {
    /// The id of a user: an opaque text of at most 63 characters (`0`, `17`, `0x…`). Never parse it.
    UserId
}

text_id! {
    /// The id a worker chose for itself, at most 127 characters. Unique only together with its owner's [`UserId`].
    WorkerId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_lower_case_uuids_parse() {
        let good = "0x0123456789abcdef0123456789abcdef";
        assert_eq!(Uuid::parse(good).unwrap().as_str(), good);
        for bad in [
            "",
            "0x",
            "0x0123456789abcdef0123456789abcde",
            "0x0123456789abcdef0123456789abcdef0",
            "0x0123456789ABCDEF0123456789abcdef",
            "0y0123456789abcdef0123456789abcdef",
            "0x0123456789abcdef0123456789abcdé",
            "0x0123456789abcdef0123456789abcde\n",
        ] {
            assert!(Uuid::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn random_bytes_make_a_version_4_uuid() {
        let uuid = Uuid::from_random([0xff; 16]);
        assert_eq!(uuid.as_str(), "0xffffffffffff4fffbfffffffffffffff");
        assert_eq!(Uuid::parse(uuid.as_str()).unwrap(), uuid);
    }

    #[test]
    fn prefixes_have_one_to_31_digits() {
        for (text, expected) in [
            ("0x", false),
            ("0x3", true),
            ("0x3g", false),
            ("3", false),
            ("0xABC", false),
        ] {
            assert_eq!(is_uuid_prefix(text), expected, "{text}");
        }
        assert!(!is_uuid_prefix("0x0123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn ids_are_plain_strings_in_json() {
        let uuid = Uuid::from_random([7; 16]);
        assert_eq!(serde_json::to_value(uuid).unwrap(), serde_json::json!(uuid.as_str()));
        assert_eq!(
            serde_json::to_value(UserId::from("17")).unwrap(),
            serde_json::json!("17")
        );
        assert!(serde_json::from_str::<Uuid>("\"0x1\"").is_err());
    }
}
