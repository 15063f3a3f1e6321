//! `cl cat`: show a file, list a directory.

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Kind, Parsed};
use crate::render::contents::{self, Excerpt};

pub const COMMAND: Command = Command {
    name: "cat",
    aliases: &[],
    group: Group::Bundles,
    summary: "Print the contents of a file in a bundle, or list a directory.",
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
        Argument::option("head", "--head", Arity::One, "Only the first NUM lines.")
            .kind(Kind::Int)
            .metavar("NUM"),
        Argument::option("tail", "-t --tail", Arity::One, "Only the last NUM lines.")
            .kind(Kind::Int)
            .metavar("NUM"),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let lines = |option: &str| match parsed.int(option) {
        Some(count) if count < 0 => Err(Error::usage(format!("--{option} must not be negative"))),
        count => Ok(count.unwrap_or(0) as u64),
    };
    let (head, tail) = (lines("head")?, lines("tail")?);
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let target = cli
        .target(parsed.text("target_spec").unwrap_or_default(), &worksheet, true)
        .await?;
    let excerpt = if cli.is_web() {
        Excerpt::WEB
    } else {
        Excerpt {
            head,
            tail,
            between: None,
        }
    };
    if contents::show_excerpt(&mut cli.ui, &target.client, &target.uuid, &target.subpath, excerpt).await? {
        return Ok(());
    }
    Err(Error::usage(format!(
        "Target '{}' doesn't exist in bundle {}",
        target.subpath, target.uuid
    )))
}
