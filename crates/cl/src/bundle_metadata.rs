//! Metadata options of the creating commands, derived from the one table of fields, and what they give.

use std::borrow::Cow;

use domain::BundleType;
use domain::Metadata;
use domain::metadata::{Field, FieldDefault, FieldKind, fields, form};
use serde_json::{Map, Value};

use crate::editor;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Kind, Parsed};

/// One option per field that users set, and `--edit`.
pub fn arguments(kind: BundleType) -> Vec<Argument> {
    let mut arguments = Vec::new();
    for field in fields(kind).iter().filter(|field| !field.generated) {
        let mut argument = Argument::flag("", "", "");
        let short = field.short.map(|letter| Cow::Owned(format!("-{letter}")));
        argument.flags = short
            .into_iter()
            .chain([Cow::Owned(format!("--{}", field.option_name()))])
            .collect();
        argument.dest = Cow::Borrowed(field.key);
        argument.help = Cow::Borrowed(field.meaning);
        argument.hidden = field.hidden;
        (argument.arity, argument.kind) = match field.kind {
            FieldKind::Bool => (Arity::Flag, Kind::Text),
            FieldKind::List => (Arity::Any, Kind::Text),
            FieldKind::Int => (Arity::One, Kind::Int),
            FieldKind::Str | FieldKind::Float => (Arity::One, Kind::Text),
        };
        arguments.push(argument.clone());
        if field.default == FieldDefault::Bool(true) {
            argument.flags = vec![Cow::Owned(format!("--no-{}", field.option_name()))];
            argument.dest = Cow::Owned(negation(field));
            argument.help = Cow::Owned(format!("opposite of --{}", field.option_name()));
            arguments.push(argument);
        }
    }
    arguments.push(Argument::flag(
        "edit",
        "-e --edit",
        "Edit the metadata in an editor first.",
    ));
    arguments
}

/// All fields that users set: from the options, else the defaults; the name, if not given, is `name`.
pub fn collect(kind: BundleType, parsed: &Parsed, name: &str) -> Result<Map<String, Value>> {
    let mut metadata = Map::new();
    for field in fields(kind).iter().filter(|field| !field.generated) {
        let value = match typed(field, parsed) {
            Some(value) => value,
            None if field.key == "name" => Value::from(name),
            None => field.default_value(),
        };
        form::check_ascii(field.key, &value)?;
        metadata.insert(field.key.to_owned(), value);
    }
    Ok(metadata)
}

/// The fields that were given as options, except the name.
pub fn given(kind: BundleType, parsed: &Parsed) -> Result<Map<String, Value>> {
    let mut metadata = Map::new();
    for field in fields(kind)
        .iter()
        .filter(|field| !field.generated && field.key != "name")
    {
        if let Some(value) = typed(field, parsed) {
            form::check_ascii(field.key, &value)?;
            metadata.insert(field.key.to_owned(), value);
        }
    }
    Ok(metadata)
}

/// The value of a field if it was given as an option.
fn typed(field: &Field, parsed: &Parsed) -> Option<Value> {
    if field.default == FieldDefault::Bool(true) && parsed.has(&negation(field)) {
        return Some(Value::from(false));
    }
    if !parsed.has(field.key) {
        return None;
    }
    Some(match field.kind {
        FieldKind::Bool => Value::from(true),
        FieldKind::List => Value::from(parsed.list(field.key)),
        FieldKind::Int => parsed.int(field.key).map_or(Value::Null, Value::from),
        FieldKind::Str | FieldKind::Float => Value::from(parsed.text(field.key).unwrap_or_default()),
    })
}

/// Lets the user edit the metadata of a bundle to be created.
pub fn edit(kind: BundleType, metadata: Map<String, Value>, environment: &Environment) -> Result<Map<String, Value>> {
    let before = Metadata(metadata.into_iter().collect());
    let edited = editor::edit(environment, &form::write(kind, &before), ".c")?;
    match form::parse(kind, &edited.text) {
        Ok(after) if after.name().is_empty() => Err(Error::usage("No name specified; aborting")),
        Ok(after) => {
            let mut metadata = Map::new();
            for field in fields(kind).iter().filter(|field| !field.generated) {
                let value = after
                    .get(field.key)
                    .or_else(|| before.get(field.key))
                    .cloned()
                    .unwrap_or(Value::Null);
                let value = if value.is_null() { field.kind.zero() } else { value };
                metadata.insert(field.key.to_owned(), value);
            }
            Ok(metadata)
        }
        Err(error) => Err(edited.keep(&error.into())),
    }
}

fn negation(field: &Field) -> String {
    format!("no_{}", field.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Outcome, parse};
    use serde_json::json;

    fn collected(kind: BundleType, typed: &[&str]) -> Result<Value> {
        let tokens: Vec<String> = typed.iter().map(|&token| token.to_owned()).collect();
        let Ok(Outcome::Values(parsed)) = parse(&arguments(kind), &tokens) else {
            panic!("{typed:?} does not parse")
        };
        collect(kind, &parsed, "run-echo").map(Value::Object)
    }

    #[test]
    fn a_run_sends_every_field_with_the_documented_defaults_in_order() {
        let expected = json!({"name": "run-echo", "description": "", "tags": [], "allow_failed_dependencies": false,
            "request_docker_image": "", "request_time": "", "request_memory": "2g", "request_disk": "",
            "request_cpus": 1, "request_gpus": 0, "request_queue": "", "request_priority": 0,
            "request_network": true, "exclude_patterns": [], "store": ""});
        assert_eq!(
            collected(BundleType::Run, &[]).unwrap().to_string(),
            expected.to_string()
        );
    }

    #[test]
    fn options_override_the_defaults() {
        let metadata = collected(
            BundleType::Run,
            &[
                "-n",
                "x",
                "--tags",
                "a",
                "b",
                "--request-cpus",
                "4",
                "--allow-failed",
                "--no-request-network",
            ],
        )
        .unwrap();
        assert_eq!(metadata["name"], "x");
        assert_eq!(metadata["tags"], json!(["a", "b"]));
        assert_eq!(metadata["request_cpus"], 4);
        assert_eq!(metadata["allow_failed_dependencies"], true);
        assert_eq!(metadata["request_network"], false);
    }

    #[test]
    fn text_outside_ascii_is_refused() {
        let error = collected(BundleType::Dataset, &["-d", "é"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "UsageError: Metadata cannot contain unicode: description = é"
        );
    }
}
