//! Fills blocks with what has to be read from bundles, and writes their JSON (language sections 10 and 11).

use std::collections::{BTreeSet, HashMap};

use base64::Engine;
use domain::{Error, ErrorKind};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::block::{Block, Cell, FileCell, PlacedInfo, Row, bundles_spec, record_rows, row_object, sort_keys, status};
use crate::file;
use crate::post::Chains;
use crate::reader::{Reader, Target, is_forbidden};

/// Blocks of a page, and files of a block, that are read at the same time.
const CONCURRENCY: usize = 8;

/// Largest picture that is put into a page, in bytes.
const MAX_IMAGE: u64 = 16 << 20;

/// The JSON of blocks, in order; several are resolved at the same time.
pub(crate) async fn resolve_all(blocks: Vec<Block>, brief: bool, reader: &dyn Reader) -> Vec<Value> {
    stream::iter(blocks)
        .map(|block| resolve(block, brief, reader))
        .buffered(CONCURRENCY)
        .collect()
        .await
}

/// The JSON of a block. In brief mode file cells of tables and records stay lists of three.
pub(crate) async fn resolve(block: Block, brief: bool, reader: &dyn Reader) -> Value {
    match try_resolve(block, brief, reader).await {
        Ok(value) => value,
        Err(error) => json!({"mode": "markup_block", "text": format!("ERROR: {}", message(&error))}),
    }
}

fn message(error: &Error) -> &str {
    match error.kind {
        ErrorKind::Internal | ErrorKind::Unavailable => "Unexpected error interpreting item",
        _ => &error.message,
    }
}

async fn try_resolve(block: Block, brief: bool, reader: &dyn Reader) -> domain::Result<Value> {
    let mut value = match block {
        Block::Markup { text, ids, sort_keys } => {
            json!({"mode": "markup_block", "text": text, "ids": ids, "sort_keys": sort_keys})
        }
        Block::Error { text } => json!({"mode": "markup_block", "text": text, "error": true}),
        Block::Table {
            fields,
            rows,
            infos,
            first_index,
            schemas,
        } => {
            let (code, rows) = finish_rows(rows, brief, reader).await;
            let rows: Vec<_> = rows.into_iter().map(|row| row_object(&fields, row)).collect();
            let header: Vec<_> = fields.iter().map(|field| &field.name).collect();
            json!({
                "mode": "table_block", "header": header, "rows": rows, "bundles_spec": bundles_spec(&infos),
                "status": status(code), "sort_keys": sort_keys(&infos), "first_bundle_source_index": first_index,
                "using_schemas": &*schemas,
            })
        }
        Block::Record {
            fields,
            row,
            info,
            first_index,
            schemas,
        } => {
            let (code, mut rows) = finish_rows(vec![row], brief, reader).await;
            let rows = record_rows(&fields, rows.pop().unwrap_or_default());
            json!({
                "mode": "record_block", "header": ["key", "value"], "rows": rows, "bundles_spec": bundles_spec([&info]),
                "status": status(code), "sort_keys": sort_keys([&info]), "first_bundle_source_index": first_index,
                "using_schemas": &*schemas,
            })
        }
        Block::Contents { info, path, max_lines } => contents(&info, &path, max_lines, reader).await?,
        Block::Image {
            info,
            path,
            width,
            height,
        } => {
            let mut value = image(&info, &path, reader).await?;
            for (key, pixels) in [("width", width), ("height", height)] {
                if let Some(pixels) = pixels {
                    value[key] = json!(pixels);
                }
            }
            value
        }
        Block::Graph {
            bundles,
            path,
            max_lines,
            labels,
        } => {
            let mut value = graph(&bundles, &path, max_lines, reader).await?;
            for (key, label) in labels {
                value[key] = label;
            }
            value
        }
        Block::Schema {
            name,
            fields,
            ids,
            sort_key,
        } => {
            let rows: Vec<_> = fields.iter().map(crate::schema::SchemaField::to_row).collect();
            json!({
                "mode": "schema_block", "schema_name": name, "header": ["field", "generalized-path", "post-processor"],
                "field_rows": rows, "ids": ids, "sort_keys": [sort_key],
            })
        }
        Block::Subworksheets { infos } => {
            json!({"mode": "subworksheets_block", "sort_keys": sort_keys(&infos), "subworksheet_infos": infos.iter().map(PlacedInfo::to_value).collect::<Vec<_>>()})
        }
        Block::Placeholder { directive, sort_key } => {
            json!({"mode": "placeholder_block", "directive": directive, "sort_keys": [sort_key]})
        }
    };
    value["is_refined"] = json!(true);
    Ok(value)
}

async fn contents(info: &PlacedInfo, path: &str, max_lines: usize, reader: &dyn Reader) -> domain::Result<Value> {
    let (lines, code) = match reader.read(info.uuid(), path, file::head_limit(max_lines)).await? {
        Target::File { bytes, size } => (json!(file::head(&bytes, size, max_lines)), "ready"),
        Target::Directory => (json!(["<directory>"]), "ready"),
        Target::NotFound => (Value::Null, "not_found"),
    };
    Ok(json!({
        "mode": "contents_block", "target_genpath": path, "max_lines": max_lines, "lines": lines,
        "bundles_spec": bundles_spec([info]), "status": status(code),
    }))
}

async fn image(info: &PlacedInfo, path: &str, reader: &dyn Reader) -> domain::Result<Value> {
    let (data, status) = match reader.read(info.uuid(), path, MAX_IMAGE).await? {
        Target::File { bytes, size } if bytes.len() as u64 == size => (
            json!(base64::engine::general_purpose::STANDARD.encode(bytes)),
            status("ready"),
        ),
        Target::File { size, .. } => {
            let text = format!(
                "the image has {} and is too large to show",
                domain::size::format_verbose(size as f64)
            );
            (Value::Null, json!({"code": "not_found", "error_message": text}))
        }
        Target::Directory | Target::NotFound => (Value::Null, status("not_found")),
    };
    Ok(json!({
        "mode": "image_block", "target_genpath": path, "image_data": data, "bundles_spec": bundles_spec([info]),
        "status": status,
    }))
}

async fn graph(
    bundles: &[(PlacedInfo, Value)],
    path: &str,
    max_lines: usize,
    reader: &dyn Reader,
) -> domain::Result<Value> {
    let mut trajectories = Vec::new();
    for (info, name) in bundles {
        let mut trajectory = json!({"bundle_uuid": info.uuid(), "target_genpath": path});
        if !name.is_null() {
            trajectory["display_name"] = name.clone();
        }
        if let Target::File { bytes, size } = reader.read(info.uuid(), path, file::head_limit(max_lines)).await? {
            let lines = file::head(&bytes, size, max_lines);
            let points: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
            trajectory["points"] = json!(points);
        }
        trajectories.push(trajectory);
    }
    let first = bundles.first().map(|(info, _)| info);
    Ok(json!({
        "mode": "graph_block", "max_lines": max_lines, "bundles_spec": bundles_spec(first), "trajectories": trajectories,
    }))
}

/// The values of rows and the status of their block.
async fn finish_rows(rows: Vec<Row>, brief: bool, reader: &dyn Reader) -> (&'static str, Vec<Vec<Value>>) {
    let has_files = rows.iter().flatten().any(|cell| matches!(cell, Cell::File(_)));
    let values = |rows: Vec<Row>| {
        rows.into_iter()
            .map(|row| row.iter().map(Cell::to_value).collect())
            .collect()
    };
    if brief || !has_files {
        return (if has_files { "briefly_loaded" } else { "ready" }, values(rows));
    }
    let files: Vec<&FileCell> = rows
        .iter()
        .flatten()
        .filter_map(|cell| match cell {
            Cell::File(file) => Some(file),
            Cell::Value(_) => None,
        })
        .collect();
    let resolved = read_cells(&files, reader).await;
    let mut next = resolved.into_iter();
    let rows = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|cell| match cell {
                    Cell::Value(value) => value.clone(),
                    Cell::File(_) => next.next().unwrap_or(Value::Null),
                })
                .collect()
        })
        .collect();
    ("ready", rows)
}

/// The values of file cells, in order. Each file is read and parsed once. What may not be read is `["Forbidden"]`, what is
/// not there is null.
pub(crate) async fn read_cells(cells: &[&FileCell], reader: &dyn Reader) -> Vec<Value> {
    let split = |cell: &FileCell| {
        let (path, key) = file::split_key(cell.genpath.trim_start_matches('/'));
        ((cell.bundle_uuid.clone(), path.to_owned()), key.map(str::to_owned))
    };
    let files: BTreeSet<(String, String)> = cells.iter().map(|cell| split(cell).0).collect();
    let structures: HashMap<(String, String), Contents> = stream::iter(files)
        .map(|(bundle, path)| async move {
            let contents = read_structure(&bundle, &path, reader).await;
            ((bundle, path), contents)
        })
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    let chains = Chains::default();
    cells
        .iter()
        .map(|cell| {
            let (file, key) = split(cell);
            match structures.get(&file) {
                Some(Contents::Forbidden) => json!(["Forbidden"]),
                Some(Contents::Structure(structure)) => {
                    chains.apply(cell.post.as_deref(), file::lookup(structure, key.as_deref()))
                }
                Some(Contents::Nothing) | None => chains.apply(cell.post.as_deref(), Value::Null),
            }
        })
        .collect()
}

enum Contents {
    Forbidden,
    Nothing,
    Structure(Value),
}

async fn read_structure(bundle: &str, path: &str, reader: &dyn Reader) -> Contents {
    match reader.read(bundle, path, file::head_limit(file::CELL_LINES)).await {
        Ok(Target::File { bytes, size }) => {
            Contents::Structure(file::structure(&file::head(&bytes, size, file::CELL_LINES)))
        }
        Err(error) if is_forbidden(&error) => Contents::Forbidden,
        Ok(Target::Directory | Target::NotFound) | Err(_) => Contents::Nothing,
    }
}
