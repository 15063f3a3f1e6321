//! `cl info`: everything about bundles, or chosen fields.

use client::{Client, Object, Query};
use domain::literal::display;
use domain::spec::expand_ranges;
use domain::target_info::TargetType;
use serde_json::{Value, json};

use super::{Command, Group};
use crate::cli::{Cli, uuid_of};
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::{contents, fields, info, json as output};

/// Lines of a preview.
const PREVIEW: u64 = 10;

pub const COMMAND: Command = Command {
    name: "info",
    aliases: &["i"],
    group: Group::Bundles,
    summary: "Show bundles in detail.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("bundle_spec", Arity::AtLeastOne, "Bundles to show."),
        Argument::option(
            "field",
            "-f --field",
            Arity::One,
            "Only these fields, separated by commas, one line per bundle.",
        ),
        Argument::flag("raw", "-r --raw", "Show all fields, unformatted."),
        Argument::flag(
            "verbose",
            "-v --verbose",
            "Also show children, worksheets, permissions and contents.",
        ),
        Argument::json(),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let specs = expand_ranges(parsed.list("bundle_spec"));
    let query = Query::new()
        .include(include(parsed.has("verbose")))
        .with_all("specs", &specs)
        .with("worksheet", worksheet.uuid.clone());
    let bundles = worksheet.client.fetch_list("bundles", query).await?;
    if !["field", "raw", "verbose"].iter().any(|option| parsed.has(option)) {
        let uuids = bundles.iter().map(|bundle| fields::field(bundle, "uuid"));
        cli.open_bundles(uuids);
    }
    match parsed.text("field") {
        Some(list) => print_fields(cli, &worksheet.client, bundles, list, parsed.has("json")).await,
        None if parsed.has("json") => output::list(&mut cli.ui, bundles),
        None => {
            show(
                cli,
                &worksheet.client,
                &bundles,
                parsed.has("raw"),
                parsed.has("verbose"),
            )
            .await
        }
    }
}

/// What to include of bundles that are shown.
pub fn include(verbose: bool) -> &'static [&'static str] {
    if verbose {
        &["owner", "children", "group_permissions", "host_worksheets"]
    } else {
        &["owner"]
    }
}

async fn print_fields(cli: &mut Cli, client: &Client, bundles: Vec<Object>, list: &str, as_json: bool) -> Result<()> {
    let names: Vec<&str> = list.split(',').collect();
    let rows = field_values(client, &bundles, &names).await?;
    if as_json {
        let objects = rows.into_iter().map(|values| {
            let pairs = names.iter().map(|&name| name.to_owned()).zip(values);
            pairs.collect()
        });
        return output::list(&mut cli.ui, objects);
    }
    for values in rows {
        let texts = names.iter().zip(&values).map(|(name, value)| match value {
            // What is missing in a file shows as nothing, what is missing in the metadata as None.
            Value::Null if name.starts_with('/') => String::new(),
            value => display(value),
        });
        cli.ui.line(texts.collect::<Vec<_>>().join("\t"))?;
    }
    Ok(())
}

/// The values of generalised paths, one row per bundle; those of files are read by the server, all in one request.
async fn field_values(client: &Client, bundles: &[Object], names: &[&str]) -> Result<Vec<Vec<Value>>> {
    let mut queries = Vec::new();
    for bundle in bundles {
        for name in names.iter().filter(|name| name.starts_with('/')) {
            queries.push(json!({"bundle_uuid": uuid_of(client, bundle)?, "genpath": name, "post": null}));
        }
    }
    let mut from_files = Vec::new();
    if !queries.is_empty() {
        let body = json!({"queries": queries});
        let mut answer = client.post_json("interpret/file-genpaths", Query::new(), &body).await?;
        if let Some(Value::Array(values)) = answer.get_mut("data").map(Value::take) {
            from_files = values;
        }
    }
    let mut from_files = from_files.into_iter();
    let mut value = |bundle: &Object, name: &str| {
        if name.starts_with('/') {
            from_files.next().unwrap_or(Value::Null)
        } else {
            fields::generalised(bundle, name)
        }
    };
    let rows = bundles
        .iter()
        .map(|bundle| names.iter().map(|name| value(bundle, name)).collect());
    Ok(rows.collect())
}

/// The full form of bundles that were fetched with [`include`].
pub async fn show(cli: &mut Cli, client: &Client, bundles: &[Object], raw: bool, verbose: bool) -> Result<()> {
    let zone = cli.zone();
    let user = client.fetch_one("user", Query::new()).await?;
    let is_root = fields::flag(&user, "is_root_user");
    for (index, bundle) in bundles.iter().enumerate() {
        if index > 0 {
            cli.ui.line("")?;
        }
        let uuid = uuid_of(client, bundle)?;
        let (names, list) = stores(client, bundle, &uuid).await?;
        let options = info::Options {
            raw,
            is_root,
            stores: (&names, &list),
            zone: &zone,
        };
        cli.ui.text(info::full(bundle, &options))?;
        if verbose {
            cli.ui.text(info::relations(bundle, client.address()))?;
            previews(cli, client, &uuid).await?;
        }
    }
    Ok(())
}

/// Names of the stores that hold a bundle, and the list as it came.
async fn stores(client: &Client, bundle: &Object, uuid: &str) -> Result<(Vec<String>, Value)> {
    if fields::field(bundle, "bundle_type") == "private" {
        return Ok((Vec::new(), Value::Null));
    }
    let list = match client
        .fetch_list(&format!("bundles/{uuid}/locations/"), Query::new())
        .await
    {
        Ok(list) => list,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let names = list
        .iter()
        .filter_map(|location| fields::text(location.get("name")).map(str::to_owned))
        .collect();
    Ok((names, Value::from(list)))
}

async fn previews(cli: &mut Cli, client: &Client, uuid: &str) -> Result<()> {
    cli.ui.line("=== contents preview ===")?;
    preview(cli, client, uuid, "").await?;
    let Some(info) = contents::info(client, uuid, "").await? else {
        return Ok(());
    };
    if info.target_type != TargetType::Directory {
        return Ok(());
    }
    for entry in info
        .contents
        .iter()
        .flatten()
        .filter(|entry| matches!(entry.name.as_str(), "stdout" | "stderr"))
    {
        cli.ui.line(format!("=== {} preview ===", entry.name))?;
        preview(cli, client, uuid, &entry.name).await?;
    }
    Ok(())
}

/// What cannot be shown in a preview is said in it and fails nothing.
async fn preview(cli: &mut Cli, client: &Client, uuid: &str, path: &str) -> Result<()> {
    match contents::show(&mut cli.ui, client, uuid, path, PREVIEW, 0).await {
        Ok(_) => Ok(()),
        Err(Error::BrokenPipe) => Err(Error::BrokenPipe),
        Err(error) => cli.ui.line(format!("ERROR: {error}")),
    }
}
