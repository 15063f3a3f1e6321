//! Lines that a program should have printed, and the comparison with those that it did.

use regex::Regex;

/// One line, or several of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Exactly this line.
    Is(String),
    /// Between so many lines that match a pattern as a whole.
    Like {
        pattern: String,
        at_least: usize,
        at_most: usize,
    },
}

impl Expected {
    pub fn is(line: &str) -> Expected {
        Expected::Is(line.to_owned())
    }

    /// One line that matches.
    pub fn like(pattern: impl Into<String>) -> Expected {
        Expected::some(pattern, 1, 1)
    }

    /// Several lines that match.
    pub fn some(pattern: impl Into<String>, at_least: usize, at_most: usize) -> Expected {
        Expected::Like {
            pattern: pattern.into(),
            at_least,
            at_most,
        }
    }

    /// How many of `lines` this takes; `None` if it does not fit.
    fn take(&self, lines: &[&str]) -> Option<usize> {
        match self {
            Expected::Is(line) => (lines.first() == Some(&line.as_str())).then_some(1),
            Expected::Like {
                pattern,
                at_least,
                at_most,
            } => {
                let pattern = Regex::new(&format!("^(?:{pattern})$")).ok()?;
                let found = lines
                    .iter()
                    .take(*at_most)
                    .take_while(|line| pattern.is_match(line))
                    .count();
                (found >= *at_least).then_some(found)
            }
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Expected::Is(line) => write!(f, "{line:?}"),
            Expected::Like {
                pattern, at_most: 1, ..
            } => write!(f, "a line like {pattern:?}"),
            Expected::Like {
                pattern,
                at_least,
                at_most,
            } => {
                write!(f, "{at_least} to {at_most} lines like {pattern:?}")
            }
        }
    }
}

/// Compares line by line. The error says at which line they part, and how.
pub fn compare(text: &str, expected: &[Expected]) -> Result<(), String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    for wanted in expected {
        let Some(taken) = wanted.take(&lines[at..]) else {
            let found = match lines.get(at) {
                Some(line) => format!("{line:?}"),
                None => "the end".to_owned(),
            };
            return Err(format!("line {}: expected {wanted}, found {found}", at + 1));
        };
        at += taken;
    }
    match lines.get(at) {
        Some(line) => Err(format!("line {}: expected the end, found {line:?}", at + 1)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_compared_in_order_and_to_the_end() {
        let expected = [
            Expected::is("a"),
            Expected::some("b+", 1, 2),
            Expected::some("c", 0, 5),
            Expected::like("d."),
        ];
        for (text, outcome) in [
            ("a\nb\ndd", Ok(())),
            ("a\nbb\nb\nc\nc\nd?\n", Ok(())),
            ("b", Err("line 1: expected \"a\", found \"b\"")),
            ("a\nx", Err("line 2: expected 1 to 2 lines like \"b+\", found \"x\"")),
            (
                "a\nb\nb\nb\nd1",
                Err("line 4: expected a line like \"d.\", found \"b\""),
            ),
            ("a\nb", Err("line 3: expected a line like \"d.\", found the end")),
            ("a\nb\ndd\ne", Err("line 4: expected the end, found \"e\"")),
        ] {
            assert_eq!(compare(text, &expected), outcome.map_err(str::to_owned), "{text}");
        }
    }
}
