//! The `cl` command line: a library with one file per command, and a thin binary.
//!
//! Everything printed goes through [`Ui`]; nothing is read, connected or parsed before a command needs it, because the
//! program is started once per command.
#![forbid(unsafe_code)]

mod accounts;
mod analogy;
mod browser;
mod bundle_metadata;
mod cli;
mod commands;
mod completion;
mod config;
mod copying;
mod dependencies;
mod editor;
mod environment;
mod error;
mod following;
mod login;
mod manual;
mod packing;
mod parse;
mod programs;
mod progress;
mod render;
mod reuse;
mod ui;
mod version;
mod web;

use std::process::ExitCode;

pub use cli::CLIENT_VERSION;
pub use environment::Environment;
pub use ui::{Captured, Ui};
pub use web::{WebError, WebOutcome, complete as complete_on_web, run as run_on_web};

use cli::Cli;
use error::Error;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let mut arguments = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.into_string() {
            Ok(argument) => arguments.push(argument),
            Err(argument) => {
                Ui::stdio().notice(format!("cl: error: {} is not UTF-8", argument.display()));
                return ExitCode::from(2);
            }
        }
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            Ui::stdio().notice(format!("cl: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Some(status) = runtime.block_on(argcomplete()) {
        runtime.shutdown_background();
        return status;
    }
    let terminal = TerminalMode::remember();
    let status = runtime.block_on(async {
        tokio::select! {
            status = run(arguments, Ui::stdio(), Environment::process()) => status,
            Ok(()) = tokio::signal::ctrl_c() => {
                terminal.restore();
                let _ = Ui::stdio().line("Terminated by Ctrl-C");
                130
            }
        }
    });
    // A prompt or a blocked read on another thread must not keep the program alive.
    runtime.shutdown_background();
    ExitCode::from(status)
}

/// Runs one command line (without the program's name) and gives the exit status.
pub async fn run(arguments: Vec<String>, ui: Ui, environment: Environment) -> u8 {
    let mut cli = Cli::new(ui, environment);
    let result = commands::execute(&mut cli, arguments).await;
    let flushed = cli.ui.flush();
    match result.and(flushed) {
        Ok(()) => 0,
        Err(error) => {
            if !matches!(error, Error::Exit(_) | Error::BrokenPipe) {
                cli.ui.notice(error.to_string());
            }
            error.exit_status()
        }
    }
}

/// Completes if a shell set up for Python's `argcomplete` asks for that.
async fn argcomplete() -> Option<ExitCode> {
    let environment = Environment::process().without_prompts();
    environment.get("_ARGCOMPLETE")?;
    let line = environment.text("COMP_LINE")?;
    let point = environment.text("COMP_POINT").and_then(|point| point.parse().ok());
    let separator = environment.text("_ARGCOMPLETE_IFS").or_else(|| environment.text("IFS"));
    let mut cli = Cli::new(Ui::captured().0, environment);
    completion::answer_argcomplete(&mut cli, &line, point, separator.as_deref().unwrap_or("\u{b}")).await;
    Some(ExitCode::SUCCESS)
}

/// Settings of the terminal, to undo a password prompt that is interrupted.
struct TerminalMode(Option<rustix::termios::Termios>);

impl TerminalMode {
    fn remember() -> Self {
        Self(rustix::termios::tcgetattr(std::io::stdin()).ok())
    }

    fn restore(&self) {
        if let Some(mode) = &self.0 {
            let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, mode);
        }
    }
}
