//! Post-processors: chains of functions on a cell value (language section 8). They never fail, and they do a bounded
//! amount of work: patterns and chains come from users, values from files.

mod printf;
mod substitute;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::literal;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::number;
use printf::Format;
use substitute::Substitution;

/// Most functions of a chain.
const MAX_STEPS: usize = 64;

/// Longest text that a function may make of a shorter one, in bytes: some double their input.
const MAX_OUTPUT: usize = 1 << 20;

/// What all substitutions of a page may cost, in units of 4 bytes searched.
const MAX_WORK: u64 = 1 << 23;

/// The seconds of the years 1 to 9999, which dates can have.
const DATES: std::ops::Range<f64> = -62_135_596_800.0..253_402_300_800.0;

/// Applies a chain such as `date | [0:4]`. Without one, the value itself.
pub fn apply(chain: Option<&str>, value: Value) -> Value {
    Chains::default().apply(chain, value)
}

/// The chains of a page: each is read once, and together they have one budget of work.
pub(crate) struct Chains {
    known: Mutex<HashMap<String, Arc<Chain>>>,
    work: Work,
}

impl Default for Chains {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            work: Work(AtomicU64::new(MAX_WORK)),
        }
    }
}

impl Chains {
    /// Applies a chain to a value.
    pub fn apply(&self, chain: Option<&str>, value: Value) -> Value {
        let Some(text) = chain else { return value };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = if let Some(chain) = known.get(text) {
            Arc::clone(chain)
        } else {
            let chain = Arc::new(Chain::parse(text));
            known.insert(text.to_owned(), Arc::clone(&chain));
            chain
        };
        drop(known);
        chain.apply(value, &self.work)
    }
}

/// What may still be spent on searching.
pub(crate) struct Work(AtomicU64);

impl Work {
    /// Whether there is enough left; if so it is taken.
    fn spend(&self, cost: u64) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost))
            .is_ok()
    }
}

struct Chain {
    functions: Vec<Function>,
}

enum Function {
    Text,
    Date,
    Duration,
    Size,
    /// None if the format is not one of a single number.
    Printf(Option<Format>),
    /// None if the pattern or the replacement is broken.
    Substitute(Option<Box<Substitution>>),
    Slice {
        from: Option<i64>,
        to: Option<i64>,
    },
    Key(String),
    Add {
        key: String,
        value: String,
    },
    /// Known, but its arguments are wrong: the chain ends before it.
    Inapplicable,
    /// Not known: the chain ends with this text.
    Invalid(String),
}

/// What becomes of a value.
enum Outcome {
    /// The next function gets this value.
    Next(Value),
    /// The chain ends with this value.
    Stop(Value),
    /// The chain ends with the value before the function.
    Fail,
}

impl Chain {
    fn parse(text: &str) -> Self {
        let functions = text.split(" | ").take(MAX_STEPS).map(Function::parse);
        Self {
            functions: functions.collect(),
        }
    }

    fn apply(&self, mut value: Value, work: &Work) -> Value {
        for function in &self.functions {
            if let Function::Key(key) = function {
                value = json!({ key: value });
                continue;
            }
            match function.apply(&value, work) {
                Outcome::Next(next) => value = next,
                Outcome::Stop(last) => return last,
                Outcome::Fail => return value,
            }
        }
        value
    }
}

impl Function {
    fn parse(text: &str) -> Self {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let invalid = || Self::Invalid(format!("<invalid function: {text}>"));
        match text {
            "str" => Self::Text,
            "date" => Self::Date,
            "duration" => Self::Duration,
            "size" => Self::Size,
            _ if text.starts_with('%') => Self::Printf(Format::parse(text)),
            _ if text.starts_with("s/") => match substitute::split(text) {
                Some((pattern, replacement)) => {
                    Self::Substitute(Substitution::new(&pattern, &replacement).map(Box::new))
                }
                None => Self::Invalid(format!("<invalid regex: {text}>")),
            },
            _ if text.starts_with('[') => slice(text).unwrap_or_else(invalid),
            _ if word == "key" && !rest.is_empty() => {
                Self::Key(rest.split_whitespace().next().unwrap_or("").to_owned())
            }
            _ if word == "add" => {
                let words: Vec<_> = rest.split_whitespace().collect();
                match words[..] {
                    [key, value] => Self::Add {
                        key: key.to_owned(),
                        value: value.to_owned(),
                    },
                    _ => Self::Inapplicable,
                }
            }
            _ => invalid(),
        }
    }

    fn apply(&self, value: &Value, work: &Work) -> Outcome {
        match self {
            Self::Text => bounded(literal::display(value), value),
            Self::Date => of_number(value, date),
            Self::Duration => of_number(value, finite(domain::duration::format)),
            Self::Size => of_number(value, finite(domain::size::format_verbose)),
            Self::Printf(format) => of_number(value, |number| format.as_ref()?.apply(number)),
            Self::Substitute(substitution) => match (substitution, value) {
                (Some(substitution), Value::String(text)) => substitution
                    .apply(text, MAX_OUTPUT.max(text.len()), work)
                    .map_or(Outcome::Fail, |text| Outcome::Next(json!(text))),
                _ => Outcome::Fail,
            },
            Self::Slice { from, to } => match value {
                Value::String(text) => Outcome::Next(json!(slice_text(text, *from, *to))),
                Value::Array(items) => {
                    let (from, to) = clamp(*from, *to, items.len());
                    Outcome::Next(Value::Array(items[from..to].to_vec()))
                }
                _ => Outcome::Fail,
            },
            Self::Key(key) => Outcome::Next(json!({ key: value })),
            Self::Add { key, value: added } => match value {
                Value::Object(map) => {
                    let mut map = map.clone();
                    map.insert(key.clone(), json!(added));
                    Outcome::Next(Value::Object(map))
                }
                other => {
                    let text = format!("arg (<class '{}'>) not a dictionary", literal::type_name(other));
                    Outcome::Stop(json!(text))
                }
            },
            Self::Inapplicable => Outcome::Fail,
            Self::Invalid(text) => Outcome::Stop(json!(text)),
        }
    }
}

/// A text that was made of a value, unless it is too long.
fn bounded(text: String, value: &Value) -> Outcome {
    let before = value.as_str().map_or(0, str::len);
    if text.len() > MAX_OUTPUT.max(before) {
        return Outcome::Fail;
    }
    Outcome::Next(Value::String(text))
}

/// Applies a function of a number; null stays null, other values fail.
fn of_number(value: &Value, function: impl Fn(f64) -> Option<String>) -> Outcome {
    if value.is_null() {
        return Outcome::Next(Value::Null);
    }
    match float(value).and_then(function) {
        Some(text) => Outcome::Next(json!(text)),
        None => Outcome::Fail,
    }
}

fn date(seconds: f64) -> Option<String> {
    DATES
        .contains(&seconds)
        .then(|| domain::time::format_date(seconds, &TimeZone::UTC))
}

/// A function that fails on NaN and infinities.
fn finite(function: impl Fn(f64) -> String) -> impl Fn(f64) -> Option<String> {
    move |number| number.is_finite().then(|| function(number))
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

/// `[a:b]`, as in Python; text after the bracket is ignored. None without colon.
fn slice(text: &str) -> Option<Function> {
    let inner = text[1..].split(']').next().unwrap_or("");
    let (from, to) = inner.split_once(':')?;
    let bound = |text: &str| match text.trim() {
        "" => Some(None),
        text => number::integer(text).map(Some),
    };
    Some(match (bound(from), bound(to)) {
        (Some(from), Some(to)) => Function::Slice { from, to },
        _ => Function::Inapplicable,
    })
}

fn slice_text(text: &str, from: Option<i64>, to: Option<i64>) -> &str {
    let offset = |characters: usize| text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at);
    let (from, to) = match (from.unwrap_or(0), to) {
        // The usual case, such as `[0:8]`, does not look at the rest of a long text.
        (from @ 0.., Some(to @ 0..)) => (from as usize, to.max(from) as usize),
        _ => clamp(from, to, text.chars().count()),
    };
    let start = offset(from);
    let length = text[start..]
        .char_indices()
        .nth(to - from)
        .map_or(text.len() - start, |(at, _)| at);
    &text[start..start + length]
}

/// Bounds of a slice of `length` elements: negative ones count from the end, all are clamped, and start <= end.
fn clamp(from: Option<i64>, to: Option<i64>, length: usize) -> (usize, usize) {
    let length = length as i64;
    let place = |bound: i64| (if bound < 0 { bound.saturating_add(length) } else { bound }).clamp(0, length);
    let from = place(from.unwrap_or(0));
    let to = place(to.unwrap_or(length)).max(from);
    (from as usize, to as usize)
}

#[cfg(test)]
mod tests;
