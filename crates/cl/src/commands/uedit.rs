//! `cl uedit`: change an account.

use client::{Object, Query, Request, resource};
use domain::{duration, size};
use http::Method;
use serde_json::{Map, Value, json};

use super::{Command, Group, uinfo};
use crate::accounts;
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Kind, Parsed};
use crate::render::fields;

pub const COMMAND: Command = Command {
    name: "uedit",
    aliases: &[],
    group: Group::Users,
    summary: "Change an account: your own, or (for the root user) any.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("user_spec", Arity::Optional, "User name or id; default yourself."),
        Argument::option("first_name", "--first-name", Arity::One, "First name."),
        Argument::option("last_name", "--last-name", Arity::One, "Last name."),
        Argument::option("affiliation", "--affiliation", Arity::One, "Affiliation."),
        Argument::option("url", "--url", Arity::One, "Address of the home page."),
        Argument::option(
            "time_quota",
            "-t --time-quota",
            Arity::One,
            "Time that runs may take in all (e.g., 3, 3m, 3h, 3d).",
        ),
        Argument::option(
            "parallel_run_quota",
            "-p --parallel-run-quota",
            Arity::One,
            "Runs at the same time.",
        )
        .kind(Kind::Int),
        Argument::option(
            "disk_quota",
            "-d --disk-quota",
            Arity::One,
            "Disk space (e.g., 3, 3k, 3m, 3g).",
        ),
        Argument::flag(
            "grant_access",
            "--grant-access",
            "Let the user into a protected instance.",
        ),
        Argument::flag(
            "remove_access",
            "--remove-access",
            "Shut the user out of a protected instance.",
        ),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let changes = changes(parsed)?;
    let client = cli.current_client()?;
    let user = if let Some(spec) = parsed.text("user_spec") {
        let user = accounts::user(&client, spec).await?;
        let id = fields::field(&user, "id");
        let change = resource("users", Some(id), Value::Object(changes), json!({}));
        let changed = client.update("users", Query::new(), vec![change]).await?;
        changed.into_iter().next().unwrap_or(user)
    } else {
        let change = resource("users", None, Value::Object(changes), json!({}));
        let request = Request::new(Method::PATCH, "user").json(&json!({"data": change}));
        client.send(request).await?;
        client.fetch_one("user", Query::new()).await?
    };
    uinfo::show(cli, &user)
}

fn changes(parsed: &Parsed) -> Result<Object> {
    let mut changes = Map::new();
    for key in ["first_name", "last_name", "affiliation", "url"] {
        if let Some(value) = parsed.text(key) {
            changes.insert(key.to_owned(), Value::from(value));
        }
    }
    if let Some(text) = parsed.text("time_quota") {
        // Quotas are whole seconds.
        let seconds = duration::parse(text)?.trunc() as i64;
        changes.insert("time_quota".to_owned(), Value::from(seconds));
    }
    if let Some(text) = parsed.text("disk_quota") {
        changes.insert("disk_quota".to_owned(), Value::from(size::parse(text)?));
    }
    if let Some(runs) = parsed.int("parallel_run_quota") {
        changes.insert("parallel_run_quota".to_owned(), Value::from(runs));
    }
    match (parsed.has("grant_access"), parsed.has("remove_access")) {
        (true, true) => {
            return Err(Error::usage(
                "Can't both grant and remove access for a user; choose one of --grant-access and --remove-access.",
            ));
        }
        (false, false) => {}
        (grant, _) => {
            changes.insert("has_access".to_owned(), Value::from(grant));
        }
    }
    if changes.is_empty() {
        return Err(Error::usage("No fields to update."));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Outcome, parse};

    #[test]
    fn options_become_attributes_of_the_right_type() {
        for (typed, expected) in [
            (
                &["--first-name", "Mira", "--url="][..],
                Ok(json!({"first_name": "Mira", "url": ""})),
            ),
            (
                &["juno", "-t", "1d", "-d", "3.5g", "-p", "5"],
                Ok(json!({"time_quota": 86400, "disk_quota": 3_758_096_384_i64, "parallel_run_quota": 5})),
            ),
            (&["juno", "-d", "1000"], Ok(json!({"disk_quota": 1000}))),
            (&["juno", "--grant-access"], Ok(json!({"has_access": true}))),
            (&["juno", "--remove-access"], Ok(json!({"has_access": false}))),
            (&["juno", "--remove-access", "--grant-access"], Err("Can't both grant")),
            (&["juno"], Err("No fields to update.")),
            (&["-d", "10mb"], Err("Invalid size: 10mb")),
            (&["-t", "1d2h"], Err("Invalid duration: 1d2h")),
        ] {
            let tokens: Vec<String> = typed.iter().map(|&token| token.to_owned()).collect();
            let Ok(Outcome::Values(parsed)) = parse(&arguments(), &tokens) else {
                panic!("{typed:?} does not parse")
            };
            match (changes(&parsed), expected) {
                (Ok(changes), Ok(expected)) => assert_eq!(Value::Object(changes), expected),
                (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{error}"),
                (other, _) => panic!("{typed:?}: {other:?}"),
            }
        }
    }
}
