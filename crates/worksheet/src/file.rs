//! Contents of files as worksheets show them: first lines, and values inside TSV, JSON and YAML (language sections 7.4
//! and 11.2).

mod json;

use serde_json::{Map, Value, json};

use crate::{number, yaml};

/// Lines of a file that a cell may look at.
pub const CELL_LINES: usize = 10_000;

/// Longest line on average: `N` lines are taken from the first `N` times this many bytes.
const LINE_BYTES: u64 = 1024;

/// Most bytes that are read of a file, whatever number of lines the worksheet asks for.
const MAX_HEAD: u64 = 16 << 20;

/// Number of bytes to read for the first `lines` lines.
pub fn head_limit(lines: usize) -> u64 {
    (lines as u64).saturating_mul(LINE_BYTES).min(MAX_HEAD)
}

/// The first lines of a file, with their line ends. `bytes` is its beginning, up to [`head_limit`], and `size` its whole
/// size. Undecodable contents are the single line `<binary>`.
pub fn head(bytes: &[u8], size: u64, lines: usize) -> Vec<String> {
    let truncated = (bytes.len() as u64) < size;
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // The last character may be cut in two.
        Err(error) if truncated && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or("")
        }
        Err(_) => {
            return if lines == 0 {
                Vec::new()
            } else {
                vec!["<binary>".to_owned()]
            };
        }
    };
    let mut text = text.replace("\r\n", "\n").replace('\r', "\n");
    if !truncated && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let mut split = split_lines(&text);
    split.truncate(lines);
    if truncated && split.last().is_some_and(|line| !line.ends_with(is_line_end)) {
        split.pop();
    }
    split.into_iter().map(str::to_owned).collect()
}

/// Splits after every line end that Python's `splitlines` knows.
fn split_lines(text: &str) -> Vec<&str> {
    text.split_inclusive(is_line_end).collect()
}

fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// The path and the key of a file genpath without its leading slash.
pub fn split_key(genpath: &str) -> (&str, Option<&str>) {
    match genpath.split_once(':') {
        Some((path, key)) => (path, Some(key)),
        None => (genpath, None),
    }
}

/// The structure in a file's first lines: a TSV map, JSON, YAML, or the text itself.
pub fn structure(lines: &[String]) -> Value {
    if lines.is_empty() {
        return json!("");
    }
    if lines.iter().all(|line| line.contains('\t')) {
        return tsv(lines);
    }
    let text: String = lines.concat();
    if text == "<binary>" {
        return json!(text);
    }
    json::parse(&text)
        .or_else(|| yaml::parse(&text))
        .unwrap_or_else(|| json!(text))
}

fn tsv(lines: &[String]) -> Value {
    let pairs = lines.iter().filter_map(|line| line.trim().split_once('\t'));
    Value::Object(
        pairs
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect::<Map<_, _>>(),
    )
}

/// Walks the `/`-separated parts of a key. What is not there is null.
pub fn lookup(value: &Value, key: Option<&str>) -> Value {
    let Some(key) = key else { return value.clone() };
    let mut current = value;
    for part in key.split('/') {
        let next = match current {
            Value::Object(map) => map.get(part),
            Value::Array(items) => number::integer(part).and_then(|index| {
                let index = if index < 0 { index + items.len() as i64 } else { index };
                usize::try_from(index).ok().and_then(|index| items.get(index))
            }),
            _ => None,
        };
        match next {
            Some(value) => current = value,
            None => return Value::Null,
        }
    }
    current.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &str) -> Vec<String> {
        head(text.as_bytes(), text.len() as u64, CELL_LINES)
    }

    #[test]
    fn heads_are_cut_at_lines() {
        assert_eq!(lines("a\r\nb\rc"), ["a\n", "b\n", "c\n"]);
        assert_eq!(lines(""), Vec::<String>::new());
        assert_eq!(head(b"a\nb\nc\n", 6, 2), ["a\n", "b\n"]);
        assert_eq!(head(b"a\nb", 100, 5), ["a\n"]);
        assert_eq!(
            head("aé".as_bytes().split_last().unwrap().1, 100, 5),
            Vec::<String>::new()
        );
        assert_eq!(head(b"\xff\xfe", 2, 5), ["<binary>"]);
        assert_eq!(head(b"abc", 3, 0), Vec::<String>::new());
    }

    #[test]
    fn structures_are_recognised_in_order() {
        for (text, value) in [
            ("a\t1\nb\t2 \na\t3\n", json!({"a": "3", "b": "2"})),
            ("{\"a\": {\"b\": 0.5}}", json!({"a": {"b": 0.5}})),
            (
                "{\"a\": NaN, \"b\": [-Infinity, \"NaN \\\" x\"]}",
                json!({"a": "nan", "b": ["-inf", "NaN \" x"]}),
            ),
            (
                "{\"a\": 99999999999999999999, \"b\": -12345678901234567890, \"c\": 1e400, \"d\": [-1E999]}",
                json!({"a": "99999999999999999999", "b": "-12345678901234567890", "c": "inf", "d": ["-inf"]}),
            ),
            ("{\"a\": 18446744073709551615}", json!({"a": u64::MAX})),
            ("0.5\n", json!(0.5)),
            ("done: 5\n", json!({"done": 5})),
            ("hello\nworld\n", json!("hello world")),
            ("", json!("")),
        ] {
            assert_eq!(structure(&lines(text)), value, "{text}");
        }
        assert_eq!(structure(&["<binary>".to_owned()]), json!("<binary>"));
    }

    #[test]
    fn keys_walk_maps_and_lists() {
        let value = json!({"a": {"b": [1, 2]}, "": 7});
        for (key, expected) in [
            (None, value.clone()),
            (Some("a/b/1"), json!(2)),
            (Some("a/b/-1"), json!(2)),
            (Some("a/b/5"), json!(null)),
            (Some("a/b/x"), json!(null)),
            (Some("a/b/0/0"), json!(null)),
            (Some(""), json!(7)),
        ] {
            assert_eq!(lookup(&value, key), expected, "{key:?}");
        }
        assert_eq!(split_key("f:a:b"), ("f", Some("a:b")));
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_head_and_a_structure(bytes: Vec<u8>, extra in 0u64..9, count in 0usize..9) {
            let head = head(&bytes, bytes.len() as u64 + extra, count);
            prop_assert!(head.len() <= count);
            let _ = structure(&head);
        }
    }
}
