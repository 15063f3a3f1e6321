//! `--json`: one JSON document on stdout, for programs.
//!
//! Objects have the names and values of the REST API: all attributes of a resource and its related objects. A listing is an
//! array of them. With `-f`, objects have just the chosen fields.

use client::Object;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::ui::Ui;

/// A listing.
pub fn list(ui: &mut Ui, objects: impl IntoIterator<Item = Object>) -> Result<()> {
    let rows: Value = objects.into_iter().map(|object| Value::Object(plain(object))).collect();
    value(ui, &rows)
}

/// A listing of which only some fields may be wanted; `read` gives the value of a field.
pub fn chosen(
    ui: &mut Ui,
    objects: Vec<Object>,
    fields: Option<&str>,
    read: impl Fn(&Object, &str) -> Value,
) -> Result<()> {
    match fields {
        None => list(ui, objects),
        Some(fields) => {
            let names: Vec<&str> = fields.split(',').collect();
            let row = |object: &Object| {
                names
                    .iter()
                    .map(|&name| (name.to_owned(), read(object, name)))
                    .collect()
            };
            value(ui, &objects.iter().map(row).map(Value::Object).collect())
        }
    }
}

/// One object.
pub fn one(ui: &mut Ui, object: &Object) -> Result<()> {
    value(ui, &Value::Object(plain(object.clone())))
}

/// Any value.
pub fn value(ui: &mut Ui, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::other(error.to_string()))?;
    ui.line(text)
}

/// Without what only the transport needs.
fn plain(mut object: Object) -> Object {
    object.shift_remove("meta");
    object.shift_remove("type");
    object
}
