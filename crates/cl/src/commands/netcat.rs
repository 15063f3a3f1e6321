//! `cl netcat`: send something to a port of a run.

use client::Request;
use futures::TryStreamExt;
use http::Method;
use serde_json::json;

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Kind, Parsed};

pub const COMMAND: Command = Command {
    name: "netcat",
    aliases: &[],
    group: Group::Bundles,
    summary: "Send a message to a port of a run that is going on, and print what comes back.\n\
              cl netcat <bundle> <port> '<message>', or cl netcat <bundle> <port> --- <word> ...",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("bundle_spec", Arity::One, "Run."),
        Argument::positional("port", Arity::One, "Port that a program in the run listens to.").kind(Kind::Int),
        Argument::positional("message", Arity::Optional, "Message to send."),
        Argument::option(
            "file",
            "-f --file",
            Arity::One,
            "Append the text of this file to the message.",
        ),
        Argument::flag("verbose", "--verbose", "Also say where the message goes."),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let port = parsed.int("port").unwrap_or_default();
    let port = u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| Error::usage(format!("{port} is no port: it must be between 1 and 65535")))?;
    let message = match (parsed.text("message"), parsed.text("file")) {
        (None, None) => return Err(Error::usage("There is nothing to send: give a message or -f <file>.")),
        (message, None) => message.unwrap_or_default().to_owned(),
        (message, Some(file)) => {
            cli.needs_files("netcat -f")?;
            let text =
                std::fs::read_to_string(file).map_err(|error| Error::usage(format!("cannot read {file}: {error}")))?;
            message.unwrap_or_default().to_owned() + &text
        }
    };
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let spec = parsed.text("bundle_spec").unwrap_or_default();
    let target = cli.target(spec, &worksheet, true).await?;
    if parsed.has("verbose") {
        cli.ui.notice(format!(
            "Sending {} bytes to port {port} of {}",
            message.len(),
            target.uuid
        ));
    }
    let path = format!("bundles/{}/netcat/{port}/", target.uuid);
    let request = Request::new(Method::PUT, path).json(&json!({"message": message}));
    let mut answer = target.client.send(request).await?.stream();
    while let Some(piece) = answer.try_next().await? {
        cli.ui.bytes(&piece)?;
    }
    Ok(())
}
