//! Completion of command lines, with live names of bundles, worksheets and groups. The scripts for the shells and the web
//! terminal use the same function.

mod candidates;
mod shells;

use std::time::Duration;

use self::candidates::{Kind, find_candidates};
use crate::cli::Cli;
use crate::commands::{COMMANDS, Command, find};
use crate::parse::{Argument, Arity};

pub use self::shells::{answer_argcomplete, answer_shell, script};

/// A shell must not hang because a server does.
const PATIENCE: Duration = Duration::from_secs(3);

/// What may stand in the place of the last word.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Completions {
    /// Whole words.
    pub words: Vec<String>,
    /// Names of local files as well.
    pub files: bool,
}

/// Completes the last of the words after `cl`. What cannot be found out (no server, no login) gives no candidates.
pub async fn complete(cli: &mut Cli, words: &[String]) -> Completions {
    let (before, partial) = match words.split_last() {
        None => (&[][..], ""),
        Some((partial, before)) => (before, partial.as_str()),
    };
    let Some((name, typed)) = before.split_first() else {
        return starting_with(command_names(), partial);
    };
    let Some(command) = find(name).filter(|command| !command.passes_on) else {
        return Completions::default();
    };
    let definition = (command.arguments)();
    let place = Place::find(&definition, typed, partial);
    let Place { prefix, partial, kinds } = match place {
        Asked::Options => return starting_with(long_options(&definition), partial),
        Asked::Values(place) => place,
    };
    let mut completions = Completions::default();
    for argument in kinds {
        let kind = Kind::of(command, argument, typed);
        if kind == Kind::Files {
            completions.files = !cli.is_web();
            continue;
        }
        let typed_worksheet = value_of(&definition, typed, "worksheet_spec");
        let found = find_candidates(cli, &kind, partial, typed_worksheet);
        if let Ok(Ok(found)) = tokio::time::timeout(PATIENCE, found).await {
            let found = found.into_iter().filter(|word| word.starts_with(partial));
            completions.words.extend(found.map(|word| format!("{prefix}{word}")));
        }
    }
    completions.words.sort();
    completions.words.dedup();
    completions
}

/// What the last word is the beginning of.
enum Asked<'a> {
    Options,
    Values(Place<'a>),
}

/// Values of some arguments.
struct Place<'a> {
    /// `--option=`, if the value is attached.
    prefix: &'a str,
    /// The beginning of the value.
    partial: &'a str,
    /// The arguments the value may belong to.
    kinds: Vec<&'a Argument>,
}

impl<'a> Place<'a> {
    fn find(definition: &'a [Argument], typed: &'a [String], partial: &'a str) -> Asked<'a> {
        let options_ended = typed.iter().any(|word| word == "--");
        if !options_ended && partial.starts_with('-') {
            if let Some((flag, _)) = partial.split_once('=')
                && let Some(argument) = by_flag(definition, flag)
            {
                let (prefix, value) = partial.split_at(flag.len() + 1);
                return Asked::Values(Self {
                    prefix,
                    partial: value,
                    kinds: vec![argument],
                });
            }
            return Asked::Options;
        }
        let (open, plain) = scan(definition, typed);
        let kinds = match open {
            Some(argument) => vec![argument],
            None => possible_positionals(definition, plain),
        };
        Asked::Values(Self {
            prefix: "",
            partial,
            kinds,
        })
    }
}

/// The option that takes the next word, if one does, and the number of positionals before it.
fn scan<'a>(definition: &'a [Argument], typed: &[String]) -> (Option<&'a Argument>, usize) {
    let (mut open, mut left, mut plain): (Option<&Argument>, usize, usize) = (None, 0, 0);
    let mut options = true;
    for word in typed {
        if options && word == "--" {
            (options, open) = (false, None);
        } else if options && word.starts_with('-') && word.len() > 1 {
            open = by_flag(definition, word).filter(|argument| argument.arity != Arity::Flag);
            left = match open.map(|argument| argument.arity) {
                Some(Arity::Any | Arity::AtLeastOne) => usize::MAX,
                Some(Arity::Exactly(count)) => count,
                _ => 1,
            };
        } else if open.is_some() {
            left -= 1;
            open = open.filter(|_| left > 0);
        } else {
            plain += 1;
        }
    }
    (open, plain)
}

/// The positionals that the word after `index` others may belong to: behind a list it is any.
fn possible_positionals(definition: &[Argument], index: usize) -> Vec<&Argument> {
    let mut possible = Vec::new();
    let mut position = 0;
    let mut behind_list = false;
    for argument in definition.iter().filter(|argument| argument.is_positional()) {
        let is_list = matches!(argument.arity, Arity::Any | Arity::AtLeastOne);
        let may = if behind_list || is_list {
            index >= position
        } else {
            index == position
        };
        if may {
            possible.push(argument);
        }
        behind_list |= is_list;
        position += usize::from(argument.arity != Arity::Any);
    }
    possible
}

fn by_flag<'a>(definition: &'a [Argument], flag: &str) -> Option<&'a Argument> {
    definition
        .iter()
        .find(|argument| argument.flags.iter().any(|name| name == flag))
}

/// The value that an option was given, or the first positional of that name.
fn value_of<'a>(definition: &[Argument], typed: &'a [String], dest: &str) -> Option<&'a str> {
    let argument = definition
        .iter()
        .find(|argument| argument.dest == dest && !argument.is_positional())?;
    let at = typed
        .iter()
        .rposition(|word| argument.flags.iter().any(|flag| flag == word))?;
    typed.get(at + 1).map(String::as_str)
}

fn long_options(definition: &[Argument]) -> Vec<String> {
    let shown = definition.iter().filter(|argument| !argument.hidden);
    let long = shown.flat_map(|argument| argument.flags.iter().filter(|flag| flag.starts_with("--")));
    long.map(ToString::to_string).chain(["--help".to_owned()]).collect()
}

fn command_names() -> Vec<String> {
    COMMANDS
        .iter()
        .map(|command: &Command| command.name.to_owned())
        .collect()
}

fn starting_with(words: Vec<String>, partial: &str) -> Completions {
    let mut words: Vec<String> = words.into_iter().filter(|word| word.starts_with(partial)).collect();
    words.sort();
    Completions { words, files: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::ui::Ui;

    async fn completed(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let home = tempfile::tempdir().unwrap();
        let config = serde_json::json!({"cli": {"default_address": "http://127.0.0.1:1"},
            "aliases": {"main": "https://main.example.org", "local": "http://localhost"}});
        std::fs::write(home.path().join("config.json"), config.to_string()).unwrap();
        let environment = Environment::fixed([("CODALAB_HOME", home.path().to_str().unwrap())]);
        let mut cli = Cli::new(Ui::captured().0, environment);
        let completions = complete(&mut cli, &words).await;
        let files = if completions.files { " <files>" } else { "" };
        format!("{}{files}", completions.words.join(" "))
    }

    #[tokio::test]
    async fn commands_options_choices_and_files_need_no_server() {
        for (typed, expected) in [
            ("w", "wadd wait wedit wls wopen work worker workers wperm write wrm"),
            ("up", "upload"),
            ("nosuch ", ""),
            ("cat --", "--head --help --tail --worksheet-spec"),
            ("cat --h", "--head --help"),
            ("perm ^ public ", "all none read"),
            ("perm ^ public r", "read"),
            ("add ", "bundle text worksheet"),
            ("add text ", ""),
            ("store ", "add ls rm"),
            ("help mac", "macro"),
            ("upload ", " <files>"),
            ("upload -c ", ""),
            (
                "upload x --",
                "--contents --description --edit --exclude-patterns --follow-symlinks --force-compression --git \
              --help --ignore --license --link --link-format --link-url --name --pack --source-url --tags \
              --use-azure-blob-beta --worksheet-spec",
            ),
            ("wedit -f ", " <files>"),
            ("wedit --file=a", " <files>"),
            ("work ma", "main::"),
            ("wls -a ", "local main"),
            ("logout lo", "local"),
            ("run --tags a ", ""),
            ("server ", ""),
            ("completion z", "zsh"),
        ] {
            assert_eq!(completed(typed).await, expected, "{typed}");
        }
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_no_reason_to_complain() {
        for typed in [
            "cat a",
            "work x",
            "gls -w q",
            "ginfo p",
            "info ^ 0x1",
            "run k:main::a/",
            "cat nosuch://x",
        ] {
            let shown = completed(typed).await;
            assert!(shown.is_empty() || typed.starts_with("work"), "{typed}: {shown}");
        }
    }
}
