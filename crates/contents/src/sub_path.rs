//! A path inside a tree: relative, normalised, unable to climb out. Bytes, because names need not be UTF-8.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use crate::{Error, Result};

const MAX_PATH: usize = 4096;
const MAX_COMPONENT: usize = 255;

/// A normalised path below some root; empty means the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubPath {
    components: Vec<Vec<u8>>,
}

impl SubPath {
    pub fn root() -> Self {
        Self::default()
    }

    /// Normalises `.`, `..`, empty components and a leading or trailing `/`.
    ///
    /// Errors: [`Error::Outside`] when `..` leaves the root, [`Error::NotFound`] for names no file can have (a NUL byte,
    /// a component over 255 bytes, a path over 4096 bytes).
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        if text.len() > MAX_PATH || text.contains(&0) {
            return Err(Error::NotFound);
        }
        let mut components: Vec<Vec<u8>> = Vec::new();
        for component in text.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    components.pop().ok_or(Error::Outside)?;
                }
                name if name.len() > MAX_COMPONENT => return Err(Error::NotFound),
                name => components.push(name.to_vec()),
            }
        }
        Ok(Self { components })
    }

    pub fn is_root(&self) -> bool {
        self.components.is_empty()
    }

    pub fn components(&self) -> impl DoubleEndedIterator<Item = &OsStr> + ExactSizeIterator {
        self.components.iter().map(|component| OsStr::from_bytes(component))
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<&OsStr> {
        self.components.last().map(|component| OsStr::from_bytes(component))
    }

    /// True when the path is `other` or lies below it, compared by components.
    pub fn starts_with(&self, other: &SubPath) -> bool {
        self.components.starts_with(&other.components)
    }

    /// The path below `prefix`, when it lies there: `a/b/c` below `a` is `b/c`.
    pub fn strip_prefix(&self, prefix: &SubPath) -> Option<Self> {
        let components = self.components.strip_prefix(&prefix.components[..])?.to_vec();
        Some(Self { components })
    }

    pub fn as_bytes(&self) -> Vec<u8> {
        self.components.join(&b'/')
    }
}

/// Components joined by `/`; bytes that are not UTF-8 show as U+FFFD.
impl fmt::Display for SubPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_normalised_and_cannot_leave() {
        for (text, expected) in [
            ("", Some("")),
            ("/", Some("")),
            (".", Some("")),
            ("a", Some("a")),
            ("/a", Some("a")),
            ("a/", Some("a")),
            ("./a//b/./c/", Some("a/b/c")),
            ("a/../b", Some("b")),
            ("a/b/../..", Some("")),
            ("..a", Some("..a")),
            ("-x y%(z)", Some("-x y%(z)")),
            ("..", None),
            ("a/../..", None),
            ("/../etc/passwd", None),
        ] {
            let parsed = SubPath::parse(text).ok().map(|path| path.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text:?}");
        }
        assert!(matches!(SubPath::parse("a\0b"), Err(Error::NotFound)));
        assert!(matches!(SubPath::parse("x".repeat(256)), Err(Error::NotFound)));
        assert!(SubPath::parse("x".repeat(255)).is_ok());
        assert!(matches!(SubPath::parse("ab/".repeat(1366)), Err(Error::NotFound)));
    }

    #[test]
    fn prefixes_are_compared_by_component() {
        let path = |text: &str| SubPath::parse(text).unwrap();
        assert!(path("data/a").starts_with(&path("data")));
        assert!(!path("database").starts_with(&path("data")));
        assert_eq!(path("a/b/c").strip_prefix(&path("a")), Some(path("b/c")));
        assert_eq!(path("ab").strip_prefix(&path("a")), None);
    }

    proptest! {
        #[test]
        fn parsing_its_own_output_changes_nothing(text in "[a./ ]{0,30}") {
            if let Ok(path) = SubPath::parse(&text) {
                prop_assert_eq!(SubPath::parse(path.as_bytes()).unwrap(), path.clone());
                prop_assert!(path.components().all(|c| c != ".." && c != "." && !c.is_empty()));
            }
        }
    }
}
