//! `cl uadd`: put a user into a group.

use client::Query;
use serde_json::json;

use super::{Command, Group};
use crate::accounts;
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields;

pub const COMMAND: Command = Command {
    name: "uadd",
    aliases: &[],
    group: Group::Permissions,
    summary: "Put a user into a group, or change the role there.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("user_spec", Arity::One, "User name or id."),
        Argument::positional("group_spec", Arity::One, "Group: name or uuid."),
        Argument::flag("admin", "-a --admin", "As an admin, who may change the group."),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = cli.current_client()?;
    let user = accounts::user(&client, parsed.text("user_spec").unwrap_or_default()).await?;
    let group = accounts::group(&client, parsed.text("group_spec").unwrap_or_default()).await?;
    let (role, relationship) = if parsed.has("admin") {
        ("admin", "admins")
    } else {
        ("member", "members")
    };
    let path = format!("groups/{}/relationships/{relationship}", fields::field(&group, "id"));
    let body = json!({"data": [{"type": "users", "id": fields::field(&user, "id")}]});
    client.post_json(&path, Query::new(), &body).await?;
    cli.ui.line(format!(
        "{} in group {} as {role}",
        fields::field(&user, "user_name"),
        fields::field(&group, "name")
    ))
}
