//! Response documents under construction: resources with relationships, what is included with them, and `meta`.
//!
//! Each part becomes JSON text as soon as it is known: a tree of values would take ten times the memory of the text.

use std::collections::HashSet;
use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// One resource object.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    kind: &'static str,
    /// JSON, as everything below.
    id: String,
    attributes: String,
    /// The members of the object.
    relationships: String,
    meta: Option<String>,
}

impl Resource {
    /// A resource. `attributes` is anything that serializes to a JSON object; other values count as no attributes.
    /// The id is a text, or null where a resource has no identity.
    pub fn new(kind: &'static str, id: impl Into<Value>, attributes: impl Serialize) -> Self {
        let attributes = serde_json::to_string(&attributes).ok();
        Self {
            kind,
            id: id.into().to_string(),
            attributes: attributes
                .filter(|text| text.starts_with('{'))
                .unwrap_or_else(|| "{}".to_owned()),
            relationships: String::new(),
            meta: None,
        }
    }

    /// Adds an attribute that is not there yet.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.attributes.pop();
        if self.attributes.len() > 1 {
            self.attributes.push(',');
        }
        write_member(&mut self.attributes, name, &value.into());
        self.attributes.push('}');
    }

    /// A relationship to one other resource, or to none.
    #[must_use]
    pub fn to_one(self, name: &str, kind: &str, id: Option<&str>) -> Self {
        let data = id.map_or(Value::Null, |id| json!({"type": kind, "id": id}));
        self.related(name, &data)
    }

    /// A relationship to any number of resources.
    #[must_use]
    pub fn to_many<I: Into<Value>>(self, name: &str, kind: &str, ids: impl IntoIterator<Item = I>) -> Self {
        let data: Vec<Value> = ids
            .into_iter()
            .map(|id| {
                let id: Value = id.into();
                json!({"type": kind, "id": id})
            })
            .collect();
        self.related(name, &data)
    }

    fn related(mut self, name: &str, data: &impl Serialize) -> Self {
        if !self.relationships.is_empty() {
            self.relationships.push(',');
        }
        write_member(&mut self.relationships, name, &Linkage { data });
        self
    }

    /// The resource's own `meta`.
    #[must_use]
    pub fn with_meta(mut self, meta: impl Serialize) -> Self {
        self.meta = serde_json::to_string(&meta).ok();
        self
    }

    fn key(&self) -> (&'static str, String) {
        (self.kind, self.id.clone())
    }

    /// Appends the JSON of the resource.
    fn write(&self, out: &mut String) {
        // Writing to a text cannot fail; the kinds are words that need no escapes.
        let _ = write!(
            out,
            r#"{{"type":"{}","id":{},"attributes":{}"#,
            self.kind, self.id, self.attributes
        );
        if !self.relationships.is_empty() {
            let _ = write!(out, r#","relationships":{{{}}}"#, self.relationships);
        }
        if let Some(meta) = &self.meta {
            let _ = write!(out, r#","meta":{meta}"#);
        }
        out.push('}');
    }
}

#[derive(Serialize)]
struct Linkage<'a, T> {
    data: &'a T,
}

/// Appends `"name":value`.
fn write_member(out: &mut String, name: &str, value: &impl Serialize) {
    let value = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    let _ = write!(out, "{}:{value}", Value::from(name));
}

/// A whole response document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// JSON.
    data: Option<String>,
    included: Option<Vec<Resource>>,
    meta: Map<String, Value>,
}

impl Document {
    /// A document about one resource.
    #[allow(clippy::needless_pass_by_value)] // it is used up, as those of a list are
    pub fn one(resource: Resource) -> Self {
        let mut data = String::new();
        resource.write(&mut data);
        Self {
            data: Some(data),
            ..Self::default()
        }
    }

    /// A document about a list of resources.
    pub fn many(resources: impl IntoIterator<Item = Resource>) -> Self {
        let mut data = String::new();
        write_list(&mut data, resources);
        Self {
            data: Some(data),
            ..Self::default()
        }
    }

    /// A document whose result is a scalar in `meta`; it has no `data`.
    pub fn meta_only(name: &str, value: impl Into<Value>) -> Self {
        let mut document = Self::default();
        document.meta.insert(name.to_owned(), value.into());
        document
    }

    /// Adds the included resources, each once. Called with none, it still makes an empty `included`.
    #[must_use]
    pub fn including(mut self, resources: impl IntoIterator<Item = Resource>) -> Self {
        let included = self.included.get_or_insert_default();
        let mut seen: HashSet<_> = included.iter().map(Resource::key).collect();
        for resource in resources {
            if seen.insert(resource.key()) {
                included.push(resource);
            }
        }
        self
    }

    /// The JSON of the document, with the version in its `meta`.
    pub fn into_text(self, version: &str) -> String {
        let mut meta = self.meta;
        meta.insert("version".to_owned(), version.into());
        let mut text = String::with_capacity(self.data.as_ref().map_or(0, String::len) + 256);
        text.push('{');
        if let Some(data) = self.data {
            let _ = write!(text, r#""data":{data},"#);
        }
        if let Some(included) = self.included {
            text.push_str(r#""included":"#);
            write_list(&mut text, included);
            text.push(',');
        }
        write_member(&mut text, "meta", &meta);
        text.push('}');
        text
    }
}

fn write_list(out: &mut String, resources: impl IntoIterator<Item = Resource>) {
    out.push('[');
    for (index, resource) in resources.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        resource.write(out);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{VERSION, kind};

    fn value(document: Document) -> Value {
        serde_json::from_str(&document.into_text(VERSION)).unwrap()
    }

    #[test]
    fn a_document_has_the_shape_of_the_contract() {
        let owner = || Resource::new(kind::USERS, "7", json!({"user_name": "alice"}));
        let bundle = Resource::new(kind::BUNDLES, "0x1", json!({"uuid": "0x1"}))
            .to_one("owner", kind::USERS, Some("7"))
            .to_one("nobody", kind::USERS, None)
            .to_many("children", kind::BUNDLES, ["0x2"]);
        assert_eq!(
            value(Document::one(bundle).including([owner(), owner()])),
            json!({
                "data": {"type": "bundles", "id": "0x1", "attributes": {"uuid": "0x1"}, "relationships": {
                    "owner": {"data": {"type": "users", "id": "7"}}, "nobody": {"data": null},
                    "children": {"data": [{"type": "bundles", "id": "0x2"}]}}},
                "included": [{"type": "users", "id": "7", "attributes": {"user_name": "alice"}}],
                "meta": {"version": "1.7.3"},
            })
        );
    }

    #[test]
    fn lists_and_scalars_have_their_own_forms() {
        assert_eq!(
            value(Document::many([])),
            json!({"data": [], "meta": {"version": "1.7.3"}})
        );
        assert_eq!(
            value(Document::meta_only("result", 42)),
            json!({"meta": {"result": 42, "version": "1.7.3"}})
        );
        let action = Resource::new(kind::BUNDLE_ACTIONS, Value::Null, json!({"type": "kill"}));
        assert_eq!(
            value(Document::many([action]))["data"],
            json!([{"type": "bundle-actions", "id": null, "attributes": {"type": "kill"}}])
        );
    }

    #[test]
    fn attributes_are_added_and_everything_is_escaped() {
        let mut quoted = Resource::new(kind::USERS, "a\"b", json!({})).to_one("x\"", kind::USERS, Some("\\"));
        quoted.set("n\"", "v\n");
        quoted.set("flag", true);
        let nothing = Resource::new(kind::USERS, "1", json!([1])).with_meta(json!({"m": 1}));
        assert_eq!(
            value(Document::many([quoted, nothing]))["data"],
            json!([
                {"type": "users", "id": "a\"b", "attributes": {"n\"": "v\n", "flag": true},
                    "relationships": {"x\"": {"data": {"type": "users", "id": "\\"}}}},
                {"type": "users", "id": "1", "attributes": {}, "meta": {"m": 1}},
            ])
        );
    }
}
