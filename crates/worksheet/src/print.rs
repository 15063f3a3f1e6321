//! The text of `cl print`: blocks and tables (language section 16). Works on the JSON that the server sends.

use serde_json::Value;

/// What to print for a block, after the empty line that precedes every block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Printed {
    /// This text, lines separated by newlines, without a newline at the end.
    Text(String),
    /// The first lines of a file or the listing of a directory, which the client fetches itself.
    Contents {
        /// The bundle.
        bundle_uuid: String,
        /// Path inside the bundle, empty for the bundle itself.
        path: String,
        /// Lines of a file to print.
        max_lines: u64,
    },
    /// A mode this version does not know: `Invalid display mode: <mode>`.
    Unknown(String),
}

/// The text of a block. `address` is that of the instance, for links to worksheets.
pub fn block(block: &Value, address: &str) -> Printed {
    let mode = text(block, "mode");
    match mode {
        "markup_block" => Printed::Text(text(block, "text").to_owned()),
        "table_block" => Printed::Text(table(&names(block), rows(block), true)),
        "record_block" => Printed::Text(table(&names(block), rows(block), false)),
        "contents_block" => Printed::Contents {
            bundle_uuid: block
                .pointer("/bundles_spec/bundle_infos/0/uuid")
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned(),
            path: text(block, "target_genpath").to_owned(),
            max_lines: block.get("max_lines").and_then(Value::as_u64).unwrap_or(10),
        },
        "image_block" => Printed::Text("[Image]".to_owned()),
        "graph_block" => Printed::Text("[Graph]".to_owned()),
        "schema_block" => Printed::Text("[SchemaBlock]".to_owned()),
        "placeholder_block" => Printed::Text(format!("[Placeholder] {}", text(block, "directive"))),
        "subworksheets_block" => {
            let infos = block
                .get("subworksheet_infos")
                .and_then(Value::as_array)
                .map_or(&[][..], Vec::as_slice);
            let lines: Vec<_> = infos
                .iter()
                .map(|info| format!("[Worksheet {}]", worksheet_link(info, address)))
                .collect();
            Printed::Text(lines.join("\n"))
        }
        other => Printed::Unknown(other.to_owned()),
    }
}

/// `<address>/worksheets/<uuid> (<name>)`
pub fn worksheet_link(info: &Value, address: &str) -> String {
    format!("{address}/worksheets/{} ({})", text(info, "uuid"), text(info, "name"))
}

/// A table indented by two blanks: cells padded to the widest of their column, the header included, joined by two blanks;
/// the header line if wanted; a line of dashes.
pub fn table(header: &[&str], rows: &[Value], show_header: bool) -> String {
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            header
                .iter()
                .map(|name| cell(row.get(*name).unwrap_or(&Value::Null)))
                .collect()
        })
        .collect();
    let widths: Vec<usize> = header
        .iter()
        .enumerate()
        .map(|(column, name)| {
            let cells = lines.iter().map(|line| line[column].chars().count());
            cells.chain([name.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<_> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("  {}", padded.join("  "))
    };
    let mut out = Vec::new();
    if show_header {
        out.push(line(&mut header.iter().copied()));
    }
    out.push(format!(
        "  {}",
        "-".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1))
    ));
    out.extend(lines.iter().map(|cells| line(&mut cells.iter().map(String::as_str))));
    out.join("\n")
}

/// The text of a cell: nothing for null, else as Python prints it.
fn cell(value: &Value) -> String {
    if value.is_null() {
        String::new()
    } else {
        domain::literal::display(value)
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

fn names(block: &Value) -> Vec<&str> {
    block
        .get("header")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn rows(block: &Value) -> &[Value] {
    block.get("rows").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn printed(value: &Value) -> String {
        match block(value, "https://h") {
            Printed::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    #[test]
    fn tables_are_padded_in_every_column() {
        let value = json!({
            "mode": "table_block", "header": ["uuid[0:8]", "name", "description"],
            "rows": [{"uuid[0:8]": "0x4f1e2c", "name": "train-a", "description": ""}, {"uuid[0:8]": "0x7a9003", "name": "d", "description": "MNIST"}],
        });
        let lines = [
            "  uuid[0:8]  name     description",
            "  -------------------------------",
            "  0x4f1e2c   train-a             ",
            "  0x7a9003   d        MNIST      ",
        ];
        assert_eq!(printed(&value), lines.join("\n"));
    }

    #[test]
    fn records_hide_the_header_but_count_it() {
        let value = json!({
            "mode": "record_block", "header": ["key", "value"],
            "rows": [{"key": "name:", "value": "train-a"}, {"key": "time:", "value": "1m15s"}, {"key": "x:"}],
        });
        let lines = [
            "  --------------",
            "  name:  train-a",
            "  time:  1m15s  ",
            "  x:            ",
        ];
        assert_eq!(printed(&value), lines.join("\n"));
    }

    #[test]
    fn other_blocks_have_their_fixed_texts() {
        for (value, expected) in [
            (json!({"mode": "markup_block", "text": "# a"}), "# a"),
            (json!({"mode": "image_block"}), "[Image]"),
            (json!({"mode": "graph_block"}), "[Graph]"),
            (json!({"mode": "schema_block"}), "[SchemaBlock]"),
            (
                json!({"mode": "placeholder_block", "directive": "search x"}),
                "[Placeholder] search x",
            ),
            (
                json!({"mode": "subworksheets_block", "subworksheet_infos": [{"uuid": "0x1", "name": "a"}, {"uuid": "0x2"}]}),
                "[Worksheet https://h/worksheets/0x1 (a)]\n[Worksheet https://h/worksheets/0x2 ()]",
            ),
            (
                json!({"mode": "table_block", "header": ["a"], "rows": [{"a": ["Forbidden"]}]}),
                "  a            \n  -------------\n  ['Forbidden']",
            ),
        ] {
            assert_eq!(printed(&value), expected);
        }
        assert_eq!(block(&json!({"mode": "x"}), ""), Printed::Unknown("x".into()));
        let contents = json!({"mode": "contents_block", "target_genpath": "a", "max_lines": 3, "bundles_spec": {"bundle_infos": [{"uuid": "0x1"}]}});
        let expected = Printed::Contents {
            bundle_uuid: "0x1".into(),
            path: "a".into(),
            max_lines: 3,
        };
        assert_eq!(block(&contents, ""), expected);
    }
}
