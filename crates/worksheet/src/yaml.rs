//! The part of YAML 1.1 that results files use: block and flow maps and lists, quoted and plain scalars. Everything else
//! (anchors, tags, block scalars, several documents) is no value here, and the file is shown as text.

mod flow;
mod scalar;

use serde_json::{Map, Value, json};

use flow::Flow;
use scalar::{may_be_plain, resolve};

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 50;

/// Reads a document; none if it is not YAML, or not of the supported part.
pub(crate) fn parse(text: &str) -> Option<Value> {
    let mut lines = Vec::new();
    for (number, raw) in text.lines().enumerate() {
        let raw = raw.trim_end();
        if raw == "---" && lines.iter().all(Line::is_blank) {
            lines.clear();
            continue;
        }
        if raw == "---" || raw.starts_with("--- ") || raw == "..." || (number == 0 && raw.starts_with('%')) {
            return None;
        }
        lines.push(Line::new(raw)?);
    }
    let mut parser = Parser { lines, at: 0 };
    parser.skip_blank();
    if parser.at == parser.lines.len() {
        return Some(Value::Null);
    }
    let value = parser.node(0)?;
    parser.skip_blank();
    (parser.at == parser.lines.len()).then_some(value)
}

struct Line {
    indent: usize,
    /// Without indentation and comment.
    text: String,
}

impl Line {
    fn new(raw: &str) -> Option<Self> {
        let text = raw.trim_start_matches(' ');
        let indent = raw.len() - text.len();
        let text = strip_comment(text).trim_end();
        if text.starts_with('\t') && !text.trim().is_empty() {
            return None;
        }
        Some(Self {
            indent,
            text: text.trim().to_owned(),
        })
    }

    fn is_blank(&self) -> bool {
        self.text.is_empty()
    }
}

/// Cuts a comment: `#` at the start or after a blank, outside of quotes.
fn strip_comment(text: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '#') if before.is_whitespace() => return &text[..at],
            (None, '"' | '\'') if before.is_whitespace() || "[{,:".contains(before) => quote = Some(c),
            (Some(open), c) if c == open && !(open == '"' && before == '\\') => quote = None,
            _ => {}
        }
        before = c;
    }
    text
}

struct Parser {
    lines: Vec<Line>,
    at: usize,
}

impl Parser {
    fn skip_blank(&mut self) {
        while self.lines.get(self.at).is_some_and(Line::is_blank) {
            self.at += 1;
        }
    }

    /// The next line that is not blank, without passing it.
    fn peek(&mut self) -> Option<&Line> {
        self.skip_blank();
        self.lines.get(self.at)
    }

    /// The value that begins at the current line, at that line's indentation.
    fn node(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        let line = self.peek()?;
        let indent = line.indent;
        if is_item(&line.text) {
            self.list(indent, depth)
        } else if split_key(&line.text)?.is_some() {
            self.map(indent, depth)
        } else {
            let text = line.text.clone();
            self.at += 1;
            self.scalar(&text, indent)
        }
    }

    fn list(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        while let Some(line) = self.peek() {
            if line.indent != indent || !is_item(&line.text) {
                if line.indent > indent {
                    return None;
                }
                break;
            }
            let rest = line.text[1..].trim_start().to_owned();
            if rest.is_empty() {
                self.at += 1;
                items.push(self.nested(indent, false, depth)?);
            } else {
                // `- key: value` begins a map whose indentation is that of the key.
                let shift = line.text.len() - rest.len();
                self.lines[self.at] = Line {
                    indent: indent + shift,
                    text: rest,
                };
                items.push(self.node(depth + 1)?);
            }
        }
        Some(Value::Array(items))
    }

    fn map(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        while let Some(line) = self.peek() {
            if line.indent != indent || is_item(&line.text) {
                if line.indent > indent {
                    return None;
                }
                break;
            }
            let (key, rest) = split_key(&line.text)??;
            let rest = rest.to_owned();
            self.at += 1;
            let value = if rest.is_empty() {
                self.nested(indent, true, depth)?
            } else if is_item(&rest) {
                return None;
            } else {
                self.scalar(&rest, indent + 1)?
            };
            map.insert(key, value);
        }
        Some(Value::Object(map))
    }

    /// The value on the lines below: deeper ones, or for a map's key also a list at the same indentation; else null.
    fn nested(&mut self, indent: usize, lists_may_align: bool, depth: usize) -> Option<Value> {
        match self.peek() {
            Some(line) if line.indent > indent => self.node(depth + 1),
            Some(line) if lists_may_align && line.indent == indent && is_item(&line.text) => {
                self.list(indent, depth + 1)
            }
            _ => Some(Value::Null),
        }
    }

    /// A flow collection, a quoted text, or a plain scalar that goes on over the following lines of at least `indent`.
    fn scalar(&mut self, text: &str, indent: usize) -> Option<Value> {
        match text.chars().next()? {
            '[' | '{' => {
                let mut text = text.to_owned();
                while !is_closed(&text) {
                    let line = self.lines.get(self.at)?;
                    text.push(' ');
                    text.push_str(&line.text);
                    self.at += 1;
                }
                Flow::parse(&text)
            }
            '"' | '\'' => Flow::parse(text),
            _ => self.plain(text, indent),
        }
    }

    fn plain(&mut self, first: &str, indent: usize) -> Option<Value> {
        if !may_be_plain(first) || split_key(first)?.is_some() {
            return None;
        }
        let mut text = first.to_owned();
        let mut lines = 1;
        loop {
            let start = self.at;
            let Some(line) = self.peek().filter(|line| line.indent >= indent) else {
                self.at = start;
                break;
            };
            let next = line.text.clone();
            if split_key(&next)?.is_some() {
                return None;
            }
            let blank = self.at - start;
            text.push_str(&if blank == 0 { " ".to_owned() } else { "\n".repeat(blank) });
            text.push_str(&next);
            self.at += 1;
            lines += 1;
        }
        Some(if lines == 1 { resolve(&text) } else { json!(text) })
    }
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

/// Splits `key: rest`. Outer none: not valid YAML; inner none: no key.
#[allow(clippy::option_option)]
fn split_key(text: &str) -> Option<Option<(String, &str)>> {
    let (key, rest) = match text.chars().next() {
        Some('"' | '\'') => {
            let mut flow = Flow::new(text);
            let key = flow.quoted()?;
            let rest = &text[flow.at..];
            match rest.trim_start().strip_prefix(':') {
                Some(after) if after.is_empty() || after.starts_with(' ') => (key, after),
                _ => return Some(None),
            }
        }
        Some('[' | '{') | None => return Some(None),
        Some(_) => {
            let at = text
                .find(": ")
                .or_else(|| text.len().checked_sub(1).filter(|_| text.ends_with(':')));
            let Some(at) = at else { return Some(None) };
            let key = text[..at].trim();
            if !may_be_plain(key) {
                return None;
            }
            (domain::literal::display(&resolve(key)), &text[at + 1..])
        }
    };
    Some(Some((key, rest.trim_start())))
}

/// Whether all brackets of a flow collection are closed.
fn is_closed(text: &str) -> bool {
    let mut depth = 0i64;
    let mut quote = None;
    let mut escaped = false;
    for c in text.chars() {
        match (quote, c) {
            (Some('"'), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), c) if c == open && !escaped => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            _ => {}
        }
        escaped = false;
    }
    depth <= 0 && quote.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_results_files_are_read() {
        for (text, value) in [
            ("", json!(null)),
            ("# only a comment\n", json!(null)),
            ("0.5\n", json!(0.5)),
            ("hello\nworld\n", json!("hello world")),
            ("a\n\nb", json!("a\nb")),
            (
                "done: 5 # five\nname: 'it''s'\nnone:\n",
                json!({"done": 5, "name": "it's", "none": null}),
            ),
            (
                "a:\n  b: 1\n  c:\n  - x\n  - y: 2\n    z: 3\nd: [1, two, {k: v}]\n",
                json!({
                "a": {"b": 1, "c": ["x", {"y": 2, "z": 3}]}, "d": [1, "two", {"k": "v"}]}),
            ),
            ("- 1\n-\n  - 2\n- a: b\n", json!([1, [2], {"a": "b"}])),
            ("key:\n- a\n- b\n", json!({"key": ["a", "b"]})),
            ("---\nx: yes\n", json!({"x": true})),
            ("text: one\n  two\n", json!({"text": "one two"})),
            ("{a: 1,\n b: [2,\n 3]}\n", json!({"a": 1, "b": [2, 3]})),
            ("\"a: b\\n\": \"\\u00e9\"\n", json!({"a: b\n": "é"})),
            ("url: http://x/y#z\n", json!({"url": "http://x/y#z"})),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
    }

    #[test]
    fn scalars_are_those_of_yaml_1_1() {
        for (text, value) in [
            ("010", json!(8)),
            ("12:30:45", json!(45045)),
            ("1_000", json!(1000)),
            ("1e3", json!("1e3")),
            ("1.0e+3", json!(1000.0)),
            ("0x1F", json!(31)),
            ("-7", json!(-7)),
            ("~", json!(null)),
            ("Off", json!(false)),
            ("2020-01-01", json!("2020-01-01")),
            (".inf", json!("inf")),
            ("99999999999999999999", json!("99999999999999999999")),
            ("08", json!("08")),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_values() {
        for text in [
            "a: b: c",
            "&x 1",
            "*x",
            "!t x",
            "|\n  a",
            "a: 1\n b: 2",
            "[1, 2",
            "a: 1\n---\nb: 2",
            "%x",
            "@a",
            "\tx: 1",
            "x: 1\nplain",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_not_without_panic(text in r#"(?s)([ \n:\-#\[\]{},'"\\a0.~]|\PC){0,40}"#) {
            let _ = parse(&text);
        }
    }
}
