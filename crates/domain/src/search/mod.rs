//! The search language (data-model section 16): keywords become a typed query, once. What a query finds is decided where
//! it is run; nothing here knows tables.
//!
//! A query is a list of keywords that all must hold. Each is a sugar word (`.mine`), `key=value`, or a bare word.

mod bundles;
mod pattern;
mod users;
mod worksheets;

pub use bundles::{Aggregate, BundleColumn, BundleCondition, BundleField, BundleQuery};
pub use pattern::{Pattern, Piece};
pub use users::{Resource, UserCondition, UserField, UserQuery};
pub use worksheets::{WorksheetColumn, WorksheetCondition, WorksheetQuery};

use crate::{Error, Result, UtcTime};

/// What a field is compared with. Upper and lower case are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equals(String),
    /// `a,b,c`: one of these, no wildcards.
    AnyOf(Vec<String>),
    Like(Pattern),
}

impl Comparison {
    /// Reads the value of a `key=value`.
    pub fn parse(value: &str) -> Self {
        if value.contains(',') {
            Self::AnyOf(value.split(',').map(str::to_owned).collect())
        } else if value.contains('%') {
            Self::Like(Pattern::value(value))
        } else {
            Self::Equals(value.to_owned())
        }
    }
}

/// Most keywords of a query; databases bound the depth of a condition.
const MOST_KEYWORDS: usize = 200;
/// Most bytes of one keyword; databases bound the length of a pattern.
const LONGEST_KEYWORD: usize = 16 << 10;

/// 400 for more than any database takes.
fn check_size<S: AsRef<str>>(keywords: &[S]) -> Result<()> {
    if keywords.len() > MOST_KEYWORDS {
        return Err(Error::usage(format!(
            "A search takes at most {MOST_KEYWORDS} keywords, these are {}.",
            keywords.len()
        )));
    }
    match keywords.iter().map(|keyword| keyword.as_ref().len()).max() {
        Some(longest) if longest > LONGEST_KEYWORD => Err(Error::usage(format!(
            "A keyword has at most {LONGEST_KEYWORD} bytes, this one has {longest}."
        ))),
        _ => Ok(()),
    }
}

/// One sort key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort<F> {
    pub field: F,
    pub descending: bool,
}

/// Which part of the results is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    pub limit: i64,
    pub offset: i64,
}

impl Default for Paging {
    fn default() -> Self {
        Self { limit: 10, offset: 0 }
    }
}

/// Before or after a point in time, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    AtMost,
    AtLeast,
}

/// One keyword after splitting; `.*` has become `%`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Keyword {
    Word(String),
    /// `key=value`; the key may be empty.
    Pair {
        key: String,
        value: String,
    },
}

impl Keyword {
    fn parse(text: &str) -> Self {
        let text = text.replace(".*", "%");
        let is_key = |key: &str| {
            key.chars()
                .all(|char| char.is_alphanumeric() || matches!(char, '_' | '.' | '/'))
        };
        match text.split_once('=') {
            Some((key, value)) if is_key(key) => Self::Pair {
                key: key.to_owned(),
                value: value.to_owned(),
            },
            _ => Self::Word(text),
        }
    }
}

/// What the value of a field keyword asks for.
enum Wanted {
    Sort { descending: bool },
    Sum,
    Where(Comparison),
}

impl Wanted {
    fn parse(value: &str) -> Self {
        match value {
            ".sort" => Self::Sort { descending: false },
            ".sort-" => Self::Sort { descending: true },
            ".sum" => Self::Sum,
            _ => Self::Where(Comparison::parse(value)),
        }
    }
}

/// Puts the newest sort keyword in front: the last one given is the primary one.
fn sort_first<F: PartialEq>(order: &mut Vec<Sort<F>>, field: F, descending: bool) {
    order.retain(|sort| sort.field != field);
    order.insert(0, Sort { field, descending });
}

/// The number of `.limit=n` or `.offset=n`.
fn number(key: &str, value: &str) -> Result<i64> {
    match value.trim().parse::<i64>() {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err(Error::usage(format!(
            "{key} must be a number of zero or more, was '{value}'."
        ))),
    }
}

/// The Unix seconds of `2042-03-14`, `2042-03`, `20420314` or a date-time with optional offset (none: UTC).
fn moment(text: &str) -> Result<i64> {
    let text = text.trim();
    let is_month = text.len() == 7 && text.as_bytes().get(4) == Some(&b'-');
    let complete = if is_month {
        format!("{text}-01")
    } else {
        text.to_owned()
    };
    let time = UtcTime::parse(&complete).or_else(|error| match complete.parse::<jiff::civil::Date>() {
        Ok(date) => UtcTime::parse(&date.at(0, 0, 0, 0).to_string()),
        Err(_) => Err(error),
    });
    time.map(UtcTime::unix).map_err(|_| {
        Error::usage(format!(
            "Unable to parse datetime. '{text}' must be in ISO 8601 format, e.g. YYYY-MM-DD."
        ))
    })
}

fn unknown_key(key: &str) -> Error {
    Error::usage(format!("Unknown key: {key}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keywords_are_words_or_pairs() {
        let pair = |key: &str, value: &str| Keyword::Pair {
            key: key.into(),
            value: value.into(),
        };
        for (text, expected) in [
            ("word", Keyword::Word("word".into())),
            ("", Keyword::Word(String::new())),
            ("a.*b", Keyword::Word("a%b".into())),
            ("name=x", pair("name", "x")),
            ("name=x=y", pair("name", "x=y")),
            ("=x", pair("", "x")),
            ("dependency/train=0x1", pair("dependency/train", "0x1")),
            ("a-b=c", Keyword::Word("a-b=c".into())),
            ("size>=3", Keyword::Word("size>=3".into())),
            (".limit=3", pair(".limit", "3")),
        ] {
            assert_eq!(Keyword::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn moments_are_dates_or_times_with_or_without_offset() {
        for (text, expected) in [
            ("1970-01-02", 86400),
            ("19700102", 86400),
            ("1970-02", 31 * 86400),
            ("1970-01-01T01:00:00", 3600),
            ("1970-01-01T00:00:00-08", 8 * 3600),
            ("1970-01-01T00:00:01.500000", 1),
        ] {
            assert_eq!(moment(text).unwrap(), expected, "{text}");
        }
        assert!(
            moment("soon")
                .unwrap_err()
                .message
                .starts_with("Unable to parse datetime.")
        );
    }

    /// Texts that look like keywords more often than random ones do.
    fn keyword() -> impl Strategy<Value = String> {
        let key = prop_oneof![
            Just(String::new()),
            Just("name".to_owned()),
            Just("id".to_owned()),
            Just("dependency/x".to_owned()),
            Just(".limit".to_owned()),
            Just(".before".to_owned()),
            Just(".disk_used_less_than".to_owned()),
            "[.a-z_/]{0,12}",
        ];
        let value = prop_oneof![
            Just(".sort".to_owned()),
            Just(".sort-".to_owned()),
            Just(".sum".to_owned()),
            Just("a,b%,".to_owned()),
            "[0-9T:.%-]{0,12}",
            any::<String>(),
        ];
        prop_oneof![
            any::<String>(),
            (key, value).prop_map(|(key, value)| format!("{key}={value}")),
            Just(".mine".to_owned()),
            Just(".count".to_owned()),
            Just(".last".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn every_list_of_keywords_is_a_query_or_a_usage_error(keywords in prop::collection::vec(keyword(), 0..6)) {
            let refusals = [
                BundleQuery::parse(&keywords).err(),
                WorksheetQuery::parse(&keywords).err(),
                UserQuery::parse(&keywords, true).err(),
            ];
            for error in refusals.into_iter().flatten() {
                prop_assert_eq!(error.status(), 400);
                prop_assert!(!error.message.is_empty());
            }
            if let Err(error) = UserQuery::parse(&keywords, false) {
                prop_assert!(matches!(error.status(), 400 | 403));
            }
        }
    }
}
