//! `cl kill`: stop runs.

use client::{Query, resource};
use serde_json::json;

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};

pub const COMMAND: Command = Command {
    name: "kill",
    aliases: &[],
    group: Group::Bundles,
    summary: "Stop runs.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("bundle_spec", Arity::AtLeastOne, "Runs to stop."),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let (client, uuids) = cli.bundles(parsed.list("bundle_spec"), &worksheet).await?;
    for uuid in &uuids {
        cli.ui.line(uuid)?;
    }
    let actions = uuids
        .iter()
        .map(|uuid| resource("bundle-actions", None, json!({"type": "kill", "uuid": uuid}), json!({})))
        .collect();
    client.create("bundle-actions", Query::new(), actions).await?;
    Ok(())
}
