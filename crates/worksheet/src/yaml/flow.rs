//! Flow style, `[a, {b: c}]`, and quoted texts.

use serde_json::{Map, Value};

use super::MAX_DEPTH;
use super::scalar::{may_be_plain, resolve};

/// Flow style: `[a, {b: c}]` and quoted texts.
pub(super) struct Flow<'a> {
    text: &'a str,
    pub at: usize,
    depth: usize,
}

impl<'a> Flow<'a> {
    /// Begins at the start of the text.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The value that is the whole text.
    pub fn parse(text: &'a str) -> Option<Value> {
        let mut flow = Self::new(text);
        let value = flow.value()?;
        flow.skip_blanks();
        (flow.at == text.len()).then_some(value)
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_blanks();
        match self.peek()? {
            '[' => self.nest(Self::list),
            '{' => self.nest(Self::map),
            '"' | '\'' => self.quoted().map(Value::from),
            _ => self.plain().map(|text| resolve(&text)),
        }
    }

    fn nest(&mut self, read: fn(&mut Self) -> Option<Value>) -> Option<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.next();
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn list(&mut self) -> Option<Value> {
        let mut items = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek()? == ']' {
                self.next();
                return Some(Value::Array(items));
            }
            items.push(self.value()?);
            self.skip_blanks();
            match self.peek()? {
                ',' => drop(self.next()),
                ']' => {}
                _ => return None,
            }
        }
    }

    fn map(&mut self) -> Option<Value> {
        let mut map = Map::new();
        loop {
            self.skip_blanks();
            if self.peek()? == '}' {
                self.next();
                return Some(Value::Object(map));
            }
            let key = match self.peek()? {
                '"' | '\'' => self.quoted()?,
                _ => domain::literal::display(&resolve(&self.plain()?)),
            };
            self.skip_blanks();
            let mut value = Value::Null;
            if self.peek()? == ':' {
                self.next();
                self.skip_blanks();
                if !matches!(self.peek()?, ',' | '}') {
                    value = self.value()?;
                }
            }
            map.insert(key, value);
            self.skip_blanks();
            match self.peek()? {
                ',' => drop(self.next()),
                '}' => {}
                _ => return None,
            }
        }
    }

    fn plain(&mut self) -> Option<String> {
        let rest = &self.text[self.at..];
        let end = rest.find([',', '[', ']', '{', '}']).unwrap_or(rest.len());
        let end = rest[..end].find(": ").unwrap_or(end);
        let end = if rest[..end].ends_with(':') { end - 1 } else { end };
        let text = rest[..end].trim();
        if !may_be_plain(text) {
            return None;
        }
        self.at += end;
        Some(text.to_owned())
    }

    /// A quoted text at the current place.
    pub fn quoted(&mut self) -> Option<String> {
        let quote = self.next()?;
        let mut out = String::new();
        loop {
            match self.next()? {
                '\'' if quote == '\'' => {
                    if self.peek() != Some('\'') {
                        return Some(out);
                    }
                    self.next();
                    out.push('\'');
                }
                '"' if quote == '"' => return Some(out),
                '\\' if quote == '"' => out.push(self.escape()?),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let length = match self.next()? {
            'n' => return Some('\n'),
            't' => return Some('\t'),
            'r' => return Some('\r'),
            '0' => return Some('\0'),
            'b' => return Some('\u{8}'),
            'f' => return Some('\u{c}'),
            'e' => return Some('\u{1b}'),
            c @ ('"' | '\\' | '/' | ' ') => return Some(c),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return None,
        };
        let digits = self.text.get(self.at..self.at + length)?;
        self.at += length;
        char::from_u32(u32::from_str_radix(digits, 16).ok()?)
    }
}
