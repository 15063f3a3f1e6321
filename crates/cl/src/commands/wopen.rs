//! `cl wopen`: worksheets in the browser.

use client::Query;

use super::{Command, Group};
use crate::browser;
use crate::cli::{Cli, uuid_of};
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};

pub const COMMAND: Command = Command {
    name: "wopen",
    aliases: &["wo"],
    group: Group::Unlisted,
    summary: "Open worksheets in the browser, by default the current one.",
    arguments: || {
        vec![Argument::positional(
            "worksheet_spec",
            Arity::Any,
            "Worksheets to open.",
        )]
    },
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let specs = parsed.list("worksheet_spec");
    let mut worksheets = Vec::new();
    if specs.is_empty() {
        worksheets.push(cli.current_worksheet().await?);
    }
    for spec in specs {
        worksheets.push(cli.worksheet(Some(spec)).await?);
    }
    // A full uuid was taken as it is; only a worksheet that exists is opened.
    for worksheet in &mut worksheets {
        let path = format!("worksheets/{}", worksheet.uuid);
        let sheet = worksheet.client.fetch_one(&path, Query::new()).await?;
        worksheet.uuid = uuid_of(&worksheet.client, &sheet)?;
    }
    if cli.is_web() {
        cli.open_worksheets(worksheets.iter().map(|worksheet| worksheet.uuid.as_str()));
        return Ok(());
    }
    for worksheet in worksheets {
        let url = format!("{}/worksheets/{}", worksheet.client.address(), worksheet.uuid);
        browser::open(cli, &url);
    }
    Ok(())
}
