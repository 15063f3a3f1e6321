//! Which entries stay out of an archive: patterns with the rules of GNU tar's `--exclude`.

/// Left out when a directory is packed for a download, unless asked otherwise.
pub const DEFAULT_IGNORED: [&str; 3] = [".git", "._*", "__MACOSX"];

/// A list of patterns. A pattern matches a whole path or any trailing part of it that starts at a component; `*` and
/// `?` match `/` too. What matches goes with everything below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excludes {
    patterns: Vec<Vec<u8>>,
}

impl Excludes {
    pub fn new<P: AsRef<[u8]>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self {
            patterns: patterns.into_iter().map(|pattern| pattern.as_ref().to_vec()).collect(),
        }
    }

    /// [`DEFAULT_IGNORED`].
    pub fn default_ignored() -> Self {
        Self::new(DEFAULT_IGNORED)
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the entry at `path` (relative, no leading `./`) stays out.
    pub fn matches(&self, path: &[u8]) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let mut full = b"./".to_vec();
        full.extend_from_slice(path);
        let starts = std::iter::once(0).chain((0..full.len()).filter(|at| full[*at] == b'/').map(|at| at + 1));
        let suffixes: Vec<&[u8]> = starts.map(|start| &full[start..]).collect();
        self.patterns
            .iter()
            .any(|pattern| suffixes.iter().any(|suffix| glob(pattern, suffix)))
    }

    /// Whether the last component of `path` matches: the rule for several paths packed together.
    pub fn matches_name(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        self.patterns.iter().any(|pattern| glob(pattern, name))
    }
}

/// Shell pattern against a whole text: `*`, `?`, `[a-z]`, `[!a]`, `[^a]`, `\x`. Linear in both for patterns with one
/// star, never exponential.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to continue when the part after the last star does not fit.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        let step = if t < text.len() {
            one(&pattern[p.min(pattern.len())..], text[t])
        } else {
            None
        };
        match (step, retry) {
            (Some(used), _) => {
                p += used;
                t += 1;
            }
            (None, _) if t == text.len() && p == pattern.len() => return true,
            (None, Some((star, from))) if from < text.len() => {
                p = star;
                t = from + 1;
                retry = Some((star, t));
            }
            _ => return false,
        }
    }
}

/// Bytes of the pattern that match this one byte of text; `None` when they do not.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => match bracket(rest, byte) {
            Some((true, used)) => Some(used + 1),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether the set after `[` holds the byte, and its length with the `]`; `None` when it is not closed.
fn bracket(set: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(set.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let first = at;
    let mut found = false;
    loop {
        let mut low = *set.get(at)?;
        if low == b']' && at > first {
            return Some((found != negated, at + 1));
        }
        if low == b'\\' {
            at += 1;
            low = *set.get(at)?;
        }
        let mut high = low;
        if set.get(at + 1) == Some(&b'-') && set.get(at + 2).is_some_and(|end| *end != b']') {
            high = *set.get(at + 2)?;
            at += 2;
        }
        found |= (low..=high).contains(&byte);
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_like_tar_exclude() {
        for (pattern, path, expected) in [
            (".git", ".git", true),
            (".git", "a/b/.git", true),
            (".git", ".gitignore", false),
            ("._*", "a/._x", true),
            ("._*", "a._x", false),
            ("f*", "file", true),
            ("f*", "dir/file", true),
            ("f*", "foo/bar", true),
            ("*.txt", "a/b.txt", true),
            ("a/*", "x/a/b/c", true),
            ("a*c", "a/b/c", true),
            ("b/c", "a/b/c", true),
            ("./a", "a", true),
            ("./a", "b/a", false),
            ("**/ignored_dir", "ignored_dir", true),
            ("**/ignored_dir", "x/ignored_dir", true),
            ("[ab]?", "x/ac", true),
            ("[!ab]c", "ac", false),
            ("[!ab]c", "dc", true),
            ("[]x]", "]", true),
            ("[a-c]", "b", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("{a,b}", "a", false),
            ("", "a", false),
            ("*", "anything", true),
            ("a", "A", false),
        ] {
            assert_eq!(
                Excludes::new([pattern]).matches(path.as_bytes()),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn several_paths_are_matched_by_base_name() {
        let excludes = Excludes::new(["f*"]);
        assert!(excludes.matches_name(b"dir1/f1"));
        assert!(!excludes.matches_name(b"foo/bar"));
    }

    proptest! {
        #[test]
        fn matching_always_ends_and_a_star_matches_all(pattern in "[a*?\\[\\]!\\\\-]{0,12}", text in "[a/b]{0,20}") {
            let _ = glob(pattern.as_bytes(), text.as_bytes());
            prop_assert!(glob(b"*", text.as_bytes()));
            prop_assert!(glob(text.as_bytes(), text.as_bytes()));
        }
    }
}
