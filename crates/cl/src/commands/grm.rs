//! `cl grm`: delete a group.

use client::Query;

use super::{Command, Group};
use crate::accounts;
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields;

pub const COMMAND: Command = Command {
    name: "grm",
    aliases: &[],
    group: Group::Permissions,
    summary: "Delete a group.",
    arguments: || vec![Argument::positional("group_spec", Arity::One, "Group: name or uuid.")],
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = cli.current_client()?;
    let group = accounts::group(&client, parsed.text("group_spec").unwrap_or_default()).await?;
    let id = fields::field(&group, "id").to_owned();
    client.delete("groups", Query::new(), &[id]).await?;
    cli.ui
        .line(format!("Deleted group {}.", accounts::group_reference(&group)))
}
