//! `cl ginfo`: the members of a group.

use std::collections::BTreeMap;

use client::{Client, Object};
use domain::literal::display;
use serde_json::Value;

use super::{Command, Group};
use crate::accounts;
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields::{related, text};
use crate::render::json;
use crate::render::table::Table;

pub const COMMAND: Command = Command {
    name: "ginfo",
    aliases: &[],
    group: Group::Permissions,
    summary: "Show the members of a group.",
    arguments: || {
        vec![
            Argument::positional("group_spec", Arity::One, "Group: name, uuid or public."),
            Argument::json(),
        ]
    },
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

/// An id and a name (unknown for accounts that no longer exist), and the role.
struct Member {
    id: String,
    name: Option<String>,
    role: &'static str,
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = cli.current_client()?;
    let group = accounts::group(&client, parsed.text("group_spec").unwrap_or_default()).await?;
    let mut members = members(&group);
    look_up(&client, &mut members).await?;
    if parsed.has("json") {
        let rows = members.iter().map(|member| {
            let row = [
                ("id", Value::from(member.id.clone())),
                ("user_name", member.name.clone().map_or(Value::Null, Value::from)),
                ("role", Value::from(member.role)),
            ];
            row.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
        });
        return json::list(&mut cli.ui, rows);
    }
    cli.ui
        .line(format!("Members of group {}:", accounts::group_reference(&group)))?;
    let mut table = Table::new(["user", "role"]);
    for member in members {
        let name = member.name.as_deref().unwrap_or("[deleted user]");
        table.row(vec![format!("{name}({})", member.id), member.role.to_owned()]);
    }
    cli.ui.text(table.render())
}

/// The owner first, then admins, then members.
fn members(group: &Object) -> Vec<Member> {
    let owner = group.get("owner").and_then(Value::as_object);
    let owner = owner.filter(|owner| owner.contains_key("id"));
    let admins = related(group, "admins").into_iter().map(|user| (user, "admin"));
    let others = related(group, "members").into_iter().map(|user| (user, "member"));
    owner
        .into_iter()
        .map(|user| (user, "owner"))
        .chain(admins)
        .chain(others)
        .map(|(user, role)| Member {
            id: user.get("id").map(display).unwrap_or_default(),
            name: text(user.get("user_name")).map(str::to_owned),
            role,
        })
        .collect()
}

/// A server of 1.7 sends only the first ten accounts along; the others are asked for one by one.
async fn look_up(client: &Client, members: &mut [Member]) -> Result<()> {
    let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
    for member in members.iter_mut().filter(|member| member.name.is_none()) {
        if !known.contains_key(&member.id) {
            let name = match accounts::user(client, &member.id).await {
                Ok(user) => text(user.get("user_name")).map(str::to_owned),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error),
            };
            known.insert(member.id.clone(), name);
        }
        member.name = known.get(&member.id).cloned().flatten();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_owner_comes_first_and_the_public_group_has_none() {
        let user = |id: &str, name: Option<&str>| json!({"id": id, "user_name": name});
        let group = json!({
            "owner": user("1", Some("mira")),
            "admins": [user("2", Some("juno"))],
            "members": [user("3", None)],
        });
        let shown: Vec<String> = members(group.as_object().unwrap())
            .iter()
            .map(|member| format!("{} {:?} {}", member.id, member.name, member.role))
            .collect();
        assert_eq!(
            shown,
            ["1 Some(\"mira\") owner", "2 Some(\"juno\") admin", "3 None member"]
        );
        let public = json!({"owner": null, "admins": [], "members": []});
        assert!(members(public.as_object().unwrap()).is_empty());
    }
}
