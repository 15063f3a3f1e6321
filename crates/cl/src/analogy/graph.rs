//! Which bundles have to be made anew: a pure walk over the bundles that are known.

use std::collections::{HashMap, HashSet};

use client::Object;

use crate::render::fields::{dependencies_of, field};

/// Known bundles by uuid.
pub type Known = HashMap<String, Object>;

/// The parents of a bundle, in the order of its dependencies, each once.
pub fn parents(bundle: &Object) -> Vec<&str> {
    let mut seen = HashSet::new();
    dependencies_of(bundle)
        .into_iter()
        .map(|dependency| field(dependency, "parent_uuid"))
        .filter(|uuid| !uuid.is_empty() && seen.insert(*uuid))
        .collect()
}

/// The bundles to make anew, parents before children: those of `wanted` and their ancestors that depend on one of `changed`,
/// directly or not. With `output` and nothing changed, that one alone. A bundle that is not known stays as it is.
pub fn to_recreate(known: &Known, wanted: &[String], changed: &[String], output: Option<&str>) -> Vec<String> {
    let mut walk = Walk {
        known,
        is_downstream: changed.iter().map(|uuid| (uuid.as_str(), true)).collect(),
        output: output.filter(|_| changed.is_empty()),
        order: Vec::new(),
    };
    for uuid in wanted {
        walk.visit(uuid);
    }
    walk.order
}

struct Walk<'a> {
    known: &'a Known,
    /// Decided bundles: whether they change.
    is_downstream: HashMap<&'a str, bool>,
    output: Option<&'a str>,
    order: Vec<String>,
}

impl<'a> Walk<'a> {
    /// Decides about a bundle after its ancestors. No recursion: histories may be thousands of bundles deep.
    fn visit(&mut self, start: &'a str) {
        let mut stack = vec![(start, false)];
        let mut open: HashSet<&str> = HashSet::new();
        while let Some((uuid, parents_are_decided)) = stack.pop() {
            if self.is_downstream.contains_key(uuid) {
                continue;
            }
            let Some(bundle) = self.known.get(uuid) else {
                self.is_downstream.insert(uuid, false);
                continue;
            };
            let parents = parents(bundle);
            if parents_are_decided {
                let downstream = parents
                    .iter()
                    .any(|parent| self.is_downstream.get(parent).copied().unwrap_or(false));
                let changes = downstream || self.output == Some(uuid);
                self.is_downstream.insert(uuid, changes);
                if changes {
                    self.order.push(uuid.to_owned());
                }
            } else if open.insert(uuid) {
                // A second visit while it is open would be a cycle, which only a broken server can send.
                stack.push((uuid, true));
                stack.extend(parents.into_iter().rev().map(|parent| (parent, false)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `"c:a,b"` is a bundle c made from a and b.
    fn known(lines: &[&str]) -> Known {
        lines
            .iter()
            .map(|line| {
                let (uuid, parents) = line.split_once(':').unwrap_or((line, ""));
                let dependencies: Vec<_> = parents
                    .split(',')
                    .filter(|parent| !parent.is_empty())
                    .map(|parent| json!({"parent_uuid": parent}))
                    .collect();
                let bundle = json!({"uuid": uuid, "dependencies": dependencies});
                (uuid.to_owned(), bundle.as_object().unwrap().clone())
            })
            .collect()
    }

    fn recreated(lines: &[&str], wanted: &[&str], changed: &[&str], output: Option<&str>) -> String {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        to_recreate(&known(lines), &list(wanted), &list(changed), output).join(" ")
    }

    #[test]
    fn what_depends_on_a_changed_bundle_is_made_again_parents_first() {
        let diamond = ["a", "b:a", "c:a", "d:b,c", "e", "f:e"];
        for (wanted, changed, output, expected) in [
            (&["d"][..], &["a"][..], Some("d"), "b c d"),
            (&["d"], &["b"], Some("d"), "d"),
            (&["a", "b", "c", "d"], &["a"], None, "b c d"),
            (&["d"], &[], Some("d"), "d"),
            (&["d"], &["e"], Some("d"), ""),
            (&["f", "d"], &["a", "e"], None, "f b c d"),
            (&["nosuch"], &["a"], None, ""),
        ] {
            assert_eq!(
                recreated(&diamond, wanted, changed, output),
                expected,
                "{wanted:?} {changed:?}"
            );
        }
    }

    #[test]
    fn neither_depth_nor_a_cycle_is_the_end() {
        assert_eq!(recreated(&["a:b", "b:a,x"], &["a"], &["x"], None), "b a");
        let chain: Vec<String> = (1..20_000).map(|n| format!("{n}:{}", n - 1)).collect();
        let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
        assert_eq!(recreated(&chain, &["19999"], &["0"], None).split(' ').count(), 19_999);
    }
}
