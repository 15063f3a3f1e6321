//! `cl search`: find bundles.

use client::{Fetched, Query};
use domain::literal::display;
use serde_json::{Value, json};

use super::{Command, Group, add};
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::bundles::{self, DEFAULT_FIELDS};
use crate::render::fields;
use crate::render::json as output;

pub const COMMAND: Command = Command {
    name: "search",
    aliases: &["s"],
    group: Group::Bundles,
    summary: "Search bundles of all worksheets.\n\
              Keywords: words, <field>=<value>, .mine, .shared, .floating, host_worksheet=<worksheet>,\n\
              .limit=<n>, .offset=<n>, .before=<time>, .after=<time>, .last, <field>=.sort, <field>=.sort-,\n\
              .count, <field>=.sum, .format=<format>; % is a wildcard",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("keywords", Arity::AtLeastOne, "Keywords to search for."),
        Argument::option("field", "-f --field", Arity::One, "Columns, separated by commas."),
        Argument::flag("append", "-a --append", "Append what is found to the worksheet."),
        Argument::flag("uuid_only", "-u --uuid-only", "Print only uuids."),
        Argument::json(),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let client = worksheet.client.clone();
    let keywords = parsed.list("keywords");
    let query = Query::new()
        .include(&["owner"])
        .with("worksheet", worksheet.uuid.clone())
        .with_all("keywords", keywords);
    let found = match client.fetch("bundles", query).await? {
        Fetched::Meta(meta) => {
            let result = meta.get("result").map(display).unwrap_or_default();
            return cli.ui.line(result);
        }
        Fetched::Many(found) => found,
        Fetched::One(bundle) => vec![bundle],
    };
    cli.refer_to("bundle", found.iter().map(fields::uuid_and_name));
    if parsed.has("json") {
        output::chosen(&mut cli.ui, found.clone(), parsed.text("field"), fields::generalised)?;
    } else if parsed.has("uuid_only") {
        for bundle in &found {
            cli.ui.line(fields::field(bundle, "uuid"))?;
        }
    } else if found.is_empty() {
        cli.ui.notice("No results found");
    } else {
        let zone = cli.zone();
        let columns = parsed.text("field").unwrap_or(DEFAULT_FIELDS);
        cli.ui.text(bundles::table(&found, columns, false, &zone).render())?;
        notice_limit(cli, found.len(), keywords);
    }
    if parsed.has("append") && !found.is_empty() {
        let items: Vec<Value> = found
            .iter()
            .map(|bundle| json!({"type": "bundle", "bundle": fields::field(bundle, "uuid")}))
            .collect();
        add::append(&worksheet, items).await?;
        let path = format!("worksheets/{}", worksheet.uuid);
        let sheet = client.fetch_one(&path, Query::new()).await?;
        let reference = fields::worksheet(client.address(), &worksheet.uuid, fields::field(&sheet, "name"));
        cli.ui.line(format!("Added {} bundles to {reference}", found.len()))?;
    }
    Ok(())
}

/// Says that a search without limit of its own was cut at the server's default.
pub fn notice_limit(cli: &mut Cli, rows: usize, keywords: &[String]) {
    if rows == 10 && !keywords.iter().any(|keyword| keyword.starts_with(".limit=")) {
        cli.ui
            .notice("Only 10 results are shown. Use .limit=<n> to see the first n results.");
    }
}
