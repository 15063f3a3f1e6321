//! Memoization: runs that exist already and are equal to one that is asked for.

use client::{Client, Object, Query};
use serde_json::{Value, json};

use crate::error::Result;
use crate::render::fields::{dependencies_of, field};

/// The latest run of this user with the same command and dependencies that did not go wrong.
pub async fn equal_run(client: &Client, command: &str, dependencies: &[Value]) -> Result<Option<String>> {
    let pairs: Vec<Value> = dependencies
        .iter()
        .map(|entry| json!({"child_path": entry["child_path"], "parent_uuid": entry["parent_uuid"]}))
        .collect();
    let query = Query::new()
        .with("command", command)
        .with("dependencies", Value::from(pairs).to_string());
    let found = client.fetch_list("bundles", query).await?;
    let last = found.iter().rev().find(|bundle| is_reusable(bundle, dependencies));
    Ok(last.map(|bundle| field(bundle, "uuid").to_owned()))
}

/// The server compares keys and bundles; the paths inside them and the outcome are compared here.
fn is_reusable(bundle: &Object, dependencies: &[Value]) -> bool {
    let triples = |list: Vec<[&str; 3]>| {
        let mut list: Vec<[String; 3]> = list.into_iter().map(|parts| parts.map(str::to_owned)).collect();
        list.sort();
        list
    };
    let keys = ["child_path", "parent_uuid", "parent_path"];
    let wanted = dependencies
        .iter()
        .map(|entry| keys.map(|key| entry[key].as_str().unwrap_or("")))
        .collect();
    let has = dependencies_of(bundle)
        .iter()
        .map(|entry| keys.map(|key| field(entry, key)))
        .collect();
    !matches!(field(bundle, "state"), "failed" | "killed") && triples(wanted) == triples(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_with_the_same_paths_that_did_not_fail_are_reused() {
        let bundle = |state: &str, path: &str| {
            json!({"uuid": "0x1", "state": state, "dependencies": [
                {"child_path": "b", "parent_uuid": "0x3", "parent_path": ""},
                {"child_path": "a", "parent_uuid": "0x2", "parent_path": path}]})
            .as_object()
            .unwrap()
            .clone()
        };
        let wanted = [
            json!({"child_path": "a", "parent_uuid": "0x2", "parent_path": "x"}),
            json!({"child_path": "b", "parent_uuid": "0x3", "parent_path": ""}),
        ];
        for (state, path, reusable) in [
            ("ready", "x", true),
            ("running", "x", true),
            ("failed", "x", false),
            ("killed", "x", false),
            ("ready", "y", false),
        ] {
            assert_eq!(is_reusable(&bundle(state, path), &wanted), reusable, "{state} {path}");
        }
    }
}
