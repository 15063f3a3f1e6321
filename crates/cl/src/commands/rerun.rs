//! `cl rerun`: run commands again as they were.

use std::collections::HashMap;

use client::{Client, Object, Query, resource};
use domain::BundleType;
use serde_json::{Map, Value, json};

use super::upload::created_uuid;
use super::{Command, Group, run};
use crate::analogy::{copied_metadata, mapped_dependencies};
use crate::bundle_metadata;
use crate::cli::{Cli, Worksheet};
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields::field;

pub const COMMAND: Command = Command {
    name: "rerun",
    aliases: &[],
    group: Group::Bundles,
    summary: "Create runs (or makes) again, with the same command, dependencies and requests.\n\
              Options of cl run change what they name; everything else stays.",
    arguments,
    run: |cli, parsed| Box::pin(rerun(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    let mut arguments = vec![Argument::positional(
        "bundle_spec",
        Arity::AtLeastOne,
        "Bundles to create again.",
    )];
    arguments.extend(bundle_metadata::arguments(BundleType::Run));
    arguments.retain(|argument| argument.dest != "edit");
    arguments.push(Argument::worksheet());
    arguments.extend(run::waiting_arguments());
    arguments
}

async fn rerun(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    run::refuse_waiting(cli, parsed)?;
    let mut overrides = bundle_metadata::given(BundleType::Run, parsed)?;
    if let Some(name) = parsed.text("name") {
        overrides.insert("name".to_owned(), Value::from(name));
    }
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let (client, uuids) = cli.bundles(parsed.list("bundle_spec"), &worksheet).await?;
    if client.address() != worksheet.client.address() {
        return Err(Error::usage("A bundle can only be run again on its own instance."));
    }
    let query = Query::new().with_all("specs", &uuids);
    let bundles = client.fetch_list("bundles", query).await?;
    // All of them can be created again, or none is.
    let resources = bundles
        .iter()
        .map(|bundle| again(bundle, &overrides))
        .collect::<Result<Vec<_>>>()?;
    let mut created = Vec::new();
    for bundle in resources {
        created.push(create(&client, &worksheet, bundle).await?);
        cli.ui.line(created.last().map_or("", String::as_str))?;
    }
    cli.ui.flush()?;
    for uuid in &created {
        run::finish(cli, &client, uuid, parsed).await?;
    }
    Ok(())
}

async fn create(client: &Client, worksheet: &Worksheet, bundle: Value) -> Result<String> {
    let query = Query::new().with("worksheet", worksheet.uuid.clone());
    let created = client.create("bundles", query, vec![bundle]).await?;
    created_uuid(client, &created)
}

/// What is sent to create a bundle again.
fn again(old: &Object, overrides: &Map<String, Value>) -> Result<Value> {
    let Ok(kind @ (BundleType::Make | BundleType::Run)) = field(old, "bundle_type").parse() else {
        return Err(Error::usage(format!(
            "{} was uploaded, not run or made; there is nothing to run again",
            field(old, "uuid")
        )));
    };
    let attributes = json!({
        "bundle_type": kind.as_str(),
        "command": old.get("command"),
        "metadata": copied_metadata(old, kind, overrides),
        "dependencies": mapped_dependencies(old, &HashMap::new()),
    });
    Ok(resource("bundles", None, attributes, json!({})))
}
