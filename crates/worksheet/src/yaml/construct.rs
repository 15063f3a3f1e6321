//! Nodes to values: aliases and merge keys are expanded, within limits.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::scalar::{self, Tag};
use super::{Kind, MAX_DEPTH, Node};

/// Most bytes that the value of a document may take, roughly: each node counts its text and [`NODE_COST`].
const MAX_SIZE: usize = 24 << 20;

const NODE_COST: usize = 32;

pub(super) struct Constructor {
    nodes: Vec<Node>,
    depth: usize,
    size: usize,
}

impl Constructor {
    pub fn new(nodes: Vec<Node>) -> Self {
        Self {
            nodes,
            depth: 0,
            size: 0,
        }
    }

    /// The value of a node; none if the loader would refuse it, or above the limits.
    pub fn value(&mut self, node: usize) -> Option<Value> {
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let value = self.construct(node);
        self.depth -= 1;
        value
    }

    fn construct(&mut self, node: usize) -> Option<Value> {
        self.spend(NODE_COST)?;
        match (self.nodes[node].tag, &self.nodes[node].kind) {
            (Tag::Seq, Kind::Sequence(items)) => {
                let items = items.clone();
                items.into_iter().map(|item| self.value(item)).collect()
            }
            (Tag::Map, Kind::Mapping(_)) => self.mapping(node).map(Value::Object),
            (Tag::Set, Kind::Mapping(_)) => self.set(node),
            (Tag::Omap | Tag::Pairs, Kind::Sequence(items)) => {
                let items = items.clone();
                items.into_iter().map(|item| self.pair(item)).collect()
            }
            (tag, Kind::Scalar(text)) => {
                let length = text.len();
                let value = scalar::construct(tag, text)?;
                self.spend(length)?;
                Some(value)
            }
            _ => None,
        }
    }

    fn spend(&mut self, size: usize) -> Option<()> {
        self.size += size;
        (self.size <= MAX_SIZE).then_some(())
    }

    fn mapping(&mut self, node: usize) -> Option<Map<String, Value>> {
        let mut map = Map::new();
        for (key, value) in self.flatten(node)? {
            let key = self.key(key)?;
            let value = self.value(value)?;
            map.insert(scalar::key_text(key), value);
        }
        Some(map)
    }

    /// The keys of a mapping, each once.
    fn set(&mut self, node: usize) -> Option<Value> {
        let mut seen = HashSet::new();
        let mut items = Vec::new();
        for (key, value) in self.flatten(node)? {
            let key = self.key(key)?;
            self.value(value)?;
            if seen.insert(key.to_string()) {
                items.push(key);
            }
        }
        Some(Value::Array(items))
    }

    /// The only pair of a mapping, as a list of two.
    fn pair(&mut self, node: usize) -> Option<Value> {
        let Kind::Mapping(pairs) = &self.nodes[node].kind else {
            return None;
        };
        let [(key, value)] = pairs[..] else { return None };
        Some(json!([self.value(key)?, self.value(value)?]))
    }

    /// The value of a key. Lists and maps cannot be keys.
    fn key(&mut self, node: usize) -> Option<Value> {
        match &self.nodes[node] {
            Node {
                tag: Tag::Value,
                kind: Kind::Scalar(text),
            } => Some(json!(text)),
            Node {
                kind: Kind::Scalar(_), ..
            } => self.value(node),
            _ => None,
        }
    }

    /// The pairs of a mapping after its merge keys are replaced by the pairs they stand for, which come first.
    fn flatten(&mut self, node: usize) -> Option<Vec<(usize, usize)>> {
        let Kind::Mapping(pairs) = &self.nodes[node].kind else {
            return None;
        };
        let mut own = pairs.clone();
        self.spend(own.len() * NODE_COST)?;
        if !own.iter().any(|(key, _)| self.nodes[*key].tag == Tag::Merge) {
            return Some(own);
        }
        let mut merged = Vec::new();
        for (key, value) in &own {
            if self.nodes[*key].tag == Tag::Merge {
                merged.extend(self.merged(*value)?);
            }
        }
        own.retain(|(key, _)| self.nodes[*key].tag != Tag::Merge);
        merged.extend(own);
        // Another mapping may merge this one: it need not be done again.
        self.nodes[node].kind = Kind::Mapping(merged.clone());
        Some(merged)
    }

    /// The pairs that the value of a merge key stands for: a mapping, or a list of mappings of which the first wins.
    fn merged(&mut self, node: usize) -> Option<Vec<(usize, usize)>> {
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let pairs = match &self.nodes[node].kind {
            Kind::Scalar(_) => None,
            Kind::Mapping(_) => self.flatten(node),
            Kind::Sequence(items) => {
                let items = items.clone();
                let mut pairs = Vec::new();
                for item in items.into_iter().rev() {
                    pairs.extend(self.flatten(item)?);
                }
                Some(pairs)
            }
        };
        self.depth -= 1;
        pairs
    }
}
