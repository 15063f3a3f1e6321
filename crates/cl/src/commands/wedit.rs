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
    if cli.is_web() {
        // The browser has an editor of its own.
        cli.structured = Some(json!({"ui_actions": [["setEditMode", true]]}));
        return Ok(());
    }
    let before = worksheet.client.fetch_one(&path, Query::new().include(INCLUDE)).await?;
    match parsed.text("file") {
        Some(file) => replace_contents(cli, &worksheet, file).await?,
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

/// Replaces the contents by a file, blanks at the ends of lines left out. What came from standard input and could not be
/// saved is put into a file.
async fn replace_contents(cli: &mut Cli, worksheet: &Worksheet, file: &str) -> Result<()> {
    let bytes = read_file(file)?;
    let outcome = match source_text(file, &bytes) {
        Ok(text) if text.is_empty() => {
            save(worksheet, text).await?;
            cli.ui.notice(
                "The worksheet holds one empty line now; cl wrm counts it as an item and deletes the worksheet only with \
                 --force.",
            );
            Ok(())
        }
        Ok(text) => save(worksheet, text).await,
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if file == "-" => Err(editor::keep_bytes(&bytes, ".md", &error)),
        other => other,
    }
}

async fn edit_contents(cli: &mut Cli, worksheet: &Worksheet, before: &Object) -> Result<()> {
    let source = source_of(before);
    let text = if source.is_empty() {
        String::new()
    } else {
        format!("{source}\n")
    };
    let edited = editor::edit(&cli.environment, &text, ".md")?;
    let wanted = edited.text.strip_suffix('\n').unwrap_or(&edited.text).to_owned();
    if wanted == source {
        return Err(Error::usage("No change made; aborting"));
    }
    match save_over(worksheet, before, wanted).await {
        Ok(()) => Ok(()),
        Err(error) => Err(edited.keep(&error)),
    }
}

/// Saves unless the worksheet is not any more what it was `before`: somebody else's changes would be lost. A server of
/// version 1.7 does not tell versions, so that only a look right before the save can notice.
async fn save_over(worksheet: &Worksheet, before: &Object, text: String) -> Result<()> {
    let Some(version) = fields::text(before.get("source_version")) else {
        let path = format!("worksheets/{}", worksheet.uuid);
        let now = worksheet.client.fetch_one(&path, Query::new().include(INCLUDE)).await?;
        if ids_of(&now) != ids_of(before) || source_of(&now) != source_of(before) {
            return Err(conflict(worksheet));
        }
        return save(worksheet, text).await;
    };
    let request = raw(worksheet, text).header("if-match", &format!("\"{version}\""));
    match worksheet.client.send(request).await {
        Err(client::Error::Status { status: 409, .. }) => Err(conflict(worksheet)),
        other => Ok(other.map(drop)?),
    }
}

fn conflict(worksheet: &Worksheet) -> Error {
    let uuid = &worksheet.uuid;
    Error::usage(format!(
        "somebody else changed the worksheet while you edited it; nothing was saved. See their text with cl print -r \
         {uuid}, put yours together with it, and save that with cl wedit {uuid} -f FILE."
    ))
}

/// The text in the editor, without its last line end.
fn source_of(sheet: &Object) -> String {
    source::lines(&fields::related(sheet, "items")).join("\n")
}

fn ids_of(sheet: &Object) -> Vec<&str> {
    let items = fields::related(sheet, "items");
    items.into_iter().map(|item| fields::field(item, "id")).collect()
}

async fn save(worksheet: &Worksheet, text: String) -> Result<()> {
    worksheet.client.send(raw(worksheet, text)).await?;
    Ok(())
}

/// The request that replaces the whole source.
fn raw(worksheet: &Worksheet, text: String) -> Request {
    Request::new(Method::POST, format!("worksheets/{}/raw", worksheet.uuid))
        .header("content-type", "text/plain; charset=utf-8")
        .body(Body::Bytes(text.into()))
}

fn read_file(file: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if file == "-" {
        std::io::stdin().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(|error| Error::usage(format!("cannot read {file}: {error}")))?;
    Ok(bytes)
}

/// The source text in a file: lines without the blanks at their ends, and without the last line end.
fn source_text(file: &str, bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = &bytes[..error.valid_up_to()];
        let line = valid.split(|&byte| byte == b'\n').count();
        let name = if file == "-" { "standard input" } else { file };
        Error::usage(format!(
            "{name} is not UTF-8 text (line {line}); nothing was saved. Convert it first, for example with iconv -f \
             latin1 -t utf-8."
        ))
    })?;
    // What Python's `rstrip` takes for white space beyond Unicode's property: the four separators of ASCII.
    let blank = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
    let lines: Vec<&str> = text
        .split_terminator('\n')
        .map(|line| line.trim_end_matches(blank))
        .collect();
    Ok(lines.join("\n"))
}

fn name_and_uuid(sheet: &Object) -> String {
    format!("{}({})", fields::field(sheet, "name"), fields::field(sheet, "uuid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lose_the_blanks_at_line_ends_and_the_last_line_end() {
        for (bytes, text) in [
            ("", ""),
            ("\n", ""),
            ("\n\n", "\n"),
            ("a \t\r\n  b\u{a0}\n\n", "a\n  b\n"),
            ("a\u{2028}b\n", "a\u{2028}b"),
            ("a\x1f\nb\rc", "a\nb\rc"),
        ] {
            assert_eq!(source_text("f", bytes.as_bytes()).unwrap(), text, "{bytes:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_named_with_its_line() {
        let error = source_text("sheet.md", b"a\nb\n\xff\n").unwrap_err().to_string();
        assert!(
            error.starts_with("UsageError: sheet.md is not UTF-8 text (line 3)"),
            "{error}"
        );
        let error = source_text("-", b"\xff").unwrap_err().to_string();
        assert!(error.contains("standard input is not UTF-8 text (line 1)"), "{error}");
    }
}
