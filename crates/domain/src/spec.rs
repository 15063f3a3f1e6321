//! Specs that name bundles, worksheets, groups and targets, parsed once at the edge (data-model section 15, cli section 5).

use crate::error::{Error, Result};
use crate::id::{Uuid, is_uuid_prefix};
use crate::name;

/// A bundle spec: an atom, optionally relative to another worksheet (`ws/atom`, the old form).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleSpec {
    /// Text of the worksheet spec before the first slash; the atom is then looked up on that worksheet.
    pub worksheet: Option<String>,
    /// What to look up.
    pub atom: BundleAtom,
}

/// The part of a bundle spec that is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleAtom {
    /// This bundle, without asking whether it exists.
    Uuid(Uuid),
    /// The only bundle anywhere whose uuid starts so.
    Prefix(String),
    /// The `index`-th newest bundle (from 1) with a matching name.
    Name {
        /// The name or pattern as it was typed, for messages.
        text: String,
        /// What to match.
        pattern: NamePattern,
        /// From 1; 0 is always out of bounds.
        index: u64,
    },
    /// The `n`-th newest bundle item of the worksheet, from 1.
    Nth(u64),
}

/// How names are compared; case-insensitively in both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// Equality.
    Exact(String),
    /// SQL `LIKE`, in which `%` is any text and `_` any character.
    Like(String),
}

impl NamePattern {
    /// `.*` means `%`; a text with `%` is a LIKE pattern, any other an exact name. A lone `*` is no wildcard.
    pub fn new(text: &str) -> Self {
        let text = text.replace(".*", "%");
        if text.contains('%') {
            Self::Like(text)
        } else {
            Self::Exact(text)
        }
    }
}

impl BundleSpec {
    /// Parses a bundle spec.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::usage("Tried to expand empty bundle_spec!"));
        }
        match text.split_once('/') {
            Some((worksheet, rest)) => {
                let rest = rest.trim();
                if rest.is_empty() {
                    return Err(Error::usage("Tried to expand empty bundle_spec!"));
                }
                if rest.contains('/') {
                    return Err(invalid_bundle_spec(text));
                }
                Ok(Self {
                    worksheet: Some(worksheet.to_owned()),
                    atom: parse_atom(rest)?,
                })
            }
            None => Ok(Self {
                worksheet: None,
                atom: parse_atom(text)?,
            }),
        }
    }

    /// The uuid, if the spec is a plain full uuid.
    pub fn as_uuid(&self) -> Option<Uuid> {
        match self {
            Self {
                worksheet: None,
                atom: BundleAtom::Uuid(uuid),
            } => Some(*uuid),
            _ => None,
        }
    }
}

fn parse_atom(text: &str) -> Result<BundleAtom> {
    if let Ok(uuid) = Uuid::parse(text) {
        return Ok(BundleAtom::Uuid(uuid));
    }
    if is_uuid_prefix(text) {
        return Ok(BundleAtom::Prefix(text.to_owned()));
    }
    let (name, index) = match text.split_once('^') {
        None => (text, 1),
        Some((name, "")) => (name, 1),
        Some((name, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            (name, digits.parse().unwrap_or(u64::MAX))
        }
        Some(_) => return Err(invalid_bundle_spec(text)),
    };
    if name.is_empty() {
        return Ok(BundleAtom::Nth(index));
    }
    if !name::is_pattern(name) {
        return Err(invalid_bundle_spec(text));
    }
    Ok(BundleAtom::Name {
        text: name.to_owned(),
        pattern: NamePattern::new(name),
        index,
    })
}

fn invalid_bundle_spec(text: &str) -> Error {
    Error::usage(format!("Invalid bundle_spec: {text}"))
}

/// A worksheet spec without instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorksheetSpec {
    /// Empty or `/`: the viewer's home worksheet.
    Home,
    /// This worksheet, without asking whether it exists.
    Uuid(Uuid),
    /// The only worksheet whose uuid starts so.
    Prefix(String),
    /// The worksheet of this name.
    Name(String),
}

impl WorksheetSpec {
    /// Parses a worksheet spec.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() || text == "/" {
            return Ok(Self::Home);
        }
        parse_named(text).map(|named| match named {
            Named::Uuid(uuid) => Self::Uuid(uuid),
            Named::Prefix(prefix) => Self::Prefix(prefix),
            Named::Name(name) => Self::Name(name),
        })
    }
}

/// A group spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupSpec {
    /// This group.
    Uuid(Uuid),
    /// The only group whose uuid starts so.
    Prefix(String),
    /// The group of this name.
    Name(String),
}

impl GroupSpec {
    /// Parses a group spec.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::usage("Tried to expand empty group_spec!"));
        }
        parse_named(text).map(|named| match named {
            Named::Uuid(uuid) => Self::Uuid(uuid),
            Named::Prefix(prefix) => Self::Prefix(prefix),
            Named::Name(name) => Self::Name(name),
        })
    }
}

enum Named {
    Uuid(Uuid),
    Prefix(String),
    Name(String),
}

fn parse_named(text: &str) -> Result<Named> {
    if let Ok(uuid) = Uuid::parse(text) {
        return Ok(Named::Uuid(uuid));
    }
    if is_uuid_prefix(text) {
        return Ok(Named::Prefix(text.to_owned()));
    }
    name::check(text)?;
    Ok(Named::Name(text.to_owned()))
}

/// A worksheet spec as users type it: `[<instance>::]<worksheet>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSpec<'a> {
    /// Alias or address of another instance.
    pub instance: Option<&'a str>,
    /// The worksheet spec on it; empty for home (with instance) or the current worksheet (without).
    pub worksheet: &'a str,
}

impl<'a> InstanceSpec<'a> {
    /// Splits at the first `::`; only the two parts around it count.
    pub fn parse(text: &'a str) -> Self {
        let mut parts = text.split("::");
        let first = parts.next().unwrap_or("");
        match parts.next() {
            Some(worksheet) => Self {
                instance: Some(first),
                worksheet,
            },
            None => Self {
                instance: None,
                worksheet: first,
            },
        }
    }
}

/// `[<instance>::][<worksheet>//]<bundle>[/<subpath>]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// Alias or address of another instance.
    pub instance: Option<String>,
    /// Worksheet spec that the bundle spec is relative to.
    pub worksheet: Option<String>,
    /// Text of the bundle spec, not empty.
    pub bundle: String,
    /// Path inside the bundle; missing and empty mean the same.
    pub subpath: Option<String>,
}

impl TargetSpec {
    /// Parses a target spec from left to right.
    pub fn parse(text: &str) -> Result<Self> {
        let (instance, rest) = split_optional(text, "::");
        let (worksheet, rest) = split_optional(rest, "//");
        let (bundle, subpath) = match rest.split_once('/') {
            Some((bundle, subpath)) => (bundle, Some(subpath.to_owned())),
            None => (rest, None),
        };
        if bundle.is_empty() {
            return Err(Error::usage("Bundle spec is missing"));
        }
        Ok(Self {
            instance: instance.map(str::to_owned),
            worksheet: worksheet.map(str::to_owned),
            bundle: bundle.to_owned(),
            subpath,
        })
    }

    /// The subpath, empty when missing.
    pub fn path(&self) -> &str {
        self.subpath.as_deref().unwrap_or("")
    }
}

fn split_optional<'a>(text: &'a str, separator: &str) -> (Option<&'a str>, &'a str) {
    match text.split_once(separator) {
        Some((before, after)) => (Some(before), after),
        None => (None, text),
    }
}

/// `[[<key>]:]<target spec>`, as `run` and `make` take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedTarget {
    /// `None` without colon, empty for `:target`.
    pub key: Option<String>,
    /// The text of the target spec, not empty.
    pub target: String,
}

impl KeyedTarget {
    /// Parses a keyed target. A colon that is half of `::` separates no key.
    pub fn parse(text: &str) -> Result<Self> {
        let keyed = text.split_once(':').filter(|(_, rest)| !rest.starts_with(':'));
        let (key, target) = match keyed {
            Some((key, target)) => (Some(key.to_owned()), target),
            None => (None, text),
        };
        if target.is_empty() {
            return Err(Error::usage(format!(
                "target_spec ({text}) in wrong format, expected \
                 [<key>]:[[(<alias>|<address>)::](<uuid>|<name>)//](<uuid>|<name>|^<index>)[/<subpath>]"
            )));
        }
        Ok(Self {
            key,
            target: target.to_owned(),
        })
    }
}

/// Most specs that one range may expand to, so that a typo cannot fill the memory.
const MAX_RANGE: u64 = 100_000;

/// Expands history ranges: `a^3-1` to `a^3 a^2 a^1`, `^1-2` to `^1 ^2`; other specs stay as they are.
pub fn expand_ranges<S: AsRef<str>>(specs: impl IntoIterator<Item = S>) -> Vec<String> {
    let mut expanded = Vec::new();
    for spec in specs {
        let spec = spec.as_ref();
        match parse_range(spec) {
            Some((prefix, first, last)) if first <= last => {
                expanded.extend((first..=last).map(|n| format!("{prefix}^{n}")));
            }
            Some((prefix, first, last)) => expanded.extend((last..=first).rev().map(|n| format!("{prefix}^{n}"))),
            None => expanded.push(spec.to_owned()),
        }
    }
    expanded
}

fn parse_range(spec: &str) -> Option<(&str, u64, u64)> {
    let (prefix, range) = spec.rsplit_once('^')?;
    let (first, last) = range.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first.abs_diff(last) < MAX_RANGE).then_some((prefix, first, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: &str = "0x0123456789abcdef0123456789abcdef";

    fn named(text: &str, index: u64) -> BundleAtom {
        BundleAtom::Name {
            text: text.into(),
            pattern: NamePattern::new(text),
            index,
        }
    }

    #[test]
    fn bundle_specs_parse() {
        for (text, worksheet, atom) in [
            (UUID, None, BundleAtom::Uuid(Uuid::parse(UUID).unwrap())),
            ("0x3fa", None, BundleAtom::Prefix("0x3fa".into())),
            (" foo ", None, named("foo", 1)),
            ("foo^", None, named("foo", 1)),
            ("foo^2", None, named("foo", 2)),
            ("^", None, BundleAtom::Nth(1)),
            ("^3", None, BundleAtom::Nth(3)),
            ("^0", None, BundleAtom::Nth(0)),
            ("ws/^2", Some("ws"), BundleAtom::Nth(2)),
            ("ws/foo", Some("ws"), named("foo", 1)),
            ("^99999999999999999999999", None, BundleAtom::Nth(u64::MAX)),
            ("0x", None, named("0x", 1)),
        ] {
            assert_eq!(
                BundleSpec::parse(text).unwrap(),
                BundleSpec {
                    worksheet: worksheet.map(Into::into),
                    atom
                },
                "{text}"
            );
        }
        for text in ["a b", "foo^x", "foo^1^2", "ws//foo", "é", "foo^-1"] {
            assert_eq!(
                BundleSpec::parse(text).unwrap_err().message,
                format!("Invalid bundle_spec: {text}")
            );
        }
        assert_eq!(
            BundleSpec::parse("  ").unwrap_err().message,
            "Tried to expand empty bundle_spec!"
        );
    }

    #[test]
    fn patterns_with_percent_match_like() {
        for (text, pattern) in [
            ("foo", NamePattern::Exact("foo".into())),
            ("foo.*", NamePattern::Like("foo%".into())),
            ("%foo%", NamePattern::Like("%foo%".into())),
            ("foo*", NamePattern::Exact("foo*".into())),
        ] {
            assert_eq!(NamePattern::new(text), pattern);
        }
    }

    #[test]
    fn target_specs_parse_from_left_to_right() {
        let some = |text: &str| Some(text.to_owned());
        for (text, instance, worksheet, bundle, subpath) in [
            ("a", None, None, "a", None),
            ("a/", None, None, "a", some("")),
            ("a/b/c", None, None, "a", some("b/c")),
            ("w//a/b", None, some("w"), "a", some("b")),
            ("prod::a", some("prod"), None, "a", None),
            ("https://h::w//b/c", some("https://h"), some("w"), "b", some("c")),
            ("a//b//c", None, some("a"), "b", some("/c")),
            ("https://h//b", None, some("https:"), "h", some("/b")),
            ("::a", some(""), None, "a", None),
        ] {
            let expected = TargetSpec {
                instance,
                worksheet,
                bundle: bundle.into(),
                subpath,
            };
            assert_eq!(TargetSpec::parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(TargetSpec::parse("").unwrap_err().message, "Bundle spec is missing");
    }

    #[test]
    fn keyed_targets_parse() {
        for (text, key, target) in [
            ("a:b", Some("a"), "b"),
            (":b", Some(""), "b"),
            ("b", None, "b"),
            ("k:https://h::w//b", Some("k"), "https://h::w//b"),
            ("p::w//b", None, "p::w//b"),
            (":p::w//b", Some(""), "p::w//b"),
            ("https://h::w//b", Some("https"), "//h::w//b"),
        ] {
            let parsed = KeyedTarget::parse(text).unwrap();
            assert_eq!((parsed.key.as_deref(), parsed.target.as_str()), (key, target), "{text}");
        }
        for text in ["k:", ":", ""] {
            let message = KeyedTarget::parse(text).unwrap_err().message;
            assert!(
                message.starts_with(&format!("target_spec ({text}) in wrong format")),
                "{message}"
            );
        }
    }

    #[test]
    fn worksheet_and_group_specs_parse() {
        assert_eq!(WorksheetSpec::parse(" / ").unwrap(), WorksheetSpec::Home);
        assert_eq!(
            WorksheetSpec::parse("0xab").unwrap(),
            WorksheetSpec::Prefix("0xab".into())
        );
        assert_eq!(
            WorksheetSpec::parse("home-x").unwrap(),
            WorksheetSpec::Name("home-x".into())
        );
        assert!(WorksheetSpec::parse("9x").is_err());
        assert_eq!(GroupSpec::parse("public").unwrap(), GroupSpec::Name("public".into()));
        assert_eq!(
            GroupSpec::parse("").unwrap_err().message,
            "Tried to expand empty group_spec!"
        );
        assert_eq!(
            InstanceSpec::parse("prod::ws"),
            InstanceSpec {
                instance: Some("prod"),
                worksheet: "ws"
            }
        );
        assert_eq!(
            InstanceSpec::parse("ws"),
            InstanceSpec {
                instance: None,
                worksheet: "ws"
            }
        );
        assert_eq!(
            InstanceSpec::parse("a::b::c"),
            InstanceSpec {
                instance: Some("a"),
                worksheet: "b"
            }
        );
    }

    #[test]
    fn ranges_expand_in_both_directions() {
        for (spec, expanded) in [
            ("a^3-1", vec!["a^3", "a^2", "a^1"]),
            ("^1-2", vec!["^1", "^2"]),
            ("ws//a^1-2", vec!["ws//a^1", "ws//a^2"]),
            ("a^2", vec!["a^2"]),
            ("a-b", vec!["a-b"]),
            ("a^1-", vec!["a^1-"]),
            ("^1-99999999999", vec!["^1-99999999999"]),
        ] {
            assert_eq!(expand_ranges([spec]), expanded);
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_without_panic(text in ".*") {
            let _ = BundleSpec::parse(&text);
            let _ = TargetSpec::parse(&text);
            let _ = KeyedTarget::parse(&text);
            let _ = WorksheetSpec::parse(&text);
            let _ = GroupSpec::parse(&text);
            let _ = InstanceSpec::parse(&text);
            let _ = expand_ranges([&text]);
        }

        #[test]
        fn a_target_spec_is_put_together_again(ws in "[a-z]{0,3}", bundle in "[a-z^0-9]{1,4}", path in "([a-z]{1,2}/){0,2}[a-z]?") {
            let text = format!("{ws}//{bundle}/{path}");
            let target = TargetSpec::parse(&text).unwrap();
            prop_assert_eq!((target.worksheet.as_deref(), target.bundle.as_str(), target.path()), (Some(ws.as_str()), bundle.as_str(), path.as_str()));
        }
    }
}
