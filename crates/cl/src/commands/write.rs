//! `cl write`: put a small file into a run.

use client::{Query, resource};
use serde_json::json;

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};

pub const COMMAND: Command = Command {
    name: "write",
    aliases: &[],
    group: Group::Bundles,
    summary: "Write a text to a file in a run that is going on.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("target_spec", Arity::One, "[<worksheet>//]<bundle>/<file name>"),
        Argument::positional("string", Arity::One, "Text to write."),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let spec = parsed.text("target_spec").unwrap_or_default();
    let target = cli.target(spec, &worksheet, true).await?;
    let attributes = json!({
        "type": "write",
        "uuid": target.uuid,
        "subpath": target.subpath,
        "string": parsed.text("string").unwrap_or_default(),
    });
    let action = resource("bundle-actions", None, attributes, json!({}));
    target
        .client
        .create("bundle-actions", Query::new(), vec![action])
        .await?;
    cli.ui.line(target.uuid)
}
