//! `cl uls`: search accounts.

use client::{Fetched, Object, Query};
use domain::literal::display;
use serde_json::Value;

use super::search::notice_limit;
use super::{Command, Group};
use crate::accounts;
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::json;
use crate::render::table::Table;

/// Columns when none are chosen; the second part if the server shows them.
const PUBLIC: &[&str] = &["user_name", "first_name", "last_name", "affiliation", "date_joined"];
const RESTRICTED: &[&str] = &["last_login", "time", "disk", "parallel_run_quota"];

pub const COMMAND: Command = Command {
    name: "uls",
    aliases: &[],
    group: Group::Users,
    summary: "Search accounts.\n\
              Keywords: words, <field>=<value>, .joined_before=<time>, .joined_after=<time>, .limit=<n>, .offset=<n>,\n\
              .last, .count, .format=<format>; for the root user also .active_before=<time>, .active_after=<time>,\n\
              .disk_used_less_than=<share>, .disk_used_more_than=<share>, .time_used_less_than=<share>,\n\
              .time_used_more_than=<share>",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("keywords", Arity::Any, "Keywords to search for."),
        Argument::option("field", "-f --field", Arity::One, "Columns, separated by commas."),
        Argument::json(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = cli.current_client()?;
    let keywords = parsed.list("keywords");
    let query = if keywords.is_empty() {
        Query::new().with("keywords", "")
    } else {
        Query::new().with_all("keywords", keywords)
    };
    let found = match client.fetch("users", query).await? {
        Fetched::Meta(meta) => {
            let result = meta.get("results").or_else(|| meta.get("result"));
            return cli.ui.line(result.map(display).unwrap_or_default());
        }
        Fetched::Many(found) => found,
        Fetched::One(user) => vec![user],
    };
    if parsed.has("json") {
        return json::chosen(&mut cli.ui, found, parsed.text("field"), |user, name| {
            let text = accounts::value(user, name).map_or(Value::Null, Value::from);
            user.get(name).cloned().unwrap_or(text)
        });
    }
    if found.is_empty() {
        cli.ui.notice("No results found");
        return Ok(());
    }
    let columns: Vec<&str> = match parsed.text("field") {
        Some(list) => list.split(',').collect(),
        None if found[0].contains_key("last_login") => [PUBLIC, RESTRICTED].concat(),
        None => PUBLIC.to_vec(),
    };
    cli.ui.text(table(&found, &columns).render())?;
    notice_limit(cli, found.len(), keywords);
    Ok(())
}

fn table(users: &[Object], columns: &[&str]) -> Table {
    let mut table = Table::new(columns.iter().copied());
    for user in users {
        table.row(columns.iter().map(|column| cell(user, column)).collect());
    }
    table
}

fn cell(user: &Object, column: &str) -> String {
    match column {
        "time" | "disk" => accounts::value(user, column).unwrap_or_else(|| " ".to_owned()),
        _ => user
            .get(column)
            .filter(|value| !value.is_null())
            .map(display)
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_is_an_empty_cell() {
        let users = json!([
            {"user_name": "mira", "first_name": "Mira", "last_name": null, "date_joined": "Tue Nov 14 22:13:20 2023",
             "last_login": "Wed Nov 15 08:01:09 2023", "time_used": 0, "time_quota": 3600, "disk_used": 512,
             "disk_quota": 1024, "parallel_run_quota": 3},
            {"user_name": "juno", "first_name": null, "affiliation": "Lab"}]);
        let users: Vec<Object> = users
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user.as_object().unwrap().clone())
            .collect();
        insta::assert_snapshot!(table(&users, &[PUBLIC, RESTRICTED].concat()).render());
    }
}
