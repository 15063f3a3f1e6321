//! `cl chown`: give bundles to another user.

use client::{Query, resource, to_one};
use serde_json::json;

use super::{Command, Group};
use crate::accounts;
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields;

pub const COMMAND: Command = Command {
    name: "chown",
    aliases: &[],
    group: Group::Permissions,
    summary: "Give bundles to another user.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("user_spec", Arity::One, "New owner: user name or id."),
        Argument::positional("bundle_spec", Arity::AtLeastOne, "Bundles to give away."),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let (client, uuids) = cli.bundles(parsed.list("bundle_spec"), &worksheet).await?;
    let user = accounts::user(&client, parsed.text("user_spec").unwrap_or_default()).await?;
    let owner = json!({"owner": to_one("users", fields::field(&user, "id"))});
    let changes = uuids
        .iter()
        .map(|uuid| resource("bundles", Some(uuid), json!({}), owner.clone()))
        .collect();
    client.update("bundles", Query::new(), changes).await?;
    for uuid in uuids {
        cli.ui.line(uuid)?;
    }
    Ok(())
}
