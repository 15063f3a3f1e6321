//! Permission levels and their texts (data-model section 7).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// What a user may do with a bundle or worksheet. A number (0, 1, 2) on the wire and in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Nothing.
    #[default]
    None = 0,
    /// See information and contents, use as a dependency.
    Read = 1,
    /// Edit, delete, run, set permissions.
    All = 2,
}

impl Permission {
    /// The number on the wire.
    pub const fn level(self) -> i64 {
        self as i64
    }

    /// The permission of a stored number: anything above 2 counts as 2, anything below 1 as none.
    pub const fn from_level(level: i64) -> Self {
        match level {
            ..=0 => Self::None,
            1 => Self::Read,
            _ => Self::All,
        }
    }

    /// `none`, `read` or `all`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "n" | "none" => Ok(Self::None),
            "r" | "read" => Ok(Self::Read),
            "a" | "all" => Ok(Self::All),
            _ => Err(Error::usage(format!("Invalid permission flag specified ({text})"))),
        }
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.level())
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            level @ 0..=2 => Ok(Self::from_level(level)),
            level => Err(serde::de::Error::custom(format!(
                "permission must be 0, 1 or 2, was {level}"
            ))),
        }
    }
}

/// Whose permission was too low.
#[derive(Clone, Copy, Debug)]
pub enum Viewer<'a> {
    /// Nobody is logged in.
    Anonymous,
    /// A user with name and id.
    User {
        /// Login name.
        name: &'a str,
        /// User id.
        id: &'a str,
    },
    /// The owner's account is gone.
    Vanished,
}

/// The 403 of a permission check over a set of objects. `kind` is `bundle` or `worksheet`; `have` is parallel to `uuids`.
pub fn insufficient(viewer: Viewer<'_>, kind: &str, uuids: &[&str], have: &[Permission], need: Permission) -> Error {
    let who = match viewer {
        Viewer::Anonymous => "public(None)".to_owned(),
        Viewer::User { name, id } => format!("{name}({id})"),
        Viewer::Vanished => "None".to_owned(),
    };
    let have: Vec<_> = have.iter().map(|permission| permission.as_str()).collect();
    Error::permission(format!(
        "User {who} does not have sufficient permissions on {kind} {} (have {}, need {need}).",
        uuids.join(" "),
        have.join(" ")
    ))
}

/// The compact form of a permission list: `name(0x123456):read,…`, or `-` if it is empty.
pub fn format_groups<'a>(rows: impl IntoIterator<Item = (&'a str, &'a str, Permission)>) -> String {
    let parts: Vec<_> = rows
        .into_iter()
        .map(|(name, uuid, permission)| format!("{name}({}):{permission}", uuid.get(..8).unwrap_or(uuid)))
        .collect();
    if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_parse_and_print() {
        for (text, permission) in [
            ("n", Permission::None),
            ("read", Permission::Read),
            ("a", Permission::All),
        ] {
            assert_eq!(text.parse::<Permission>().unwrap(), permission);
        }
        let error = "x".parse::<Permission>().unwrap_err();
        assert_eq!(
            (error.status(), error.message.as_str()),
            (400, "Invalid permission flag specified (x)")
        );
    }

    #[test]
    fn the_refusal_names_user_objects_and_levels() {
        let error = insufficient(
            Viewer::User { name: "mira", id: "12" },
            "bundle",
            &["0xa", "0xb"],
            &[Permission::None, Permission::All],
            Permission::Read,
        );
        assert_eq!(error.status(), 403);
        assert_eq!(
            error.message,
            "User mira(12) does not have sufficient permissions on bundle 0xa 0xb (have none all, need read)."
        );
        let error = insufficient(
            Viewer::Anonymous,
            "worksheet",
            &["0xa"],
            &[Permission::None],
            Permission::All,
        );
        assert!(error.message.starts_with("User public(None) does"));
    }

    #[test]
    fn group_lists_are_compact() {
        assert_eq!(format_groups([]), "-");
        let rows = [
            ("public", "0x41e95d00", Permission::Read),
            ("g", "0xab", Permission::All),
        ];
        assert_eq!(format_groups(rows), "public(0x41e95d):read,g(0xab):all");
    }
}
