//! Names of archive entries: which are refused, what they normalise to, and how they appear in messages.

use std::fmt::Write;

use super::Limits;
use crate::{Error, Result};

/// Longest name quoted in a message, in characters.
const MAX_QUOTED: usize = 200;
const MAX_COMPONENT: usize = 255;

/// A name for a message: in quotes, control and invalid bytes as `\xNN`, cut when very long.
pub fn quoted(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes)
                    .bytes()
                    .for_each(|byte| escape(&mut text, byte));
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| escape(&mut text, *byte));
    }
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{text}'"),
    }
}

fn escape(text: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

/// The components of entry `number` called `name`; empty for the root of the archive.
pub fn components(name: &[u8], number: u64, limits: &Limits) -> Result<Vec<Vec<u8>>> {
    let refuse = |detail: String| Err(Error::Archive(detail));
    if name.is_empty() || name.contains(&0) {
        return refuse(format!("Entry {number} has an invalid name."));
    }
    if is_absolute(name) {
        return refuse(format!("Entry {} has an absolute path.", quoted(name)));
    }
    if limits.max_path > 0 && name.len() > limits.max_path {
        return refuse(format!("Path of entry {number} is too long."));
    }
    let Some(components) = normalise(name) else {
        return refuse(format!("Entry {} leaves the bundle.", quoted(name)));
    };
    if components.iter().any(|component| component.len() > MAX_COMPONENT) {
        return refuse(format!(
            "A name in {} is longer than {MAX_COMPONENT} bytes.",
            quoted(name)
        ));
    }
    if limits.max_depth > 0 && components.len() > limits.max_depth {
        return refuse(format!(
            "Entry {} is nested deeper than {} levels.",
            quoted(name),
            limits.max_depth
        ));
    }
    Ok(components)
}

/// Whether a name is absolute here or on another system.
pub fn is_absolute(name: &[u8]) -> bool {
    match name {
        [b'/', ..] | [b'\\', b'\\', ..] => true,
        [drive, b':', b'\\' | b'/', ..] => drive.is_ascii_alphabetic(),
        _ => false,
    }
}

/// Components without `.`, `..` and empty ones; `None` when `..` leaves the start.
pub fn normalise(name: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut components: Vec<Vec<u8>> = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop()?;
            }
            name => components.push(name.to_vec()),
        }
    }
    Some(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused_by_name() {
        let long = "x".repeat(256);
        let deep = "a/".repeat(257);
        let path = "abc/".repeat(1100);
        for (name, detail) in [
            ("../x", "Entry '../x' leaves the bundle."),
            ("a/../../x", "Entry 'a/../../x' leaves the bundle."),
            ("..", "Entry '..' leaves the bundle."),
            ("/etc/x", "Entry '/etc/x' has an absolute path."),
            ("C:\\x", "Entry 'C:\\x' has an absolute path."),
            ("\\\\srv\\x", "Entry '\\\\srv\\x' has an absolute path."),
            ("", "Entry 17 has an invalid name."),
            ("a\0b", "Entry 17 has an invalid name."),
            (&long, "longer than 255 bytes."),
            (&deep, "is nested deeper than 256 levels."),
            (&path, "Path of entry 17 is too long."),
        ] {
            let error = components(name.as_bytes(), 17, &Limits::default())
                .unwrap_err()
                .to_string();
            assert!(error.ends_with(detail), "{name}: {error}");
        }
    }

    #[test]
    fn harmless_oddities_are_normalised() {
        for (name, expected) in [
            ("a/../b", "b"),
            ("./b", "b"),
            ("a//b", "a/b"),
            ("./", ""),
            ("a/", "a"),
            ("-r", "-r"),
            ("c:x", "c:x"),
        ] {
            let components = components(name.as_bytes(), 1, &Limits::default()).unwrap();
            assert_eq!(components.join(&b'/'), expected.as_bytes(), "{name}");
        }
    }

    #[test]
    fn names_in_messages_are_harmless() {
        assert_eq!(quoted(b"a\nb\xff\x1b[31m"), "'a\\x0ab\\xff\\x1b[31m'");
        assert_eq!(quoted("é".as_bytes()), "'é'");
        assert_eq!(quoted("x".repeat(500).as_bytes()).chars().count(), 203);
    }
}
