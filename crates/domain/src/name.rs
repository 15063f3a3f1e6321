//! Rules for the names of bundles, worksheets, groups and users (data-model section 1.2).

use crate::error::{Error, Result};
use crate::state::BundleType;

/// Longest default name before its middle is cut out.
const MAX_DEFAULT_NAME: usize = 32;

/// Whether the text is a valid name: a letter or underscore, then letters, digits, `_`, `.`, `-`.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && bytes.all(is_name_byte)
}

/// Checks a name; the error says the rule.
pub fn check(text: &str) -> Result<()> {
    if is_name(text) {
        Ok(())
    } else {
        Err(Error::usage(format!(
            "Invalid name '{text}'. Names start with a letter or underscore, followed by letters, digits, '_', '.' or '-'."
        )))
    }
}

/// Whether the text may stand where a bundle spec takes a name pattern: name characters plus `%` and `*`.
pub fn is_pattern(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| is_name_byte(b) || b == b'%' || b == b'*')
}

/// The name of a user's home worksheet.
pub fn home_worksheet(user_name: &str) -> String {
    format!("home-{user_name}")
}

/// Whether the name is that of a home worksheet.
pub fn is_home_worksheet(name: &str) -> bool {
    name.starts_with("home-")
}

/// The default name of a bundle made from raw material: a path, a target or a command. A run keeps only the first
/// word of its command. `bundle_type` none leaves out the `<type>-` prefix, as uploads do.
pub fn default_bundle_name(bundle_type: Option<BundleType>, raw: &str) -> String {
    let raw = if bundle_type == Some(BundleType::Run) {
        raw.split(' ').next().unwrap_or("")
    } else {
        raw
    };
    let prefixed = match bundle_type {
        Some(bundle_type) => format!("{bundle_type}-{raw}"),
        None => raw.to_owned(),
    };
    clean(&prefixed)
}

/// Turns any text into a valid name of at most 32 characters.
fn clean(raw: &str) -> String {
    let mut name = String::with_capacity(raw.len() + 1);
    for c in raw.chars() {
        let c = if c.is_ascii() && is_name_byte(c as u8) { c } else { '-' };
        if !(c == '-' && name.ends_with('-')) {
            name.push(c);
        }
    }
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name.insert(0, '_');
    }
    if name.len() > MAX_DEFAULT_NAME {
        name = format!("{}..{}", &name[..15], &name[name.len() - 15..]);
    }
    name
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_follow_the_rule() {
        for (name, valid) in [
            ("a", true),
            ("_x.y-9", true),
            ("", false),
            ("9a", false),
            ("-a", false),
            ("a b", false),
            ("a\n", false),
            ("é", false),
            ("a/b", false),
        ] {
            assert_eq!(is_name(name), valid, "{name:?}");
            assert_eq!(check(name).is_ok(), valid, "{name:?}");
        }
    }

    #[test]
    fn default_names_are_made_as_upstream_makes_them() {
        let run = Some(BundleType::Run);
        for (bundle_type, raw, name) in [
            (run, "python train.py", "run-python"),
            (run, "./go.sh x", "run-.-go.sh"),
            (run, "", "run-"),
            (None, "a b--c", "a-b-c"),
            (None, "你好", "_-"),
            (None, "2020.csv", "_2020.csv"),
            (None, "", "_"),
            (Some(BundleType::Make), "x/y z", "make-x-y-z"),
            (
                None,
                "abcdefghijklmnopqrstuvwxyz0123456789",
                "abcdefghijklmno..vwxyz0123456789",
            ),
        ] {
            let name = if name.len() == 32 {
                format!("{}..{}", &raw[..15], &raw[raw.len() - 15..])
            } else {
                name.into()
            };
            assert_eq!(default_bundle_name(bundle_type, raw), name, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn a_default_name_is_always_a_short_valid_name(raw in ".*") {
            let name = default_bundle_name(None, &raw);
            prop_assert!(is_name(&name));
            prop_assert!(name.len() <= 32);
        }
    }
}
