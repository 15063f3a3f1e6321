//! `cl urm`: take a user out of a group.

use client::Request;
use http::Method;
use serde_json::{Value, json};

use super::{Command, Group};
use crate::accounts;
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields::{field, related};

pub const COMMAND: Command = Command {
    name: "urm",
    aliases: &[],
    group: Group::Permissions,
    summary: "Take a user out of a group.",
    arguments: || {
        vec![
            Argument::positional("user_spec", Arity::One, "User name or id."),
            Argument::positional("group_spec", Arity::One, "Group: name or uuid."),
        ]
    },
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = cli.current_client()?;
    let user = accounts::user(&client, parsed.text("user_spec").unwrap_or_default()).await?;
    let group = accounts::group(&client, parsed.text("group_spec").unwrap_or_default()).await?;
    let (id, name) = (field(&user, "id"), field(&user, "user_name"));
    let owner = group
        .get("owner")
        .and_then(|owner| owner.get("id"))
        .and_then(Value::as_str);
    let is_listed = |role: &str| related(&group, role).iter().any(|member| field(member, "id") == id);
    // Whether an owner can leave is for the server to say.
    if owner != Some(id) && !is_listed("admins") && !is_listed("members") {
        return cli
            .ui
            .line(format!("{name} is not a member of group {}.", field(&group, "name")));
    }
    let path = format!("groups/{}/relationships/members", field(&group, "id"));
    let body = json!({"data": [{"type": "users", "id": id}]});
    client.send(Request::new(Method::DELETE, path).json(&body)).await?;
    cli.ui
        .line(format!("Removed {name} from group {}.", field(&group, "name")))
}
