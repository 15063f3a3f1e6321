//! The text form in which metadata is edited (data-model section 4.7).

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Field, FieldKind, Metadata, fields, is_truthy};
use crate::error::{Error, Result};
use crate::literal;
use crate::state::BundleType;

/// The form offered in the editor: two comment lines, then every user-editable field with its description.
/// Null, false, zero and empty values show as nothing.
pub fn write(bundle_type: BundleType, metadata: &Metadata) -> String {
    let mut text = format!(
        "// Enter metadata for the new {bundle_type} bundle, then save and quit.\n\
         // To cancel the upload, delete the name.\n"
    );
    for field in fields(bundle_type).iter().filter(|field| !field.generated) {
        let value = match metadata.get(field.key) {
            None => String::new(),
            Some(value) if !is_truthy(value) => String::new(),
            Some(Value::Array(items)) => items.iter().map(literal::display).collect::<Vec<_>>().join(" "),
            Some(other) => literal::display(other),
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "\n// {}\n{}: {value}\n", field.description(), field.key);
    }
    text
}

/// Reads an edited form. An empty value becomes null; the name must be there.
pub fn parse(bundle_type: BundleType, text: &str) -> Result<Metadata> {
    let mut metadata = Metadata::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        let (key, raw) = line
            .split_once(':')
            .ok_or_else(|| Error::usage(format!("Malformatted line (no colon): {line}")))?;
        let (key, raw) = (key.trim(), raw.trim());
        let field = fields(bundle_type)
            .iter()
            .find(|field| field.key == key && !field.generated)
            .ok_or_else(|| Error::usage(format!("Unexpected metadata key: {key}")))?;
        metadata.set(key, parse_value(field, raw)?);
    }
    match metadata.get("name") {
        None | Some(Value::Null) => Err(Error::usage("No name specified; aborting")),
        Some(_) => Ok(metadata),
    }
}

/// Parses the text a user typed for a field, as in the form. An empty text is null, or an empty list.
pub fn parse_value(field: &Field, raw: &str) -> Result<Value> {
    if !raw.is_ascii() {
        return Err(Error::usage(format!(
            "Metadata cannot contain unicode: {} = {raw}",
            field.key
        )));
    }
    if raw.is_empty() {
        return Ok(if field.kind == FieldKind::List {
            json!([])
        } else {
            Value::Null
        });
    }
    let invalid = || Error::usage(format!("Invalid value {raw} for type {}", field.kind.as_str()));
    match field.kind {
        FieldKind::Str => Ok(json!(raw)),
        FieldKind::List => Ok(json!(raw.split_whitespace().collect::<Vec<_>>())),
        FieldKind::Int => raw.parse::<i64>().map(|n| json!(n)).map_err(|_| invalid()),
        FieldKind::Float => raw
            .parse::<f64>()
            .ok()
            .filter(|n| n.is_finite())
            .map(|n| json!(n))
            .ok_or_else(invalid),
        FieldKind::Bool => match raw.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(json!(true)),
            "false" | "0" | "no" => Ok(json!(false)),
            _ => Err(invalid()),
        },
    }
}

/// Refuses a non-ASCII text before it is sent (cli section 7.2).
pub fn check_ascii(key: &str, value: &Value) -> Result<()> {
    let bad = match value {
        Value::String(text) if !text.is_ascii() => Some(text.as_str()),
        Value::Array(items) => items.iter().filter_map(Value::as_str).find(|text| !text.is_ascii()),
        _ => None,
    };
    match bad {
        Some(text) => Err(Error::usage(format!("Metadata cannot contain unicode: {key} = {text}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_written_form_parses_to_the_same_values() {
        let metadata = Metadata::try_from(json!({"name": "x", "tags": ["a", "b"], "request_cpus": 2}))
            .unwrap()
            .with_client_defaults(BundleType::Run);
        let text = write(BundleType::Run, &metadata);
        assert!(text.starts_with("// Enter metadata for the new run bundle, then save and quit.\n// To cancel the upload, delete the name.\n\n// "));
        let parsed = parse(BundleType::Run, &text).unwrap();
        for (key, value) in metadata.iter() {
            let expected = if is_truthy(value) || value == &json!([]) {
                value
            } else {
                &Value::Null
            };
            assert_eq!(parsed.get(key), Some(expected), "{key}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("name x", "Malformatted line (no colon): name x"),
            ("name: x\ncreated: 3", "Unexpected metadata key: created"),
            ("name: é", "Metadata cannot contain unicode: name = é"),
            ("name: x\nrequest_cpus: two", "Invalid value two for type int"),
            ("// nothing", "No name specified; aborting"),
            ("name:", "No name specified; aborting"),
        ] {
            assert_eq!(parse(BundleType::Run, text).unwrap_err().message, message);
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_without_panic(text in "(?s).*") {
            let _ = parse(BundleType::Run, &text);
        }
    }
}
