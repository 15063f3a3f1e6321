//! Blocks: what an interpreted worksheet consists of, before files are read (language section 10).

use std::sync::Arc;

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

/// A bundle or worksheet in its place on the page. Infos are shared: a page of many items does not copy them.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedInfo {
    /// What the server knows about it.
    pub info: Arc<BundleInfo>,
    /// The item; none for worksheets and results of searches.
    pub id: Option<i64>,
    /// Its place; none for results of searches.
    pub sort_key: Option<i64>,
}

impl PlacedInfo {
    /// The uuid; empty if the info has none.
    pub fn uuid(&self) -> &str {
        self.info.get("uuid").and_then(Value::as_str).unwrap_or("")
    }

    /// The info with the item's members.
    pub fn to_value(&self) -> Value {
        let mut info = BundleInfo::clone(&self.info);
        if let Some(id) = self.id {
            info.insert("id".to_owned(), json!(id));
        }
        info.insert("sort_key".to_owned(), json!(self.sort_key));
        Value::Object(info)
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
        ids: Vec<Option<i64>>,
        /// Their places.
        sort_keys: Vec<Option<i64>>,
    },
    /// A message about a faulty item.
    Error {
        /// The message.
        text: String,
    },
    /// A group of bundles, one row each.
    Table {
        /// Columns.
        fields: Arc<[SchemaField]>,
        /// One per bundle.
        rows: Vec<Row>,
        /// One per row.
        infos: Vec<PlacedInfo>,
        /// Item index of the first bundle.
        first_index: usize,
        /// Arguments of the display directive.
        schemas: Arc<[String]>,
    },
    /// One bundle, one row per field.
    Record {
        /// Rows.
        fields: Arc<[SchemaField]>,
        /// Values of the fields.
        row: Row,
        /// The bundle.
        info: PlacedInfo,
        /// Item index of the group's first bundle.
        first_index: usize,
        /// Arguments of the display directive.
        schemas: Arc<[String]>,
    },
    /// First lines of a file.
    Contents {
        /// The bundle.
        info: PlacedInfo,
        /// Without leading slash.
        path: String,
        /// Lines to show.
        max_lines: usize,
    },
    /// A picture.
    Image {
        /// The bundle.
        info: PlacedInfo,
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
        bundles: Vec<(PlacedInfo, Value)>,
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
        fields: Arc<[SchemaField]>,
        /// Items of the definition.
        ids: Vec<Option<i64>>,
        /// Place of the item that ended it.
        sort_key: Option<i64>,
    },
    /// Links to worksheets.
    Subworksheets {
        /// Worksheet infos, each with its `sort_key`.
        infos: Vec<PlacedInfo>,
    },
    /// A search that is still to be run.
    Placeholder {
        /// The directive without `%`.
        directive: String,
        /// Its place.
        sort_key: Option<i64>,
    },
}

/// The status of a block.
pub fn status(code: &str) -> Value {
    json!({"code": code, "error_message": ""})
}

/// The `bundles_spec` of a block.
pub fn bundles_spec<'a>(infos: impl IntoIterator<Item = &'a PlacedInfo>) -> Value {
    let infos: Value = infos.into_iter().map(PlacedInfo::to_value).collect();
    json!({"bundle_infos": infos, "fetch_status": status("ready")})
}

/// The places of infos, null for results of searches.
pub fn sort_keys<'a>(infos: impl IntoIterator<Item = &'a PlacedInfo>) -> Vec<Option<i64>> {
    infos.into_iter().map(|placed| placed.sort_key).collect()
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
