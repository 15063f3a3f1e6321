//! Response documents under construction: resources with relationships, what is included with them, and `meta`.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// One resource object.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    kind: &'static str,
    id: Value,
    attributes: Map<String, Value>,
    relationships: Map<String, Value>,
    meta: Option<Value>,
}

impl Resource {
    /// A resource. `attributes` is anything that serializes to a JSON object; other values count as no attributes.
    /// The id is a text, or null where a resource has no identity.
    pub fn new(kind: &'static str, id: impl Into<Value>, attributes: impl Serialize) -> Self {
        let attributes = match serde_json::to_value(attributes) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        };
        Self {
            kind,
            id: id.into(),
            attributes,
            relationships: Map::new(),
            meta: None,
        }
    }

    /// Sets one more attribute.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.attributes.insert(name.to_owned(), value.into());
    }

    /// A relationship to one other resource, or to none.
    #[must_use]
    pub fn to_one(mut self, name: &str, kind: &str, id: Option<&str>) -> Self {
        let data = id.map_or(Value::Null, |id| json!({"type": kind, "id": id}));
        self.relationships.insert(name.to_owned(), json!({ "data": data }));
        self
    }

    /// A relationship to any number of resources.
    #[must_use]
    pub fn to_many<I: Into<Value>>(mut self, name: &str, kind: &str, ids: impl IntoIterator<Item = I>) -> Self {
        let data: Vec<Value> = ids
            .into_iter()
            .map(|id| {
                let id: Value = id.into();
                json!({"type": kind, "id": id})
            })
            .collect();
        self.relationships.insert(name.to_owned(), json!({ "data": data }));
        self
    }

    /// The resource's own `meta`.
    #[must_use]
    pub fn with_meta(mut self, meta: impl Serialize) -> Self {
        self.meta = serde_json::to_value(meta).ok();
        self
    }

    fn key(&self) -> (&'static str, String) {
        (self.kind, self.id.to_string())
    }

    /// The JSON of the resource.
    pub fn into_value(self) -> Value {
        let mut object = Map::new();
        object.insert("type".to_owned(), self.kind.into());
        object.insert("id".to_owned(), self.id);
        object.insert("attributes".to_owned(), Value::Object(self.attributes));
        if !self.relationships.is_empty() {
            object.insert("relationships".to_owned(), Value::Object(self.relationships));
        }
        if let Some(meta) = self.meta {
            object.insert("meta".to_owned(), meta);
        }
        Value::Object(object)
    }
}

/// A whole response document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    data: Option<Value>,
    included: Option<Vec<Resource>>,
    meta: Map<String, Value>,
}

impl Document {
    /// A document about one resource.
    pub fn one(resource: Resource) -> Self {
        Self {
            data: Some(resource.into_value()),
            ..Self::default()
        }
    }

    /// A document about a list of resources.
    pub fn many(resources: impl IntoIterator<Item = Resource>) -> Self {
        let data = resources.into_iter().map(Resource::into_value).collect();
        Self {
            data: Some(Value::Array(data)),
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
    pub fn into_object(self, version: &str) -> Map<String, Value> {
        let mut object = Map::new();
        if let Some(data) = self.data {
            object.insert("data".to_owned(), data);
        }
        if let Some(included) = self.included {
            object.insert(
                "included".to_owned(),
                included.into_iter().map(Resource::into_value).collect(),
            );
        }
        let mut meta = self.meta;
        meta.insert("version".to_owned(), version.into());
        object.insert("meta".to_owned(), Value::Object(meta));
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{VERSION, kind};

    fn value(document: Document) -> Value {
        Value::Object(document.into_object(VERSION))
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
            action.into_value(),
            json!({"type": "bundle-actions", "id": null, "attributes": {"type": "kill"}})
        );
    }
}
