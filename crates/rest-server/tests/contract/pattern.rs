//! What a row expects: texts and JSON with a few words for what cannot be known beforehand.
//!
//! - `$NAME` is a value bound earlier; `<kind NAME>` matches by kind and binds, `<kind>` only matches.
//! - `…` in a text stands for any text (the API document leaves that wording free).
//! - A JSON object is exact, unless it has the key `"..."`; an array is exact, unless its last element is `"..."`; an array
//!   that begins with `"<any order>"` is a set.

use std::collections::HashMap;
use std::fmt::Write as _;

use regex::Regex;
use serde_json::Value;

pub type Bindings = HashMap<String, String>;

/// Kinds of texts.
const KINDS: &[(&str, &str)] = &[
    ("uuid", "0x[0-9a-f]{32}"),
    ("hex32", "[0-9a-f]{32}"),
    ("digits", "-?[0-9]+"),
    ("token", "[^;\"&\\s]+"),
    ("any", "(?s:.*)"),
    ("text", "(?s:.*)"),
    ("iso", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?\+00:00"),
    ("naive", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?"),
    ("ctime", r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}"),
];

/// Replaces bound `$NAME`s and `{{COUNT TEXT}}` repetitions.
pub fn fill(text: &str, bindings: &Bindings) -> String {
    let names = Regex::new(r"\$([A-Z][A-Z0-9_]*)|\{\{(\d+) ([^}]*)\}\}").unwrap();
    names
        .replace_all(text, |found: &regex::Captures<'_>| match found.get(1) {
            Some(name) => bindings
                .get(name.as_str())
                .cloned()
                .unwrap_or_else(|| found[0].to_owned()),
            None => found[3].repeat(found[2].parse().unwrap()),
        })
        .into_owned()
}

/// Matches a whole text, and binds what the pattern names.
pub fn match_text(pattern: &str, actual: &str, bindings: &mut Bindings) -> bool {
    let pattern = fill(pattern, bindings);
    let words = Regex::new(r"…|<([a-z0-9]+)(?: ([A-Z][A-Z0-9_]*))?>").unwrap();
    let mut regex = String::from("^");
    let mut names = Vec::new();
    let mut end = 0;
    for found in words.captures_iter(&pattern) {
        let whole = found.get(0).unwrap();
        let kind = match found.get(1) {
            None => Some("(?s:.*)"),
            Some(word) => KINDS
                .iter()
                .find(|(kind, _)| *kind == word.as_str())
                .map(|(_, kind)| *kind),
        };
        let Some(kind) = kind else { continue };
        regex.push_str(&regex::escape(&pattern[end..whole.start()]));
        write!(regex, "({kind})").unwrap();
        names.push(found.get(2).map(|name| name.as_str().to_owned()));
        end = whole.end();
    }
    regex.push_str(&regex::escape(&pattern[end..]));
    regex.push('$');
    let Some(found) = Regex::new(&regex).unwrap().captures(actual) else {
        return false;
    };
    for (index, name) in names.into_iter().enumerate() {
        if let Some(name) = name {
            bindings.insert(name, found[index + 1].to_owned());
        }
    }
    true
}

/// Matches JSON; an error says where they differ.
pub fn match_json(pattern: &Value, actual: &Value, bindings: &mut Bindings) -> Result<(), String> {
    at("$", pattern, actual, bindings)
}

fn at(path: &str, pattern: &Value, actual: &Value, bindings: &mut Bindings) -> Result<(), String> {
    let differs = || Err(format!("at {path}: expected {pattern}, found {actual}"));
    match (pattern, actual) {
        (Value::String(word), _)
            if kind_of(word).is_some_and(|(kind, _)| matches!(kind, "int" | "number" | "bool" | "any" | "list")) =>
        {
            let (kind, name) = kind_of(word).unwrap();
            let fits = match kind {
                "int" => actual.is_i64() || actual.is_u64(),
                "number" => actual.is_number(),
                "bool" => actual.is_boolean(),
                "list" => actual.is_array(),
                _ => true,
            };
            if !fits {
                return differs();
            }
            if let Some(name) = name {
                bindings.insert(
                    name.to_owned(),
                    actual.as_str().map_or_else(|| actual.to_string(), str::to_owned),
                );
            }
            Ok(())
        }
        (Value::String(pattern), Value::String(text)) => {
            if match_text(pattern, text, bindings) {
                Ok(())
            } else {
                differs()
            }
        }
        (Value::Object(pattern), Value::Object(actual)) => {
            let open = pattern.contains_key("...");
            for (key, expected) in pattern.iter().filter(|(key, _)| *key != "...") {
                let path = format!("{path}.{key}");
                if expected == "<absent>" {
                    if actual.contains_key(key) {
                        return Err(format!("at {path}: there must be none"));
                    }
                    continue;
                }
                let found = actual.get(key).ok_or_else(|| format!("at {path}: missing"))?;
                at(&path, expected, found, bindings)?;
            }
            match actual.keys().find(|key| !open && !pattern.contains_key(*key)) {
                Some(key) => Err(format!("at {path}: unexpected key {key:?}: {}", actual[key])),
                None => Ok(()),
            }
        }
        (Value::Array(pattern), Value::Array(actual)) => list(path, pattern, actual, bindings),
        // 5 and 5.0 are one number to the clients.
        (Value::Number(one), Value::Number(two)) if one.as_f64() == two.as_f64() => Ok(()),
        _ if pattern == actual => Ok(()),
        _ => differs(),
    }
}

fn list(path: &str, pattern: &[Value], actual: &[Value], bindings: &mut Bindings) -> Result<(), String> {
    let (pattern, open) = match pattern.split_last() {
        Some((last, rest)) if last == "..." => (rest, true),
        _ => (pattern, false),
    };
    let (pattern, ordered) = match pattern.split_first() {
        Some((first, rest)) if first == "<any order>" => (rest, false),
        _ => (pattern, true),
    };
    if actual.len() < pattern.len() || (!open && actual.len() > pattern.len()) {
        return Err(format!(
            "at {path}: expected {} elements, found {}",
            pattern.len(),
            actual.len()
        ));
    }
    let mut left: Vec<usize> = (0..actual.len()).collect();
    for (index, expected) in pattern.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if ordered {
            at(&path, expected, &actual[index], bindings)?;
            continue;
        }
        let found = left.iter().position(|&candidate| {
            let mut trial = bindings.clone();
            let fits = at(&path, expected, &actual[candidate], &mut trial).is_ok();
            if fits {
                *bindings = trial;
            }
            fits
        });
        match found {
            Some(position) => drop(left.remove(position)),
            None => return Err(format!("at {path}: no element is like {expected}")),
        }
    }
    Ok(())
}

/// The parts of `<kind>` or `<kind NAME>`.
fn kind_of(word: &str) -> Option<(&str, Option<&str>)> {
    let inner = word.strip_prefix('<')?.strip_suffix('>')?;
    match inner.split_once(' ') {
        None => Some((inner, None)),
        Some((kind, name))
            if name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit()) =>
        {
            Some((kind, Some(name)))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fits(pattern: &Value, actual: &Value) -> bool {
        match_json(pattern, actual, &mut Bindings::new()).is_ok()
    }

    #[test]
    fn objects_are_exact_unless_they_say_otherwise() {
        assert!(fits(&json!({"a": 1}), &json!({"a": 1})));
        assert!(!fits(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
        assert!(fits(&json!({"a": 1, "...": "..."}), &json!({"a": 1, "b": 2})));
        assert!(!fits(&json!({"a": 1, "...": "..."}), &json!({"b": 2})));
        assert!(!fits(&json!({"a": "<absent>", "...": "..."}), &json!({"a": null})));
    }

    #[test]
    fn lists_are_exact_open_or_sets() {
        assert!(!fits(&json!([1]), &json!([1, 2])));
        assert!(fits(&json!([1, "..."]), &json!([1, 2])));
        assert!(fits(&json!(["<any order>", 2, 1]), &json!([1, 2])));
        assert!(!fits(&json!(["<any order>", 2, 2]), &json!([1, 2])));
    }

    #[test]
    fn what_is_matched_can_be_bound_and_used_again() {
        let mut bindings = Bindings::new();
        let actual =
            json!({"id": "0x00000000000000000000000000000001", "again": "0x00000000000000000000000000000001", "n": 7});
        let pattern = json!({"id": "<uuid A>", "again": "$A", "n": "<int N>"});
        match_json(&pattern, &actual, &mut bindings).unwrap();
        assert_eq!(bindings["N"], "7");
        assert_eq!(
            fill("/x/$A/$B/{{3 ab}}", &bindings),
            "/x/0x00000000000000000000000000000001/$B/ababab"
        );
        assert!(match_text(
            "no access …, ask <any WHO>.",
            "no access to this, ask root.",
            &mut bindings
        ));
        assert_eq!(bindings["WHO"], "root");
        assert!(!match_text("exact.", "exact. not", &mut bindings));
    }
}
