//! `cl alias`: short names of instances.

use serde_json::Value;

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};

pub const COMMAND: Command = Command {
    name: "alias",
    aliases: &[],
    group: Group::Other,
    summary: "Show, set or remove the short names of instances.",
    arguments,
    run: |cli, parsed| Box::pin(async move { run(cli, parsed) }),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("name", Arity::Optional, "Alias (e.g., main)."),
        Argument::positional(
            "instance",
            Arity::Optional,
            "Address the alias stands for (e.g., http://localhost).",
        ),
        Argument::flag("remove", "-r --remove", "Remove the alias."),
    ]
}

fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let settings = cli.settings()?;
    match (parsed.text("name"), parsed.text("instance")) {
        (None, _) => {
            for (name, address) in settings.aliases() {
                cli.ui.line(format!("{name}: {address}"))?;
            }
            Ok(())
        }
        (Some(name), _) if name.is_empty() || name.contains('/') => Err(Error::usage(format!(
            "{name} cannot be an alias: it must be a word without slashes"
        ))),
        (Some(name), _) if parsed.has("remove") => {
            if settings.remove(&format!("aliases/{name}"))? {
                Ok(())
            } else {
                Err(Error::usage(format!("there is no alias {name}")))
            }
        }
        (Some(name), Some(address)) => settings.set(&format!("aliases/{name}"), Value::from(address)),
        (Some(name), None) => {
            let address = settings.alias(name).unwrap_or_else(|| "<none>".to_owned());
            cli.ui.line(format!("{name}: {address}"))
        }
    }
}
