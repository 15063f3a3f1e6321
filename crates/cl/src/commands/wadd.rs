//! `cl wadd`: append the items of one worksheet to another.

use client::{Client, Object, Query};
use serde_json::json;
use worksheet::tokens::{serialise, tokenize};

use super::add::send_items;
use super::{Command, Group};
use crate::cli::Cli;
use crate::copying;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields::{field, related, text};

pub const COMMAND: Command = Command {
    name: "wadd",
    aliases: &[],
    group: Group::Worksheets,
    summary: "Append all items of a worksheet to another one, and copy bundles that its instance does not have.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("source_worksheet_spec", Arity::One, "Worksheet to copy from."),
        Argument::positional("dest_worksheet_spec", Arity::One, "Worksheet to add to."),
        Argument::flag("replace", "-r --replace", "Replace the items of the destination."),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let source = cli.worksheet(parsed.text("source_worksheet_spec")).await?;
    let destination = cli.worksheet(parsed.text("dest_worksheet_spec")).await?;
    let include = ["items", "items.bundle"];
    let path = format!("worksheets/{}", source.uuid);
    let sheet = source.client.fetch_one(&path, Query::new().include(&include)).await?;
    let elsewhere = source.client.address() != destination.client.address();
    let mut items = Vec::new();
    let mut bundles = Vec::new();
    for item in related(&sheet, "items") {
        let copied = match field(item, "type") {
            "bundle" => match reference(item, "bundle") {
                Some(Reference { uuid, object }) => {
                    if let Some(state) = unfinished(object, elsewhere) {
                        cli.ui
                            .line(format!("Skipping bundle {uuid} because it has non-final state {state}"))?;
                        continue;
                    }
                    bundles.push(uuid.to_owned());
                    json!({"type": "bundle", "bundle": uuid})
                }
                None => continue,
            },
            "worksheet" => match reference(item, "subworksheet") {
                Some(Reference { uuid, .. }) => json!({"type": "worksheet", "subworksheet": uuid}),
                None => continue,
            },
            kind => json!({"type": kind, "value": sendable(kind, field(item, "value"))}),
        };
        items.push(copied);
    }
    let count = items.len();
    let replace = parsed.has("replace");
    if replace || !items.is_empty() {
        send_items(&destination, items, replace).await?;
    }
    if elsewhere {
        copy_missing(cli, &source.client, &destination.client, bundles).await?;
    }
    cli.ui
        .line(format!("Copied {count} worksheet items to {}.", destination.uuid))
}

struct Reference<'a> {
    uuid: &'a str,
    object: &'a Object,
}

fn reference<'a>(item: &'a Object, key: &str) -> Option<Reference<'a>> {
    let object = item.get(key)?.as_object()?;
    let uuid = text(object.get("uuid")).or_else(|| text(object.get("id")))?;
    Some(Reference { uuid, object })
}

/// The state of a bundle that is left out: one that is not final. A reference to a bundle that cannot be seen is copied
/// like any other item, but not to an instance where it would point nowhere.
fn unfinished(bundle: &Object, elsewhere: bool) -> Option<&str> {
    match text(bundle.get("state")) {
        Some("ready" | "failed" | "killed") => None,
        Some(state) => Some(state),
        None => elsewhere.then_some("None"),
    }
}

/// Directives that cannot be split, which an older server let in, are sent as one quoted token, as the server shows them.
fn sendable(kind: &str, value: &str) -> String {
    if kind == "directive" && tokenize(value).is_err() {
        serialise(&[value])
    } else {
        value.to_owned()
    }
}

async fn copy_missing(cli: &mut Cli, source: &Client, destination: &Client, mut bundles: Vec<String>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    bundles.retain(|uuid| seen.insert(uuid.clone()));
    for uuid in bundles {
        if !copying::exists(destination, &uuid).await? {
            copying::copy(cli, source, &uuid, destination, None).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bundles_that_still_change_are_left_out() {
        for (bundle, elsewhere, left_out) in [
            (json!({"state": "ready"}), false, None),
            (json!({"state": "failed"}), true, None),
            (json!({"state": "killed"}), false, None),
            (json!({"state": "staged"}), false, Some("staged")),
            (json!({"uuid": "0x1"}), false, None),
            (json!({"uuid": "0x1", "state": null}), true, Some("None")),
        ] {
            assert_eq!(unfinished(bundle.as_object().unwrap(), elsewhere), left_out, "{bundle}");
        }
    }

    #[test]
    fn directives_with_an_open_quote_are_sent_quoted() {
        assert_eq!(sendable("directive", "display 'x"), r#"'display '"'"'x'"#);
        assert_eq!(sendable("directive", "display table"), "display table");
        assert_eq!(sendable("markup", "it's"), "it's");
    }
}
