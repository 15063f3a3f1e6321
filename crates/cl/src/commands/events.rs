//! `cl events`: the audit log of 1.5, which no server has any more.

use super::{Command, Group, sanity_check};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Kind, Parsed};

pub const COMMAND: Command = Command {
    name: "events",
    aliases: &[],
    group: Group::Unlisted,
    summary: "Show the audit log of an instance on this machine. Servers no longer keep one.",
    arguments,
    run: |cli, parsed| Box::pin(async move { run(cli, parsed) }),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::option("user", "-u --user", Arity::One, "Events of this user."),
        Argument::option("match_command", "-c --command", Arity::One, "Events of this command."),
        Argument::option("args", "-a --args", Arity::One, "Events with these arguments."),
        Argument::option("uuid", "--uuid", Arity::One, "Events about this bundle or worksheet."),
        Argument::option("offset", "-o --offset", Arity::One, "Leave out the first ones.").kind(Kind::Int),
        Argument::option("limit", "-l --limit", Arity::One, "Show at most this many.").kind(Kind::Int),
        Argument::flag("count", "-n --count", "Only count them."),
        Argument::option("group_by", "-g --group-by", Arity::One, "Group by this field."),
    ]
}

fn run(cli: &mut Cli, _parsed: &Parsed) -> Result<()> {
    sanity_check(cli, "events")?;
    Err(Error::usage(
        "The audit log no longer exists. The access log of the server has every request, with user and duration.",
    ))
}
