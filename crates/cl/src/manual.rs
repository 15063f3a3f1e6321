//! The manual page, made from the definitions of the commands.

use std::fmt::Write as _;

use crate::cli::CLIENT_VERSION;
use crate::commands::{COMMANDS, Command, Group};
use crate::parse::usage_line;

/// `cl(1)` in the language of `man`: all commands, or one.
pub fn page(only: Option<&Command>) -> String {
    let title = only.map_or("CL".to_owned(), |command| format!("CL-{}", command.name.to_uppercase()));
    let mut page =
        format!(".TH \"{title}\" 1 \"\" \"CodaLab {CLIENT_VERSION}\" \"CodaLab Worksheets\"\n.nh\n.SH NAME\n");
    if let Some(command) = only {
        let _ = writeln!(
            page,
            "cl {} \\- {}",
            escaped(command.name),
            escaped(first_line(command))
        );
        details(&mut page, command, ".SH");
        return page;
    }
    page.push_str("cl \\- work with bundles and worksheets of CodaLab\n.SH SYNOPSIS\n.B cl\n.I command\n[arguments]\n");
    for group in Group::ALL {
        let mut commands = COMMANDS.iter().filter(|command| command.group == group).peekable();
        if commands.peek().is_some() {
            let _ = writeln!(page, ".SH \"{}\"", group.heading().to_uppercase());
        }
        for command in commands {
            let _ = writeln!(page, ".SS \"{}\"", escaped(&names(command)));
            details(&mut page, command, ".PP\n.B");
        }
    }
    page.push_str(
        ".SH \"EXIT STATUS\"\n.TP\n0\nSuccess.\n.TP\n1\nAn error, which is told on stderr.\n.TP\n2\nA mistake on the command \
         line.\n.SH FILES\n.TP\n~/.codalab/config.json\nSettings.\n.TP\n~/.codalab/state.json\nTokens and sessions.\n",
    );
    page
}

fn details(page: &mut String, command: &Command, heading: &str) {
    let arguments = (command.arguments)();
    let usage = usage_line(command.name, &arguments);
    let usage = usage.trim_start_matches("usage: ");
    let is_own_page = heading == ".SH";
    if is_own_page {
        let _ = writeln!(page, ".SH SYNOPSIS\n{}\n.SH DESCRIPTION", escaped(usage));
    } else {
        let _ = writeln!(page, ".PP\n{}\n.PP", escaped(usage));
    }
    for line in command.summary.lines() {
        let _ = writeln!(page, "{}\n.br", escaped(line));
    }
    if is_own_page && !arguments.is_empty() {
        page.push_str(".SH OPTIONS\n");
    }
    for argument in arguments.iter().filter(|argument| !argument.hidden) {
        let name = if argument.is_positional() {
            argument.value_name()
        } else {
            argument.flags.join(", ")
        };
        let _ = writeln!(page, ".TP\n\\fB{}\\fR\n{}", escaped(&name), escaped(&argument.help));
    }
}

fn names(command: &Command) -> String {
    [command.name]
        .iter()
        .chain(command.aliases)
        .copied()
        .collect::<Vec<_>>()
        .join(", ")
}

fn first_line(command: &Command) -> &str {
    command.summary.lines().next().unwrap_or_default()
}

/// Text that `man` shows as it is.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_is_in_the_manual() {
        let page = page(None);
        for command in COMMANDS.iter().filter(|command| command.group != Group::Unlisted) {
            assert!(page.contains(&escaped(command.name)), "{}", command.name);
        }
        assert!(page.lines().all(|line| !line.starts_with('\'')));
        insta::assert_snapshot!(super::page(crate::commands::find("cat")));
    }
}
