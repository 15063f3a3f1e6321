//! `cl mimic`: re-create by analogy what was made from some bundles, with other bundles in their place.

use domain::BundleType;

use super::{Command, Group, run};
use crate::analogy::{Analogy, Options};
use crate::bundle_metadata;
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Kind, Parsed};

pub const COMMAND: Command = Command {
    name: "mimic",
    aliases: &[],
    group: Group::Bundles,
    summary: "Re-create bundles by analogy.\n\
              cl mimic <run>                       run it again\n\
              cl mimic <A> <B>                     everything made from A, now made from B\n\
              cl mimic <A1> <A2> <X> <B1> <B2>     what made X from A1 and A2, now from B1 and B2",
    arguments: || {
        let mut arguments = vec![Argument::positional(
            "bundle_spec",
            Arity::AtLeastOne,
            "Old inputs, the old output (if their number is odd), new inputs.",
        )];
        arguments.extend(shared_arguments());
        arguments
    },
    run: |cli, parsed| {
        Box::pin(async move {
            let specs = parsed.list("bundle_spec").to_vec();
            mimic(cli, parsed, &specs, None).await
        })
    },
    passes_on: false,
};

/// The options of `mimic` and `macro`.
pub fn shared_arguments() -> Vec<Argument> {
    let mut arguments = bundle_metadata::arguments(BundleType::Run);
    // There is nothing to edit: every bundle has metadata of its own.
    arguments.retain(|argument| argument.dest != "edit");
    for argument in &mut arguments {
        if argument.dest == "name" {
            argument.help = "Name of the new output; prefix of the names of all others.".into();
        }
    }
    arguments.extend([
        Argument::option(
            "depth",
            "--depth",
            Arity::One,
            "How many steps up and down are looked at.",
        )
        .kind(Kind::Int),
        Argument::flag(
            "shadow",
            "-s --shadow",
            "Put the new bundles right after the old ones, on every worksheet.",
        ),
        Argument::flag("dry_run", "-i --dry-run", "Only show what would be created."),
        Argument::flag("memoize", "-m --memoize", "If there is an equal run already, use it."),
        Argument::worksheet(),
    ]);
    arguments.extend(run::waiting_arguments());
    arguments
}

/// Re-creates; `default_name` is the name of the new output if none is given.
pub async fn mimic(cli: &mut Cli, parsed: &Parsed, specs: &[String], default_name: Option<&str>) -> Result<()> {
    run::refuse_waiting(cli, parsed)?;
    let depth = parsed.int("depth").unwrap_or(10);
    let depth = u32::try_from(depth).map_err(|_| Error::usage("--depth must be zero or more"))?;
    let options = Options {
        depth,
        name: parsed.text("name").or(default_name).map(str::to_owned),
        shadow: parsed.has("shadow"),
        dry_run: parsed.has("dry_run"),
        memoize: parsed.has("memoize"),
        overrides: bundle_metadata::given(BundleType::Run, parsed)?,
    };
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let uuids = cli.bundles_of_either_form(specs, &worksheet).await?;
    let client = worksheet.client.clone();
    let analogy = Analogy::new(worksheet, uuids, options);
    let created = analogy.carry_out(&mut cli.ui).await?;
    let Some(last) = created.last() else {
        return cli.ui.line("Nothing to be done.");
    };
    // In a dry run there is no bundle yet.
    let Some(uuid) = &last.new_uuid else { return Ok(()) };
    cli.ui.flush()?;
    run::finish(cli, &client, uuid, parsed).await?;
    cli.ui.line(uuid)
}
