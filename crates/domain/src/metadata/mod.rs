//! Metadata of a bundle: the object itself, its validation, and how it is stored as rows (data-model sections 4.2 to 4.5).

pub mod field;
pub mod form;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use field::{Field, FieldDefault, FieldKind, Format, any_field, field, fields};

use crate::error::{Error, Result};
use crate::literal;
use crate::state::{BundleState, BundleType};
use crate::{duration, name, size};

/// Key and value of every metadata field that is set, in alphabetical order (the order on the wire).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(pub BTreeMap<String, Value>);

impl Metadata {
    /// No fields at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a key, if it is present.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Sets a key.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(key.into(), value.into());
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    /// Keys and values in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    /// Whether no key is present.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A text, `""` when absent, null or of another type.
    pub fn str(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or("")
    }

    /// A whole number, 0 when absent; floats are truncated.
    pub fn int(&self, key: &str) -> i64 {
        self.get(key).map_or(0, |value| {
            value.as_i64().unwrap_or_else(|| value.as_f64().unwrap_or(0.0) as i64)
        })
    }

    /// A number, 0 when absent.
    pub fn float(&self, key: &str) -> f64 {
        self.get(key).and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// A flag, false when absent.
    pub fn bool(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A list of texts, empty when absent.
    pub fn list(&self, key: &str) -> Vec<&str> {
        self.get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// The bundle's name, `""` when absent.
    pub fn name(&self) -> &str {
        self.str("name")
    }

    /// Applies a partial update: a null deletes its key, other keys are replaced, the rest stays.
    pub fn update(&mut self, changes: &Metadata) {
        for (key, value) in changes.iter() {
            if value.is_null() {
                self.0.remove(key);
            } else {
                self.0.insert(key.clone(), value.clone());
            }
        }
    }

    /// Builds the metadata as it is served from stored rows in row order. Unknown keys are ignored, lists and user-set
    /// fields are always present, other generated fields only if there is a row, the last row of a scalar wins.
    pub fn from_rows<K: AsRef<str>, V: AsRef<str>>(
        bundle_type: BundleType,
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut metadata = Self::new();
        for field in fields(bundle_type) {
            if field.kind == FieldKind::List || !field.generated {
                metadata.set(field.key, field.kind.zero());
            }
        }
        for (key, text) in rows {
            let Some(field) = field(bundle_type, key.as_ref()) else {
                continue;
            };
            let value = read_row(field.kind, text.as_ref());
            if field.kind == FieldKind::List {
                if let Some(Value::Array(list)) = metadata.0.get_mut(field.key) {
                    list.push(value);
                }
            } else {
                metadata.set(field.key, value);
            }
        }
        metadata
    }

    /// The rows that store this metadata: one per scalar, one per list element, none for null and empty lists.
    pub fn to_rows(&self) -> Vec<(String, String)> {
        self.iter()
            .flat_map(|(key, value)| rows_of(value).into_iter().map(|text| (key.clone(), text)))
            .collect()
    }

    /// Fills every user-set field that is missing with the default that clients send.
    pub fn with_client_defaults(mut self, bundle_type: BundleType) -> Self {
        for field in fields(bundle_type).iter().filter(|field| !field.generated) {
            self.0
                .entry(field.key.to_owned())
                .or_insert_with(|| field.default_value());
        }
        self
    }

    /// Checks a complete metadata object: known keys, nothing required missing, types, formats, ASCII, name.
    pub fn validate(&self, bundle_type: BundleType) -> Result<()> {
        self.validate_values(bundle_type)?;
        for field in fields(bundle_type) {
            if !field.generated && !field.optional && !self.0.contains_key(field.key) {
                return Err(Error::usage(format!("Missing metadata key: {}", field.key)));
            }
        }
        if self.name().is_empty() {
            return Err(empty_name(bundle_type));
        }
        name::check(self.name())
    }

    /// Checks only what is present, as for a partial update.
    pub fn validate_update(&self, bundle_type: BundleType) -> Result<()> {
        self.validate_values(bundle_type)?;
        match self.get("name") {
            None => Ok(()),
            Some(Value::String(text)) if !text.is_empty() => name::check(text),
            Some(_) => Err(empty_name(bundle_type)),
        }
    }

    fn validate_values(&self, bundle_type: BundleType) -> Result<()> {
        for (key, value) in self.iter() {
            let field =
                field(bundle_type, key).ok_or_else(|| Error::usage(format!("Unexpected metadata key: {key}")))?;
            check_value(field, value)?;
        }
        Ok(())
    }

    /// The values that decide which worker can run it: every `request_*` field whose value is truthy, by key.
    pub fn requests(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.iter()
            .map(|(key, value)| (key.as_str(), value))
            .filter(|(key, value)| key.starts_with("request_") && is_truthy(value))
    }
}

impl FromIterator<(String, Value)> for Metadata {
    fn from_iter<T: IntoIterator<Item = (String, Value)>>(iter: T) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl TryFrom<Value> for Metadata {
    type Error = Error;

    fn try_from(value: Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(map.into_iter().collect()),
            other => Err(Error::usage(format!(
                "Metadata must be an object, was {}",
                literal::type_name(&other)
            ))),
        }
    }
}

/// The keys that a user may edit in this state, in display order.
pub fn editable_keys(bundle_type: BundleType, state: BundleState) -> Vec<&'static str> {
    fields(bundle_type)
        .iter()
        .filter(|field| !field.generated && (!field.locked || state.allows_locked_edits()))
        .map(|field| field.key)
        .collect()
}

/// Key and type name (`date`, `size`, `duration`, else `str`, `int`, …) of every field, in display order.
pub fn metadata_types(bundle_type: BundleType) -> impl Iterator<Item = (&'static str, &'static str)> {
    fields(bundle_type).iter().map(|field| (field.key, field.type_name()))
}

/// Generated run fields that are deleted when a run goes back to `staged`: all but `actions` and `created`.
pub fn reset_keys() -> impl Iterator<Item = &'static str> {
    fields(BundleType::Run)
        .iter()
        .filter(|field| field.generated && !matches!(field.key, "actions" | "created"))
        .map(|field| field.key)
}

/// The rows of one value, in order.
pub fn rows_of(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(literal::display).collect(),
        scalar => vec![literal::display(scalar)],
    }
}

/// Whether Python would count the value as true.
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// A value as `cl info` and the web show it: dates in the given zone, sizes and durations with units, lists joined by
/// blanks. A format is applied only if the value converts to a number.
pub fn display_value(field: &Field, value: &Value, zone: &jiff::tz::TimeZone) -> String {
    if let (Some(format), Some(number)) = (field.format, as_number(value)) {
        return match format {
            Format::Date => crate::time::format_date(number, zone),
            Format::Size => size::format_verbose(number),
            Format::Duration => duration::format(number),
        };
    }
    match value {
        Value::Null => String::new(),
        Value::Array(items) => items.iter().map(literal::display).collect::<Vec<_>>().join(" "),
        other => literal::display(other),
    }
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => crate::lenient::parse_decimal(text),
        _ => None,
    }
}

fn read_row(kind: FieldKind, text: &str) -> Value {
    match kind {
        FieldKind::Str | FieldKind::List => json!(ascii_only(text)),
        FieldKind::Bool => json!(text == "True"),
        FieldKind::Int => json!(
            text.parse::<i64>()
                .unwrap_or_else(|_| text.parse::<f64>().map_or(0, |f| f as i64))
        ),
        // An integer given for a float was stored as one and is read as a float again.
        FieldKind::Float => json!(text.parse::<f64>().ok().filter(|f| f.is_finite()).unwrap_or(0.0)),
    }
}

/// Old rows may hold Latin-1 characters; they are served as `?`.
fn ascii_only(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

fn check_value(field: &Field, value: &Value) -> Result<()> {
    let matches = match (field.kind, value) {
        (_, Value::Null)
        | (FieldKind::Str, Value::String(_))
        | (FieldKind::Float, Value::Number(_))
        | (FieldKind::Bool, Value::Bool(_)) => true,
        (FieldKind::Int, Value::Number(number)) => number.is_i64(),
        (FieldKind::List, Value::Array(items)) => {
            if let Some(bad) = items.iter().find(|item| !item.is_string()) {
                return Err(wrong_type(field, bad, "list of str"));
            }
            true
        }
        _ => false,
    };
    if !matches {
        return Err(wrong_type(field, value, field.kind.as_str()));
    }
    check_ascii(value)?;
    match (field.kind, field.format, value.as_str()) {
        (FieldKind::Str, Some(Format::Duration), Some(text)) if !text.is_empty() => duration::parse(text).map(drop),
        (FieldKind::Str, Some(Format::Size), Some(text)) if !text.is_empty() => size::parse(text).map(drop),
        _ => Ok(()),
    }
}

fn check_ascii(value: &Value) -> Result<()> {
    let ascii = match value {
        Value::String(text) => text.is_ascii(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).all(str::is_ascii),
        _ => true,
    };
    if ascii {
        Ok(())
    } else {
        Err(Error::usage("Invalid character detected; use ascii characters only."))
    }
}

fn wrong_type(field: &Field, value: &Value, expected: &str) -> Error {
    Error::usage(format!(
        "Metadata value for {} should be of type {expected}, was {} (type {})",
        field.key,
        literal::display(value),
        literal::type_name(value)
    ))
}

fn empty_name(bundle_type: BundleType) -> Error {
    let word = match bundle_type {
        BundleType::Dataset => "Datasets",
        BundleType::Program => "Programs",
        BundleType::Make => "Makes",
        BundleType::Run => "Runs",
        BundleType::Private => "Bundles",
    };
    Error::usage(format!("{word} must have non-empty names"))
}

#[cfg(test)]
mod tests;
