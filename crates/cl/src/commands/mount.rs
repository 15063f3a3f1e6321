//! `cl mount`: a bundle as a file system.

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};

pub const COMMAND: Command = Command {
    name: "mount",
    aliases: &[],
    group: Group::Bundles,
    summary: "Mount a bundle as a read-only file system (not in this version).",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("target_spec", Arity::One, "[[<instance>::]<worksheet>//]<bundle>"),
        Argument::option(
            "mountpoint",
            "--mountpoint",
            Arity::One,
            "Empty directory to mount it on.",
        ),
        Argument::flag("verbose", "--verbose", "Print what the file system is asked for."),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let spec = parsed.text("target_spec").unwrap_or_default();
    let target = cli.target(spec, &worksheet, true).await?;
    // Scripts of 1.7 know this line and its exit status 0 as "not possible here".
    cli.ui.line("fuse is not installed")?;
    cli.ui.notice(format!(
        "This version of cl cannot mount bundles. Fetch the files with cl download {0}, or read single ones with \
         cl cat {0}/<path>.",
        target.uuid
    ));
    Ok(())
}
