//! `cl run`: a bundle that is the result of a command.

use client::{Client, Query, resource};
use domain::BundleType;
use domain::name::default_bundle_name;
use serde_json::json;

use super::upload::created_uuid;
use super::{Command, Group, add, info};
use crate::bundle_metadata;
use crate::cli::Cli;
use crate::dependencies;
use crate::error::{Error, Result};
use crate::following::{self, Files, Start};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields::field;
use crate::reuse::equal_run;

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
    ];
    arguments.extend(waiting_arguments());
    arguments.extend(bundle_metadata::arguments(BundleType::Run));
    arguments
}

/// The options for what happens after the creation of a run.
pub fn waiting_arguments() -> [Argument; 3] {
    [
        Argument::flag("wait", "-W --wait", "Wait until it is finished, then print info."),
        Argument::flag("tail", "-t --tail", "Wait until it is finished, printing its output."),
        Argument::flag("verbose", "-v --verbose", "Print more with --wait and --tail."),
    ]
}

/// A server does not wait for runs.
pub fn refuse_waiting(cli: &Cli, parsed: &Parsed) -> Result<()> {
    if cli.is_web() && (parsed.has("wait") || parsed.has("tail")) {
        return Err(Error::usage(
            "Waiting for a run (--wait, --tail) is not possible here; its page shows how it goes.",
        ));
    }
    Ok(())
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    refuse_waiting(cli, parsed)?;
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
        cli.needs_files("--edit")?;
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
pub async fn finish(cli: &mut Cli, client: &Client, uuid: &str, parsed: &Parsed) -> Result<()> {
    let (wait, tail, verbose) = (parsed.has("wait"), parsed.has("tail"), parsed.has("verbose"));
    let mut last = None;
    if wait {
        last = Some(following::wait(cli, client, uuid).await?);
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
