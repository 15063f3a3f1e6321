//! YAML 1.1 as Python's safe loader reads it: one document, anchors and merge keys, plain scalars by the rules of 1.1.
//! What that loader refuses is no value here either, and the file is shown as text.
//!
//! Tokens and events come from a port of libyaml; the document is first composed into nodes and then expanded, within
//! limits on depth and size, so that aliases cannot blow up.

mod construct;
mod scalar;
mod tabs;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use libyaml_safer::{Encoding, EventData, Parser, ScalarStyle};
use serde_json::Value;

use construct::Constructor;
use scalar::Tag;

/// Deepest nesting that is followed, aliases included; that of JSON.
const MAX_DEPTH: usize = 127;

/// Most nodes of a document.
const MAX_NODES: usize = 1_000_000;

/// Reads a document; none if it is not YAML.
pub(crate) fn parse(text: &str) -> Option<Value> {
    if !text.ends_with('\n') {
        // The scanner wants a line end after a block scalar.
        return parse(&format!("{text}\n"));
    }
    // The scanner panics on `[!tag,` (libyaml-safer 0.3.0), which Python refuses. The document is thrown away then.
    let document = catch_unwind(AssertUnwindSafe(|| Composer::new(text).document())).ok()??;
    let Some(root) = document.root else {
        return Some(Value::Null);
    };
    Constructor::new(document.nodes).value(root)
}

/// A part of a document.
struct Node {
    tag: Tag,
    kind: Kind,
}

/// Contents of a node; others are named by their index.
enum Kind {
    Scalar(String),
    Sequence(Vec<usize>),
    Mapping(Vec<(usize, usize)>),
}

struct Document {
    nodes: Vec<Node>,
    /// None if the stream is empty.
    root: Option<usize>,
}

/// A sequence or mapping whose end has not come yet.
struct Open {
    node: usize,
    /// The key that waits for its value.
    key: Option<usize>,
}

struct Composer<'a> {
    text: &'a str,
    parser: Parser<&'a [u8]>,
    /// Quoted and block scalars, as ranges of characters.
    quoted: Vec<(usize, usize)>,
    nodes: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<String, usize>,
    root: Option<usize>,
}

impl<'a> Composer<'a> {
    fn new(text: &'a str) -> Self {
        let mut parser = Parser::new();
        parser.set_encoding(Encoding::Utf8);
        parser.set_input(text.as_bytes());
        Self {
            text,
            parser,
            quoted: Vec::new(),
            nodes: Vec::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            root: None,
        }
    }

    fn document(mut self) -> Option<Document> {
        let mut documents = 0;
        loop {
            let event = self.parser.parse().ok()?;
            match event.data {
                EventData::StreamStart { .. } | EventData::DocumentEnd { .. } => {}
                EventData::StreamEnd => break,
                EventData::DocumentStart { .. } => {
                    documents += 1;
                    if documents > 1 {
                        return None;
                    }
                }
                EventData::Alias { anchor } => {
                    let node = *self.anchors.get(&anchor)?;
                    self.place(node);
                }
                EventData::Scalar {
                    anchor,
                    tag,
                    value,
                    plain_implicit,
                    style,
                    ..
                } => {
                    if style != ScalarStyle::Plain {
                        let (start, end) = (event.start_mark.index, event.end_mark.index);
                        self.quoted.push((start as usize, end as usize));
                    }
                    let tag = Tag::of_scalar(tag.as_deref(), plain_implicit, &value);
                    self.add(anchor, tag, Kind::Scalar(value))?;
                }
                EventData::SequenceStart { anchor, tag, .. } => {
                    let tag = Tag::named(tag.as_deref(), Tag::Seq);
                    self.start(anchor, tag, Kind::Sequence(Vec::new()))?;
                }
                EventData::MappingStart { anchor, tag, .. } => {
                    let tag = Tag::named(tag.as_deref(), Tag::Map);
                    self.start(anchor, tag, Kind::Mapping(Vec::new()))?;
                }
                EventData::SequenceEnd | EventData::MappingEnd => {
                    self.open.pop();
                }
            }
        }
        if self.text.contains('\t') && !tabs::are_allowed(self.text, &self.quoted) {
            return None;
        }
        Some(Document {
            nodes: self.nodes,
            root: self.root,
        })
    }

    /// Adds a node at the current place. None if its anchor is taken or the document is too large.
    fn add(&mut self, anchor: Option<String>, tag: Tag, kind: Kind) -> Option<usize> {
        let node = self.nodes.len();
        if node >= MAX_NODES {
            return None;
        }
        if let Some(anchor) = anchor
            && self.anchors.insert(anchor, node).is_some()
        {
            return None;
        }
        self.nodes.push(Node { tag, kind });
        self.place(node);
        Some(node)
    }

    fn start(&mut self, anchor: Option<String>, tag: Tag, kind: Kind) -> Option<()> {
        if self.open.len() >= MAX_DEPTH {
            return None;
        }
        let node = self.add(anchor, tag, kind)?;
        self.open.push(Open { node, key: None });
        Some(())
    }

    /// Puts a node into the collection that is open, or makes it the document.
    fn place(&mut self, node: usize) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut self.nodes[open.node].kind {
            Kind::Scalar(_) => {}
            Kind::Sequence(items) => items.push(node),
            Kind::Mapping(pairs) => match open.key.take() {
                Some(key) => pairs.push((key, node)),
                None => open.key = Some(node),
            },
        }
    }
}

#[cfg(test)]
mod tests;
