//! Fills blocks with what has to be read from bundles, and writes their JSON (language sections 10 and 11).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use domain::{Error, ErrorKind};
use futures::{FutureExt, StreamExt, future, stream};
use serde_json::{Value, json};

use crate::block::{Block, Cell, FileCell, PlacedInfo, Row, bundles_spec, record_rows, row_object, sort_keys, status};
use crate::file;
use crate::post::Chains;
use crate::reader::{FileRef, Parsed, Reader, Target};

/// Files that are read at the same time, for cells and for blocks each.
const CONCURRENCY: usize = 16;

/// Largest picture that is put into a page, in bytes.
const MAX_IMAGE: u64 = 16 << 20;

/// Bytes of one file that a contents or graph block looks at, however many lines it wants.
const MAX_LINES_BYTES: u64 = 32 << 20;

/// What all files of a page may bring into it, in bytes. What goes beyond is left out.
const PAGE_BYTES: u64 = 64 << 20;

/// Which file cells are read.
pub(crate) enum Cells<'a> {
    /// None; they stay lists of three.
    Keep,
    /// All.
    Read,
    /// Those of these bundles.
    Of(&'a HashSet<&'a str>),
}

impl Cells<'_> {
    fn reads(&self, cell: &FileCell) -> bool {
        match self {
            Self::Keep => false,
            Self::Read => true,
            Self::Of(bundles) => bundles.contains(cell.bundle_uuid.as_str()),
        }
    }
}

/// Room for contents in one page.
struct Room(AtomicU64);

impl Room {
    fn new() -> Self {
        Self(AtomicU64::new(PAGE_BYTES))
    }

    /// Whether so many bytes still fit; they are taken.
    fn take(&self, bytes: u64) -> bool {
        let less = |left: u64| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// The JSON of blocks, in order. Everything that they read is read at the same time, within bounds.
pub(crate) async fn resolve_all(blocks: Vec<Block>, cells: &Cells<'_>, reader: &dyn Reader) -> Vec<Value> {
    let wanted: Vec<&FileCell> = blocks
        .iter()
        .flat_map(file_cells)
        .filter(|cell| cells.reads(cell))
        .collect();
    let displayed = blocks.iter().flat_map(displayed_files);
    let files: BTreeSet<FileRef> = wanted.iter().map(|cell| cell_file(cell).0).chain(displayed).collect();
    if !files.is_empty() {
        reader.prepare(&Vec::from_iter(files)).await;
    }
    let room = Room::new();
    let displays = blocks.iter().map(|block| display(block, reader, &room).boxed());
    let displays = stream::iter(displays.collect::<Vec<_>>())
        .buffered(CONCURRENCY)
        .collect::<Vec<_>>();
    let (values, displays) = future::join(read_cells_within(&wanted, reader, &room), displays).await;
    let mut values = values.into_iter();
    blocks
        .into_iter()
        .zip(displays)
        .map(|(block, display)| match display {
            Some(Ok(value)) => refined(value),
            Some(Err(error)) => json!({"mode": "markup_block", "text": format!("ERROR: {}", message(&error))}),
            None => refined(to_json(block, cells, &mut values)),
        })
        .collect()
}

fn refined(mut block: Value) -> Value {
    block["is_refined"] = json!(true);
    block
}

fn message(error: &Error) -> &str {
    match error.kind {
        ErrorKind::Internal | ErrorKind::Unavailable => "Unexpected error interpreting item",
        _ => &error.message,
    }
}

fn file_cells(block: &Block) -> Vec<&FileCell> {
    let rows = match block {
        Block::Table { rows, .. } => rows.as_slice(),
        Block::Record { row, .. } => std::slice::from_ref(row),
        _ => &[],
    };
    let cells = rows.iter().flatten();
    cells
        .filter_map(|cell| match cell {
            Cell::File(file) => Some(file),
            Cell::Value(_) => None,
        })
        .collect()
}

fn displayed_files(block: &Block) -> Vec<FileRef> {
    let file = |info: &PlacedInfo, path: &str| FileRef {
        bundle_uuid: info.uuid().to_owned(),
        path: path.to_owned(),
    };
    match block {
        Block::Contents { info, path, .. } | Block::Image { info, path, .. } => vec![file(info, path)],
        Block::Graph { bundles, path, .. } => bundles.iter().map(|(info, _)| file(info, path)).collect(),
        _ => Vec::new(),
    }
}

/// The JSON of a block that shows files; none for the others.
async fn display(block: &Block, reader: &dyn Reader, room: &Room) -> Option<domain::Result<Value>> {
    Some(match block {
        Block::Contents { info, path, max_lines } => contents(info, path, *max_lines, reader, room).await,
        Block::Image {
            info,
            path,
            width,
            height,
        } => image(info, path, reader, room).await.map(|mut value| {
            for (key, pixels) in [("width", width), ("height", height)] {
                if let Some(pixels) = pixels {
                    value[key] = json!(pixels);
                }
            }
            value
        }),
        Block::Graph {
            bundles,
            path,
            max_lines,
            labels,
        } => graph(bundles, path, *max_lines, reader, room).await.map(|mut value| {
            for (key, label) in labels {
                value[key] = label.clone();
            }
            value
        }),
        _ => return None,
    })
}

/// The JSON of a block that shows no files; the values of its file cells that are read come next in `values`.
fn to_json(block: Block, cells: &Cells<'_>, values: &mut impl Iterator<Item = Option<Value>>) -> Value {
    match block {
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
            let (code, rows) = finish_rows(rows, cells, values);
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
            let (code, mut rows) = finish_rows(vec![row], cells, values);
            let rows = record_rows(&fields, rows.pop().unwrap_or_default());
            json!({
                "mode": "record_block", "header": ["key", "value"], "rows": rows, "bundles_spec": bundles_spec([&info]),
                "status": status(code), "sort_keys": sort_keys([&info]), "first_bundle_source_index": first_index,
                "using_schemas": &*schemas,
            })
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
            let shown: Vec<_> = infos.iter().map(PlacedInfo::to_value).collect();
            json!({"mode": "subworksheets_block", "sort_keys": sort_keys(&infos), "subworksheet_infos": shown})
        }
        Block::Placeholder { directive, sort_key } => {
            json!({"mode": "placeholder_block", "directive": directive, "sort_keys": [sort_key]})
        }
        // These come from `display`.
        Block::Contents { .. } | Block::Image { .. } | Block::Graph { .. } => Value::Null,
    }
}

fn not_shown(message: &str) -> Value {
    json!({"code": "not_found", "error_message": message})
}

const TOO_LATE: &str = "The file was not read in time; reload the page to try again.";
const NO_ROOM: &str = "The page shows too much already; show fewer files on it.";

/// The first lines of a file, or why there are none.
enum Lines {
    Read(Vec<String>),
    Directory,
    NotShown(Value),
}

async fn lines(info: &PlacedInfo, path: &str, max: usize, reader: &dyn Reader, room: &Room) -> domain::Result<Lines> {
    let limit = file::head_limit(max).min(MAX_LINES_BYTES);
    Ok(match reader.read(info.uuid(), path, limit).await? {
        Target::File { bytes, .. } if !room.take(bytes.len() as u64) => Lines::NotShown(not_shown(NO_ROOM)),
        Target::File { bytes, size } => Lines::Read(file::head(&bytes, size, max)),
        Target::Directory => Lines::Directory,
        Target::NotFound => Lines::NotShown(status("not_found")),
        Target::Late => Lines::NotShown(not_shown(TOO_LATE)),
    })
}

async fn contents(
    info: &PlacedInfo,
    path: &str,
    max_lines: usize,
    reader: &dyn Reader,
    room: &Room,
) -> domain::Result<Value> {
    let (lines, status) = match lines(info, path, max_lines, reader, room).await? {
        Lines::Read(lines) => (json!(lines), status("ready")),
        Lines::Directory => (json!(["<directory>"]), status("ready")),
        Lines::NotShown(status) => (Value::Null, status),
    };
    Ok(json!({
        "mode": "contents_block", "target_genpath": path, "max_lines": max_lines, "lines": lines,
        "bundles_spec": bundles_spec([info]), "status": status,
    }))
}

async fn image(info: &PlacedInfo, path: &str, reader: &dyn Reader, room: &Room) -> domain::Result<Value> {
    let mut media_type = None;
    let (data, status) = match reader.read(info.uuid(), path, MAX_IMAGE).await? {
        Target::File { bytes, size } if bytes.len() as u64 != size => {
            let text = format!(
                "the image has {} and is too large to show",
                domain::size::format_verbose(size as f64)
            );
            (Value::Null, not_shown(&text))
        }
        Target::File { bytes, .. } if !room.take(bytes.len() as u64) => (Value::Null, not_shown(NO_ROOM)),
        Target::File { bytes, .. } => {
            media_type = image_type(&bytes);
            (
                json!(base64::engine::general_purpose::STANDARD.encode(bytes)),
                status("ready"),
            )
        }
        Target::Directory | Target::NotFound => (Value::Null, status("not_found")),
        Target::Late => (Value::Null, not_shown(TOO_LATE)),
    };
    let mut value = json!({
        "mode": "image_block", "target_genpath": path, "image_data": data, "bundles_spec": bundles_spec([info]),
        "status": status,
    });
    if let Some(media_type) = media_type {
        value["media_type"] = json!(media_type);
    }
    Ok(value)
}

/// The media type that the first bytes of a picture tell.
fn image_type(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if starts(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if starts(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else if starts(b"GIF87a") || starts(b"GIF89a") {
        Some("image/gif")
    } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some("image/webp")
    } else if starts(b"BM") {
        Some("image/bmp")
    } else {
        let text = std::str::from_utf8(bytes.get(..512).unwrap_or(bytes))
            .ok()?
            .trim_start();
        let is_svg = text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg"));
        is_svg.then_some("image/svg+xml")
    }
}

async fn graph(
    bundles: &[(PlacedInfo, Value)],
    path: &str,
    max_lines: usize,
    reader: &dyn Reader,
    room: &Room,
) -> domain::Result<Value> {
    let curves = bundles
        .iter()
        .map(|(info, _)| lines(info, path, max_lines, reader, room).boxed());
    let curves = stream::iter(curves.collect::<Vec<_>>())
        .buffered(CONCURRENCY)
        .collect::<Vec<_>>();
    let mut trajectories = Vec::new();
    for ((info, name), lines) in bundles.iter().zip(curves.await) {
        let mut trajectory = json!({"bundle_uuid": info.uuid(), "target_genpath": path});
        if !name.is_null() {
            trajectory["display_name"] = name.clone();
        }
        if let Lines::Read(lines) = lines? {
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

/// The values of rows and the status of their block. Cells that were wanted and not read in time, like those that nobody
/// wanted in brief mode, stay lists of three.
fn finish_rows(
    rows: Vec<Row>,
    cells: &Cells<'_>,
    values: &mut impl Iterator<Item = Option<Value>>,
) -> (&'static str, Vec<Vec<Value>>) {
    let mut code = "ready";
    let mut finish = |cell: Cell| match cell {
        Cell::Value(value) => value,
        Cell::File(file) if cells.reads(&file) => values.next().flatten().unwrap_or_else(|| {
            code = "briefly_loaded";
            Cell::File(file).to_value()
        }),
        cell @ Cell::File(_) => {
            if matches!(cells, Cells::Keep) {
                code = "briefly_loaded";
            }
            cell.to_value()
        }
    };
    let rows = rows
        .into_iter()
        .map(|row| row.into_iter().map(&mut finish).collect())
        .collect();
    (code, rows)
}

fn cell_file(cell: &FileCell) -> (FileRef, Option<&str>) {
    let genpath = cell.genpath.strip_prefix('/').unwrap_or(&cell.genpath);
    let (path, key) = file::split_key(genpath);
    let file = FileRef {
        bundle_uuid: cell.bundle_uuid.clone(),
        path: path.to_owned(),
    };
    (file, key)
}

/// The values of file cells, in order; none for a cell that was not read in time. Each file is read and parsed once. What may
/// not be read is `["Forbidden"]`, what is not there is null.
pub(crate) async fn read_cells(cells: &[&FileCell], reader: &dyn Reader) -> Vec<Option<Value>> {
    if !cells.is_empty() {
        let files: BTreeSet<FileRef> = cells.iter().map(|cell| cell_file(cell).0).collect();
        reader.prepare(&Vec::from_iter(files)).await;
    }
    read_cells_within(cells, reader, &Room::new()).await
}

async fn read_cells_within(cells: &[&FileCell], reader: &dyn Reader, room: &Room) -> Vec<Option<Value>> {
    let mut values = vec![None; cells.len()];
    if cells.is_empty() {
        return values;
    }
    let mut by_file: BTreeMap<FileRef, Vec<(usize, Option<&str>)>> = BTreeMap::new();
    for (index, cell) in cells.iter().enumerate() {
        let (file, key) = cell_file(cell);
        by_file.entry(file).or_default().push((index, key));
    }
    let (files, wanted): (Vec<FileRef>, Vec<_>) = by_file.into_iter().unzip();
    let known = reader.known(&files).await;
    // The structure of a file is dropped as soon as its cells have their values: together they may be large.
    let chains = Chains::default();
    let fill = |parsed: Parsed, wanted: Vec<(usize, Option<&str>)>| -> Vec<(usize, Option<Value>)> {
        wanted
            .into_iter()
            .map(|(index, key)| {
                let value = match &parsed {
                    Parsed::Late => None,
                    parsed => Some(cell_value(parsed, key, cells[index].post.as_deref(), &chains)),
                };
                (index, value.filter(|value| room.take(weight(value))))
            })
            .collect()
    };
    let fill = &fill;
    let mut unknown = Vec::new();
    for ((file, known), wanted) in files.iter().zip(known).zip(wanted) {
        let Some(parsed) = known else {
            unknown.push(async move { fill(reader.value(file).await, wanted) }.boxed());
            continue;
        };
        for (index, value) in fill(parsed, wanted) {
            values[index] = value;
        }
    }
    let mut filled = stream::iter(unknown).buffer_unordered(CONCURRENCY);
    while let Some(cells) = filled.next().await {
        for (index, value) in cells {
            values[index] = value;
        }
    }
    drop(filled);
    values
}

fn cell_value(parsed: &Parsed, key: Option<&str>, post: Option<&str>, chains: &Chains) -> Value {
    match parsed {
        Parsed::Forbidden => json!(["Forbidden"]),
        Parsed::Value(structure) => chains.apply(post, file::lookup(structure, key)),
        Parsed::Nothing | Parsed::Late => chains.apply(post, Value::Null),
    }
}

/// Roughly the memory of a value, in bytes.
pub fn weight(value: &Value) -> u64 {
    let own = size_of::<Value>() as u64;
    own + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(weight).sum(),
        // Keys, their hashes and places in the index.
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| key.len() as u64 + 48 + weight(value))
            .sum(),
    }
}
