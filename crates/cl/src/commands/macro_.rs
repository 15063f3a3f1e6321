//! `cl macro`: apply a recipe that is kept as bundles named after it.

use domain::spec::KeyedTarget;

use super::mimic::{mimic, shared_arguments};
use super::{Command, Group};
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};

/// Name of what is created, so that no second `<macro>-out` appears.
const DEFAULT_NAME: &str = "new";

pub const COMMAND: Command = Command {
    name: "macro",
    aliases: &[],
    group: Group::Bundles,
    summary: "Make the output of a macro from other inputs.\n\
              cl macro M A n:B stands for cl mimic M-in1 M-in-n M-out A B",
    arguments: || {
        let mut arguments = vec![
            Argument::positional("macro_name", Arity::One, "Name of the macro."),
            Argument::positional(
                "bundle_spec",
                Arity::AtLeastOne,
                "Inputs: <bundle>, or <name>:<bundle>.",
            ),
        ];
        arguments.extend(shared_arguments());
        arguments
    },
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let name = parsed.text("macro_name").unwrap_or_default();
    let specs = expand(name, parsed.list("bundle_spec"))?;
    mimic(cli, parsed, &specs, Some(DEFAULT_NAME)).await
}

/// Numbered inputs of the macro, named ones, its output, then the user's inputs in the same order.
fn expand(name: &str, inputs: &[String]) -> Result<Vec<String>> {
    let (mut numbered, mut named) = (Vec::new(), Vec::new());
    for input in inputs {
        let parsed = KeyedTarget::parse(input)?;
        match parsed.key {
            Some(key) => named.push((key, parsed.target)),
            None => numbered.push(parsed.target),
        }
    }
    let old_numbered = (1..=numbered.len()).map(|number| format!("{name}-in{number}"));
    let mut specs: Vec<String> = old_numbered.collect();
    specs.extend(named.iter().map(|(key, _)| format!("{name}-in-{key}")));
    specs.push(format!("{name}-out"));
    specs.extend(numbered);
    specs.extend(named.into_iter().map(|(_, target)| target));
    Ok(specs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_numbered_or_named() {
        for (inputs, expected) in [
            (&["A"][..], "M-in1 M-out A"),
            (&["A", "n:B"], "M-in1 M-in-n M-out A B"),
            (&["n:B", "A", "C"], "M-in1 M-in2 M-in-n M-out A C B"),
            (&["w//A", "k:w//B/x"], "M-in1 M-in-k M-out w//A w//B/x"),
        ] {
            let inputs: Vec<String> = inputs.iter().map(|&input| input.to_owned()).collect();
            assert_eq!(expand("M", &inputs).unwrap().join(" "), expected);
        }
        assert!(expand("M", &["k:".to_owned()]).is_err());
    }
}
