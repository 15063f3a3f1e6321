//! `cl logout`: forget the credentials of an instance.

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};

pub const COMMAND: Command = Command {
    name: "logout",
    aliases: &[],
    group: Group::Other,
    summary: "Forget the credentials of an instance.",
    arguments: || {
        vec![Argument::positional(
            "alias",
            Arity::Optional,
            "Alias or address; default the current one.",
        )]
    },
    run: |cli, parsed| Box::pin(async move { run(cli, parsed) }),
    passes_on: false,
};

fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let address = match parsed.text("alias") {
        Some(instance) => cli.address(instance.trim_end_matches("::"))?,
        None => cli.session()?.1.address,
    };
    cli.state.forget_login(&address)
}
