//! `cl run`: a bundle that is the result of a command.

use client::{Client, Object, Query, resource};
use domain::BundleType;
use domain::name::default_bundle_name;
use serde_json::{Value, json};

use super::upload::created_uuid;
use super::{Command, Group, add, info};
use crate::bundle_metadata;
use crate::cli::Cli;
use crate::dependencies;
use crate::error::{Error, Result};
use crate::following::{self, Files, Start};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields::{dependencies_of, field};

pub const COMMAND: Command = Command {
    name: "run",
    aliases: &[],
    group: Group::Bundles,
    summary: "Create a bundle by running a command on other bundles.\n\
              cl run <key>:<target> ... '<command>', or cl run <key>:<target> ... --- <word> ...;\n\
              %<target>% inside the command is a dependency as well",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    let mut arguments = vec![
        Argument::positional("target_spec", Arity::Any, "[<key>:][<worksheet>//]<bundle>[/<path>]"),
        Argument::positional("command", Arity::One, "Command to run."),
        Argument::worksheet(),
        Argument::option(
            "after_sort_key",
            "-a --after_sort_key",
            Arity::One,
            "Insert after this item of the worksheet.",
        ),
        Argument::flag("memoize", "-m --memoize", "If there is an equal run already, use it."),
        Argument::flag("wait", "-W --wait", "Wait until it is finished, then print info."),
        Argument::flag("tail", "-t --tail", "Wait until it is finished, printing its output."),
        Argument::flag("verbose", "-v --verbose", "Print more with --wait and --tail."),
    ];
    arguments.extend(bundle_metadata::arguments(BundleType::Run));
    arguments
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let client = worksheet.client.clone();
    let typed = parsed.text("command").unwrap_or_default();
    let (keyed, command) = dependencies::of_run(parsed.list("target_spec"), typed)?;
    let name = default_bundle_name(Some(BundleType::Run), &command);
    let mut metadata = bundle_metadata::collect(BundleType::Run, parsed, &name)?;
    let dependencies = dependencies::resolve(cli, &keyed, &worksheet).await?;
    if command.is_empty() {
        return Err(Error::usage("The command cannot be empty."));
    }
    if parsed.has("memoize")
        && let Some(uuid) = equal_run(&client, &command, &dependencies).await?
    {
        cli.ui.line(&uuid)?;
        return add::append(&worksheet, vec![json!({"type": "bundle", "bundle": uuid})]).await;
    }
    if parsed.has("edit") {
        metadata = bundle_metadata::edit(BundleType::Run, metadata, &cli.environment)?;
    }
    let query = Query::new()
        .with("worksheet", worksheet.uuid.clone())
        .with_option("after_sort_key", parsed.text("after_sort_key").map(str::trim));
    let attributes =
        json!({"bundle_type": "run", "command": command, "metadata": metadata, "dependencies": dependencies});
    let bundle = resource("bundles", None, attributes, json!({}));
    let created = client.create("bundles", query, vec![bundle]).await?;
    let uuid = created_uuid(&client, &created)?;
    cli.ui.line(&uuid)?;
    cli.ui.flush()?;
    finish(cli, &client, &uuid, parsed).await
}

/// What `--wait`, `--tail` and `--verbose` ask for. The exit status stays 0; a failure is told on stderr.
async fn finish(cli: &mut Cli, client: &Client, uuid: &str, parsed: &Parsed) -> Result<()> {
    let (wait, tail, verbose) = (parsed.has("wait"), parsed.has("tail"), parsed.has("verbose"));
    let mut last = None;
    if wait {
        last = Some(following::wait(client, uuid).await?);
        show(cli, client, uuid, verbose).await?;
    }
    if tail {
        let paths = vec!["stdout".to_owned(), "stderr".to_owned()];
        let files = Files {
            paths,
            optional: true,
            start: Start::Beginning,
            uuid,
        };
        last = Some(following::follow(cli, client, files).await?);
        if verbose {
            show(cli, client, uuid, verbose).await?;
        }
    }
    let state = last.as_ref().map_or("ready", |bundle| field(bundle, "state"));
    if state != "ready" {
        cli.ui.notice(state);
    }
    Ok(())
}

async fn show(cli: &mut Cli, client: &Client, uuid: &str, verbose: bool) -> Result<()> {
    let query = Query::new().include(info::include(verbose));
    let bundle = client.fetch_one(&format!("bundles/{uuid}"), query).await?;
    info::show(cli, client, &[bundle], false, verbose).await
}

/// The latest run of this user with the same command and dependencies that did not go wrong.
async fn equal_run(client: &Client, command: &str, dependencies: &[Value]) -> Result<Option<String>> {
    let pairs: Vec<Value> = dependencies
        .iter()
        .map(|entry| json!({"child_path": entry["child_path"], "parent_uuid": entry["parent_uuid"]}))
        .collect();
    let query = Query::new()
        .with("command", command)
        .with("dependencies", Value::from(pairs).to_string());
    let found = client.fetch_list("bundles", query).await?;
    let last = found.iter().rev().find(|bundle| is_reusable(bundle, dependencies));
    Ok(last.map(|bundle| field(bundle, "uuid").to_owned()))
}

/// The server compares keys and bundles; the paths inside them and the outcome are compared here.
fn is_reusable(bundle: &Object, dependencies: &[Value]) -> bool {
    let triples = |list: Vec<[&str; 3]>| {
        let mut list: Vec<[String; 3]> = list.into_iter().map(|parts| parts.map(str::to_owned)).collect();
        list.sort();
        list
    };
    let keys = ["child_path", "parent_uuid", "parent_path"];
    let wanted = dependencies
        .iter()
        .map(|entry| keys.map(|key| entry[key].as_str().unwrap_or("")))
        .collect();
    let has = dependencies_of(bundle)
        .iter()
        .map(|entry| keys.map(|key| field(entry, key)))
        .collect();
    !matches!(field(bundle, "state"), "failed" | "killed") && triples(wanted) == triples(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_with_the_same_paths_that_did_not_fail_are_reused() {
        let bundle = |state: &str, path: &str| {
            json!({"uuid": "0x1", "state": state, "dependencies": [
                {"child_path": "b", "parent_uuid": "0x3", "parent_path": ""},
                {"child_path": "a", "parent_uuid": "0x2", "parent_path": path}]})
            .as_object()
            .unwrap()
            .clone()
        };
        let wanted = [
            json!({"child_path": "a", "parent_uuid": "0x2", "parent_path": "x"}),
            json!({"child_path": "b", "parent_uuid": "0x3", "parent_path": ""}),
        ];
        for (state, path, reusable) in [
            ("ready", "x", true),
            ("running", "x", true),
            ("failed", "x", false),
            ("killed", "x", false),
            ("ready", "y", false),
        ] {
            assert_eq!(is_reusable(&bundle(state, path), &wanted), reusable, "{state} {path}");
        }
    }
}
