//! The full form of `info`: one `key : value` line per field.

use std::fmt::Write as _;

use client::Object;
use domain::BundleType;
use domain::literal::display;
use domain::metadata::{display_value, fields as table_of};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::fields::{dependencies_of, field, metadata, related, text, user};

/// Fields before the owner.
const LEADING: [&str; 6] = ["bundle_type", "uuid", "state", "command", "frozen", "is_anonymous"];

/// What else is known, and how much is wanted.
pub struct Options<'a> {
    /// Every field, unformatted.
    pub raw: bool,
    /// Hidden fields too.
    pub is_root: bool,
    /// The stores that hold the bundle: name each, and the raw list.
    pub stores: (&'a [String], &'a Value),
    /// Zone of dates.
    pub zone: &'a TimeZone,
}

/// The lines up to and including the dependencies.
pub fn full(bundle: &Object, options: &Options<'_>) -> String {
    let mut out = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(out, "{key:<26}: {value}");
    };
    for key in LEADING {
        match bundle.get(key) {
            None if !options.raw => {}
            None | Some(Value::Null) => line(key, "<none>"),
            Some(value) => line(key, &display(value)),
        }
    }
    line("owner", &user(bundle.get("owner")));
    let kind: Option<BundleType> = field(bundle, "bundle_type").parse().ok();
    let known = kind.map_or(&[][..], table_of);
    for entry in known.iter().filter(|entry| !entry.hidden || options.is_root) {
        let value = metadata(bundle, entry.key).filter(|value| !value.is_null());
        match value {
            None if options.raw => line(entry.key, "<none>"),
            None => {}
            Some(value) if options.raw => line(entry.key, &display(value)),
            Some(value) if is_empty(value) => {}
            Some(value) => line(entry.key, &display_value(entry, value, options.zone)),
        }
    }
    let (names, list) = options.stores;
    if !names.is_empty() {
        line(
            "bundle stores",
            &if options.raw { display(list) } else { names.join(",") },
        );
    }
    if let Some(Value::Object(all)) = bundle.get("metadata") {
        for (key, value) in all
            .iter()
            .filter(|(key, _)| !known.iter().any(|entry| entry.key == key.as_str()))
        {
            line(key, &display(value));
        }
    }
    let dependencies = dependencies_of(bundle);
    if !dependencies.is_empty() {
        out.push_str("dependencies:\n");
        for dependency in dependencies {
            let path = field(dependency, "parent_path");
            let slash = if path.is_empty() { "" } else { "/" };
            let _ = writeln!(
                out,
                "  {}: {}({}){slash}{path}",
                field(dependency, "child_path"),
                text(dependency.get("parent_name")).unwrap_or("<none>"),
                field(dependency, "parent_uuid"),
            );
        }
    }
    out
}

/// The lines that `-v` adds before the previews.
pub fn relations(bundle: &Object, address: &str) -> String {
    let mut out = String::from("children:\n");
    for child in related(bundle, "children") {
        let _ = writeln!(out, "  {}", super::fields::bundle(child));
    }
    out.push_str("host_worksheets:\n");
    for sheet in related(bundle, "host_worksheets") {
        let reference = super::fields::worksheet(address, field(sheet, "uuid"), field(sheet, "name"));
        let _ = writeln!(out, "  {reference}");
    }
    let permission = super::fields::permission_level(bundle.get("permission"));
    let _ = writeln!(out, "permission: {permission}");
    let _ = write!(
        out,
        "group_permissions:\n  {}\n",
        super::fields::group_permissions(bundle)
    );
    out
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run() -> Object {
        json!({
            "bundle_type": "run", "uuid": "0x9f8e7d6c5b4a49382716f5e4d3c2b1a0", "state": "ready",
            "command": "python src/fit.py rivers.csv", "frozen": null, "is_anonymous": false,
            "owner": {"id": "12", "user_name": "mira"}, "permission": 2,
            "metadata": {
                "name": "fit", "description": "", "tags": [], "created": 1_700_000_100, "data_size": 312,
                "allow_failed_dependencies": false, "request_docker_image": "codalab/default-cpu:latest",
                "request_time": "2h", "request_memory": "4g", "request_disk": "", "request_cpus": 1, "request_gpus": 0,
                "request_queue": "", "request_priority": 0, "request_network": true, "cpu_usage": 0.0,
                "exclude_patterns": [], "store": "", "actions": [], "time": 75.2, "time_system": 1.5,
                "memory_max": 104_857_600, "started": 1_700_000_110, "run_status": "Finished", "exitcode": 0,
                "remote_history": ["node7"], "custom": [1, null]},
            "dependencies": [
                {"child_path": "src", "parent_name": "src", "parent_uuid": "0x2b3c", "parent_path": ""},
                {"child_path": "x", "parent_name": null, "parent_uuid": "0x1a2b", "parent_path": "a"}],
            "children": [{"uuid": "0xd3e4", "metadata": {"name": "plot"}}],
            "host_worksheets": [{"uuid": "0x77aa", "name": "rivers"}],
            "group_permissions": [],
        })
        .as_object()
        .unwrap()
        .clone()
    }

    fn shown(raw: bool, is_root: bool) -> String {
        let list = json!([{"name": "default-store"}]);
        let stores = (&["default-store".to_owned()][..], &list);
        full(
            &run(),
            &Options {
                raw,
                is_root,
                stores,
                zone: &TimeZone::UTC,
            },
        )
    }

    #[test]
    fn the_normal_form_leaves_empty_fields_out_and_formats_the_rest() {
        insta::assert_snapshot!(shown(false, false));
    }

    #[test]
    fn the_raw_form_has_every_field() {
        insta::assert_snapshot!(shown(true, true));
    }

    #[test]
    fn relations_of_a_bundle() {
        insta::assert_snapshot!(relations(&run(), "https://cl.example.org"));
    }

    #[test]
    fn an_unreadable_bundle_shows_what_little_there_is() {
        let bundle = json!({"bundle_type": "private", "uuid": "0x1", "state": null, "command": null, "frozen": null,
            "is_anonymous": null, "owner": null, "metadata": {"name": "<private>"}, "dependencies": []});
        let stores = (&[][..], &Value::Null);
        let options = Options {
            raw: false,
            is_root: false,
            stores,
            zone: &TimeZone::UTC,
        };
        insta::assert_snapshot!(full(bundle.as_object().unwrap(), &options));
    }
}
