//! `cl make`: a bundle from parts of others.

use client::{Query, resource};
use domain::BundleType;
use domain::name::default_bundle_name;
use serde_json::{Value, json};

use super::upload::{created_uuid, store_uuid};
use super::{Command, Group};
use crate::bundle_metadata;
use crate::cli::Cli;
use crate::dependencies;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};

pub const COMMAND: Command = Command {
    name: "make",
    aliases: &[],
    group: Group::Bundles,
    summary: "Create a bundle from (parts of) other bundles.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    let mut arguments = vec![
        Argument::positional(
            "target_spec",
            Arity::AtLeastOne,
            "[<key>:][<worksheet>//]<bundle>[/<path>]",
        ),
        Argument::worksheet(),
    ];
    arguments.extend(bundle_metadata::arguments(BundleType::Make));
    arguments
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let specs = parsed.list("target_spec");
    let mut metadata = bundle_metadata::collect(BundleType::Make, parsed, &inferred_name(specs))?;
    let keyed = dependencies::of_make(specs)?;
    let dependencies = dependencies::resolve(cli, &keyed, &worksheet).await?;
    if parsed.has("edit") {
        cli.needs_files("--edit")?;
        metadata = bundle_metadata::edit(BundleType::Make, metadata, &cli.environment)?;
    }
    let mut query = Query::new().with("worksheet", worksheet.uuid.clone());
    if let Some(store) = metadata
        .get("store")
        .and_then(Value::as_str)
        .filter(|store| !store.is_empty())
    {
        let uuid = store_uuid(&worksheet.client, store).await?;
        // The 1.7 server reads the first of these, its client sends the second.
        query = query.with("bundle_store", uuid.clone()).with("bundle_store_uuid", uuid);
    }
    let attributes =
        json!({"bundle_type": "make", "command": null, "metadata": metadata, "dependencies": dependencies});
    let bundle = resource("bundles", None, attributes, json!({}));
    let created = worksheet.client.create("bundles", query, vec![bundle]).await?;
    cli.ui.line(created_uuid(&worksheet.client, &created)?)
}

fn inferred_name(specs: &[String]) -> String {
    match specs {
        [only] if !only.contains(':') => only.trim_end_matches('/').rsplit('/').next().unwrap_or(only).to_owned(),
        _ => default_bundle_name(Some(BundleType::Make), &specs.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_targets() {
        for (specs, name) in [
            (&["b/x/y"][..], "y"),
            (&["b"], "b"),
            (&["a:b/x"], "make-a-b-x"),
            (&["a:b", "c:d"], "make-a-b-c-d"),
        ] {
            let specs: Vec<String> = specs.iter().map(|&spec| spec.to_owned()).collect();
            assert_eq!(inferred_name(&specs), name);
        }
    }
}
