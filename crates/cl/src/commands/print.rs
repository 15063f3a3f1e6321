//! `cl print`: a worksheet as text, rendered or as its source.

use client::{Client, Object, Query};
use domain::literal::display;
use serde_json::{Value, json};

use super::{Command, Group};
use crate::cli::{Cli, Worksheet};
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
    for block in blocks.iter().filter_map(Value::as_object) {
        cli.ui.line("")?;
        print_block(cli, &worksheet, block).await?;
    }
    Ok(())
}

async fn print_block(cli: &mut Cli, worksheet: &Worksheet, block: &Object) -> Result<()> {
    match fields::field(block, "mode") {
        "markup_block" => cli.ui.line(fields::field(block, "text")),
        "table_block" => print_rows(cli, &worksheet.client, block, true).await,
        "record_block" => print_rows(cli, &worksheet.client, block, false).await,
        "contents_block" => print_contents(cli, &worksheet.client, block).await,
        "image_block" => cli.ui.line("[Image]"),
        "graph_block" => cli.ui.line("[Graph]"),
        "schema_block" => cli.ui.line("[SchemaBlock]"),
        "placeholder_block" => cli
            .ui
            .line(format!("[Placeholder] {}", fields::field(block, "directive"))),
        "subworksheets_block" => {
            for sheet in fields::related(block, "subworksheet_infos") {
                let address = worksheet.client.address();
                let name = fields::text(sheet.get("name")).unwrap_or("<none>");
                let reference = fields::worksheet(address, fields::field(sheet, "uuid"), name);
                cli.ui.line(format!("[Worksheet {reference}]"))?;
            }
            Ok(())
        }
        other => Err(Error::usage(format!("Invalid display mode: {other}"))),
    }
}

async fn print_rows(cli: &mut Cli, client: &Client, block: &Object, with_header: bool) -> Result<()> {
    let header: Vec<&str> = match block.get("header") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut rows = block.get("rows").cloned().unwrap_or_else(|| json!([]));
    // Cells that are still references to files are filled in by the server.
    if has_open_cells(&rows) {
        let body = json!({"contents": rows});
        let mut answer = client
            .post_json("interpret/genpath-table-contents", Query::new(), &body)
            .await?;
        rows = answer.get_mut("contents").map(Value::take).unwrap_or_default();
    }
    let mut table = Table::new(header.iter().copied()).indent(2);
    if !with_header {
        table = table.without_header();
    }
    for row in rows.as_array().into_iter().flatten() {
        let cell = |name: &&str| match row.get(*name) {
            None | Some(Value::Null) => String::new(),
            Some(value) => display(value),
        };
        table.row(header.iter().map(cell).collect());
    }
    cli.ui.text(table.render())
}

fn has_open_cells(rows: &Value) -> bool {
    let open = |cell: &Value| matches!(cell.as_array().map(Vec::as_slice), Some([Value::String(_), Value::String(path), _]) if path.starts_with('/'));
    rows.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .any(|row| row.values().any(open))
}

async fn print_contents(cli: &mut Cli, client: &Client, block: &Object) -> Result<()> {
    let first = block
        .get("bundles_spec")
        .and_then(|spec| spec.get("bundle_infos"))
        .and_then(|infos| infos.get(0));
    let uuid = fields::text(first.and_then(|info| info.get("uuid"))).unwrap_or_default();
    let path = fields::field(block, "target_genpath").trim_start_matches('/');
    let lines = match block.get("max_lines") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
        None => None,
    };
    match contents::show(&mut cli.ui, client, uuid, path, lines.unwrap_or(DEFAULT_LINES), 0).await {
        Ok(_) => Ok(()),
        Err(Error::BrokenPipe) => Err(Error::BrokenPipe),
        Err(Error::Named { message, .. } | Error::Plain(message)) => cli.ui.line(format!("ERROR: {message}")),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_to_files_are_open_cells() {
        for (rows, open) in [
            (json!([{"name": "x", "error": ["0x1", "/stats:error", null]}]), true),
            (json!([{"tags": ["a", "b", "c"]}]), false),
            (json!([{"value": ["Forbidden"]}]), false),
            (json!([]), false),
        ] {
            assert_eq!(has_open_cells(&rows), open, "{rows}");
        }
    }
}
