//! The commands in the web terminal: run inside a server, as the user who typed them, without files, environment, editor
//! and configuration, and with limits on time and output.

use std::time::Duration;

use client::Client;
use serde_json::Value;

use crate::cli::Cli;
use crate::commands::{self, find};
use crate::error::{Error, Result};
use crate::parse::join_after_dashes;
use crate::ui::Ui;

/// Longest a command may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Output beyond this many bytes is left out.
const MOST_OUTPUT: usize = 1 << 20;

/// Commands that make no sense without a machine of one's own.
const NOT_HERE: &[&str] = &[
    "alias",
    "bs-add-partition",
    "bs-health-check",
    "bs-ls-partitions",
    "bs-rm-partition",
    "config",
    "download",
    "events",
    "logout",
    "mount",
    "print",
    "reset",
    "server",
    "wait",
    "worker",
];

/// What a command has done.
#[derive(Debug, Clone, PartialEq)]
pub struct WebOutcome {
    /// stdout and stderr, in the order in which they were written.
    pub output: String,
    /// What the browser does besides showing that: `ui_actions`, or `refs` of a table.
    pub structured: Option<Value>,
}

/// Why a command has not been done. The texts are those of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebError {
    /// HTTP status that says it: 400, 401, 403, 404, or 500 and above for failures of the server.
    pub status: u16,
    /// For the user.
    pub message: String,
}

/// Executes the words of a command line (without `cl`). `client` calls this server in the name of the user and has the
/// address that users know; `worksheet_uuid` is the current worksheet, empty for the home worksheet.
///
/// # Errors
///
/// If the command does not parse, is not allowed, fails, or takes too long.
pub async fn run(
    words: Vec<String>,
    client: Client,
    worksheet_uuid: &str,
) -> std::result::Result<WebOutcome, WebError> {
    let (ui, captured) = Ui::merged(MOST_OUTPUT);
    let mut cli = Cli::web(ui, client, worksheet_uuid);
    let done = tokio::time::timeout(PATIENCE, execute(&mut cli, words));
    match done.await {
        // With an exit status, what is wrong has been written.
        Ok(Ok(()) | Err(Error::Exit(_) | Error::BrokenPipe)) => Ok(WebOutcome {
            output: captured.out(),
            structured: cli.structured.take(),
        }),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(WebError {
            status: 400,
            message: format!(
                "The command took longer than {} seconds and was given up.",
                PATIENCE.as_secs()
            ),
        }),
    }
}

/// Completes the last of the words (without `cl`), see [`run`]. Names of files are never offered.
pub async fn complete(words: &[String], client: Client, worksheet_uuid: &str) -> Vec<String> {
    let (ui, _) = Ui::merged(0);
    let mut cli = Cli::web(ui, client, worksheet_uuid);
    let mut words = crate::completion::complete(&mut cli, words).await.words;
    words.retain(|word| !NOT_HERE.contains(&word.as_str()));
    words
}

async fn execute(cli: &mut Cli, words: Vec<String>) -> Result<()> {
    let words = join_after_dashes(words);
    if let Some(command) = words.first().and_then(|name| find(name))
        && NOT_HERE.contains(&command.name)
    {
        return Err(not_allowed(command.name));
    }
    commands::execute(cli, words).await
}

/// Refuses a command here.
pub fn not_allowed(command: &str) -> Error {
    Error::usage(format!(
        "You are only allowed to execute command \"{command}\" from the CLI."
    ))
}

impl From<Error> for WebError {
    fn from(error: Error) -> Self {
        let status = error.http_status();
        let message = match error {
            Error::Named { message, .. } | Error::Plain(message) => message,
            other => other.to_string(),
        };
        Self { status, message }
    }
}
