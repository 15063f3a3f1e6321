//! `cl server`: an instance on this machine, in the foreground. The work is done by `codalab-service` beside this
//! program.

use super::{Command, Group};
use crate::parse::Parsed;
use crate::programs;

pub const COMMAND: Command = Command {
    name: "server",
    aliases: &[],
    group: Group::Server,
    summary: "Run a CodaLab instance on this machine, with --with-worker one that executes runs.\n\
              All arguments go to codalab-service server; see cl server --help.",
    arguments: Vec::new,
    run: |cli, parsed: &Parsed| {
        Box::pin(async move {
            let arguments = ["server"]
                .into_iter()
                .chain(parsed.list("arguments").iter().map(String::as_str));
            programs::exec(cli, programs::SERVICE, &arguments.collect::<Vec<_>>())
        })
    },
    passes_on: true,
};
