//! `cl wait`: wait for a bundle to be finished.

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::following::{self, Files, Start};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields::field;

pub const COMMAND: Command = Command {
    name: "wait",
    aliases: &[],
    group: Group::Bundles,
    summary: "Wait until a bundle is ready, failed or killed; exit status 0 only if it is ready.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional(
            "target_spec",
            Arity::One,
            "[[<instance>::]<worksheet>//]<bundle>[/<path>]",
        ),
        Argument::flag(
            "tail",
            "-t --tail",
            "Print what is appended to the file, or to stdout and stderr.",
        ),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let target = cli
        .target(parsed.text("target_spec").unwrap_or_default(), &worksheet, true)
        .await?;
    let bundle = if parsed.has("tail") {
        let optional = target.subpath.is_empty();
        let paths = if optional {
            vec!["stdout".into(), "stderr".into()]
        } else {
            vec![target.subpath.clone()]
        };
        let files = Files {
            paths,
            optional,
            start: Start::NearEnd,
            uuid: &target.uuid,
        };
        following::follow(cli, &target.client, files).await?
    } else {
        following::wait(cli, &target.client, &target.uuid).await?
    };
    match field(&bundle, "state") {
        "ready" => cli.ui.line(&target.uuid),
        state => {
            cli.ui.notice(state);
            Err(Error::Exit(1))
        }
    }
}
