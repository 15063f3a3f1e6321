//! JSON as Python reads it: with `NaN` and infinities, and with numbers of any size.

use std::borrow::Cow;

use serde_json::Value;

/// Most values of a document.
const MAX_VALUES: usize = 1_000_000;

/// Reads a document; none if it is not JSON, or too large or too deep. What is no finite number becomes Python's text of
/// it, an integer beyond 64 bits the text of its digits.
pub(super) fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(&Rewriter::new(text).run()?).ok()
}

/// Puts quotes around numbers that JSON values cannot hold.
struct Rewriter<'a> {
    text: &'a str,
    at: usize,
    out: String,
    /// Up to where the text is in `out`.
    copied: usize,
    values: usize,
}

impl<'a> Rewriter<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            out: String::new(),
            copied: 0,
            values: 1,
        }
    }

    fn run(mut self) -> Option<Cow<'a, str>> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => self.skip_string(),
                b'N' => self.word("NaN", "nan")?,
                b'I' => self.word("Infinity", "inf")?,
                b'-' if self.text[self.at..].starts_with("-I") => self.word("-Infinity", "-inf")?,
                b'-' | b'0'..=b'9' => self.number()?,
                b',' | b':' => {
                    self.at += 1;
                    self.values += 1;
                    if self.values > MAX_VALUES {
                        return None;
                    }
                }
                _ => self.at += 1,
            }
        }
        if self.copied == 0 {
            return Some(Cow::Borrowed(self.text));
        }
        self.out.push_str(&self.text[self.copied..]);
        Some(Cow::Owned(self.out))
    }

    fn skip_string(&mut self) {
        let bytes = self.text.as_bytes();
        self.at += 1;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }

    fn word(&mut self, word: &str, spelling: &str) -> Option<()> {
        if self.text[self.at..].starts_with(word) {
            self.replace(word.len(), spelling)
        } else {
            None
        }
    }

    fn number(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        let length = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte))
            .count();
        let number = &rest[..length];
        let digits = number.strip_prefix('-').unwrap_or(number);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let too_large = digits.len() > 18 && number.parse::<i64>().is_err() && number.parse::<u64>().is_err();
            if too_large && !digits.starts_with('0') {
                return self.replace(length, number);
            }
        } else if (number.contains(['e', 'E']) || length > 300) && is_json_number(digits) {
            match number.parse::<f64>() {
                Ok(number) if number == f64::INFINITY => return self.replace(length, "inf"),
                Ok(number) if number == f64::NEG_INFINITY => return self.replace(length, "-inf"),
                _ => {}
            }
        }
        self.at += length;
        Some(())
    }

    /// Replaces the next bytes by a quoted text. None if they are in the place of a key.
    fn replace(&mut self, length: usize, by: &str) -> Option<()> {
        self.out.push_str(&self.text[self.copied..self.at]);
        self.out.extend(["\"", by, "\""]);
        self.at += length;
        self.copied = self.at;
        (!self.text[self.at..].trim_start().starts_with(':')).then_some(())
    }
}

/// Whether digits, a fraction and an exponent are written as JSON wants them.
fn is_json_number(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && digits(exponent) && (whole == "0" || !whole.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_python_reads_is_read() {
        for (text, value) in [
            ("[NaN, -Infinity, Infinity]", Some(json!(["nan", "-inf", "inf"]))),
            ("-NaN", None),
            ("Nan", None),
            ("NaNx", None),
            ("{NaN: 1}", None),
            ("{99999999999999999999 : 1}", None),
            ("099999999999999999999", None),
            ("1.e999", None),
            ("01e999", None),
            (
                "[\"NaN \\\" 99999999999999999999\"]",
                Some(json!(["NaN \" 99999999999999999999"])),
            ),
            ("\"\\", None),
            ("[1,]", None),
            ("{\"a\": 1, \"b\": 2, \"a\": 3}", Some(json!({"a": 3, "b": 2}))),
            (" [1]\r\n", Some(json!([1]))),
            ("1e-999", Some(json!(0.0))),
        ] {
            assert_eq!(parse(text), value, "{text}");
        }
    }

    #[test]
    fn depth_and_size_are_limited() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&deep(100)).is_some());
        assert_eq!(parse(&deep(10_000)), None);
        assert_eq!(parse(&"[".repeat(5_000_000)), None);
        assert_eq!(parse(&format!("[{}1]", "1,".repeat(MAX_VALUES))), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_not_without_panic(text in r#"(?s)([\[\]{},:"\\ ]|NaN|-|Infinity|[0-9.eE+]{1,25}|\PC){0,20}"#) {
            let _ = parse(&text);
        }

        #[test]
        fn numbers_keep_their_last_digit(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
            let text = domain::literal::float(number);
            prop_assert_eq!(parse(&text), Some(json!(number)), "{}", text);
        }

        #[test]
        fn what_json_writes_is_read_back(numbers in prop::collection::vec(any::<i64>(), 0..5), words in prop::collection::vec("(?s).{0,6}", 0..5)) {
            let value = json!({"n": numbers, "w": words});
            prop_assert_eq!(parse(&value.to_string()), Some(value));
        }
    }
}
