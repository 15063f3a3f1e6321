//! `cl uinfo`: an account.

use client::{Object, Query};
use serde_json::Value;

use super::{Command, Group};
use crate::accounts;
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::json;

pub const COMMAND: Command = Command {
    name: "uinfo",
    aliases: &[],
    group: Group::Users,
    summary: "Show an account, by default your own.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("user_spec", Arity::Optional, "User name or id; default yourself."),
        Argument::option(
            "field",
            "-f --field",
            Arity::One,
            "Only these attributes, separated by commas, one per line.",
        ),
        Argument::json(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = cli.current_client()?;
    let mut user = match parsed.text("user_spec") {
        Some(spec) => accounts::user(&client, spec).await?,
        None => client.fetch_one("user", Query::new()).await?,
    };
    user.remove("meta");
    let names = parsed
        .text("field")
        .map(|list| list.split(',').map(str::trim).collect::<Vec<_>>());
    match names {
        Some(names) if parsed.has("json") => json::one(&mut cli.ui, &chosen(&user, &names)?),
        None if parsed.has("json") => json::one(&mut cli.ui, &user),
        Some(names) => {
            for (_, value) in values(&user, &names)? {
                cli.ui.line(value)?;
            }
            Ok(())
        }
        None => show(cli, &user),
    }
}

/// The whole account.
pub fn show(cli: &mut Cli, user: &Object) -> Result<()> {
    for line in accounts::lines(user) {
        cli.ui.line(line)?;
    }
    Ok(())
}

/// The attributes of these names as text.
fn values<'a>(user: &Object, names: &[&'a str]) -> Result<Vec<(&'a str, String)>> {
    names
        .iter()
        .map(|&name| match accounts::value(user, name) {
            Some(value) => Ok((name, value)),
            None => Err(Error::usage(format!(
                "{name} is not an attribute of users that you may see; there are: {}",
                user.keys().cloned().collect::<Vec<_>>().join(", ")
            ))),
        })
        .collect()
}

fn chosen(user: &Object, names: &[&str]) -> Result<Object> {
    let values = values(user, names)?;
    Ok(values
        .into_iter()
        .map(|(name, text)| (name.to_owned(), user.get(name).cloned().unwrap_or(Value::from(text))))
        .collect())
}
