//! Worksheet items as source lines (`print -r`, the editor of `wedit`).

use std::fmt::Write as _;

use client::Object;
use serde_json::Value;

use super::fields::{bundle_name, dependencies, field, text};
use crate::parse::quote;

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
        "directive" => directive_line(field(item, "value")),
        _ => field(item, "value").to_owned(),
    }
}

fn bundle_line(bundle: &Object) -> String {
    let uuid = text(bundle.get("uuid")).unwrap_or_else(|| field(bundle, "id"));
    if !bundle.contains_key("metadata") {
        return format!("[]{{{uuid}}}");
    }
    let mut description = format!("{} {}", field(bundle, "bundle_type"), bundle_name(bundle));
    let dependencies = dependencies(bundle);
    if !dependencies.is_empty() {
        let _ = write!(description, " -- {dependencies}");
    }
    if let Some(command) = text(bundle.get("command")).filter(|command| !command.is_empty()) {
        let _ = write!(description, " : {}", command.replace('\n', " "));
    }
    format!("[{description}]{{{uuid}}}")
}

fn directive_line(value: &str) -> String {
    // A value that does not read as tokens (unbalanced quotes) is shown as it is.
    let Some(tokens) = shlex::split(value) else {
        return format!("% {value}");
    };
    match tokens.split_first() {
        None => "%".to_owned(),
        Some((first, rest)) if first == "%" => format!("//{}", rest.join(" ")),
        Some(_) => {
            let quoted: Vec<String> = tokens.iter().map(|token| quote(token)).collect();
            let text = quoted.join(" ");
            if text.starts_with('%') {
                format!("%{text}")
            } else {
                format!("% {text}")
            }
        }
    }
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
