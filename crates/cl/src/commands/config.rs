//! `cl config`: settings of the client.

use domain::literal::display;
use serde_json::Value;

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};

pub const COMMAND: Command = Command {
    name: "config",
    aliases: &[],
    group: Group::Other,
    summary: "Show, set or remove a setting (e.g., cli/verbose).",
    arguments,
    run: |cli, parsed| Box::pin(async move { run(cli, parsed) }),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("key", Arity::One, "Path of the setting, parts separated by slashes."),
        Argument::positional("value", Arity::Optional, "New value."),
        Argument::flag("remove", "-r --remove", "Remove the setting."),
    ]
}

fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let key = parsed.text("key").unwrap_or_default();
    let settings = cli.settings()?;
    if parsed.has("remove") {
        return settings.remove(key).map(drop);
    }
    if let Some(value) = parsed.text("value").filter(|value| !value.is_empty()) {
        return settings.set(key, typed(value));
    }
    match settings.get(key) {
        Some(value) => {
            let text = display(value);
            cli.ui.line(text)
        }
        None => Err(Error::usage(format!("there is no setting {key}"))),
    }
}

/// `true` and `false`, else an integer, else a float, else text.
fn typed(text: &str) -> Value {
    match text {
        "true" => return Value::from(true),
        "false" => return Value::from(false),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return Value::from(number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Value::from(number),
        _ => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_get_the_type_they_look_like() {
        for (text, value) in [
            ("true", json!(true)),
            ("True", json!("True")),
            ("5", json!(5)),
            ("-5", json!(-5)),
            ("1.5", json!(1.5)),
            ("nan", json!("nan")),
            ("http://x", json!("http://x")),
        ] {
            assert_eq!(typed(text), value);
        }
    }
}
