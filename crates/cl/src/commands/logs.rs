//! `cl logs`: what a run has printed.

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::following::{self, Files, Start};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::contents::{self, Excerpt};

/// The files a run's output goes to.
const FILES: [&str; 2] = ["stdout", "stderr"];

pub const COMMAND: Command = Command {
    name: "logs",
    aliases: &[],
    group: Group::Bundles,
    summary: "Print what a run has written to stdout, then to stderr.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("bundle_spec", Arity::One, "Run."),
        Argument::flag("follow", "-f --follow", "Go on until the run is finished."),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    if cli.is_web() && parsed.has("follow") {
        return Err(Error::usage(
            "Following a run (-f) is not possible here; its page shows how it goes.",
        ));
    }
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let spec = parsed.text("bundle_spec").unwrap_or_default();
    let (client, uuids) = cli.bundles(&[spec.to_owned()], &worksheet).await?;
    let excerpt = if cli.is_web() { Excerpt::WEB } else { Excerpt::default() };
    for uuid in &uuids {
        if parsed.has("follow") {
            let files = Files {
                paths: FILES.map(str::to_owned).to_vec(),
                optional: true,
                start: Start::Beginning,
                uuid,
            };
            following::follow(cli, &client, files).await?;
            continue;
        }
        for file in FILES {
            if client.contents_info(uuid, file, 0).await?.is_some() {
                contents::show_excerpt(&mut cli.ui, &client, uuid, file, excerpt).await?;
            }
        }
    }
    Ok(())
}
