//! Worksheet items as source lines (`print -r`, the editor of `wedit`).

use client::Object;
use domain::worksheet::Item;
use serde_json::Value;
use worksheet::source::{describe_bundle, emit_item};

use super::fields::{field, text};

/// One line per item; an item with line breaks in it gives them as they are.
pub fn lines(items: &[&Object]) -> Vec<String> {
    items.iter().map(|item| line(item)).collect()
}

fn line(item: &Object) -> String {
    match field(item, "type") {
        "bundle" => match item.get("bundle").and_then(Value::as_object) {
            Some(bundle) => bundle_line(bundle),
            None => "[]{}".to_owned(),
        },
        "worksheet" => {
            let Some(sheet) = item.get("subworksheet").and_then(Value::as_object) else {
                return "[worksheet ]{{}}".to_owned();
            };
            let uuid = text(sheet.get("uuid")).unwrap_or_else(|| field(sheet, "id"));
            format!("[worksheet {}]{{{{{uuid}}}}}", field(sheet, "name"))
        }
        "directive" => emit_item(&Item::directive(field(item, "value")), ""),
        _ => field(item, "value").to_owned(),
    }
}

fn bundle_line(bundle: &Object) -> String {
    let uuid = text(bundle.get("uuid")).unwrap_or_else(|| field(bundle, "id"));
    format!("[{}]{{{uuid}}}", describe_bundle(bundle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_item_has_its_line() {
        let uuid = "0x7a9003d1c2e84f6b8d5e6f708192a3b4";
        for (item, expected) in [
            (
                json!({"type": "markup", "value": "## Rés\n two"}),
                "## Rés\n two".to_owned(),
            ),
            (
                json!({"type": "directive", "value": "display contents /stdout maxlines=3"}),
                "% display contents /stdout maxlines=3".to_owned(),
            ),
            (
                json!({"type": "directive", "value": "search 'a b'"}),
                "% search 'a b'".to_owned(),
            ),
            (json!({"type": "directive", "value": "% a note"}), "//a note".to_owned()),
            (json!({"type": "directive", "value": ""}), "%".to_owned()),
            (json!({"type": "directive", "value": "%%x"}), "%%%x".to_owned()),
            (json!({"type": "directive", "value": "it's"}), "% it's".to_owned()),
            (
                json!({"type": "bundle", "bundle": {"uuid": uuid, "bundle_type": "dataset",
                    "metadata": {"name": "digits"}, "dependencies": []}}),
                format!("[dataset digits]{{{uuid}}}"),
            ),
            (
                json!({"type": "bundle", "bundle": {"uuid": uuid, "bundle_type": "run", "command": "a\nb",
                    "metadata": {"name": "r"}, "dependencies": [
                        {"child_path": "x", "parent_name": "x", "parent_path": ""},
                        {"child_path": "k", "parent_name": "y", "parent_path": "p"}]}}),
                format!("[run r -- :x,k:y/p : a b]{{{uuid}}}"),
            ),
            (
                json!({"type": "bundle", "bundle": {"type": "bundles", "id": uuid}}),
                format!("[]{{{uuid}}}"),
            ),
            (
                json!({"type": "worksheet", "subworksheet": {"type": "worksheets", "id": uuid}}),
                format!("[worksheet ]{{{{{uuid}}}}}"),
            ),
            (
                json!({"type": "worksheet", "subworksheet": {"id": uuid, "uuid": uuid, "name": "home-mira"}}),
                format!("[worksheet home-mira]{{{{{uuid}}}}}"),
            ),
        ] {
            assert_eq!(lines(&[item.as_object().unwrap()]), [expected], "{item}");
        }
    }
}
