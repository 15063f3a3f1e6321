//! The bundle table of `ls`, `search` and `rm --dry-run`.

use client::Object;
use domain::literal::display;
use domain::{size, time};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::fields::{generalised, metadata, text};
use super::table::Table;

/// Columns when none are chosen.
pub const DEFAULT_FIELDS: &str = "uuid,name,summary,owner,created,data_size,state";

/// The table; with `numbered`, a first column counts from the end (`^1` is the last).
pub fn table(bundles: &[Object], fields: &str, numbered: bool, zone: &TimeZone) -> Table {
    let fields: Vec<&str> = fields.split(',').collect();
    let header = numbered.then_some("ref").into_iter().chain(fields.iter().copied());
    let mut table = Table::new(header).right(&["ref", "data_size"]);
    for (index, bundle) in bundles.iter().enumerate() {
        let reference = numbered.then(|| format!("^{}", bundles.len() - index));
        let cells = fields.iter().map(|field| cell(bundle, field, zone));
        table.row(reference.into_iter().chain(cells).collect());
    }
    table
}

fn cell(bundle: &Object, field: &str, zone: &TimeZone) -> String {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    match field {
        "uuid" => text(bundle.get("uuid"))
            .map(|uuid| uuid.chars().take(8).collect())
            .unwrap_or_default(),
        "created" => number(metadata(bundle, field))
            .map(|at| time::format_date(at, zone))
            .unwrap_or_default(),
        "data_size" => number(metadata(bundle, field))
            .map(size::format_verbose)
            .unwrap_or_default(),
        "owner" | "summary" => match generalised(bundle, field) {
            Value::Null => String::new(),
            value => display(&value),
        },
        _ => match bundle
            .get(field)
            .filter(|value| !value.is_null())
            .or_else(|| metadata(bundle, field))
        {
            None | Some(Value::Null) => String::new(),
            Some(value) => display(value),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bundles() -> Vec<Object> {
        let list = json!([
            {"uuid": "0x1a2b3c4d5e6f40718293a4b5c6d7e8f9", "bundle_type": "dataset", "state": "ready",
             "owner": {"id": "12", "user_name": "mira"},
             "metadata": {"name": "rivers.csv", "created": 1_700_000_000, "data_size": 1536, "tags": ["hydro", "raw"]}},
            {"uuid": "0x9f8e7d6c5b4a49382716f5e4d3c2b1a0", "bundle_type": "run", "state": "ready", "command": "python a",
             "owner": {"id": "12", "user_name": "mira"},
             "metadata": {"name": "fit", "created": 1_700_000_100, "data_size": 312, "tags": [], "request_memory": "4g"}},
            {"uuid": "0x0000000000000000000000000000000a", "bundle_type": "private", "state": null, "owner": null,
             "metadata": {"name": "<private>"}},
        ]);
        list.as_array()
            .unwrap()
            .iter()
            .map(|bundle| bundle.as_object().unwrap().clone())
            .collect()
    }

    #[test]
    fn default_columns() {
        insta::assert_snapshot!(table(&bundles(), DEFAULT_FIELDS, true, &TimeZone::UTC).render());
    }

    #[test]
    fn chosen_columns_print_raw_values() {
        let fields = "uuid,name,tags,request_memory";
        insta::assert_snapshot!(table(&bundles(), fields, true, &TimeZone::UTC).render());
    }
}
