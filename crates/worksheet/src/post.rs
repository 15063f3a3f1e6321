//! Post-processors: chains of functions on a cell value (language section 8). They never fail.

use domain::literal;
use jiff::tz::TimeZone;
use regex::RegexBuilder;
use serde_json::{Value, json};

use crate::number;

/// Longest pattern of `s/…/…`, and most bytes its compiled form may take.
const MAX_PATTERN: usize = 1000;
const MAX_COMPILED: usize = 1 << 20;

/// What a step of a chain does.
enum Step {
    /// The value goes on to the next step.
    Value(Value),
    /// The chain stops with this text.
    Stop(String),
    /// The step does not apply; the chain stops with the value before it.
    Fail,
}

/// Applies a chain such as `date | [0:4]`. Without one, the value itself.
pub fn apply(chain: Option<&str>, value: Value) -> Value {
    let Some(chain) = chain else { return value };
    let mut value = value;
    for function in chain.split(" | ") {
        match step(function, &value) {
            Step::Value(next) => value = next,
            Step::Stop(text) => return json!(text),
            Step::Fail => return value,
        }
    }
    value
}

fn step(function: &str, value: &Value) -> Step {
    let (word, rest) = function.split_once(' ').unwrap_or((function, ""));
    match function {
        "str" => Step::Value(json!(literal::display(value))),
        "date" => numeric(value, |seconds| {
            Some(domain::time::format_date(seconds, &TimeZone::UTC))
        }),
        "duration" => numeric(value, |seconds| Some(domain::duration::format(seconds))),
        "size" => numeric(value, |bytes| Some(domain::size::format_verbose(bytes))),
        _ if function.starts_with('%') => numeric(value, |number| printf(function, number)),
        _ if function.starts_with("s/") => substitute(function, value),
        _ if function.starts_with('[') => slice(function, value),
        _ if word == "key" && !rest.is_empty() => {
            let key = rest.split_whitespace().next().unwrap_or("");
            Step::Value(json!({ key: value }))
        }
        _ if word == "add" => add(rest, value),
        _ => Step::Stop(format!("<invalid function: {function}>")),
    }
}

/// Applies a function of a number; null stays null, other values fail.
fn numeric(value: &Value, function: impl Fn(f64) -> Option<String>) -> Step {
    if value.is_null() {
        return Step::Value(Value::Null);
    }
    match float(value).filter(|number| number.is_finite()).and_then(function) {
        Some(text) => Step::Value(json!(text)),
        None => Step::Fail,
    }
}

/// Reads a number as Python's `float` does.
fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => number::float(text),
        _ => None,
    }
}

fn add(rest: &str, value: &Value) -> Step {
    let words: Vec<_> = rest.split_whitespace().collect();
    let [key, added] = words.as_slice() else {
        return Step::Fail;
    };
    match value {
        Value::Object(map) => {
            let mut map = map.clone();
            map.insert((*key).to_owned(), json!(added));
            Step::Value(Value::Object(map))
        }
        other => Step::Stop(format!(
            "arg (<class '{}'>) not a dictionary",
            literal::type_name(other)
        )),
    }
}

/// `[a:b]` on a text or a list, as in Python; text after the bracket is ignored.
fn slice(function: &str, value: &Value) -> Step {
    let inner = function[1..].split(']').next().unwrap_or("");
    let Some((from, to)) = inner.split_once(':') else {
        return Step::Stop(format!("<invalid function: {function}>"));
    };
    let bound = |text: &str| match text.trim() {
        "" => Some(None),
        text => number::integer(text).map(Some),
    };
    let (Some(from), Some(to)) = (bound(from), bound(to)) else {
        return Step::Fail;
    };
    match value {
        Value::String(text) => {
            let characters: Vec<char> = text.chars().collect();
            let (from, to) = clamp(from, to, characters.len());
            Step::Value(json!(characters[from..to].iter().collect::<String>()))
        }
        Value::Array(items) => {
            let (from, to) = clamp(from, to, items.len());
            Step::Value(Value::Array(items[from..to].to_vec()))
        }
        _ => Step::Fail,
    }
}

/// Bounds of a slice of `length` elements: negative ones count from the end, all are clamped, and start <= end.
fn clamp(from: Option<i64>, to: Option<i64>, length: usize) -> (usize, usize) {
    let length = length as i64;
    let place = |bound: i64| (if bound < 0 { bound.saturating_add(length) } else { bound }).clamp(0, length);
    let from = place(from.unwrap_or(0));
    let to = place(to.unwrap_or(length)).max(from);
    (from as usize, to as usize)
}

/// `s/old/new` with a Python-like pattern. The engine runs in linear time; patterns that need backtracking (look-around,
/// back-references) leave the value unchanged.
fn substitute(function: &str, value: &Value) -> Step {
    let parts = split_slashes(function);
    let [_, pattern, replacement] = parts.as_slice() else {
        return Step::Stop(format!("<invalid regex: {function}>"));
    };
    let Value::String(text) = value else { return Step::Fail };
    if pattern.len() > MAX_PATTERN {
        return Step::Fail;
    }
    let Ok(regex) = RegexBuilder::new(pattern).size_limit(MAX_COMPILED).build() else {
        return Step::Fail;
    };
    let Some(replacement) = translate_replacement(replacement) else {
        return Step::Fail;
    };
    Step::Value(json!(regex.replace_all(text, replacement.as_str())))
}

/// Splits at slashes; `\/` is a literal slash.
fn split_slashes(function: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = function.chars().peekable();
    while let Some(c) = chars.next() {
        let last = parts.last_mut().expect("starts with one part");
        match c {
            '\\' if chars.peek() == Some(&'/') => {
                chars.next();
                last.push('/');
            }
            '/' => parts.push(String::new()),
            c => last.push(c),
        }
    }
    parts
}

/// Turns Python's `\1`, `\g<name>`, `\n` into the engine's form, in which `$` is special.
fn translate_replacement(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match chars.next()? {
                digit @ '0'..='9' => {
                    let mut group = digit.to_string();
                    if let Some(second) = chars.next_if(char::is_ascii_digit) {
                        group.push(second);
                    }
                    out.extend(["${", &group, "}"]);
                }
                'g' => {
                    let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                    out.extend(["${", name.strip_prefix('<')?, "}"]);
                }
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                '\\' => out.push('\\'),
                c if c.is_ascii_alphabetic() => return None,
                c => out.extend(['\\', c]),
            },
            c => out.push(c),
        }
    }
    Some(out)
}

/// `%…` with exactly one conversion of a float, and literal text after it.
fn printf(format: &str, number: f64) -> Option<String> {
    let mut out = String::new();
    let mut rest = format;
    let mut converted = false;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
        } else if converted {
            return None;
        } else {
            let (spec, after) = Conversion::parse(rest)?;
            out.push_str(&spec.apply(number)?);
            rest = after;
            converted = true;
        }
    }
    out.push_str(rest);
    converted.then_some(out)
}

#[derive(Default)]
struct Conversion {
    left: bool,
    plus: bool,
    blank: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

/// Widest field and most digits that a format may ask for.
const MAX_WIDTH: usize = 1000;

impl Conversion {
    fn parse(text: &str) -> Option<(Self, &str)> {
        let mut spec = Self::default();
        let mut rest = text;
        loop {
            match rest.chars().next()? {
                '-' => spec.left = true,
                '+' => spec.plus = true,
                ' ' => spec.blank = true,
                '0' => spec.zero = true,
                '#' => spec.alternate = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        (spec.width, rest) = take_number(rest)?;
        if let Some(after) = rest.strip_prefix('.') {
            let (precision, after) = take_number(after)?;
            spec.precision = Some(precision);
            rest = after;
        }
        spec.kind = rest.chars().next()?;
        rest = &rest[spec.kind.len_utf8()..];
        Some((spec, rest))
    }

    fn apply(&self, number: f64) -> Option<String> {
        let magnitude = number.abs();
        let precision = self.precision.unwrap_or(6);
        let mut body = match self.kind {
            'd' | 'i' | 'u' => format!("{:.0}", magnitude.trunc()),
            'f' | 'F' => format!("{magnitude:.precision$}"),
            'e' | 'E' => exponent(magnitude, precision),
            'g' | 'G' => general(magnitude, precision.max(1), self.alternate),
            's' | 'r' | 'a' => {
                let text = literal::float(number);
                let text: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
                return Some(self.pad(&text, ""));
            }
            _ => return None,
        };
        if self.kind.is_ascii_uppercase() {
            body = body.to_ascii_uppercase();
        }
        if self.alternate && precision == 0 && matches!(self.kind, 'f' | 'F') {
            body.push('.');
        }
        let negative = number.is_sign_negative() && !(matches!(self.kind, 'd' | 'i' | 'u') && number.trunc() == 0.0);
        let sign = match (negative, self.plus, self.blank) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        };
        Some(self.pad(&body, sign))
    }

    fn pad(&self, body: &str, sign: &str) -> String {
        let length = body.chars().count() + sign.len();
        let fill = self.width.saturating_sub(length);
        let numeric = !matches!(self.kind, 's' | 'r' | 'a');
        if self.left {
            format!("{sign}{body}{}", " ".repeat(fill))
        } else if self.zero && numeric {
            format!("{sign}{}{body}", "0".repeat(fill))
        } else {
            format!("{}{sign}{body}", " ".repeat(fill))
        }
    }
}

fn take_number(text: &str) -> Option<(usize, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = if digits == 0 { 0 } else { text[..digits].parse().ok()? };
    (number <= MAX_WIDTH).then_some((number, &text[digits..]))
}

fn exponent(magnitude: f64, precision: usize) -> String {
    let text = format!("{magnitude:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// C's `%g`: the shorter of fixed and exponent form, without trailing zeros.
fn general(magnitude: f64, precision: usize, keep_zeros: bool) -> String {
    let scientific = exponent(magnitude, precision - 1);
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let strip = |text: &str| {
        if keep_zeros || !text.contains('.') {
            text.to_owned()
        } else {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    };
    if power < -4 || power >= precision as i32 {
        let sign = if power < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", strip(mantissa), power.abs())
    } else {
        let decimals = (precision as i32 - 1 - power).max(0) as usize;
        strip(&format!("{magnitude:.decimals$}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chains_give_the_values_of_the_contract() {
        for (chain, input, output) in [
            ("date | [0:4]", json!(1_442_513_840), json!("2015")),
            ("[1:2]", json!("hello"), json!("e")),
            ("[:2]", json!("hello"), json!("he")),
            ("[2:]", json!("hello"), json!("llo")),
            ("[-3:]", json!("hello"), json!("llo")),
            ("[3:1]", json!("hello"), json!("")),
            ("[0:1]", json!(["a", "b"]), json!(["a"])),
            ("[a]", json!("x"), json!("<invalid function: [a]>")),
            ("[a:b]", json!("x"), json!("x")),
            ("%.2f", json!("1.2345"), json!("1.23")),
            ("%.2f%%", json!("0.1234567"), json!("0.12%")),
            ("%-8.2fx", json!("0.1234567"), json!("0.12    x")),
            ("%d", json!(-3.9), json!("-3")),
            ("%s", json!(12), json!("12.0")),
            ("%05.1f", json!(-2.25), json!("-02.2")),
            ("%+d", json!(5), json!("+5")),
            ("%e", json!(12345.678), json!("1.234568e+04")),
            ("%g", json!(1e10), json!("1e+10")),
            ("%g", json!(0.0001), json!("0.0001")),
            ("%.3g", json!(1234.5), json!("1.23e+03")),
            ("%x", json!(12), json!(12)),
            ("%d %d", json!(12), json!(12)),
            ("%d", json!("abc"), json!("abc")),
            ("%.99999999999999999999f", json!(1), json!(1)),
            (r"s/(.+)\/(.+)/\2\/\1", json!("3/10"), json!("10/3")),
            ("s/a/b | s/b/c", json!("a"), json!("c")),
            ("s/a/b/", json!("aa"), json!("<invalid regex: s/a/b/>")),
            ("s/a/$1", json!("a"), json!("$1")),
            ("s/(/x", json!("a("), json!("a(")),
            ("s/(?P<n>b)/<\\g<n>>", json!("abc"), json!("a<b>c")),
            ("size | %.1f", json!(2048), json!("2k")),
            ("date|[0:4]", json!(0), json!("<invalid function: date|[0:4]>")),
            ("duration2", json!(null), json!("<invalid function: duration2>")),
            (
                "key uuid | add path /stdout",
                json!("0xab"),
                json!({"uuid": "0xab", "path": "/stdout"}),
            ),
            (
                "key uuid | add path /stdout | add text Log",
                json!("0xab"),
                json!({"uuid": "0xab", "path": "/stdout", "text": "Log"}),
            ),
            (
                "add a b",
                json!(null),
                json!("arg (<class 'NoneType'>) not a dictionary"),
            ),
            ("add a", json!({}), json!({})),
            ("str", json!(null), json!("None")),
            ("str", json!([1, "a"]), json!("[1, 'a']")),
            ("size", json!(5), json!("5 bytes")),
            ("size", json!("1536"), json!("1.5k")),
            ("duration", json!(61.9), json!("1m1s")),
            ("duration", json!("nan"), json!("nan")),
            ("date", json!(null), json!(null)),
        ] {
            assert_eq!(apply(Some(chain), input.clone()), output, "{chain} on {input}");
        }
        assert_eq!(apply(None, json!([1])), json!([1]));
    }

    proptest! {
        #[test]
        fn no_chain_ever_fails(chain in r"(?s)(%|s/|\[|add |key |date|size|duration|str|\PC| \| |/|\\|[0-9.:\]-]){0,8}", text in "(?s).{0,20}", number: f64) {
            for value in [json!(text), json!(number), json!(null), json!([text]), json!({"a": text})] {
                let _ = apply(Some(&chain), value);
            }
        }

        #[test]
        fn slices_agree_with_the_model(text in r"\PC{0,6}", from in -8i64..8, to in -8i64..8) {
            let characters: Vec<char> = text.chars().collect();
            let at = |bound: i64| (if bound < 0 { bound + characters.len() as i64 } else { bound }).clamp(0, characters.len() as i64);
            let model: String = (at(from)..at(to)).map(|index| characters[index as usize]).collect();
            prop_assert_eq!(apply(Some(&format!("[{from}:{to}]")), json!(text)), json!(model));
        }
    }
}
