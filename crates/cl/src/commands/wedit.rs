//! `cl wedit`: change the contents or the metadata of a worksheet.

use std::io::Read;

use client::{Body, Object, Query, Request, resource, to_one};
use http::Method;
use serde_json::{Map, Value, json};

use super::{Command, Group};
use crate::cli::{Cli, Worksheet};
use crate::editor;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::{fields, source};

pub const COMMAND: Command = Command {
    name: "wedit",
    aliases: &["we"],
    group: Group::Worksheets,
    summary: "Edit the contents of a worksheet; with one of the metadata options, only its metadata.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("worksheet_spec", Arity::Optional, "Worksheet; default the current one."),
        Argument::option("name", "-n --name", Arity::One, "Change the name."),
        Argument::option("title", "-t --title", Arity::One, "Change the title."),
        Argument::option("tags", "-T --tags", Arity::Any, "Change the tags; none clears them."),
        Argument::option(
            "owner_spec",
            "-o --owner-spec",
            Arity::One,
            "Give the worksheet to this user.",
        ),
        Argument::flag("freeze", "--freeze", "Freeze the worksheet."),
        Argument::flag("unfreeze", "--unfreeze", "Unfreeze the worksheet."),
        Argument::flag("anonymous", "--anonymous", "Hide the owner."),
        Argument::flag("not_anonymous", "--not-anonymous", "Show the owner."),
        Argument::option(
            "file",
            "-f --file",
            Arity::One,
            "Replace the contents by those of this file; - is standard input.",
        ),
    ]
}

/// What is fetched of a worksheet to edit it.
const INCLUDE: &[&str] = &["items", "items.bundle", "items.subworksheet"];

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let only_metadata = [
        "name",
        "title",
        "tags",
        "owner_spec",
        "freeze",
        "unfreeze",
        "anonymous",
        "not_anonymous",
    ]
    .iter()
    .any(|option| parsed.has(option));
    let path = format!("worksheets/{}", worksheet.uuid);
    if only_metadata {
        let before = worksheet.client.fetch_one(&path, Query::new()).await?;
        change_metadata(&worksheet, parsed).await?;
        return cli
            .ui
            .line(format!("Saved worksheet metadata for {}.", name_and_uuid(&before)));
    }
    let before = worksheet.client.fetch_one(&path, Query::new().include(INCLUDE)).await?;
    match parsed.text("file") {
        Some(file) => {
            let text = read_source(file)?;
            let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
            save(&worksheet, lines.join("\n")).await?;
        }
        None => edit_contents(cli, &worksheet, &before).await?,
    }
    cli.ui
        .line(format!("Saved worksheet items for {}.", name_and_uuid(&before)))
}

async fn change_metadata(worksheet: &Worksheet, parsed: &Parsed) -> Result<()> {
    let mut attributes = Map::new();
    for key in ["name", "title"] {
        if let Some(value) = parsed.text(key) {
            attributes.insert(key.to_owned(), Value::from(value));
        }
    }
    if parsed.has("tags") {
        attributes.insert("tags".to_owned(), Value::from(parsed.list("tags")));
    }
    if parsed.has("anonymous") || parsed.has("not_anonymous") {
        attributes.insert("is_anonymous".to_owned(), Value::from(!parsed.has("not_anonymous")));
    }
    if parsed.has("unfreeze") {
        attributes.insert("frozen".to_owned(), Value::Null);
    } else if parsed.has("freeze") {
        attributes.insert("frozen".to_owned(), super::edit::now_iso());
    }
    let relationships = match parsed.text("owner_spec") {
        Some(user) => {
            let path = format!("users/{}", client::encode_path(user));
            let owner = worksheet.client.fetch_one(&path, Query::new()).await?;
            json!({"owner": to_one("users", fields::field(&owner, "id"))})
        }
        None => json!({}),
    };
    let change = resource(
        "worksheets",
        Some(&worksheet.uuid),
        Value::Object(attributes),
        relationships,
    );
    worksheet
        .client
        .update("worksheets", Query::new(), vec![change])
        .await?;
    Ok(())
}

async fn edit_contents(cli: &mut Cli, worksheet: &Worksheet, before: &Object) -> Result<()> {
    let mut text = source::lines(&fields::related(before, "items")).join("\n");
    text.push('\n');
    let edited = editor::edit(&cli.environment, &text, ".md")?;
    if edited.text == text {
        return Err(Error::usage("No change made; aborting"));
    }
    // Items added by somebody else while the editor was open would be lost.
    let path = format!("worksheets/{}", worksheet.uuid);
    let now = worksheet
        .client
        .fetch_one(&path, Query::new().include(&["items"]))
        .await;
    let saved = match now {
        Ok(now) if now.get("last_item_id") != before.get("last_item_id") => Err(Error::usage(
            "the worksheet was changed by somebody else meanwhile; nothing was saved",
        )),
        Ok(_) => save(worksheet, edited.text.lines().collect::<Vec<_>>().join("\n")).await,
        Err(error) => Err(error.into()),
    };
    saved.map_err(|error| edited.keep(&error))
}

async fn save(worksheet: &Worksheet, text: String) -> Result<()> {
    let request = Request::new(Method::POST, format!("worksheets/{}/raw", worksheet.uuid))
        .header("content-type", "text/plain; charset=utf-8")
        .body(Body::Bytes(text.into()));
    worksheet.client.send(request).await?;
    Ok(())
}

fn read_source(file: &str) -> Result<String> {
    let mut text = String::new();
    let read = if file == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Error::usage(format!("cannot read {file}: {error}")))?;
    Ok(text)
}

fn name_and_uuid(sheet: &Object) -> String {
    format!("{}({})", fields::field(sheet, "name"), fields::field(sheet, "uuid"))
}
