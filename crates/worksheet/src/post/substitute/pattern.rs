//! Python's pattern syntax in that of the engine, which differs in a few places: what `[`, `&` and `~` mean inside of
//! brackets, a brace that begins no repetition, `\Z`, octal characters, and `$` before a final newline.

use std::iter::Peekable;
use std::str::Chars;

/// Name of the group that takes the final newline of a text for a `$` at the end of the pattern. It is not part of the
/// match, only a way to do without look-around.
pub(super) const FINAL_NEWLINE: &str = "final_newline_of_the_text";

pub(super) struct Translated {
    pub text: String,
    /// Whether it has look-around or back-references, which cannot run in linear time.
    pub backtracks: bool,
}

/// Translates a pattern for texts that end with a newline, or for those that do not. None if Python would refuse it.
pub(super) fn translate(pattern: &str, before_newline: bool) -> Option<Translated> {
    let mut translator = Translator {
        rest: pattern.chars().peekable(),
        out: String::new(),
        backtracks: false,
        before_newline,
    };
    translator.run()?;
    Some(Translated {
        text: translator.out,
        backtracks: translator.backtracks,
    })
}

struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    backtracks: bool,
    before_newline: bool,
}

impl Translator<'_> {
    fn run(&mut self) -> Option<()> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '{' => self.brace(),
                '}' | ']' => self.out.extend(['\\', c]),
                '$' if self.before_newline && self.rest.peek().is_none() => {
                    self.out.extend(["(?P<", FINAL_NEWLINE, r">\n??)\z"]);
                }
                '$' if self.before_newline => {
                    self.backtracks = true;
                    self.out.push_str(r"(?:$|(?=\n\z))");
                }
                c => self.out.push(c),
            }
        }
        Some(())
    }

    fn escape(&mut self) -> Option<()> {
        match self.rest.next()? {
            'Z' => self.out.push_str(r"\z"),
            's' => self.out.push_str(r"[\s\x1c-\x1f]"),
            'S' => self.out.push_str(r"[^\s\x1c-\x1f]"),
            c @ ('A' | 'b' | 'B' | 'd' | 'D' | 'w' | 'W') => self.out.extend(['\\', c]),
            '0' => {
                let digits = self.digits(2, 8);
                self.character(if digits.is_empty() { "0" } else { &digits }, 8)?;
            }
            first @ '1'..='9' => self.reference(first)?,
            c => self.plain_escape(c)?,
        }
        Some(())
    }

    /// `\1` to `\99`, or a character of three octal digits.
    fn reference(&mut self, first: char) -> Option<()> {
        let mut number = first.to_string();
        number.extend(self.rest.next_if(char::is_ascii_digit));
        let is_octal = |c: &char| ('0'..='7').contains(c);
        if number.len() == 2
            && number.chars().all(|c| is_octal(&c))
            && let Some(third) = self.rest.next_if(is_octal)
        {
            number.push(third);
            return self.character(&number, 8);
        }
        self.backtracks = true;
        self.out.extend(["(?:\\", &number, ")"]);
        Some(())
    }

    /// Escapes that mean the same inside and outside of brackets.
    fn plain_escape(&mut self, c: char) -> Option<()> {
        let length = match c {
            'n' | 't' | 'r' | 'f' | 'v' | 'a' => {
                self.out.extend(['\\', c]);
                return Some(());
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            c if c.is_ascii_alphanumeric() => return None,
            c => {
                let code = format!("{:x}", u32::from(c));
                self.out.extend(["\\x{", &code, "}"]);
                return Some(());
            }
        };
        let digits = self.digits(length, 16);
        if digits.len() < length {
            return None;
        }
        self.character(&digits, 16)
    }

    /// Up to `most` digits.
    fn digits(&mut self, most: usize, radix: u32) -> String {
        let mut digits = String::new();
        while digits.len() < most
            && let Some(digit) = self.rest.next_if(|c| c.is_digit(radix))
        {
            digits.push(digit);
        }
        digits
    }

    fn character(&mut self, digits: &str, radix: u32) -> Option<()> {
        let code = u32::from_str_radix(digits, radix).ok()?;
        char::from_u32(code).filter(|_| radix == 16 || code <= 0o377)?;
        self.out.extend(["\\x{", &format!("{code:x}"), "}"]);
        Some(())
    }

    fn class(&mut self) -> Option<()> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        // Whether a `-` here would make a range with the character before it.
        let mut range_may_start = false;
        let mut is_first = true;
        loop {
            let c = self.rest.next()?;
            match c {
                ']' if !is_first => break,
                '-' if range_may_start && self.rest.peek() != Some(&']') => {
                    self.out.push('-');
                    range_may_start = false;
                    is_first = false;
                    if self.rest.next_if_eq(&'-').is_some() {
                        self.out.push_str("\\-");
                    }
                    continue;
                }
                '\\' => self.class_escape()?,
                ' ' => self.out.push_str("\\x20"),
                '[' | ']' | '&' | '~' | '-' | '#' | '^' => self.out.extend(['\\', c]),
                c => self.out.push(c),
            }
            range_may_start = true;
            is_first = false;
        }
        self.out.push(']');
        Some(())
    }

    fn class_escape(&mut self) -> Option<()> {
        match self.rest.next()? {
            's' => self.out.push_str(r"\s\x1c-\x1f"),
            'S' => self.out.push_str(r"[^\s\x1c-\x1f]"),
            'b' => self.out.push_str(r"\x08"),
            c @ ('d' | 'D' | 'w' | 'W') => self.out.extend(['\\', c]),
            first @ '0'..='7' => {
                let digits = format!("{first}{}", self.digits(2, 8));
                self.character(&digits, 8)?;
            }
            c => self.plain_escape(c)?,
        }
        Some(())
    }

    fn group(&mut self) -> Option<()> {
        if self.rest.peek() == Some(&'*') {
            return None;
        }
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Some(());
        }
        let c = self.rest.next()?;
        match c {
            '#' => {
                self.out.pop();
                self.rest.find(|c| *c == ')').map(drop)
            }
            '=' | '!' | '(' | '>' => {
                self.backtracks = true;
                self.out.extend(['?', c]);
                Some(())
            }
            '<' => {
                let sign = self.rest.next_if(|c| matches!(c, '=' | '!'))?;
                self.backtracks = true;
                self.out.extend(['?', '<', sign]);
                Some(())
            }
            'P' => {
                let next = self.rest.next()?;
                self.backtracks |= next != '<';
                self.out.extend(['?', 'P', next]);
                Some(())
            }
            ':' | 'i' | 'm' | 's' | 'x' | 'u' | '-' => {
                self.out.push('?');
                self.flags(c)
            }
            _ => None,
        }
    }

    /// Flags up to `:` or `)`. The engine always works on Unicode, so that `u` goes without saying.
    fn flags(&mut self, first: char) -> Option<()> {
        let mut c = first;
        let mut flags = String::new();
        loop {
            match c {
                'i' | 'm' | 's' | 'x' | '-' => flags.push(c),
                'u' => {}
                ':' => {
                    self.out.push_str(&flags);
                    self.out.push(':');
                    return Some(());
                }
                ')' => {
                    if flags.is_empty() {
                        // Only `(?u)`: nothing is left of it.
                        self.out.truncate(self.out.len() - 2);
                    } else {
                        self.out.push_str(&flags);
                        self.out.push(')');
                    }
                    return Some(());
                }
                _ => return None,
            }
            c = self.rest.next()?;
        }
    }

    /// A repetition such as `{2,}` or `{,3}`, or else a literal brace.
    fn brace(&mut self) {
        let inner: String = self.rest.clone().take_while(|c| *c != '}').collect();
        let closed = self.rest.clone().nth(inner.chars().count()) == Some('}');
        let (least, most) = inner.split_once(',').unwrap_or((&inner, &inner));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !closed || inner.is_empty() || !digits(least) || !digits(most) {
            self.out.push_str("\\{");
            return;
        }
        self.rest.nth(inner.chars().count());
        let least = if least.is_empty() { "0" } else { least };
        let comma = if inner.contains(',') { "," } else { "" };
        let most = if comma.is_empty() { "" } else { most };
        self.out.extend(["{", least, comma, most, "}"]);
    }
}
