//! `cl store`: bundle stores.

use client::{Object, Query, resource};
use domain::literal::display;
use serde_json::{Map, Value, json};

use super::{Command, Group};
use crate::cli::{Cli, uuid_of};
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::json as output;
use crate::render::table::Table;

const COLUMNS: [&str; 4] = ["id", "name", "storage_type", "storage_format"];

pub const COMMAND: Command = Command {
    name: "store",
    aliases: &[],
    group: Group::Bundles,
    summary: "Add, list and remove the places where contents of bundles are kept.\n\
              cl store add --name <name> [--url <url>], cl store ls, cl store rm <uuid>",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("command", Arity::Optional, "add, ls or rm."),
        Argument::positional("bundle_store_uuid", Arity::Optional, "Store to remove."),
        Argument::option(
            "name",
            "-n --name",
            Arity::One,
            "Name of the new store; must be unique.",
        ),
        Argument::option(
            "storage_type",
            "--storage-type",
            Arity::One,
            "disk, azure_blob or gcs; default from the URL.",
        ),
        Argument::option(
            "storage_format",
            "--storage-format",
            Arity::One,
            "uncompressed or compressed_v1; default from the type.",
        ),
        Argument::option(
            "url",
            "--url",
            Arity::One,
            "Where the contents are (e.g., gs://bucket).",
        ),
        Argument::option(
            "authentication",
            "--authentication",
            Arity::One,
            "Key that gives access to the place.",
        ),
        Argument::json(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    match parsed.text("command") {
        Some("add") => add(cli, parsed).await,
        Some("ls") => list(cli, parsed).await,
        Some("rm") => remove(cli, parsed).await,
        other => Err(Error::usage(format!(
            "cl store {} is not supported; use add, ls or rm",
            other.unwrap_or("None")
        ))),
    }
}

async fn add(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let attributes = attributes(parsed)?;
    let client = cli.current_client()?;
    let store = resource("bundle_stores", None, Value::Object(attributes), json!({}));
    let created = client.create("bundle_stores", Query::new(), vec![store]).await?;
    let Some(created) = created.first() else {
        return Err(Error::other("the server did not say which store it created"));
    };
    let uuid = uuid_of(&client, created)?;
    cli.ui.line(uuid)
}

fn attributes(parsed: &Parsed) -> Result<Object> {
    let name = parsed
        .text("name")
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Error::usage("The new store needs a name: cl store add --name <name>"))?;
    let url = parsed.text("url").filter(|url| !url.is_empty());
    let given = parsed.text("storage_type").filter(|kind| !kind.is_empty());
    let kind = match (url, given) {
        (Some(url), given) => {
            let inferred = kind_of(url);
            if given.is_some_and(|given| given != inferred) {
                return Err(Error::usage(format!(
                    "Bundle store {url} only supports storage type: {inferred}"
                )));
            }
            Some(inferred)
        }
        (None, given) => given,
    };
    let pairs = [
        ("name", Some(name)),
        ("storage_type", kind),
        ("storage_format", parsed.text("storage_format")),
        ("url", url),
        ("authentication", parsed.text("authentication")),
    ];
    let given = pairs
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?))));
    Ok(given.collect::<Map<_, _>>())
}

fn kind_of(url: &str) -> &'static str {
    if url.starts_with("azfs://") {
        "azure_blob"
    } else if url.starts_with("gs://") {
        "gcs"
    } else {
        "disk"
    }
}

async fn list(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = cli.current_client()?;
    let stores = client.fetch_list("bundle_stores", Query::new()).await?;
    if parsed.has("json") {
        return output::list(&mut cli.ui, stores);
    }
    let mut table = Table::new(COLUMNS);
    for store in stores {
        let cell = |column: &&str| {
            store
                .get(*column)
                .filter(|value| !value.is_null())
                .map(display)
                .unwrap_or_default()
        };
        table.row(COLUMNS.iter().map(cell).collect());
    }
    cli.ui.text(table.render())
}

async fn remove(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let uuid = parsed
        .text("bundle_store_uuid")
        .filter(|uuid| !uuid.is_empty())
        .ok_or_else(|| Error::usage("Which store? cl store rm <uuid>; cl store ls shows the uuids"))?;
    let client = cli.current_client()?;
    client.delete("bundle_stores", Query::new(), &[uuid.to_owned()]).await?;
    cli.ui.line(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Outcome, parse};

    #[test]
    fn the_type_comes_from_the_url() {
        for (typed, expected) in [
            (
                &["add", "--name", "cold", "--url", "gs://mira-cold"][..],
                Ok(json!({"name": "cold", "storage_type": "gcs", "url": "gs://mira-cold"})),
            ),
            (
                &["add", "-n", "a", "--url", "azfs://x/y", "--authentication", "k"],
                Ok(json!({"name": "a", "storage_type": "azure_blob", "url": "azfs://x/y", "authentication": "k"})),
            ),
            (
                &[
                    "add",
                    "-n",
                    "a",
                    "--storage-type",
                    "disk",
                    "--storage-format",
                    "uncompressed",
                ],
                Ok(json!({"name": "a", "storage_type": "disk", "storage_format": "uncompressed"})),
            ),
            (
                &["add", "-n", "a", "--url", "gs://x", "--storage-type", "disk"],
                Err("UsageError: Bundle store gs://x only supports storage type: gcs"),
            ),
            (
                &["add"],
                Err("UsageError: The new store needs a name: cl store add --name <name>"),
            ),
        ] {
            let tokens: Vec<String> = typed.iter().map(|&token| token.to_owned()).collect();
            let Ok(Outcome::Values(parsed)) = parse(&arguments(), &tokens) else {
                panic!("{typed:?} does not parse")
            };
            let result = attributes(&parsed)
                .map(Value::Object)
                .map_err(|error| error.to_string());
            assert_eq!(result, expected.map_err(str::to_owned));
        }
    }
}
