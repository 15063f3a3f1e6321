//! `cl gls`: the groups of the user.

use client::{Object, Query};
use domain::literal::display;
use serde_json::Value;

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Parsed};
use crate::render::fields::{self, field, related};
use crate::render::json;
use crate::render::table::Table;

pub const COMMAND: Command = Command {
    name: "gls",
    aliases: &[],
    group: Group::Permissions,
    summary: "Show your groups and your role in each.",
    arguments: || vec![Argument::worksheet(), Argument::json()],
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = match parsed.text("worksheet_spec") {
        Some(spec) => cli.worksheet(Some(spec)).await?.client,
        None => cli.current_client()?,
    };
    let (user, groups) = futures::try_join!(
        client.fetch_one("user", Query::new()),
        client.fetch_list("groups", Query::new())
    )?;
    let user = user.get("id").cloned().unwrap_or(Value::Null);
    if parsed.has("json") {
        let rows = groups.into_iter().map(|mut group| {
            let role = role(&group, &user);
            group.insert("role".to_owned(), Value::from(role));
            group
        });
        return json::list(&mut cli.ui, rows);
    }
    if groups.is_empty() {
        return cli.ui.line("No groups found.");
    }
    let mut table = Table::new(["name", "uuid", "owner", "role"]);
    for group in &groups {
        let owner = match group.get("owner") {
            None | Some(Value::Null) => String::new(),
            owner => fields::user(owner),
        };
        table.row(vec![
            field(group, "name").to_owned(),
            field(group, "id").to_owned(),
            owner,
            role(group, &user).to_owned(),
        ]);
    }
    cli.ui.text(table.render())
}

/// `owner`, `admin` or `member`; everybody is a member of the public group.
fn role(group: &Object, user: &Value) -> &'static str {
    let is = |other: Option<&Value>| other.is_some_and(|id| display(id) == display(user));
    if is(group.get("owner").and_then(|owner| owner.get("id"))) {
        "owner"
    } else if related(group, "admins").iter().any(|admin| is(admin.get("id"))) {
        "admin"
    } else {
        "member"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_highest_role_is_shown() {
        let person = |id: &str| json!({"type": "users", "id": id});
        for (owner, admins, expected) in [
            (person("12"), vec![person("12")], "owner"),
            (person("13"), vec![person("14"), person("12")], "admin"),
            (person("13"), vec![], "member"),
            (Value::Null, vec![], "member"),
        ] {
            let group = json!({"owner": owner, "admins": admins, "members": [person("12")]});
            assert_eq!(role(group.as_object().unwrap(), &json!("12")), expected);
        }
    }
}
