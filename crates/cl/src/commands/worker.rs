//! `cl worker`: a worker on this machine, in the foreground. The work is done by `cl-worker` beside this program.

use super::{Command, Group};
use crate::parse::Parsed;
use crate::programs;

pub const COMMAND: Command = Command {
    name: "worker",
    aliases: &[],
    group: Group::Server,
    summary: "Execute runs of an instance on this machine.\n\
              All arguments go to cl-worker; see cl worker --help.",
    arguments: Vec::new,
    run: |cli, parsed: &Parsed| {
        Box::pin(async move { programs::exec(cli, programs::WORKER, parsed.list("arguments")) })
    },
    passes_on: true,
};
