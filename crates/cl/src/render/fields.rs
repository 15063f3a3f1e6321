//! Fields of fetched objects as text, and the generalised paths of `info -f`.

use client::Object;
use domain::Permission;
use domain::literal::display;
use domain::permission::format_groups;
use serde_json::Value;

/// A text value.
pub fn text(value: Option<&Value>) -> Option<&str> {
    value?.as_str()
}

/// A text field, empty if absent.
pub fn field<'a>(object: &'a Object, key: &str) -> &'a str {
    text(object.get(key)).unwrap_or("")
}

/// A flag, false if absent.
pub fn flag(object: &Object, key: &str) -> bool {
    object.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// The objects of a to-many relationship.
pub fn related<'a>(object: &'a Object, key: &str) -> Vec<&'a Object> {
    object
        .get(key)
        .and_then(Value::as_array)
        .map_or(Vec::new(), |list| list.iter().filter_map(Value::as_object).collect())
}

/// A metadata value of a bundle.
pub fn metadata<'a>(bundle: &'a Object, key: &str) -> Option<&'a Value> {
    bundle.get("metadata")?.get(key)
}

/// The name of a bundle.
pub fn bundle_name(bundle: &Object) -> &str {
    text(metadata(bundle, "name")).unwrap_or("<none>")
}

/// The uuid (also of a bundle that is only a link) and the name of a bundle.
pub fn uuid_and_name(bundle: &Object) -> (&str, &str) {
    (field(bundle, "uuid"), bundle_name(bundle))
}

/// `name(uuid)`.
pub fn bundle(bundle: &Object) -> String {
    format!("{}({})", bundle_name(bundle), field(bundle, "uuid"))
}

/// `name(id)`; `<anonymous>` without owner, `<anonymous>(id)` without visible name.
pub fn user(user: Option<&Value>) -> String {
    let Some(user) = user.and_then(Value::as_object).filter(|user| !user.is_empty()) else {
        return "<anonymous>".to_owned();
    };
    let id = user.get("id").map(display).unwrap_or_default();
    format!("{}({id})", text(user.get("user_name")).unwrap_or("<anonymous>"))
}

/// `<address>/worksheets/<uuid> (<name>)`.
pub fn worksheet(address: &str, uuid: &str, name: &str) -> String {
    format!("{address}/worksheets/{uuid} ({name})")
}

/// `public(0x41e95d):read,…` or `-`.
pub fn group_permissions(object: &Object) -> String {
    let list = related(object, "group_permissions");
    let rows = list.iter().map(|entry| {
        let group = entry
            .get("group")
            .and_then(|group| group.get("id"))
            .and_then(Value::as_str)
            .unwrap_or("");
        (
            field(entry, "group_name"),
            group,
            permission_level(entry.get("permission")),
        )
    });
    format_groups(rows)
}

/// `none`, `read` or `all`.
pub fn permission_level(value: Option<&Value>) -> Permission {
    match value.and_then(Value::as_i64) {
        Some(1) => Permission::Read,
        Some(level) if level >= 2 => Permission::All,
        _ => Permission::None,
    }
}

/// A generalised path that does not need the contents: special fields, then bundle fields, then metadata.
pub fn generalised(bundle: &Object, path: &str) -> Value {
    match path {
        "args" => args(bundle),
        "owner" => bundle
            .get("owner")
            .and_then(|owner| owner.get("user_name"))
            .cloned()
            .unwrap_or(Value::Null),
        _ => worksheet::genpath_value(bundle, path, &worksheet::OwnerNames::new()),
    }
}

/// The dependencies of a bundle as the server sent them.
pub fn dependencies_of(bundle: &Object) -> Vec<&Object> {
    related(bundle, "dependencies")
}

/// The command line that would recreate the bundle.
fn args(bundle: &Object) -> Value {
    if let Some(args @ Value::String(_)) = bundle.get("args") {
        return args.clone();
    }
    let kind = field(bundle, "bundle_type");
    if !matches!(kind, "make" | "run") {
        return Value::Null;
    }
    let list = dependencies_of(bundle);
    let keyless = matches!(list.as_slice(), [only] if field(only, "child_path").is_empty());
    let mut words = vec![kind.to_owned()];
    words.extend(list.iter().map(|entry| {
        let key = if keyless {
            String::new()
        } else {
            format!("{}:", field(entry, "child_path"))
        };
        let path = field(entry, "parent_path");
        let slash = if path.is_empty() { "" } else { "/" };
        format!("{key}{}{slash}{path}", field(entry, "parent_uuid"))
    }));
    words.extend(
        text(bundle.get("command"))
            .filter(|command| !command.is_empty())
            .map(quote_argument),
    );
    if let Some(Value::Object(metadata)) = bundle.get("metadata") {
        for (key, value) in metadata {
            if key.starts_with("request_") && domain::metadata::is_truthy(value) {
                words.push(format!("--{}", key.replace('_', "-")));
                if !value.is_boolean() {
                    words.push(quote_argument(&display(value)));
                }
            }
        }
    }
    Value::from(words.join(" "))
}

fn quote_argument(word: &str) -> String {
    if word.contains(' ') || word.contains('"') {
        format!("\"{}\"", word.replace('"', "\\\""))
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Object {
        value.as_object().unwrap().clone()
    }

    fn run() -> Object {
        object(&json!({
            "uuid": "0x9f8e", "bundle_type": "run", "state": "ready", "command": "python \"x\"", "frozen": null,
            "owner": {"id": "12", "user_name": "mira"}, "permission": 2,
            "metadata": {"name": "fit", "tags": ["a"], "request_cpus": 1, "request_gpus": 0, "request_memory": "2g",
                         "request_network": true},
            "dependencies": [
                {"child_path": "src", "parent_name": "src", "parent_uuid": "0x2b3c4d", "parent_path": ""},
                {"child_path": "in", "parent_name": "rivers", "parent_uuid": "0x1a2b3c", "parent_path": "a/b"}],
        }))
    }

    #[test]
    fn generalised_paths_of_a_run() {
        for (path, value) in [
            ("name", json!("fit")),
            ("state", json!("ready")),
            ("tags", json!(["a"])),
            ("nosuch", json!(null)),
            ("frozen", json!(null)),
            ("owner", json!("mira")),
            ("permission", json!("all")),
            ("host_worksheets", json!(null)),
            ("dependencies", json!(":src,in:rivers/a/b")),
            ("dependencies/in", json!("rivers/a/b")),
            ("dependencies/out", json!("<none>")),
            ("summary", json!("! python \"x\"")),
            (
                "args",
                json!(
                    "run src:0x2b3c4d in:0x1a2b3c/a/b \"python \\\"x\\\"\" --request-cpus 1 --request-memory 2g \
                       --request-network"
                ),
            ),
        ] {
            assert_eq!(generalised(&run(), path), value, "{path}");
        }
    }

    #[test]
    fn a_single_anonymous_dependency_has_no_key() {
        let make = object(&json!({"bundle_type": "make", "dependencies": [
            {"child_path": "", "parent_name": "digits", "parent_uuid": "0x7a9003", "parent_path": "x"}]}));
        assert_eq!(generalised(&make, "dependencies"), json!("digits/x"));
        assert_eq!(generalised(&make, "summary"), json!("= digits{0x7a}"));
        assert_eq!(generalised(&make, "args"), json!("make 0x7a9003/x"));
    }

    #[test]
    fn users_groups_and_missing_owners() {
        assert_eq!(user(Some(&json!({"id": "12", "user_name": "mira"}))), "mira(12)");
        assert_eq!(user(Some(&json!({"id": "12"}))), "<anonymous>(12)");
        assert_eq!(user(Some(&json!(null))), "<anonymous>");
        let object = object(&json!({"group_permissions": [
            {"group_name": "public", "group": {"id": "0x41e95d8592"}, "permission": 1}]}));
        assert_eq!(group_permissions(&object), "public(0x41e95d):read");
    }
}
