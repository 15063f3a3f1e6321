//! Bundle infos, and values of generalized paths that do not read files (language sections 7.1 to 7.3 and 10.2).

use std::collections::HashMap;

use domain::{Bundle, Permission, Uuid};
use serde_json::{Map, Value, json};

/// A bundle as the interpreter and the clients see it: a flat JSON object.
pub type BundleInfo = Map<String, Value>;

/// Names of users by their id.
pub type OwnerNames = HashMap<String, String>;

/// The name shown for a bundle or worksheet that does not exist.
pub const INVALID: &str = "<invalid>";

/// Longest summary, in characters.
const MAX_SUMMARY: usize = 1024;

/// The info of a readable bundle. `parent_name` knows the current names of parents; `host` is one readable worksheet
/// that shows the bundle. The owner is hidden if the bundle is anonymous and the viewer may not do everything.
pub fn bundle_info(
    bundle: &Bundle,
    permission: Permission,
    mut parent_name: impl FnMut(&Uuid) -> Option<String>,
    host: Option<(Uuid, &str)>,
) -> BundleInfo {
    let masked = bundle.is_anonymous && permission < Permission::All;
    let dependencies: Vec<Value> = bundle
        .dependencies
        .iter()
        .map(|dependency| {
            json!({
                "parent_name": parent_name(&dependency.parent_uuid), "parent_path": dependency.parent_path,
                "parent_uuid": dependency.parent_uuid, "child_path": dependency.child_path,
                "child_uuid": dependency.child_uuid, "location": null,
            })
        })
        .collect();
    let mut info = Map::new();
    let mut add = |key: &str, value: Value| drop(info.insert(key.to_owned(), value));
    add("uuid", json!(bundle.uuid));
    add("bundle_type", json!(bundle.bundle_type));
    add("owner_id", json!(bundle.owner_id.as_ref().filter(|_| !masked)));
    add("command", json!(bundle.command));
    add("state", json!(bundle.state));
    add("state_details", json!(bundle.state_details()));
    add("frozen", json!(bundle.frozen.map(domain::UtcTime::iso_naive)));
    add("is_anonymous", json!(bundle.is_anonymous));
    add("metadata", json!(bundle.metadata));
    add("dependencies", Value::Array(dependencies));
    add("args", json!(bundle.args()));
    add("location", Value::Null);
    add("permission", json!(permission));
    if let Some((uuid, name)) = host {
        add("host_worksheet", json!({"uuid": uuid, "name": name}));
    }
    info
}

/// The info of a bundle that exists but may not be read.
pub fn private_info(uuid: Uuid) -> BundleInfo {
    let mut info = Map::new();
    info.insert("uuid".to_owned(), json!(uuid));
    info.insert("bundle_type".to_owned(), json!("private"));
    for key in [
        "owner_id",
        "command",
        "state",
        "frozen",
        "is_anonymous",
        "args",
        "location",
    ] {
        info.insert(key.to_owned(), Value::Null);
    }
    info.insert("metadata".to_owned(), json!({"name": "<private>"}));
    info.insert("dependencies".to_owned(), json!([]));
    info
}

/// Whether a genpath reads a file.
pub fn is_file(genpath: &str) -> bool {
    genpath.starts_with('/')
}

/// The value of a genpath that does not read a file; null when there is none.
pub fn value(info: &BundleInfo, genpath: &str, owners: &OwnerNames) -> Value {
    if let Some(key) = genpath.strip_prefix("dependencies/") {
        return json!(dependency_text(info, key));
    }
    match genpath {
        "dependencies" => json!(dependencies_text(info)),
        "summary" => summary(info).map_or(Value::Null, Value::from),
        "permission" => info
            .get("permission")
            .and_then(Value::as_i64)
            .map_or(Value::Null, |level| json!(Permission::from_level(level).as_str())),
        "owner" => text(info, "owner_id")
            .and_then(|id| owners.get(id))
            .map_or(Value::Null, |name| json!(name)),
        "host_worksheets" => host_worksheets(info),
        "group_permissions" => group_permissions(info),
        key => info
            .get(key)
            .filter(|value| !value.is_null())
            .or_else(|| info.get("metadata").and_then(|metadata| metadata.get(key)))
            .cloned()
            .unwrap_or(Value::Null),
    }
}

fn text<'a>(info: &'a BundleInfo, key: &str) -> Option<&'a str> {
    info.get(key).and_then(Value::as_str)
}

struct DependencyView<'a> {
    child_path: &'a str,
    parent_name: &'a str,
    has_name: bool,
    parent_uuid: &'a str,
    parent_path: &'a str,
}

fn dependencies(info: &BundleInfo) -> Vec<DependencyView<'_>> {
    let list = info
        .get("dependencies")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    list.iter()
        .map(|dependency| {
            let get = |key: &str| dependency.get(key).and_then(Value::as_str);
            DependencyView {
                child_path: get("child_path").unwrap_or(""),
                parent_name: get("parent_name").unwrap_or(""),
                has_name: get("parent_name").is_some(),
                parent_uuid: get("parent_uuid").unwrap_or(""),
                parent_path: get("parent_path").unwrap_or(""),
            }
        })
        .collect()
}

fn target(dependency: &DependencyView<'_>) -> String {
    let slash = if dependency.parent_path.is_empty() { "" } else { "/" };
    format!("{}{slash}{}", dependency.parent_name, dependency.parent_path)
}

/// All dependencies by name: `train.py:code/src/train.py,:digits`; empty when there are none.
pub fn dependencies_text(info: &BundleInfo) -> String {
    let dependencies = dependencies(info);
    let anonymous = matches!(dependencies.as_slice(), [only] if only.child_path.is_empty());
    let texts: Vec<_> = dependencies
        .iter()
        .map(|dependency| {
            if anonymous {
                target(dependency)
            } else if dependency.child_path == dependency.parent_name {
                format!(":{}", target(dependency))
            } else {
                format!("{}:{}", dependency.child_path, target(dependency))
            }
        })
        .collect();
    texts.join(",")
}

fn dependency_text(info: &BundleInfo, key: &str) -> String {
    dependencies(info)
        .iter()
        .find(|dependency| dependency.child_path == key)
        .map_or_else(|| "<none>".to_owned(), target)
}

fn summary(info: &BundleInfo) -> Option<String> {
    match text(info, "bundle_type")? {
        "dataset" | "program" => Some(if text(info, "state") == Some("ready") {
            "[uploaded]".to_owned()
        } else {
            String::new()
        }),
        "run" => Some(shorten(format!("! {}", text(info, "command").unwrap_or("")))),
        "make" => {
            let parts: Vec<_> = dependencies(info).iter().map(make_part).collect();
            Some(shorten(format!("= {}", parts.join(" "))))
        }
        _ => None,
    }
}

/// `train.py{code:0x12}`, or `digits{0x7a}` when key and parent have the same name.
fn make_part(dependency: &DependencyView<'_>) -> String {
    let key = if dependency.child_path.is_empty() {
        dependency.parent_name
    } else {
        dependency.child_path
    };
    let name = if dependency.has_name {
        dependency.parent_name
    } else {
        "<none>"
    };
    let start = dependency.parent_uuid.get(..4).unwrap_or(dependency.parent_uuid);
    if key == name {
        format!("{key}{{{start}}}")
    } else {
        format!("{key}{{{name}:{start}}}")
    }
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(MAX_SUMMARY) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

fn host_worksheets(info: &BundleInfo) -> Value {
    let Some(list) = info.get("host_worksheets").and_then(Value::as_array) else {
        return Value::Null;
    };
    let get = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let texts: Vec<_> = list
        .iter()
        .map(|item| format!("{}({})", get(item, "name"), get(item, "uuid")))
        .collect();
    json!(texts.join(" "))
}

fn group_permissions(info: &BundleInfo) -> Value {
    let Some(list) = info.get("group_permissions").and_then(Value::as_array) else {
        return Value::Null;
    };
    let rows = list.iter().map(|row| {
        let uuid = row
            .get("group_uuid")
            .or_else(|| row.pointer("/group/id"))
            .and_then(Value::as_str)
            .unwrap_or("");
        let name = row.get("group_name").and_then(Value::as_str).unwrap_or("");
        (
            name,
            uuid,
            Permission::from_level(row.get("permission").and_then(Value::as_i64).unwrap_or(0)),
        )
    });
    json!(domain::permission::format_groups(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(value: &Value) -> BundleInfo {
        value.as_object().unwrap().clone()
    }

    fn check(info: &BundleInfo, genpath: &str, expected: &Value) {
        let owners = OwnerNames::from([("7".to_owned(), "ann".to_owned())]);
        assert_eq!(&value(info, genpath, &owners), expected, "{genpath}");
    }

    #[test]
    fn special_genpaths_have_their_texts() {
        let run = info(&json!({
            "uuid": "0x1", "bundle_type": "run", "command": "python x", "state": "ready", "owner_id": "7", "permission": 1,
            "metadata": {"name": "train", "time": 1.5, "tags": ["a"]}, "args": null,
            "dependencies": [
                {"child_path": "in", "parent_name": "code", "parent_path": "src", "parent_uuid": "0x12ab"},
                {"child_path": "digits", "parent_name": "digits", "parent_path": "", "parent_uuid": "0x7a9b"},
                {"child_path": "gone", "parent_name": null, "parent_path": "", "parent_uuid": "0x99ff"},
            ],
        }));
        for (genpath, expected) in [
            ("dependencies", json!("in:code/src,:digits,gone:")),
            ("dependencies/in", json!("code/src")),
            ("dependencies/x", json!("<none>")),
            ("summary", json!("! python x")),
            ("permission", json!("read")),
            ("owner", json!("ann")),
            ("name", json!("train")),
            ("time", json!(1.5)),
            ("tags", json!(["a"])),
            ("state", json!("ready")),
            ("args", json!(null)),
            ("nothing", json!(null)),
            ("host_worksheets", json!(null)),
            ("group_permissions", json!(null)),
        ] {
            check(&run, genpath, &expected);
        }
        let mut make = run;
        make.insert("bundle_type".into(), json!("make"));
        check(
            &make,
            "summary",
            &json!("= in{code:0x12} digits{0x7a} gone{<none>:0x99}"),
        );
    }

    #[test]
    fn a_single_dependency_without_key_is_shown_bare() {
        let make = info(
            &json!({"dependencies": [{"child_path": "", "parent_name": "a", "parent_path": "b", "parent_uuid": "0x1"}]}),
        );
        check(&make, "dependencies", &json!("a/b"));
        check(&info(&json!({"uuid": "0x1"})), "dependencies", &json!(""));
    }

    #[test]
    fn summaries_are_shortened() {
        let run = info(&json!({"bundle_type": "run", "command": "é".repeat(2000)}));
        let Value::String(text) = value(&run, "summary", &OwnerNames::new()) else {
            panic!("no text")
        };
        assert_eq!(text.chars().count(), 1024 + 3);
        check(
            &info(&json!({"bundle_type": "dataset", "state": "uploading"})),
            "summary",
            &json!(""),
        );
        check(&private_info(Uuid::from_random([1; 16])), "summary", &json!(null));
    }
}
