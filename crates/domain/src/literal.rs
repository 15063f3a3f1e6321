//! Values printed as Python's `str` and `repr` print them; scripts compare them (cli section 6.3).

use std::fmt::Write;

use serde_json::Value;

/// A value as Python's `str` prints it: strings as they are, everything else as [`repr`].
pub fn display(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

/// A value as Python's `repr` prints it: `None`, `True`, `1e+16`, `['a', "it's"]`, `{'k': 1}`.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value);
    out
}

/// A number as Python prints it: integers plain, floats by [`float`].
pub fn number(number: &serde_json::Number) -> String {
    if number.is_f64() {
        float(number.as_f64().unwrap_or(0.0))
    } else {
        number.to_string()
    }
}

/// A float as Python prints it: shortest round-trip digits, `.0` when whole, exponent outside 1e-4 … 1e16.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        // Rust writes 1e-5 and 1e16; Python wants a sign and at least two digits.
        let text = format!("{value:e}");
        let decimals = text
            .split(['.', 'e'])
            .nth(1)
            .filter(|_| text.contains('.'))
            .map_or(0, str::len);
        let text = nearest(value, format!("{value:.decimals$e}"), text);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let text = format!("{value}");
    match text.split_once('.') {
        Some((_, decimals)) => nearest(value, format!("{value:.*}", decimals.len()), text),
        None => format!("{text}.0"),
    }
}

/// Of two texts of the same length, the one rounded as Python does: where the value lies exactly between, to the even digit.
fn nearest(value: f64, rounded: String, shortest: String) -> String {
    if rounded.parse() == Ok(value) {
        rounded
    } else {
        shortest
    }
}

/// The Python name of a JSON value's type: `str`, `int`, `float`, `bool`, `list`, `dict`, `NoneType`.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

fn write_repr(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(n) => out.push_str(&number(n)),
        Value::String(text) => write_quoted(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_repr(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_quoted(out, key);
                out.push_str(": ");
                write_repr(out, item);
            }
            out.push('}');
        }
    }
}

fn write_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c => {
                // Writing to a String cannot fail.
                let _ = match c as u32 {
                    code @ ..0x100 => write!(out, "\\x{code:02x}"),
                    code @ ..0x1_0000 => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// Whether Python shows a character as it is: no control, format, private or unassigned one, and no blank but the usual.
/// These are what Rust's `escape_debug` escapes of a text, apart from quotes and combining characters at its start.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let mut text = [b'a'; 5];
    let length = 1 + c.encode_utf8(&mut text[1..]).len();
    std::str::from_utf8(&text[..length]).is_ok_and(|text| text.escape_debug().skip(1).eq([c]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_float_between_two_shortest_texts_is_printed_with_the_even_digit() {
        // The second is 0.0275669097900390625 exactly.
        for (value, text) in [
            (231_250.0 / 8_388_608.0, "0.027567148208618164"),
            (14_453.0 / 524_288.0, "0.027566909790039062"),
            (5.684_341_886_080_801e-14, "5.684341886080801e-14"),
            (-14_453.0 / 524_288.0, "-0.027566909790039062"),
            (1e22, "1e+22"),
            (0.1, "0.1"),
            (0.3, "0.3"),
            (123_456.789, "123456.789"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn values_print_as_python_prints_them() {
        for (value, text) in [
            (json!(null), "None"),
            (json!(true), "True"),
            (json!(3), "3"),
            (json!(75.2), "75.2"),
            (json!(0.0), "0.0"),
            (json!(1e16), "1e+16"),
            (json!(1e15), "1000000000000000.0"),
            (json!(1e-5), "1e-05"),
            (json!(0.0001), "0.0001"),
            (json!(1.5e-7), "1.5e-07"),
            (json!("it's"), "it's"),
            (json!(["a", "b"]), "['a', 'b']"),
            (json!([]), "[]"),
            (json!({"k": 1, "x": null}), "{'k': 1, 'x': None}"),
            (json!(["it's"]), "[\"it's\"]"),
            (json!(["it's \"x\""]), "['it\\'s \"x\"']"),
            (json!(["write\tm\thello\\"]), "['write\\tm\\thello\\\\']"),
            (json!(["\u{1}"]), "['\\x01']"),
            (
                json!([
                    "\u{7f}\u{80}\u{a0}\u{ad}é\u{301}\u{200b}\u{2028}\u{3000}\u{e000}\u{ffff}\u{1f600}\u{e0001}\u{10ffff}"
                ]),
                "['\\x7f\\x80\\xa0\\xadé\u{301}\\u200b\\u2028\\u3000\\ue000\\uffff\u{1f600}\\U000e0001\\U0010ffff']",
            ),
            (
                json!({"a\"b": [1.0, 1e22, -0.0, 123_456_789_012_345_680_u64]}),
                "{'a\"b': [1.0, 1e+22, -0.0, 123456789012345680]}",
            ),
        ] {
            assert_eq!(display(&value), text);
        }
    }
}
