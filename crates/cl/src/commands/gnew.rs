//! `cl gnew`: create a group.

use client::{Query, resource};
use serde_json::json;

use super::{Command, Group};
use crate::accounts;
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};

pub const COMMAND: Command = Command {
    name: "gnew",
    aliases: &[],
    group: Group::Permissions,
    summary: "Create a group. You are its owner.",
    arguments: || {
        vec![Argument::positional(
            "name",
            Arity::One,
            "Name of the group; letters, digits, _, . and -.",
        )]
    },
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = cli.current_client()?;
    let attributes = json!({"name": parsed.text("name").unwrap_or_default()});
    let group = resource("groups", None, attributes, json!({}));
    let created = client.create("groups", Query::new(), vec![group]).await?;
    let Some(group) = created.first() else {
        return Err(Error::other("the server did not say which group it created"));
    };
    cli.ui
        .line(format!("Created new group {}.", accounts::group_reference(group)))
}
