//! `cl ls`: the bundles of a worksheet.

use client::{Object, Query};
use serde_json::Value;

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::bundles::{self, DEFAULT_FIELDS};
use crate::render::{fields, json, worksheets};

pub const COMMAND: Command = Command {
    name: "ls",
    aliases: &[],
    group: Group::Bundles,
    summary: "List the bundles of a worksheet.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::option("field", "-f --field", Arity::One, "Columns, separated by commas."),
        Argument::flag("uuid_only", "-u --uuid-only", "Print only uuids."),
        Argument::json(),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let path = format!("worksheets/{}", worksheet.uuid);
    let include = [
        "owner",
        "group_permissions",
        "items",
        "items.bundle",
        "items.bundle.owner",
    ];
    let sheet = worksheet
        .client
        .fetch_one(&path, Query::new().include(&include))
        .await?;
    let listed: Vec<Object> = fields::related(&sheet, "items")
        .into_iter()
        .filter(|item| fields::field(item, "type") == "bundle")
        .filter_map(|item| item.get("bundle").and_then(Value::as_object).cloned())
        .map(complete)
        .collect();
    cli.refer_to("bundle", listed.iter().map(fields::uuid_and_name));
    if parsed.has("json") {
        return json::chosen(&mut cli.ui, listed, parsed.text("field"), fields::generalised);
    }
    if parsed.has("uuid_only") {
        for bundle in &listed {
            cli.ui.line(fields::field(bundle, "uuid"))?;
        }
        return Ok(());
    }
    let zone = cli.zone();
    cli.ui.text(worksheets::header(worksheet.client.address(), &sheet))?;
    let columns = parsed.text("field").unwrap_or(DEFAULT_FIELDS);
    cli.ui.text(bundles::table(&listed, columns, true, &zone).render())
}

/// A bundle that no longer exists is only a link: give it what can be known.
fn complete(mut bundle: Object) -> Object {
    if !bundle.contains_key("uuid")
        && let Some(id) = bundle.get("id").cloned()
    {
        bundle.insert("uuid".to_owned(), id);
    }
    bundle
}
