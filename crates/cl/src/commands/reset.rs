//! `cl reset`: delete everything of an instance on this machine.

use super::{Command, Group, sanity_check};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Parsed};

pub const COMMAND: Command = Command {
    name: "reset",
    aliases: &[],
    group: Group::Unlisted,
    summary: "Delete the whole database of an instance on this machine.",
    arguments: || {
        vec![Argument::flag(
            "commit",
            "--commit",
            "Really do it; nothing can be brought back.",
        )]
    },
    run: |cli, parsed| Box::pin(async move { run(cli, parsed) }),
    passes_on: false,
};

fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    sanity_check(cli, "reset")?;
    if !parsed.has("commit") {
        return Err(Error::usage(
            "All bundles, worksheets, groups and users of the instance would be lost. If that is wanted, add --commit.",
        ));
    }
    Err(Error::usage(
        "Nothing was deleted. Stop the instance first (codalab-service stop --local), then remove what it is made of: \
         its home directory, and its database if server/engine_url of config.json names one elsewhere.",
    ))
}
