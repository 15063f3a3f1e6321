//! `cl print`: a worksheet as text, rendered or as its source.

use client::{Client, Object, Query};
use domain::id::is_uuid;
use domain::literal::display;
use serde_json::{Value, json};

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::table::Table;
use crate::render::{contents, fields, source, worksheets};

/// Lines of a contents block that does not say how many.
const DEFAULT_LINES: u64 = 10;

pub const COMMAND: Command = Command {
    name: "print",
    aliases: &["p"],
    group: Group::Worksheets,
    summary: "Print a worksheet, rendered or as its source.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("worksheet_spec", Arity::Optional, "Worksheet; default the current one."),
        Argument::flag("raw", "-r --raw", "Print the source."),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let spec = parsed.text("worksheet_spec");
    let worksheet = cli.worksheet(spec).await?;
    let path = format!("worksheets/{}", worksheet.uuid);
    if parsed.has("raw") {
        let include = ["items", "items.bundle", "items.subworksheet"];
        let sheet = worksheet
            .client
            .fetch_one(&path, Query::new().include(&include))
            .await?;
        for line in source::lines(&fields::related(&sheet, "items")) {
            cli.ui.line(line)?;
        }
        return Ok(());
    }
    let include = ["owner", "group_permissions"];
    let sheet = worksheet
        .client
        .fetch_one(&path, Query::new().include(&include))
        .await?;
    cli.ui.text(worksheets::header(worksheet.client.address(), &sheet))?;
    let interpreted = worksheet
        .client
        .get_json(&format!("interpret/worksheet/{}", worksheet.uuid), Query::new())
        .await?;
    if let Some(error) = fields::text(interpreted.get("error")) {
        return Err(Error::usage(error));
    }
    let blocks = interpreted
        .get("blocks")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for block in blocks {
        cli.ui.line("")?;
        print_block(cli, &worksheet.client, block).await?;
    }
    Ok(())
}

async fn print_block(cli: &mut Cli, client: &Client, block: &Value) -> Result<()> {
    let filled = fill_cells(client, block).await?;
    let Some(block) = filled.as_ref().unwrap_or(block).as_object() else {
        return Ok(());
    };
    match fields::field(block, "mode") {
        "contents_block" => print_contents(cli, client, block).await,
        mode => match block_text(block, mode, client.address()) {
            Some(text) => cli.ui.text(text),
            None => Err(Error::usage(format!("Invalid display mode: {mode}"))),
        },
    }
}

/// The lines of a block that needs nothing more from the server; `None` for a mode that is not known.
fn block_text(block: &Object, mode: &str, address: &str) -> Option<String> {
    let line = match mode {
        "markup_block" => fields::field(block, "text").to_owned(),
        "table_block" => return Some(table(block, true)),
        "record_block" => return Some(table(block, false)),
        "image_block" => "[Image]".to_owned(),
        "graph_block" => "[Graph]".to_owned(),
        "schema_block" => "[SchemaBlock]".to_owned(),
        "placeholder_block" => format!("[Placeholder] {}", fields::field(block, "directive")),
        "subworksheets_block" => {
            let sheets = fields::related(block, "subworksheet_infos");
            let links = sheets.iter().map(|sheet| {
                let link = fields::worksheet(address, fields::field(sheet, "uuid"), fields::field(sheet, "name"));
                format!("[Worksheet {link}]")
            });
            links.collect::<Vec<_>>().join("\n")
        }
        _ => return None,
    };
    Some(line + "\n")
}

/// A table indented by two blanks; records have no header line, but its widths and the dashes.
fn table(block: &Object, with_header: bool) -> String {
    let header: Vec<&str> = match block.get("header") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut table = Table::new(header.iter().copied());
    for row in fields::related(block, "rows") {
        let cell = |name: &&str| match row.get(*name) {
            None | Some(Value::Null) => String::new(),
            Some(value) => display(value),
        };
        table.row(header.iter().map(cell).collect());
    }
    let without = usize::from(!with_header);
    let lines: Vec<String> = table
        .lines()
        .iter()
        .skip(without)
        .map(|line| format!("  {line}"))
        .collect();
    lines.join("\n") + "\n"
}

async fn print_contents(cli: &mut Cli, client: &Client, block: &Object) -> Result<()> {
    let first = block
        .get("bundles_spec")
        .and_then(|spec| spec.get("bundle_infos"))
        .and_then(|infos| infos.get(0));
    let uuid = fields::text(first.and_then(|info| info.get("uuid"))).unwrap_or_default();
    let path = fields::field(block, "target_genpath").trim_start_matches('/');
    let lines = block.get("max_lines").and_then(Value::as_u64).unwrap_or(DEFAULT_LINES);
    match contents::show(&mut cli.ui, client, uuid, path, lines, 0).await {
        Ok(_) => Ok(()),
        Err(
            Error::Named {
                class: "UsageError" | "NotFoundError",
                message,
            }
            | Error::Plain(message),
        ) => cli.ui.line(format!("ERROR: {message}")),
        Err(error) => Err(error),
    }
}

/// The block with cells that are still references to files filled in by the server; `None` if there are no such cells.
async fn fill_cells(client: &Client, block: &Value) -> Result<Option<Value>> {
    let Some(rows) = block
        .get("rows")
        .filter(|rows| is_unfinished(block) && has_open_cells(rows))
    else {
        return Ok(None);
    };
    let body = json!({"contents": rows});
    let mut answer = client
        .post_json("interpret/genpath-table-contents", Query::new(), &body)
        .await?;
    let mut block = block.clone();
    if let (Some(rows), Some(contents)) = (block.get_mut("rows"), answer.get_mut("contents")) {
        *rows = contents.take();
    }
    Ok(Some(block))
}

/// Whether the server left cells open. In a finished block a list that looks like a reference is a value of a file, and
/// not to be read as one.
fn is_unfinished(block: &Value) -> bool {
    block.pointer("/status/code").and_then(Value::as_str) != Some("ready")
}

fn has_open_cells(rows: &Value) -> bool {
    rows.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .any(|row| row.values().any(is_reference))
}

/// `[full uuid, path from the root of the bundle, post-processor or null]`.
fn is_reference(cell: &Value) -> bool {
    let Some([Value::String(uuid), Value::String(path), post]) = cell.as_array().map(Vec::as_slice) else {
        return false;
    };
    is_uuid(uuid) && path.starts_with('/') && (post.is_null() || post.is_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_lines() {
        let shown = |block: Value| {
            let block = block.as_object().unwrap();
            block_text(block, fields::field(block, "mode"), "https://h")
        };
        let infos = json!([{"uuid": "0x1", "name": "a"}, {"uuid": "0x2", "name": "b"}]);
        let rows =
            json!([{"key": "name:", "value": "x"}, {"key": "longer:", "value": 1.0}, {"key": "k", "value": null}]);
        let header = json!(["key", "value"]);
        for (block, text) in [
            (json!({"mode": "markup_block", "text": "a\nb"}), "a\nb\n"),
            (json!({"mode": "image_block"}), "[Image]\n"),
            (
                json!({"mode": "placeholder_block", "directive": "search x"}),
                "[Placeholder] search x\n",
            ),
            (
                json!({"mode": "subworksheets_block", "subworksheet_infos": infos}),
                "[Worksheet https://h/worksheets/0x1 (a)]\n[Worksheet https://h/worksheets/0x2 (b)]\n",
            ),
            (
                json!({"mode": "record_block", "header": header, "rows": rows}),
                "  --------------\n  name:    x    \n  longer:  1.0  \n  k             \n",
            ),
            (
                json!({"mode": "table_block", "header": header, "rows": []}),
                "  key  value\n  ----------\n",
            ),
        ] {
            assert_eq!(shown(block).as_deref(), Some(text));
        }
        assert_eq!(shown(json!({"mode": "hologram_block"})), None);
    }

    /// The examples of the crate `worksheet` hold the blocks of the server, one per line, and what is printed of them.
    #[test]
    fn the_worked_examples_are_printed_as_the_contract_says() {
        let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../worksheet/tests/examples");
        let mut printed = 0;
        for file in std::fs::read_dir(examples).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for example in text.split("\n\n## ") {
                let part = |name: &str| {
                    let (_, rest) = example.split_once(&format!("\n--- {name}\n"))?;
                    Some(rest.split_once("\n--- ").map_or(rest, |(part, _)| part))
                };
                let (Some(blocks), Some(expected)) = (part("blocks"), part("printed")) else {
                    continue;
                };
                let found: Vec<String> = blocks.lines().map(printed_block).collect();
                let found = format!("\n{}", found.join("\n"));
                assert_eq!(found.trim_end(), expected.trim_end(), "{example}");
                printed += 1;
            }
        }
        assert!(printed > 30, "only {printed} examples have printed text");
    }

    fn printed_block(line: &str) -> String {
        let block: Object = serde_json::from_str(line).unwrap();
        match fields::field(&block, "mode") {
            // The client fetches the lines again.
            "contents_block" => match block["lines"].as_array() {
                Some(lines) => lines.iter().filter_map(Value::as_str).collect(),
                None => "<none>\n".to_owned(),
            },
            mode => block_text(&block, mode, "https://host").unwrap(),
        }
    }

    const UUID: &str = "0x4f1e2c8a9b7d4e53a6c0d1e2f3a4b5c6";

    #[test]
    fn a_finished_block_has_no_open_cells() {
        assert!(!is_unfinished(&json!({"status": {"code": "ready"}})));
        assert!(is_unfinished(&json!({"status": {"code": "briefly_loaded"}})));
        assert!(is_unfinished(&json!({})));
    }

    #[test]
    fn only_references_to_files_are_open_cells() {
        for (rows, open) in [
            (json!([{"name": "x", "error": [UUID, "/stats:error", null]}]), true),
            (json!([{"name": "x", "error": [UUID, "/stats:error", "%.2f"]}]), true),
            (json!([{"error": ["0x1", "/stats:error", null]}]), false),
            (json!([{"error": [UUID, "stats:error", null]}]), false),
            (json!([{"error": [UUID, "/stats:error", 1]}]), false),
            (json!([{"tags": ["a", "b", "c"]}]), false),
            (json!([{"value": ["Forbidden"]}]), false),
            (json!([]), false),
        ] {
            assert_eq!(has_open_cells(&rows), open, "{rows}");
        }
    }
}
