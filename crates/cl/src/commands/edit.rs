//! `cl edit`: change the metadata of a bundle.

use client::{Object, Query, resource};
use domain::metadata::{FieldKind, editable_keys, field, form};
use domain::{BundleState, BundleType, Metadata, UtcTime};
use serde_json::{Map, Value, json};

use super::{Command, Group};
use crate::cli::{Cli, uuid_of};
use crate::editor;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields;

pub const COMMAND: Command = Command {
    name: "edit",
    aliases: &["e"],
    group: Group::Bundles,
    summary: "Change the metadata of a bundle; without options in an editor.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("bundle_spec", Arity::One, "Bundle to change."),
        Argument::option("name", "-n --name", Arity::One, "Change the name."),
        Argument::option("tags", "-T --tags", Arity::Any, "Change the tags; none clears them."),
        Argument::option("description", "-d --description", Arity::One, "Change the description."),
        Argument::flag("freeze", "--freeze", "Freeze the bundle."),
        Argument::flag("unfreeze", "--unfreeze", "Unfreeze the bundle."),
        Argument::flag("anonymous", "--anonymous", "Hide the owner."),
        Argument::flag("not_anonymous", "--not-anonymous", "Show the owner."),
        Argument::option(
            "field",
            "-f --field",
            Arity::Exactly(2),
            "Set any metadata field: <field> <value>.",
        ),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let client = worksheet.client;
    let spec = parsed.text("bundle_spec").unwrap_or_default();
    let query = Query::new().with("specs", spec).with("worksheet", worksheet.uuid);
    let bundle = client.fetch_one("bundles", query).await?;
    let uuid = uuid_of(&client, &bundle)?;
    let mut attributes = Map::new();
    let metadata = changes(parsed)?;
    if parsed.has("unfreeze") {
        attributes.insert("frozen".to_owned(), Value::Null);
    } else if parsed.has("freeze") {
        attributes.insert("frozen".to_owned(), now_iso());
    }
    if parsed.has("anonymous") || parsed.has("not_anonymous") {
        attributes.insert("is_anonymous".to_owned(), Value::from(!parsed.has("not_anonymous")));
    }
    let asked = !attributes.is_empty()
        || ["name", "tags", "description", "field"]
            .iter()
            .any(|option| parsed.has(option));
    let (metadata, edited) = if asked || cli.is_web() {
        (metadata, None)
    } else {
        let (metadata, edited) = edit_form(&cli.environment, &bundle)?;
        (metadata, Some(edited))
    };
    if !metadata.is_empty() {
        attributes.insert("metadata".to_owned(), Value::Object(metadata));
    }
    if attributes.is_empty() {
        return Ok(());
    }
    attributes.insert(
        "bundle_type".to_owned(),
        bundle.get("bundle_type").cloned().unwrap_or(Value::Null),
    );
    let change = resource("bundles", Some(&uuid), Value::Object(attributes), json!({}));
    match (client.update("bundles", Query::new(), vec![change]).await, edited) {
        (Ok(_), _) => cli.ui.line(format!("Saved metadata for bundle {uuid}.")),
        (Err(error), Some(edited)) => Err(edited.keep(&error.into())),
        (Err(error), None) => Err(error.into()),
    }
}

/// What the options change. Values of `-f` are texts; the server converts and checks them.
fn changes(parsed: &Parsed) -> Result<Map<String, Value>> {
    let mut metadata = Map::new();
    for key in ["name", "description"] {
        if let Some(value) = parsed.text(key) {
            metadata.insert(key.to_owned(), Value::from(value));
        }
    }
    if parsed.has("tags") {
        metadata.insert("tags".to_owned(), Value::from(parsed.list("tags")));
    }
    if let [key, value] = parsed.list("field") {
        metadata.insert(key.clone(), Value::from(value.as_str()));
    }
    for (key, value) in &metadata {
        // The description of `-d` is refused by the server with words of its own.
        if key != "description" {
            form::check_ascii(key, value)?;
        }
    }
    Ok(metadata)
}

/// The changed fields of the form, and the edited text to keep if they cannot be saved.
fn edit_form(environment: &Environment, bundle: &Object) -> Result<(Map<String, Value>, editor::Edited)> {
    let kind: BundleType = fields::field(bundle, "bundle_type").parse()?;
    let state: BundleState = fields::field(bundle, "state").parse()?;
    let before: Metadata = match bundle.get("metadata") {
        Some(Value::Object(metadata)) => Metadata(metadata.clone().into_iter().collect()),
        _ => Metadata::new(),
    };
    let edited = editor::edit(environment, &form::write(kind, &before), ".c")?;
    let after = match form::parse(kind, &edited.text) {
        Ok(after) if after.name().is_empty() => Err(Error::usage("No name specified; aborting")),
        other => other.map_err(Error::from),
    };
    let after = match after {
        Ok(after) => after,
        Err(error) => return Err(edited.keep(&error)),
    };
    let editable = editable_keys(kind, state);
    let mut changed = Map::new();
    for (key, value) in after.iter().filter(|(key, _)| editable.contains(&key.as_str())) {
        let zero = field(kind, key).map_or(Value::Null, |field| match field.kind {
            FieldKind::List => json!([]),
            other => other.zero(),
        });
        let was = before.get(key).cloned().unwrap_or_else(|| zero.clone());
        // The form shows null, false, 0 and nothing alike.
        let same = *value == was || (value.is_null() && was == zero);
        if !same {
            changed.insert(key.clone(), value.clone());
        }
    }
    Ok((changed, edited))
}

/// The current time as the server wants it.
pub fn now_iso() -> Value {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
    Value::from(UtcTime::from_unix(now).iso_naive())
}
