//! `cl perm`: what a group may do with bundles.

use client::{Query, resource, to_one};
use domain::Permission;
use serde_json::json;

use super::{Command, Group};
use crate::accounts;
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields;

pub const COMMAND: Command = Command {
    name: "perm",
    aliases: &[],
    group: Group::Permissions,
    summary: "Set what a group may do with bundles.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("bundle_spec", Arity::AtLeastOne, "Bundles."),
        Argument::positional("group_spec", Arity::One, "Group: name, uuid or public."),
        Argument::positional("permission_spec", Arity::One, "none (n), read (r) or all (a)."),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let permission: Permission = parsed.text("permission_spec").unwrap_or_default().parse()?;
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let (client, uuids) = cli.bundles(parsed.list("bundle_spec"), &worksheet).await?;
    let group = accounts::group(&client, parsed.text("group_spec").unwrap_or_default()).await?;
    let permissions = uuids
        .iter()
        .map(|uuid| {
            let relationships = json!({
                "group": to_one("groups", fields::field(&group, "id")),
                "bundle": to_one("bundles", uuid),
            });
            let attributes = json!({"permission": permission.level()});
            resource("bundle-permissions", None, attributes, relationships)
        })
        .collect();
    client.create("bundle-permissions", Query::new(), permissions).await?;
    cli.ui.line(format!(
        "Group {} has {permission} permission on {} bundles.",
        accounts::group_reference(&group),
        uuids.len()
    ))
}
