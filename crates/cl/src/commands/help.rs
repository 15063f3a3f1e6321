//! `cl help`: the list of commands, or one in detail.

use super::{COMMANDS, Command, Group, find, unknown_command};
use crate::cli::{CLIENT_VERSION, Cli};
use crate::error::Result;
use crate::manual;
use crate::parse::{Argument, Arity, Parsed, help as help_text, usage_line};
use crate::ui::Ui;

pub const COMMAND: Command = Command {
    name: "help",
    aliases: &[],
    group: Group::Other,
    summary: "Show how to use the commands.",
    arguments,
    run: |cli, parsed| Box::pin(async move { run(cli, parsed) }),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("command", Arity::Optional, "Command to explain."),
        Argument::flag("verbose", "-v --verbose", "Show all commands with their arguments."),
        Argument::flag(
            "markdown",
            "-m --markdown",
            "Format the verbose list for the reference page.",
        ),
        Argument::flag("man", "--man", "Print a manual page, for man -l."),
    ]
}

fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    if parsed.has("man") {
        let command = match parsed.text("command") {
            None => None,
            Some(name) => match find(name) {
                None => return unknown_command(cli, name),
                found => found,
            },
        };
        return cli.ui.text(manual::page(command));
    }
    match parsed.text("command") {
        Some(name) => {
            cli.ui.line(version())?;
            let Some(command) = find(name) else {
                return unknown_command(cli, name);
            };
            cli.ui
                .text(help_text(command.name, command.summary, &(command.arguments)()))
        }
        None if parsed.has("verbose") || parsed.has("markdown") => details(&mut cli.ui, parsed.has("markdown")),
        None => overview(&mut cli.ui),
    }
}

/// The list of commands by group.
pub fn overview(ui: &mut Ui) -> Result<()> {
    ui.line(version())?;
    ui.line("Usage: cl <command> <arguments>")?;
    let width = COMMANDS.iter().map(|command| title(command).len()).max().unwrap_or(0) + 2;
    for group in groups() {
        ui.line(format!("\n{}:", group.heading()))?;
        for command in COMMANDS.iter().filter(|command| command.group == group) {
            let summary = command.summary.lines().next().unwrap_or_default();
            ui.line(format!("  {:width$}{summary}", title(command)))?;
        }
    }
    Ok(())
}

fn details(ui: &mut Ui, markdown: bool) -> Result<()> {
    ui.line(version())?;
    ui.line("Usage: cl <command> <arguments>")?;
    for group in groups() {
        ui.line(format!("\n{}{}:", if markdown { "## " } else { "" }, group.heading()))?;
        for command in COMMANDS.iter().filter(|command| command.group == group) {
            let arguments = (command.arguments)();
            if markdown {
                ui.line(format!("### {}", title(command)))?;
                ui.line(format!("`{}`", usage_line(command.name, &arguments)))?;
            } else {
                ui.line(format!("  {}:", title(command)))?;
            }
            for line in command.summary.lines() {
                ui.line(format!("    {line}"))?;
            }
            ui.line("    Arguments:")?;
            let shown: Vec<(String, &Argument)> = arguments
                .iter()
                .filter(|argument| !argument.hidden)
                .map(|argument| {
                    (
                        if argument.is_positional() {
                            argument.value_name()
                        } else {
                            argument.flags.join(", ")
                        },
                        argument,
                    )
                })
                .collect();
            let width = shown.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
            for (name, argument) in shown {
                ui.line(format!("      {name:width$}  {}", argument.help))?;
            }
            ui.line("")?;
        }
    }
    Ok(())
}

/// The groups that have commands.
fn groups() -> impl Iterator<Item = Group> {
    Group::ALL
        .into_iter()
        .filter(|group| COMMANDS.iter().any(|command| command.group == *group))
}

fn title(command: &Command) -> String {
    if command.aliases.is_empty() {
        command.name.to_owned()
    } else {
        format!("{} ({})", command.name, command.aliases.join(", "))
    }
}

fn version() -> String {
    format!("CodaLab CLI version {CLIENT_VERSION}")
}
