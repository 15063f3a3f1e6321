//! Plain scalars: numbers, booleans, null, and texts without quotes.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

/// Whether a plain scalar may begin so.
pub(super) fn may_be_plain(text: &str) -> bool {
    let mut chars = text.chars();
    match chars.next() {
        Some('-' | '?' | ':') => chars.next().is_some_and(|c| c != ' '),
        Some(c) => !"&*!|>@`%,]}#".contains(c),
        None => false,
    }
}

static INT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*(:[0-5]?[0-9])*)$"));
static FLOAT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?)$"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern that the tests compile")
}

/// The value of a plain scalar.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return json!(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return json!(false),
        ".nan" | ".NaN" | ".NAN" => return json!("nan"),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return json!("inf"),
        "-.inf" | "-.Inf" | "-.INF" => return json!("-inf"),
        _ => {}
    }
    if INT.is_match(text) {
        return int(text).map_or_else(|| json!(text), |number| json!(number));
    }
    if FLOAT.is_match(text) {
        let number = text
            .replace('_', "")
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite());
        return number.map_or_else(|| json!(text), |number| json!(number));
    }
    json!(text)
}

fn int(text: &str) -> Option<i64> {
    let digits = text.replace('_', "");
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let magnitude = if let Some(binary) = digits.strip_prefix("0b") {
        i64::from_str_radix(binary, 2).ok()?
    } else if let Some(hex) = digits.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok()?
    } else if digits.contains(':') {
        let parts = digits.split(':').map(|part| part.parse::<i64>().ok());
        parts
            .into_iter()
            .try_fold(0i64, |sum, part| sum.checked_mul(60)?.checked_add(part?))?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()?
    } else {
        digits.parse().ok()?
    };
    Some(sign * magnitude)
}
