//! `cl wperm`: what a group may do with a worksheet.

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
    name: "wperm",
    aliases: &[],
    group: Group::Permissions,
    summary: "Set what a group may do with a worksheet.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("worksheet_spec", Arity::One, "Worksheet."),
        Argument::positional("group_spec", Arity::One, "Group: name, uuid or public."),
        Argument::positional("permission_spec", Arity::One, "none (n), read (r) or all (a)."),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let permission: Permission = parsed.text("permission_spec").unwrap_or_default().parse()?;
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let client = &worksheet.client;
    let sheet = client
        .fetch_one(&format!("worksheets/{}", worksheet.uuid), Query::new())
        .await?;
    let group = accounts::group(client, parsed.text("group_spec").unwrap_or_default()).await?;
    let relationships = json!({
        "group": to_one("groups", fields::field(&group, "id")),
        "worksheet": to_one("worksheets", &worksheet.uuid),
    });
    let attributes = json!({"permission": permission.level()});
    let change = resource("worksheet-permissions", None, attributes, relationships);
    client
        .create("worksheet-permissions", Query::new(), vec![change])
        .await?;
    cli.ui.line(format!(
        "Group {} has {permission} permission on worksheet {}.",
        accounts::group_reference(&group),
        fields::worksheet(client.address(), &worksheet.uuid, fields::field(&sheet, "name"))
    ))
}
