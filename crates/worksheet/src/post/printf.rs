//! `%…`: one number in a format of C's `printf`, as Python reads it.

use domain::literal;

/// Widest field and most digits that a format may ask for.
const MAX_WIDTH: usize = 1000;

/// A format with exactly one conversion of a float, which comes first, and text around it.
pub(super) struct Format {
    before: String,
    conversion: Conversion,
    after: String,
}

impl Format {
    /// None if there is not exactly one conversion, or one that floats do not have.
    pub fn parse(format: &str) -> Option<Self> {
        let mut texts = [String::new(), String::new()];
        let mut conversion = None;
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            let text = &mut texts[usize::from(conversion.is_some())];
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                text.push('%');
                rest = after;
                continue;
            }
            let (found, after) = Conversion::parse(rest)?;
            if conversion.replace(found).is_some() {
                return None;
            }
            rest = after;
        }
        let [before, mut after] = texts;
        after.push_str(rest);
        Some(Self {
            before,
            conversion: conversion?,
            after,
        })
    }

    /// None if the conversion does not have this number: an integer one has no NaN.
    pub fn apply(&self, number: f64) -> Option<String> {
        let text = self.conversion.apply(number)?;
        Some(format!("{}{text}{}", self.before, self.after))
    }
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
        rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        spec.kind = rest.chars().next().filter(|kind| "diufFeEgGsra".contains(*kind))?;
        Some((spec, &rest[1..]))
    }

    fn apply(&self, number: f64) -> Option<String> {
        let magnitude = number.abs();
        let precision = self.precision.unwrap_or(6);
        let is_integer = matches!(self.kind, 'd' | 'i' | 'u');
        if is_integer && !number.is_finite() {
            return None;
        }
        let mut body = match self.kind {
            'd' | 'i' | 'u' => format!("{:0>1$.0}", magnitude.trunc(), self.precision.unwrap_or(0)),
            'f' | 'F' | 'e' | 'E' | 'g' | 'G' if !number.is_finite() => literal::float(magnitude),
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
        if self.alternate && !is_integer && number.is_finite() && !body.contains('.') {
            let end = body.find(['e', 'E']).unwrap_or(body.len());
            body.insert(end, '.');
        }
        let negative = number.is_sign_negative() && !number.is_nan() && !(is_integer && number.trunc() == 0.0);
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
