//! `cl new`: create a worksheet.

use client::{Query, resource};
use serde_json::json;

use super::{Command, Group};
use crate::cli::{Cli, uuid_of};
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};

pub const COMMAND: Command = Command {
    name: "new",
    aliases: &[],
    group: Group::Worksheets,
    summary: "Create a worksheet. The current worksheet stays the same.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional(
            "name",
            Arity::One,
            "Name of the worksheet; letters, digits, _, . and -.",
        ),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let name = parsed.text("name").unwrap_or_default();
    let client = match parsed.text("worksheet_spec") {
        Some(spec) => cli.worksheet(Some(spec)).await?.client,
        None => cli.current_client()?,
    };
    let sheet = resource("worksheets", None, json!({"name": name}), json!({}));
    let created = client.create("worksheets", Query::new(), vec![sheet]).await?;
    let uuid = match created.first() {
        Some(created) => uuid_of(&client, created)?,
        None => return Err(Error::other("the server did not say which worksheet it created")),
    };
    cli.open_worksheets([uuid.as_str()]);
    cli.ui.line(uuid)
}
