//! `cl open`: bundles in the browser.

use client::Query;
use domain::spec::expand_ranges;

use super::{Command, Group};
use crate::browser;
use crate::cli::{Cli, uuid_of};
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};

pub const COMMAND: Command = Command {
    name: "open",
    aliases: &["o"],
    group: Group::Unlisted,
    summary: "Open bundles in the browser.",
    arguments: || {
        vec![
            Argument::positional("bundle_spec", Arity::AtLeastOne, "Bundles to open."),
            Argument::worksheet(),
        ]
    },
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let client = &worksheet.client;
    let query = Query::new()
        .with_all("specs", expand_ranges(parsed.list("bundle_spec")))
        .with("worksheet", worksheet.uuid.clone());
    let bundles = client.fetch_list("bundles", query).await?;
    let uuids = bundles
        .iter()
        .map(|bundle| uuid_of(client, bundle))
        .collect::<Result<Vec<_>>>()?;
    if cli.is_web() {
        cli.open_bundles(uuids.iter().map(String::as_str));
        return Ok(());
    }
    for uuid in uuids {
        browser::open(cli, &format!("{}/bundles/{uuid}", client.address()));
    }
    Ok(())
}
