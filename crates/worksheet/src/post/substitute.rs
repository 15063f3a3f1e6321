//! `s/old/new` with the patterns and replacements of Python's `re`.

mod pattern;

use std::sync::OnceLock;

use fancy_regex::{Captures, Regex, RegexBuilder};

use super::Work;

/// Longest pattern and replacement, in bytes, and most bytes that a compiled pattern may take.
const MAX_PATTERN: usize = 1000;
const MAX_COMPILED: usize = 1 << 20;

/// Longest text, in bytes, for patterns that backtrack (look-around and back-references), and how often they may do so
/// in one search. All other patterns run in linear time.
const MAX_BACKTRACKED: usize = 16 << 10;
const MAX_BACKTRACKS: usize = 20_000;

/// What one search with backtracking costs, and the bytes that one unit of any other search covers.
const BACKTRACKING_COST: u64 = 4_000;
const BYTES_PER_UNIT: usize = 4;

/// Splits `s/old/new` at its two slashes; `\/` is a literal one. None if there are not exactly two.
pub(super) fn split(function: &str) -> Option<(String, String)> {
    let mut parts = vec![String::new()];
    let mut chars = function.chars().peekable();
    while let Some(c) = chars.next() {
        let last = parts.last_mut()?;
        match c {
            '\\' if chars.peek() == Some(&'/') => {
                chars.next();
                last.push('/');
            }
            '/' => parts.push(String::new()),
            c => last.push(c),
        }
    }
    match parts.as_mut_slice() {
        [_, pattern, replacement] => Some((std::mem::take(pattern), std::mem::take(replacement))),
        _ => None,
    }
}

pub(super) struct Substitution {
    pattern: String,
    /// Compiled for texts that do not end with a newline, and for those that do: `$` matches before that newline too.
    compiled: [OnceLock<Option<Compiled>>; 2],
    template: Vec<Part>,
}

struct Compiled {
    regex: Regex,
    backtracks: bool,
}

enum Part {
    Text(String),
    Group(usize),
    Named(String),
}

impl Substitution {
    /// None if the pattern or the replacement is broken or too long.
    pub fn new(pattern: &str, replacement: &str) -> Option<Self> {
        if pattern.len() > MAX_PATTERN || replacement.len() > MAX_PATTERN {
            return None;
        }
        let new = Self {
            pattern: pattern.to_owned(),
            compiled: [OnceLock::new(), OnceLock::new()],
            template: template(replacement)?,
        };
        let regex = &new.compiled(false)?.regex;
        let known = new.template.iter().all(|part| match part {
            Part::Text(_) => true,
            Part::Group(number) => *number < regex.captures_len(),
            Part::Named(name) => regex.capture_names().flatten().any(|known| known == name),
        });
        known.then_some(new)
    }

    fn compiled(&self, before_newline: bool) -> Option<&Compiled> {
        self.compiled[usize::from(before_newline)]
            .get_or_init(|| {
                let translated = pattern::translate(&self.pattern, before_newline)?;
                let regex = RegexBuilder::new(&translated.text)
                    .backtrack_limit(MAX_BACKTRACKS)
                    .delegate_size_limit(MAX_COMPILED)
                    .delegate_dfa_size_limit(MAX_COMPILED)
                    .build()
                    .ok()?;
                Some(Compiled {
                    regex,
                    backtracks: translated.backtracks,
                })
            })
            .as_ref()
    }

    /// The text with all matches replaced; none above the limits, of which `longest` is that of the result in bytes.
    pub fn apply(&self, text: &str, longest: usize, work: &Work) -> Option<String> {
        let Compiled { regex, backtracks } = self.compiled(text.ends_with('\n'))?;
        if *backtracks && text.len() > MAX_BACKTRACKED {
            return None;
        }
        let mut out = String::new();
        let mut copied = 0;
        let mut at = 0;
        while at <= text.len() {
            let searched = (text.len() - at) / BYTES_PER_UNIT;
            let cost = if *backtracks {
                BACKTRACKING_COST
            } else {
                1 + searched as u64
            };
            if !work.spend(cost) {
                return None;
            }
            let Some(captures) = regex.captures_from_pos(text, at).ok()? else {
                break;
            };
            let found = captures.get(0)?;
            let start = found.start();
            let end = captures
                .name(pattern::FINAL_NEWLINE)
                .map_or(found.end(), |newline| newline.start());
            out.push_str(&text[copied..start]);
            copied = end;
            self.expand(&captures, &text[start..end], &mut out);
            if out.len() > longest {
                return None;
            }
            // An empty match may follow a longer one directly, but not itself.
            at = if start == end {
                end + text[end..].chars().next().map_or(1, char::len_utf8)
            } else {
                end
            };
        }
        out.push_str(&text[copied..]);
        (out.len() <= longest).then_some(out)
    }

    fn expand(&self, captures: &Captures<'_, str>, whole: &str, out: &mut String) {
        for part in &self.template {
            match part {
                Part::Group(0) => out.push_str(whole),
                Part::Text(text) => out.push_str(text),
                Part::Group(number) => out.push_str(captures.get(*number).map_or("", |group| group.as_str())),
                Part::Named(name) => out.push_str(captures.name(name).map_or("", |group| group.as_str())),
            }
        }
    }
}

/// Reads a replacement: `\1`, `\g<1>`, `\g<name>`, `\n` and other escapes. None if an escape is not known.
fn template(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        literal.push_str(&rest[..at]);
        let escape = rest[at + 1..].chars().next()?;
        rest = &rest[at + 1 + escape.len_utf8()..];
        let group = match escape {
            'g' => {
                let (name, after) = rest.strip_prefix('<')?.split_once('>')?;
                rest = after;
                match name.parse() {
                    Ok(number) => Part::Group(number),
                    Err(_) => Part::Named(name.to_owned()),
                }
            }
            '0' => {
                let length = octal_digits(rest).min(2);
                literal.push(octal(&rest[..length]));
                rest = &rest[length..];
                continue;
            }
            '1'..='9' => {
                // Three octal digits are a character, else one or two digits are a group.
                if escape <= '7' && octal_digits(rest) >= 2 {
                    let digits = format!("{escape}{}", &rest[..2]);
                    rest = &rest[2..];
                    literal.push(char::from(u8::from_str_radix(&digits, 8).ok()?));
                    continue;
                }
                let length = usize::from(rest.starts_with(|c: char| c.is_ascii_digit()));
                let number = format!("{escape}{}", &rest[..length]).parse().ok()?;
                rest = &rest[length..];
                Part::Group(number)
            }
            escape => {
                match escape {
                    'n' => literal.push('\n'),
                    't' => literal.push('\t'),
                    'r' => literal.push('\r'),
                    'a' => literal.push('\u{7}'),
                    'b' => literal.push('\u{8}'),
                    'v' => literal.push('\u{b}'),
                    'f' => literal.push('\u{c}'),
                    '\\' => literal.push('\\'),
                    c if c.is_ascii_alphabetic() => return None,
                    c => literal.extend(['\\', c]),
                }
                continue;
            }
        };
        parts.push(Part::Text(std::mem::take(&mut literal)));
        parts.push(group);
    }
    literal.push_str(rest);
    parts.push(Part::Text(literal));
    Some(parts)
}

fn octal_digits(text: &str) -> usize {
    text.bytes().take_while(|byte| (b'0'..=b'7').contains(byte)).count()
}

fn octal(digits: &str) -> char {
    char::from(u8::from_str_radix(digits, 8).unwrap_or(0))
}
