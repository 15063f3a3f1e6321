//! Usage lines and help texts, made from the definitions.

use std::fmt::Write as _;

use super::definition::{Argument, Arity};

/// `usage: cl cat [-h] [--head NUM] target_spec`.
pub fn usage_line(command: &str, arguments: &[Argument]) -> String {
    let mut line = format!("usage: cl {command} [-h]");
    for argument in arguments
        .iter()
        .filter(|argument| !argument.is_positional() && !argument.hidden)
    {
        let flag = &argument.flags[0];
        let values = values(argument);
        let gap = if values.is_empty() { "" } else { " " };
        let _ = write!(line, " [{flag}{gap}{values}]");
    }
    for argument in arguments
        .iter()
        .filter(|argument| argument.is_positional() && !argument.hidden)
    {
        line.push(' ');
        line.push_str(&values(argument));
    }
    line
}

/// Usage, description and one line per argument.
pub fn help(command: &str, description: &str, arguments: &[Argument]) -> String {
    let mut text = format!("{}\n\n{description}\n", usage_line(command, arguments));
    let shown: Vec<(String, &Argument)> = arguments
        .iter()
        .filter(|argument| !argument.hidden)
        .map(|argument| {
            let name = if argument.is_positional() {
                argument.value_name()
            } else {
                argument.flags.join(", ")
            };
            (name, argument)
        })
        .collect();
    let width = shown
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0)
        .max("-h, --help".len());
    for (heading, positional) in [("arguments:", true), ("options:", false)] {
        let mut lines: Vec<(&str, &str)> = Vec::new();
        if !positional {
            lines.push(("-h, --help", "Show this help and exit."));
        }
        let chosen = shown
            .iter()
            .filter(|(_, argument)| argument.is_positional() == positional);
        lines.extend(chosen.map(|(name, argument)| (name.as_str(), argument.help.as_ref())));
        if !lines.is_empty() {
            let _ = write!(text, "\n{heading}\n");
            for (name, help) in lines {
                text.push_str(format!("  {name:width$}  {help}").trim_end());
                text.push('\n');
            }
        }
    }
    text
}

fn values(argument: &Argument) -> String {
    let name = argument.value_name();
    match argument.arity {
        Arity::Flag => String::new(),
        Arity::One => name,
        Arity::Optional => format!("[{name}]"),
        Arity::Any => format!("[{name} ...]"),
        Arity::AtLeastOne => format!("{name} [{name} ...]"),
        Arity::Exactly(count) => vec![name; count].join(" "),
    }
}
