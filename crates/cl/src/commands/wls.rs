//! `cl wls`: search worksheets.

use client::Query;

use super::search::notice_limit;
use super::{Command, Group};
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::{fields, json, worksheets};

pub const COMMAND: Command = Command {
    name: "wls",
    aliases: &["wsearch", "ws"],
    group: Group::Worksheets,
    summary: "Search worksheets.\n\
              Keywords: words, tag=<tag>, group=<group>, owner=<user>, bundle=<uuid>, .mine, .notmine, .shared,\n\
              .limit=<n>, .offset=<n>, .last, <field>=.sort, <field>=.sort-",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("keywords", Arity::Any, "Keywords to search for."),
        Argument::option(
            "address",
            "-a --address",
            Arity::One,
            "Instance to search, alias or address.",
        ),
        Argument::flag("uuid_only", "-u --uuid-only", "Print only uuids."),
        Argument::json(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = match parsed.text("address") {
        Some(instance) => {
            let address = cli.address(instance.trim_end_matches("::"))?;
            cli.client(&address)?
        }
        None => cli.current_client()?,
    };
    let keywords = parsed.list("keywords");
    let query = Query::new()
        .include(&["owner", "group_permissions"])
        .with_all("keywords", keywords);
    let found = client.fetch_list("worksheets", query).await?;
    let names = found
        .iter()
        .map(|sheet| (fields::field(sheet, "uuid"), fields::field(sheet, "name")));
    cli.refer_to("worksheet", names);
    if parsed.has("json") {
        return json::list(&mut cli.ui, found);
    }
    if parsed.has("uuid_only") {
        for sheet in &found {
            cli.ui.line(fields::field(sheet, "uuid"))?;
        }
        return Ok(());
    }
    if found.is_empty() {
        cli.ui.notice("No results found");
        return Ok(());
    }
    cli.ui.text(worksheets::table(&found).render())?;
    notice_limit(cli, found.len(), keywords);
    Ok(())
}
