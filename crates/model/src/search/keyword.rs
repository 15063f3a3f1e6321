//! The grammar shared by the three searches (data-model section 16.1), and its conditions as SQL.
//!
//! Patterns are written with `|` as escape character in every LIKE, because `\` itself has to be escaped on MySQL only.

use domain::{Error, Result, UtcTime};

use crate::db::{Value, params};

/// One keyword after splitting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    /// A bare word.
    Word(String),
    /// `key=value`; the key may be empty.
    Pair { key: String, value: String },
}

impl Keyword {
    /// Splits a keyword; `.*` has become `%`.
    pub(super) fn parse(text: &str) -> Self {
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

/// What the value of a `key=value` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Order by the field.
    Sort { descending: bool },
    /// The sum of the field.
    Sum,
    /// The field satisfies a condition.
    Where(Condition),
}

impl Wanted {
    pub(super) fn parse(value: &str) -> Self {
        match value {
            ".sort" => Self::Sort { descending: false },
            ".sort-" => Self::Sort { descending: true },
            ".sum" => Self::Sum,
            _ => Self::Where(Condition::parse(value)),
        }
    }
}

/// A condition on one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Equals(String),
    Like(String),
    OneOf(Vec<String>),
}

impl Condition {
    fn parse(value: &str) -> Self {
        if value.contains(',') {
            Self::OneOf(value.split(',').map(str::to_owned).collect())
        } else if value.contains('%') {
            Self::Like(with_our_escape(value))
        } else {
            Self::Equals(value.to_owned())
        }
    }

    /// `column …` with its values.
    pub(super) fn sql(&self, column: &str) -> Clause {
        match self {
            Self::Equals(text) => Clause::new(format!("{column} = ?"), params![text]),
            Self::Like(pattern) => Clause::new(format!("{column} LIKE ? ESCAPE '|'"), params![pattern]),
            Self::OneOf(texts) => {
                let marks = vec!["?"; texts.len()].join(", ");
                Clause::new(
                    format!("{column} IN ({marks})"),
                    texts.iter().map(Value::from).collect(),
                )
            }
        }
    }
}

/// A piece of SQL with the values of its placeholders.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clause {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Clause {
    pub(super) fn new(sql: impl Into<String>, values: Vec<Value>) -> Self {
        Self {
            sql: sql.into(),
            values,
        }
    }

    /// Puts text around the SQL.
    pub(super) fn within(mut self, before: &str, after: &str) -> Self {
        self.sql = format!("{before}{}{after}", self.sql);
        self
    }

    /// `(a) OR (b) …`; nothing in, never true out.
    pub(super) fn any(clauses: Vec<Clause>) -> Self {
        Self::joined(clauses, " OR ", "1 = 0")
    }

    /// `(a) AND (b) …`; nothing in, always true out.
    pub(super) fn all(clauses: Vec<Clause>) -> Self {
        Self::joined(clauses, " AND ", "1 = 1")
    }

    fn joined(clauses: Vec<Clause>, operator: &str, empty: &str) -> Self {
        if clauses.is_empty() {
            return Self::new(empty, Vec::new());
        }
        let mut sql = Vec::with_capacity(clauses.len());
        let mut values = Vec::new();
        for clause in clauses {
            sql.push(format!("({})", clause.sql));
            values.extend(clause.values);
        }
        Self::new(sql.join(operator), values)
    }
}

/// A pattern for *contains*: a literal `_` stays literal, `%` stays a wildcard.
pub(super) fn contains(word: &str) -> String {
    format!("%{}%", with_our_escape(word).replace('_', "|_"))
}

/// `\x` becomes `|x`, and a literal `|` is escaped.
fn with_our_escape(pattern: &str) -> String {
    let mut result = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            '|' => result.push_str("||"),
            '\\' => match chars.next() {
                Some(escaped @ ('%' | '_')) => {
                    result.push('|');
                    result.push(escaped);
                }
                Some('|') => result.push_str("||"),
                Some(other) => result.push(other),
                None => result.push('\\'),
            },
            other => result.push(other),
        }
    }
    result
}

/// `.limit` and `.offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paging {
    pub(super) limit: i64,
    pub(super) offset: i64,
}

impl Default for Paging {
    fn default() -> Self {
        Self { limit: 10, offset: 0 }
    }
}

/// The number of `.limit=n` or `.offset=n`.
pub(super) fn number(key: &str, value: &str) -> Result<i64> {
    match value.trim().parse::<i64>() {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err(Error::usage(format!(
            "{key} must be a number of zero or more, was '{value}'."
        ))),
    }
}

/// The Unix seconds of `2042-03-14`, `2042-03`, `20420314` or a date-time with optional offset (none: UTC).
pub(super) fn moment(text: &str) -> Result<i64> {
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

/// Formats an aggregate with `.format=size|duration|date|%.nf`; the raw value if that does not apply.
pub(super) fn formatted(value: serde_json::Value, format: Option<&str>) -> serde_json::Value {
    let (Some(format), Some(number)) = (format, value.as_f64()) else {
        return value;
    };
    let decimals = || format.strip_prefix("%.")?.strip_suffix('f')?.parse::<usize>().ok();
    match format {
        "size" => domain::size::format(number).into(),
        "duration" => domain::duration::format(number).into(),
        "date" => domain::time::format_date(number, &jiff::tz::TimeZone::UTC).into(),
        _ => match decimals() {
            Some(decimals) if decimals <= 30 => format!("{number:.decimals$}").into(),
            _ => value,
        },
    }
}

#[cfg(test)]
mod tests {
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
    fn patterns_escape_what_sql_would_take_as_a_wildcard() {
        for (word, expected) in [
            ("a_b", "%a|_b%"),
            ("a%b", "%a%b%"),
            ("50\\%", "%50|%%"),
            ("a|b", "%a||b%"),
            ("\\", "%\\%"),
        ] {
            assert_eq!(contains(word), expected, "{word}");
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
}
