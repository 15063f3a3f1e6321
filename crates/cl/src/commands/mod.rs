//! The commands: one file each, listed here in the order of `cl help`.

mod add;
mod alias;
mod cat;
mod chown;
mod completion;
mod config;
mod detach;
mod download;
mod edit;
mod events;
mod ginfo;
mod gls;
mod gnew;
mod grm;
mod help;
mod info;
mod kill;
mod logout;
mod logs;
mod ls;
mod macro_;
mod make;
mod mimic;
mod mount;
mod netcat;
mod new;
mod open;
mod partitions;
mod perm;
mod print;
mod rerun;
mod reset;
mod rm;
mod run;
mod search;
mod server;
mod status;
mod store;
mod uadd;
mod uedit;
mod ufarewell;
mod uinfo;
mod uls;
mod upload;
mod urm;
mod wadd;
mod wait;
mod wedit;
mod wls;
mod wopen;
mod work;
mod worker;
mod workers;
mod wperm;
mod write;
mod wrm;

pub use add::append;

use futures::future::BoxFuture;

use crate::cli::{CLIENT_VERSION, Cli};
use crate::error::{Error, Result};
use crate::parse::{Argument, Outcome, ParseError, Parsed, help as help_text, join_after_dashes, parse, usage_line};
use crate::version;

/// A command: what it is called, what it accepts, what it does.
pub struct Command {
    /// First name.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Where `help` lists it.
    pub group: Group,
    /// One line, or several with the first one standing alone.
    pub summary: &'static str,
    /// Options and positionals.
    pub arguments: fn() -> Vec<Argument>,
    /// Executes it.
    pub run: for<'a> fn(&'a mut Cli, &'a Parsed) -> BoxFuture<'a, Result<()>>,
    /// All tokens belong to another program and are not parsed here.
    pub passes_on: bool,
}

/// Groups of commands, in the order of `help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Bundles.
    Bundles,
    /// Worksheets.
    Worksheets,
    /// Groups and permissions.
    Permissions,
    /// Users.
    Users,
    /// Servers and workers.
    Server,
    /// Everything else.
    Other,
    /// Not in `help`, but there.
    Unlisted,
}

impl Group {
    /// The groups of `help`, in order.
    pub const ALL: [Self; 6] = [
        Self::Bundles,
        Self::Worksheets,
        Self::Permissions,
        Self::Users,
        Self::Server,
        Self::Other,
    ];

    /// Heading in `help`.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Bundles => "Commands for bundles",
            Self::Worksheets => "Commands for worksheets",
            Self::Permissions => "Commands for groups and permissions",
            Self::Users => "Commands for users",
            Self::Server => "Commands for managing server",
            Self::Other => "Other commands",
            Self::Unlisted => "Commands not listed",
        }
    }
}

/// Every command.
pub static COMMANDS: &[Command] = &[
    upload::COMMAND,
    make::COMMAND,
    run::COMMAND,
    edit::COMMAND,
    detach::COMMAND,
    rm::COMMAND,
    search::COMMAND,
    ls::COMMAND,
    info::COMMAND,
    cat::COMMAND,
    wait::COMMAND,
    download::COMMAND,
    mimic::COMMAND,
    macro_::COMMAND,
    rerun::COMMAND,
    logs::COMMAND,
    kill::COMMAND,
    write::COMMAND,
    mount::COMMAND,
    netcat::COMMAND,
    store::COMMAND,
    new::COMMAND,
    add::COMMAND,
    wadd::COMMAND,
    work::COMMAND,
    print::COMMAND,
    wedit::COMMAND,
    wrm::COMMAND,
    wls::COMMAND,
    gls::COMMAND,
    gnew::COMMAND,
    grm::COMMAND,
    ginfo::COMMAND,
    uadd::COMMAND,
    urm::COMMAND,
    perm::COMMAND,
    wperm::COMMAND,
    chown::COMMAND,
    uinfo::COMMAND,
    uedit::COMMAND,
    ufarewell::COMMAND,
    uls::COMMAND,
    workers::COMMAND,
    server::COMMAND,
    worker::COMMAND,
    partitions::ADD,
    partitions::REMOVE,
    partitions::LIST,
    partitions::CHECK,
    help::COMMAND,
    status::COMMAND,
    alias::COMMAND,
    config::COMMAND,
    logout::COMMAND,
    completion::COMMAND,
    open::COMMAND,
    wopen::COMMAND,
    events::COMMAND,
    reset::COMMAND,
];

/// Commands of earlier versions that people still type, and what to type now.
const FORMER: &[(&str, &str)] = &[
    (
        "cp",
        "cl add bundle <bundle> --dest-worksheet <instance>::<worksheet> [-d]",
    ),
    ("wcp", "cl wadd <source> <destination>"),
    ("work-manager", "cl worker"),
    ("bundle-manager", "cl-bundle-manager"),
    ("docker", "cl run -i"),
];

/// What the completion scripts call.
const COMPLETE: &str = "__complete";

/// The command of a name or alias.
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS
        .iter()
        .find(|command| command.name == name || command.aliases.contains(&name))
}

/// Executes a command line (without the program's name).
pub async fn execute(cli: &mut Cli, arguments: Vec<String>) -> Result<()> {
    let arguments = join_after_dashes(arguments);
    let Some((name, rest)) = arguments.split_first() else {
        return help::overview(&mut cli.ui);
    };
    match name.as_str() {
        "-v" | "--version" => return cli.ui.line(format!("CodaLab CLI version {CLIENT_VERSION}")),
        "-h" | "--help" => return help::overview(&mut cli.ui),
        COMPLETE => return complete_for_shell(cli, rest).await,
        option if option.starts_with('-') && option.len() > 1 => {
            return program_error(cli, &format!("unrecognized arguments: {option}"));
        }
        _ => {}
    }
    let Some(command) = find(name) else {
        return unknown_command(cli, name);
    };
    if command.passes_on {
        let parsed = Parsed::of_tokens("arguments", rest.to_vec());
        return (command.run)(cli, &parsed).await;
    }
    let definition = (command.arguments)();
    match parse(&definition, rest) {
        Ok(Outcome::Help) => cli.ui.text(help_text(command.name, command.summary, &definition)),
        Ok(Outcome::Values(parsed)) => {
            (command.run)(cli, &parsed).await?;
            version::check(cli)
        }
        Err(ParseError {
            message,
            of_program: true,
        }) => {
            hint_about_options(cli, command, rest);
            program_error(cli, &message)
        }
        Err(ParseError {
            message,
            of_program: false,
        }) => {
            cli.ui.notice(usage_line(command.name, &definition));
            cli.ui.notice(format!("cl {}: error: {message}", command.name));
            Err(Error::Exit(2))
        }
    }
}

async fn complete_for_shell(cli: &mut Cli, arguments: &[String]) -> Result<()> {
    if cli.is_web() {
        return unknown_command(cli, COMPLETE);
    }
    cli.environment = cli.environment.clone().without_prompts();
    crate::completion::answer_shell(cli, arguments).await
}

fn program_error(cli: &mut Cli, message: &str) -> Result<()> {
    cli.ui.notice("usage: cl [-h] [-v] command ...");
    cli.ui.notice(format!("cl: error: {message}"));
    Err(Error::Exit(2))
}

/// The parse error for a command that does not exist.
pub fn unknown_command(cli: &mut Cli, name: &str) -> Result<()> {
    if let Some((_, now)) = FORMER.iter().find(|(former, _)| *former == name) {
        cli.ui.notice(format!("cl {name} is now: {now}"));
    }
    let names = COMMANDS
        .iter()
        .flat_map(|command| [command.name].into_iter().chain(command.aliases.iter().copied()));
    let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    let shown = domain::literal::repr(&serde_json::Value::from(name));
    program_error(
        cli,
        &format!(
            "argument command: invalid choice: {shown} (choose from {})",
            names.join(", ")
        ),
    )
}

/// Commands that work on the machine of the server are refused if the current instance seems to be elsewhere.
pub fn sanity_check(cli: &mut Cli, command: &str) -> Result<()> {
    let (_, session) = cli.session()?;
    if session.address.contains("localhost") {
        return Ok(());
    }
    Err(Error::usage(format!(
        "Sanity check! The current instance is {}, and this command works on the machine of the server. Switch to an \
         instance on localhost first (cl work localhost::), if you mean that one: {command}",
        session.address
    )))
}

/// Says what to type instead of options of earlier versions.
fn hint_about_options(cli: &mut Cli, command: &Command, tokens: &[String]) {
    let typed = |option: &str| tokens.iter().any(|token| token == option);
    let hint = match command.name {
        "upload" | "run" | "make" if typed("--auto") => "--auto is gone: names are always inferred",
        "wedit" if typed("-w") => "give the worksheet first: cl wedit <worksheet> -f <file>",
        _ => return,
    };
    cli.ui.notice(hint);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_flags_are_unique() {
        let mut names = HashSet::new();
        for command in COMMANDS {
            for name in [command.name].iter().chain(command.aliases) {
                assert!(names.insert(*name), "{name}");
            }
            let mut flags = HashSet::new();
            let mut dests = HashSet::new();
            for argument in (command.arguments)() {
                assert!(
                    dests.insert(argument.dest.clone()),
                    "{} {}",
                    command.name,
                    argument.dest
                );
                for flag in argument.flags {
                    assert!(flag != "-h" && flags.insert(flag.clone()), "{} {flag}", command.name);
                }
            }
        }
    }

    #[test]
    fn usage_lines_of_all_commands() {
        let lines: Vec<String> = COMMANDS
            .iter()
            .map(|command| usage_line(command.name, &(command.arguments)()))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
