//! `cl work`: show or switch the current worksheet.

use client::Query;

use super::{Command, Group};
use crate::cli::{Cli, uuid_of};
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields;

pub const COMMAND: Command = Command {
    name: "work",
    aliases: &["w"],
    group: Group::Worksheets,
    summary: "Show the current worksheet, or switch to another one.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::flag("uuid_only", "-u --uuid-only", "Print only the uuid."),
        Argument::positional(
            "worksheet_spec",
            Arity::Optional,
            "Worksheet to switch to, [<instance>::](<uuid>|<name>).",
        ),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let spec = parsed.text("worksheet_spec");
    let mut worksheet = cli.worksheet(spec).await?;
    // Fetched before switching, so that a worksheet that does not exist changes nothing.
    let fetched = worksheet
        .client
        .fetch_one(&format!("worksheets/{}", worksheet.uuid), Query::new())
        .await?;
    worksheet.uuid = uuid_of(&worksheet.client, &fetched)?;
    if spec.is_some() {
        cli.switch(&worksheet)?;
        cli.open_worksheets([worksheet.uuid.as_str()]);
    }
    if parsed.has("uuid_only") {
        return cli.ui.line(&worksheet.uuid);
    }
    let reference = fields::worksheet(
        worksheet.client.address(),
        &worksheet.uuid,
        fields::field(&fetched, "name"),
    );
    let verb = if spec.is_some() { "Switched to" } else { "Currently on" };
    cli.ui.line(format!("{verb} worksheet: {reference}"))
}
