//! `cl add`: append text, bundles or worksheets to a worksheet.

use client::{Query, resource, to_one};
use serde_json::{Value, json};

use super::{Command, Group};
use crate::cli::{Cli, Worksheet};
use crate::copying;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Kind, Parsed};
use crate::render::fields::{dependencies_of, field};

pub const COMMAND: Command = Command {
    name: "add",
    aliases: &[],
    group: Group::Worksheets,
    summary: "Append text, bundles or worksheets to a worksheet.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("item_type", Arity::One, "What to add.").kind(Kind::Choice(&[
            "text",
            "bundle",
            "worksheet",
        ])),
        Argument::positional("item_spec", Arity::AtLeastOne, "Texts, bundles or worksheets."),
        Argument::option(
            "dest_worksheet",
            "--dest-worksheet",
            Arity::One,
            "Worksheet to add to; default the current one.",
        ),
        Argument::flag(
            "copy_dependencies",
            "-d --copy-dependencies",
            "Copy the direct dependencies of bundles too.",
        ),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let kind = parsed.text("item_type").unwrap_or_default();
    let with_dependencies = parsed.has("copy_dependencies");
    if with_dependencies && kind != "bundle" {
        return Err(Error::usage(
            "-d/--copy_dependencies can only be used when adding bundles.",
        ));
    }
    let specs = parsed.list("item_spec");
    let destination = cli.worksheet(parsed.text("dest_worksheet")).await?;
    match kind {
        "text" => {
            if specs.len() > 1 && specs.last().is_some_and(|last| last == ".") {
                cli.ui
                    .notice("The last text, \".\", is added too; the destination is given by --dest-worksheet.");
            }
            let items = specs.iter().map(|text| text_item(text)).collect();
            append(&destination, items).await
        }
        "bundle" => add_bundles(cli, specs, &destination, with_dependencies).await,
        _ => {
            let mut items = Vec::new();
            for spec in specs {
                let sheet = cli.worksheet(Some(spec)).await?;
                if sheet.client.address() != destination.client.address() {
                    return Err(Error::usage("You cannot add worksheet links across instances."));
                }
                items.push(json!({"type": "worksheet", "subworksheet": sheet.uuid}));
            }
            append(&destination, items).await
        }
    }
}

/// Everything is resolved before the first item is added, so that a mistake in the last spec changes nothing.
async fn add_bundles(cli: &mut Cli, specs: &[String], destination: &Worksheet, with_dependencies: bool) -> Result<()> {
    let mut bundles = Vec::new();
    for spec in specs {
        let current = if spec.contains("::") {
            destination.clone()
        } else {
            cli.current_worksheet().await?
        };
        let target = cli.target(spec, &current, true).await?;
        if with_dependencies {
            let path = format!("bundles/{}", target.uuid);
            let info = target.client.fetch_one(&path, Query::new()).await?;
            bundles.extend(
                dependencies_of(&info)
                    .iter()
                    .map(|dependency| (target.client.clone(), field(dependency, "parent_uuid").to_owned())),
            );
        }
        bundles.push((target.client, target.uuid));
    }
    let mut items = Vec::new();
    for (client, uuid) in bundles {
        let elsewhere = client.address() != destination.client.address();
        if elsewhere && !copying::exists(&destination.client, &uuid).await? {
            append(destination, std::mem::take(&mut items)).await?;
            copying::copy(cli, &client, &uuid, &destination.client, Some(&destination.uuid)).await?;
        } else {
            items.push(json!({"type": "bundle", "bundle": uuid}));
        }
    }
    append(destination, items).await
}

/// Appends items, in order, with one request; none without items.
pub async fn append(worksheet: &Worksheet, items: Vec<Value>) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    send_items(worksheet, items, false).await
}

/// Appends items, or replaces what the worksheet has by them.
pub(super) async fn send_items(worksheet: &Worksheet, items: Vec<Value>, replace: bool) -> Result<()> {
    let resources = items
        .into_iter()
        .map(|item| item_resource(&worksheet.uuid, &item))
        .collect();
    let query = Query::new()
        .with("uuid", worksheet.uuid.clone())
        .flag("replace", replace);
    worksheet.client.create("worksheet-items", query, resources).await?;
    Ok(())
}

/// A text that starts with `%` is a directive, everything else is markup as it stands.
fn text_item(text: &str) -> Value {
    match text.strip_prefix('%') {
        Some(directive) => json!({"type": "directive", "value": directive.trim()}),
        None => json!({"type": "markup", "value": text}),
    }
}

fn item_resource(worksheet: &str, item: &Value) -> Value {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    let attributes = json!({"type": text("type"), "value": text("value").unwrap_or("")});
    let linked = |kind: &str, uuid: Option<&str>| uuid.map_or(json!({"data": null}), |uuid| to_one(kind, uuid));
    let relationships = json!({
        "worksheet": to_one("worksheets", worksheet),
        "bundle": linked("bundles", text("bundle")),
        "subworksheet": linked("worksheets", text("subworksheet")),
    });
    resource("worksheet-items", None, attributes, relationships)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_directives_or_markup() {
        for (text, kind, value) in [
            ("%  display table ", "directive", "display table"),
            ("% ", "directive", ""),
            ("// x", "markup", "// x"),
            ("{x}\n", "markup", "{x}\n"),
            (" % x", "markup", " % x"),
        ] {
            assert_eq!(text_item(text), json!({"type": kind, "value": value}));
        }
    }
}
