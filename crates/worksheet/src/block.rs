//! Blocks: what an interpreted worksheet consists of, before files are read (language section 10).

use serde_json::{Map, Value, json};

use crate::genpath::BundleInfo;
use crate::schema::SchemaField;

/// A value of a table, or where it has to be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Known.
    Value(Value),
    /// From a file.
    File(FileCell),
}

/// A cell that comes from a file: `/path` or `/path:key/sub`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCell {
    /// The bundle.
    pub bundle_uuid: String,
    /// Starts with `/`.
    pub genpath: String,
    /// Post-processor chain.
    pub post: Option<String>,
}

impl Cell {
    /// The wire form: the value, or a list of three.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::File(cell) => json!([cell.bundle_uuid, cell.genpath, cell.post]),
        }
    }
}

/// One row of a table: cells parallel to the fields.
pub type Row = Vec<Cell>;

/// One block of an interpreted worksheet. `sort_keys` and `ids` are null for results of searches.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Adjacent lines of text.
    Markup {
        /// Joined by newlines.
        text: String,
        /// Items.
        ids: Vec<Value>,
        /// Their places.
        sort_keys: Vec<Value>,
    },
    /// A message about a faulty item.
    Error {
        /// The message.
        text: String,
    },
    /// A group of bundles, one row each.
    Table {
        /// Columns.
        fields: Vec<SchemaField>,
        /// One per bundle.
        rows: Vec<Row>,
        /// One per row.
        infos: Vec<BundleInfo>,
        /// Item index of the first bundle.
        first_index: usize,
        /// Arguments of the display directive.
        schemas: Vec<String>,
    },
    /// One bundle, one row per field.
    Record {
        /// Rows.
        fields: Vec<SchemaField>,
        /// Values of the fields.
        row: Row,
        /// The bundle.
        info: BundleInfo,
        /// Item index of the group's first bundle.
        first_index: usize,
        /// Arguments of the display directive.
        schemas: Vec<String>,
    },
    /// First lines of a file.
    Contents {
        /// The bundle.
        info: BundleInfo,
        /// Without leading slash.
        path: String,
        /// Lines to show.
        max_lines: usize,
    },
    /// A picture.
    Image {
        /// The bundle.
        info: BundleInfo,
        /// Without leading slash.
        path: String,
        /// Pixels.
        width: Option<i64>,
        /// Pixels.
        height: Option<i64>,
    },
    /// Curves of a group of bundles.
    Graph {
        /// The bundles with the name of their curve.
        bundles: Vec<(BundleInfo, Value)>,
        /// Without leading slash.
        path: String,
        /// Points per curve.
        max_lines: usize,
        /// `xlabel`, `ylabel`, `x`, `y` as far as given.
        labels: Vec<(&'static str, Value)>,
    },
    /// A definition of columns.
    Schema {
        /// Name.
        name: String,
        /// Columns.
        fields: Vec<SchemaField>,
        /// Items of the definition.
        ids: Vec<Value>,
        /// Place of the item that ended it.
        sort_key: Value,
    },
    /// Links to worksheets.
    Subworksheets {
        /// Worksheet infos, each with its `sort_key`.
        infos: Vec<BundleInfo>,
    },
    /// A search that is still to be run.
    Placeholder {
        /// The directive without `%`.
        directive: String,
        /// Its place.
        sort_key: Value,
    },
}

/// The status of a block.
pub fn status(code: &str) -> Value {
    json!({"code": code, "error_message": ""})
}

/// The `bundles_spec` of a block.
pub fn bundles_spec<'a>(infos: impl IntoIterator<Item = &'a BundleInfo>) -> Value {
    let infos: Vec<_> = infos.into_iter().collect();
    json!({"bundle_infos": infos, "fetch_status": status("ready")})
}

/// The `sort_key` of infos, null where there is none.
pub fn sort_keys<'a>(infos: impl IntoIterator<Item = &'a BundleInfo>) -> Vec<Value> {
    infos
        .into_iter()
        .map(|info| info.get("sort_key").cloned().unwrap_or(Value::Null))
        .collect()
}

/// The JSON of a row: column name to value; of several columns with one name the last wins.
pub fn row_object(fields: &[SchemaField], values: impl IntoIterator<Item = Value>) -> Value {
    Value::Object(
        fields
            .iter()
            .map(|field| field.name.clone())
            .zip(values)
            .collect::<Map<_, _>>(),
    )
}

/// The rows of a record: name with a colon, and the value unless it is null.
pub fn record_rows(fields: &[SchemaField], values: impl IntoIterator<Item = Value>) -> Value {
    let rows = fields.iter().zip(values).map(|(field, value)| {
        let key = format!("{}:", field.name);
        if value.is_null() {
            json!({ "key": key })
        } else {
            json!({"key": key, "value": value})
        }
    });
    Value::Array(rows.collect())
}
