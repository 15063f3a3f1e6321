//! `cl server`: an instance on this machine, in the foreground. The work is done by `codalab-service` beside this
//! program.

use std::os::unix::process::CommandExt;

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::Parsed;

const PROGRAM: &str = "codalab-service";

pub const COMMAND: Command = Command {
    name: "server",
    aliases: &[],
    group: Group::Server,
    summary: "Run a CodaLab instance on this machine, with --with-worker one that executes runs.\n\
              All arguments go to codalab-service server; see cl server --help.",
    arguments: Vec::new,
    run: |cli, parsed| Box::pin(async move { run(cli, parsed) }),
    passes_on: true,
};

fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    cli.ui.flush()?;
    let beside = std::env::current_exe()
        .ok()
        .map(|program| program.with_file_name(PROGRAM))
        .filter(|path| path.is_file());
    let program = beside.unwrap_or_else(|| PROGRAM.into());
    // Returns only if the program could not be started.
    let error = std::process::Command::new(&program)
        .arg("server")
        .args(parsed.list("arguments"))
        .exec();
    Err(Error::other(format!(
        "cannot start {} ({error}); cl server needs {PROGRAM} installed beside cl or in the PATH",
        program.display()
    )))
}
