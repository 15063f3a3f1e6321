//! `cl completion`: the completion script of a shell.

use super::{Command, Group};
use crate::completion::script;
use crate::error::Error;
use crate::parse::{Argument, Arity, Kind};

pub const COMMAND: Command = Command {
    name: "completion",
    aliases: &[],
    group: Group::Other,
    summary: "Print the completion script of a shell.\n\
              eval \"$(cl completion bash)\" in ~/.bashrc, eval \"$(cl completion zsh)\" in ~/.zshrc,\n\
              cl completion fish | source in ~/.config/fish/config.fish",
    arguments: || {
        vec![Argument::positional("shell", Arity::One, "Shell.").kind(Kind::Choice(&["bash", "zsh", "fish"]))]
    },
    run: |cli, parsed| {
        Box::pin(async move {
            let shell = parsed.text("shell").unwrap_or_default();
            let script = script(shell).ok_or_else(|| Error::usage(format!("there is no script for {shell}")))?;
            cli.ui.text(script)
        })
    },
    passes_on: false,
};
