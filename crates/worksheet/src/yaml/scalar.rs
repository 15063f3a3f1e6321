//! Scalars: which type a plain one has, and the values of all types.

use std::sync::LazyLock;

use domain::literal;
use regex::{Captures, Regex};
use serde_json::{Value, json};

use crate::number;

/// The type of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Text,
    Binary,
    Timestamp,
    /// The key `<<`.
    Merge,
    /// The key `=`.
    Value,
    Seq,
    Map,
    Set,
    Omap,
    Pairs,
    /// One that the safe loader refuses.
    Unknown,
}

impl Tag {
    /// An explicit tag, or else the default of the kind of node.
    pub fn named(tag: Option<&str>, default: Self) -> Self {
        let Some(tag) = tag.filter(|tag| !tag.is_empty() && *tag != "!") else {
            return default;
        };
        match tag.strip_prefix("tag:yaml.org,2002:") {
            Some("null") => Self::Null,
            Some("bool") => Self::Bool,
            Some("int") => Self::Int,
            Some("float") => Self::Float,
            Some("str") => Self::Text,
            Some("binary") => Self::Binary,
            Some("timestamp") => Self::Timestamp,
            Some("merge") => Self::Merge,
            Some("value") => Self::Value,
            Some("seq") => Self::Seq,
            Some("map") => Self::Map,
            Some("set") => Self::Set,
            Some("omap") => Self::Omap,
            Some("pairs") => Self::Pairs,
            _ => Self::Unknown,
        }
    }

    /// The tag of a scalar. Its text decides if it is plain, that is without quotes and tag, or has the tag `!`.
    pub fn of_scalar(tag: Option<&str>, plain: bool, text: &str) -> Self {
        let by_text = plain || tag == Some("!");
        Self::named(tag, if by_text { Self::resolve(text) } else { Self::Text })
    }

    fn resolve(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "<<" => Self::Merge,
            "=" => Self::Value,
            _ if text.len() <= 5 && is_bool_word(text) => Self::Bool,
            _ if !text.starts_with(|c: char| c.is_ascii_digit() || "-+.".contains(c)) => Self::Text,
            _ if FLOAT.is_match(text) => Self::Float,
            _ if INT.is_match(text) => Self::Int,
            _ if TIMESTAMP.is_match(text) => Self::Timestamp,
            _ => Self::Text,
        }
    }
}

fn is_bool_word(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let first = text.get(..1).unwrap_or("");
    let capital = first.to_ascii_uppercase() + lower.get(1..).unwrap_or("");
    bool_value(&lower).is_some() && (text == lower || text == capital || text == lower.to_ascii_uppercase())
}

fn bool_value(lower: &str) -> Option<bool> {
    match lower {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

static INT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[-+]?(0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(:[0-5]?[0-9])+)$"));
static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^([-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?|",
        r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$",
    ))
});
static TIMESTAMP: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^([0-9]{4})-(?:([0-9]{2})-([0-9]{2})|([0-9]{1,2})-([0-9]{1,2})(?:[Tt]|[ \t]+)",
        r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]*))?",
        r"(?:[ \t]*(?P<zone>Z|(?P<sign>[-+])(?P<zone_hour>[0-9]{1,2})(?::(?P<zone_minute>[0-9]{2}))?))?)$",
    ))
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern that the tests compile")
}

/// The value of a scalar; none if its text does not fit its tag. An impossible date stays a text.
pub(super) fn construct(tag: Tag, text: &str) -> Option<Value> {
    match tag {
        Tag::Null => Some(Value::Null),
        Tag::Bool => bool_value(&text.to_lowercase()).map(Value::from),
        Tag::Int => int(text),
        Tag::Float => float(text).map(number_value),
        Tag::Text => Some(json!(text)),
        Tag::Binary => is_base64(text).then(|| json!("<binary>")),
        Tag::Timestamp => {
            let groups = TIMESTAMP.captures(text)?;
            Some(json!(timestamp(&groups).unwrap_or_else(|| text.to_owned())))
        }
        _ => None,
    }
}

/// The member name of a key, as Python's JSON writer spells it.
pub(super) fn key_text(key: Value) -> String {
    match key {
        Value::String(text) => text,
        Value::Number(number) => literal::number(&number),
        other => other.to_string(),
    }
}

fn number_value(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| json!(literal::float(number)), Value::Number)
}

/// An integer: decimal, `0b1`, `0x1f`, octal with a leading zero, or `1:30:00`. Beyond 64 bits its digits are a text.
fn int(text: &str) -> Option<Value> {
    let digits = text.replace('_', "");
    let (negative, digits) = split_sign(&digits);
    let radix = |digits: &str, radix| u128::from_str_radix(digits, radix).ok();
    let magnitude = if let Some(binary) = digits.strip_prefix("0b") {
        radix(binary, 2)?
    } else if let Some(hex) = digits.strip_prefix("0x") {
        radix(hex, 16)?
    } else if digits.len() > 1 && digits.starts_with('0') {
        radix(digits, 8)?
    } else if digits.contains(':') {
        digits.split(':').try_fold(0u128, |sum, part| {
            sum.checked_mul(60)?.checked_add(part.parse::<u128>().ok()?)
        })?
    } else if let Ok(magnitude) = digits.parse() {
        magnitude
    } else if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    } else {
        return Some(json!(format!("{}{digits}", if negative { "-" } else { "" })));
    };
    Some(match (negative, u64::try_from(magnitude)) {
        (false, Ok(number)) => json!(number),
        (true, Ok(number)) if number <= 1 << 63 => json!(0i64.wrapping_sub_unsigned(number)),
        (negative, _) => json!(format!("{}{magnitude}", if negative { "-" } else { "" })),
    })
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn float(text: &str) -> Option<f64> {
    let lower = text.replace('_', "").to_lowercase();
    let (negative, digits) = split_sign(&lower);
    let magnitude = match digits {
        ".inf" => f64::INFINITY,
        ".nan" => f64::NAN,
        _ if digits.contains(':') => digits
            .split(':')
            .try_fold(0.0, |sum, part| Some(sum * 60.0 + number::float(part)?))?,
        _ => number::float(digits)?,
    };
    Some(if negative { -magnitude } else { magnitude })
}

fn is_base64(text: &str) -> bool {
    let significant = text
        .bytes()
        .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    text.is_ascii() && significant.count() % 4 != 1
}

/// The ISO text of a date or a time; none if there is no such day or time.
fn timestamp(groups: &Captures<'_>) -> Option<String> {
    let number = |name: &str| groups.name(name).and_then(|group| group.as_str().parse::<i8>().ok());
    let part = |index: usize, other: usize| groups.get(index).or(groups.get(other))?.as_str().parse::<i8>().ok();
    let year: i16 = groups.get(1)?.as_str().parse().ok()?;
    let date = jiff::civil::Date::new(year, part(2, 4)?, part(3, 5)?)
        .ok()
        .filter(|_| year > 0)?;
    let Some(hour) = number("hour") else {
        return Some(date.to_string());
    };
    let (minute, second) = (number("minute")?, number("second")?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let digits = groups.name("fraction").map_or("", |group| group.as_str());
    let micros = format!("{:0<6}", &digits[..digits.len().min(6)]);
    let fraction = if micros == "000000" {
        String::new()
    } else {
        format!(".{micros}")
    };
    let zone = match (groups.name("zone"), groups.name("sign")) {
        (None, _) => String::new(),
        (Some(_), None) => "+00:00".to_owned(),
        (Some(_), Some(sign)) => {
            let minutes = i32::from(number("zone_hour")?) * 60 + i32::from(number("zone_minute").unwrap_or(0));
            if minutes >= 24 * 60 {
                return None;
            }
            let sign = if minutes == 0 { "+" } else { sign.as_str() };
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"))
}
