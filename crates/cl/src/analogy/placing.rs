//! Where the images go: after the text that stands before the old bundles, which is copied along.

use std::collections::HashMap;

use client::{Object, Query};
use serde_json::{Value, json};

use super::Image;
use crate::cli::Worksheet;
use crate::commands::append;
use crate::error::Result;
use crate::render::fields::{field, related};

/// Appends the images to the worksheet, in the order and with the headings of the worksheet that shows `anchor`: this one
/// if it does, else the first that does. Images that are not on it come last.
pub async fn place(worksheet: &Worksheet, anchor: Option<&str>, images: &[Image]) -> Result<()> {
    let mut host = None;
    if let Some(anchor) = anchor {
        let query = Query::new().with("keywords", format!("bundle={anchor}"));
        let hosts = worksheet.client.fetch_list("worksheets", query).await?;
        let own = hosts.iter().find(|sheet| field(sheet, "uuid") == worksheet.uuid);
        host = own.or(hosts.first()).map(|sheet| field(sheet, "uuid").to_owned());
    }
    let items = match host {
        Some(host) => {
            let query = Query::new().include(&["items", "items.bundle"]);
            let sheet = worksheet.client.fetch_one(&format!("worksheets/{host}"), query).await?;
            new_items(&related(&sheet, "items"), images)
        }
        None => new_items(&[], images),
    };
    append(worksheet, items).await
}

/// The items to append, made after those of the host worksheet.
fn new_items(items: &[&Object], images: &[Image]) -> Vec<Value> {
    let mut left: HashMap<&str, &str> = images
        .iter()
        .filter_map(|image| Some((image.old_uuid.as_str(), image.new_uuid.as_deref()?)))
        .collect();
    let mut new = Vec::new();
    let mut prelude: Vec<Value> = Vec::new();
    for item in items {
        let (kind, value) = (field(item, "type"), field(item, "value"));
        if kind == "directive" || (kind == "markup" && !value.is_empty()) {
            prelude.push(json!({"type": kind, "value": value}));
            continue;
        }
        let shown = item
            .get("bundle")
            .and_then(|bundle| bundle.get("id"))
            .and_then(Value::as_str);
        if let Some(uuid) = shown.and_then(|old| left.remove(old)) {
            new.append(&mut prelude);
            new.push(json!({"type": "bundle", "bundle": uuid}));
        }
        prelude.clear();
    }
    let rest = images.iter().filter_map(|image| left.get(image.old_uuid.as_str()));
    new.extend(rest.map(|uuid| json!({"type": "bundle", "bundle": uuid})));
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_before_a_bundle_is_copied_with_its_image() {
        let items = json!([
            {"type": "markup", "value": "# Other"},
            {"type": "bundle", "bundle": {"id": "0x5"}},
            {"type": "markup", "value": "# Fit"},
            {"type": "directive", "value": "display table"},
            {"type": "bundle", "bundle": {"id": "0x1"}},
            {"type": "markup", "value": "lost"},
            {"type": "markup", "value": ""},
            {"type": "bundle", "bundle": {"id": "0x2"}},
            {"type": "markup", "value": "again"},
            {"type": "bundle", "bundle": {"id": "0x1"}},
        ]);
        let items: Vec<&Object> = items
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item.as_object().unwrap())
            .collect();
        let image = |old: &str, new: &str| Image {
            old_uuid: old.into(),
            new_uuid: Some(new.into()),
        };
        let images = [image("0x3", "0xc"), image("0x1", "0xa"), image("0x2", "0xb")];
        assert_eq!(
            Value::from(new_items(&items, &images)),
            json!([
                {"type": "markup", "value": "# Fit"},
                {"type": "directive", "value": "display table"},
                {"type": "bundle", "bundle": "0xa"},
                {"type": "bundle", "bundle": "0xb"},
                {"type": "bundle", "bundle": "0xc"},
            ])
        );
    }
}
