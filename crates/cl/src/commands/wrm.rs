//! `cl wrm`: delete worksheets.

use client::Query;

use super::{Command, Group};
use crate::cli::{Cli, Worksheet};
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields;

pub const COMMAND: Command = Command {
    name: "wrm",
    aliases: &[],
    group: Group::Worksheets,
    summary: "Delete worksheets. The bundles on them stay.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("worksheet_spec", Arity::AtLeastOne, "Worksheets to delete."),
        Argument::flag("force", "--force", "Delete them even if they are frozen or not empty."),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let mut worksheets = Vec::new();
    for spec in parsed.list("worksheet_spec") {
        worksheets.push(cli.worksheet(Some(spec)).await?);
    }
    let (_, session) = cli.session()?;
    for worksheet in worksheets {
        let query = Query::new().flag("force", parsed.has("force"));
        worksheet
            .client
            .delete("worksheets", query, std::slice::from_ref(&worksheet.uuid))
            .await?;
        if worksheet.uuid == session.worksheet_uuid && worksheet.client.address() == session.address {
            go_home(cli).await?;
        }
    }
    Ok(())
}

/// The worksheet of the session is gone.
async fn go_home(cli: &mut Cli) -> Result<()> {
    let home = cli.worksheet(Some("/")).await?;
    let sheet = home
        .client
        .fetch_one(&format!("worksheets/{}", home.uuid), Query::new())
        .await?;
    switch_and_say(cli, &home, fields::field(&sheet, "name"))
}

/// Switches the session and says so.
fn switch_and_say(cli: &mut Cli, worksheet: &Worksheet, name: &str) -> Result<()> {
    cli.switch(worksheet)?;
    cli.open_worksheets([worksheet.uuid.as_str()]);
    let reference = fields::worksheet(worksheet.client.address(), &worksheet.uuid, name);
    cli.ui.line(format!("Switched to worksheet: {reference}"))
}
