//! `cl print`: a worksheet as text, rendered or as its source.

use client::{Client, Query};
use serde_json::{Value, json};
use worksheet::print::{self, Printed};

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};
use crate::render::{contents, fields, source, worksheets};

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
    match print::block(filled.as_ref().unwrap_or(block), client.address()) {
        Printed::Text(text) => cli.ui.line(text),
        Printed::Contents {
            bundle_uuid,
            path,
            max_lines,
        } => {
            let path = path.trim_start_matches('/');
            match contents::show(&mut cli.ui, client, &bundle_uuid, path, max_lines, 0).await {
                Ok(_) => Ok(()),
                Err(Error::Named { message, .. } | Error::Plain(message)) => cli.ui.line(format!("ERROR: {message}")),
                Err(error) => Err(error),
            }
        }
        Printed::Unknown(mode) => Err(Error::usage(format!("Invalid display mode: {mode}"))),
    }
}

/// The block with cells that are still references to files filled in by the server; `None` if there are no such cells.
async fn fill_cells(client: &Client, block: &Value) -> Result<Option<Value>> {
    let Some(rows) = block.get("rows").filter(|rows| has_open_cells(rows)) else {
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

fn has_open_cells(rows: &Value) -> bool {
    let open = |cell: &Value| matches!(cell.as_array().map(Vec::as_slice), Some([Value::String(_), Value::String(path), _]) if path.starts_with('/'));
    rows.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .any(|row| row.values().any(open))
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
