//! `cl rm`: delete bundles.

use client::Query;
use serde_json::Value;

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::bundles::{self, DEFAULT_FIELDS};

pub const COMMAND: Command = Command {
    name: "rm",
    aliases: &[],
    group: Group::Bundles,
    summary: "Delete bundles. There is no way back.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("bundle_spec", Arity::Any, "Bundles to delete."),
        Argument::flag(
            "force",
            "--force",
            "Delete although other bundles depend on them, or other worksheets show them.",
        ),
        Argument::flag(
            "recursive",
            "-r --recursive",
            "Delete all bundles that depend on them as well.",
        ),
        Argument::flag(
            "data_only",
            "-d --data-only",
            "Delete the contents and keep the metadata.",
        ),
        Argument::flag("dry_run", "-i --dry-run", "Only show what would be deleted."),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let specs = parsed.list("bundle_spec");
    if specs.is_empty() {
        return Ok(());
    }
    let dry_run = parsed.has("dry_run");
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let (client, uuids) = cli.bundles(specs, &worksheet).await?;
    let query = Query::new()
        .flag("force", parsed.has("force"))
        .flag("recursive", parsed.has("recursive"))
        .flag("data-only", parsed.has("data_only"))
        .flag("dry-run", dry_run);
    let meta = client.delete("bundles", query, &uuids).await?;
    let ids: Vec<&str> = match meta.get("ids") {
        Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !dry_run {
        for id in ids {
            cli.ui.line(id)?;
        }
        return Ok(());
    }
    cli.ui
        .line("Dry run, nothing was deleted. These bundles would be deleted for good:")?;
    let mut found = Vec::new();
    if !ids.is_empty() {
        found = client
            .fetch_list("bundles", Query::new().include(&["owner"]).with_all("specs", ids))
            .await?;
    }
    let zone = cli.zone();
    cli.ui
        .text(bundles::table(&found, DEFAULT_FIELDS, false, &zone).render())
}
