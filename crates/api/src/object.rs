//! JSON:API documents to and from the flat objects that callers work with.
//!
//! A flat object holds `id`, all attributes, the resource's `meta`, and one entry per relationship: the related object
//! itself if the document includes it, else a stub with `type` and `id`, `null`, or a list of these.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// A flat object.
pub type Object = Map<String, Value>;

/// Relationships are followed this deep (worksheet, item, bundle, owner and one to spare); deeper ones become stubs.
const MAX_DEPTH: usize = 5;

/// What a document held.
#[derive(Debug, Clone, PartialEq)]
pub enum Fetched {
    /// A single object; the document's `meta` is in key `meta`.
    One(Object),
    /// A list.
    Many(Vec<Object>),
    /// No `data`: the document's `meta` (empty if the answer had no body at all).
    Meta(Object),
}

/// Unpacks a document. The error says what is wrong with it.
pub fn unpack(document: Value) -> Result<Fetched, String> {
    let mut document = match document {
        Value::Null => return Ok(Fetched::Meta(Object::new())),
        Value::Object(document) => document,
        _ => return Err("the answer is not a JSON:API document".to_owned()),
    };
    let meta = match document.remove("meta") {
        Some(Value::Object(meta)) => meta,
        _ => Object::new(),
    };
    let included = document.remove("included").unwrap_or(Value::Null);
    let index: HashMap<(&str, &str), &Value> = included
        .as_array()
        .map(|list| {
            list.iter()
                .filter_map(|resource| Some((identity(resource)?, resource)))
                .collect()
        })
        .unwrap_or_default();
    match document.get("data") {
        None => Ok(Fetched::Meta(meta)),
        Some(Value::Null) => Ok(Fetched::One(Object::new())),
        Some(Value::Array(list)) => {
            let objects = list
                .iter()
                .map(|resource| flatten(resource, &index, 0))
                .collect::<Result<_, _>>()?;
            Ok(Fetched::Many(objects))
        }
        Some(resource) => {
            let mut object = flatten(resource, &index, 0)?;
            object.insert("meta".to_owned(), Value::Object(meta));
            Ok(Fetched::One(object))
        }
    }
}

/// A resource for a request document. Attributes that are no JSON object count as none.
pub fn resource(kind: &str, id: Option<&str>, attributes: Value, relationships: Value) -> Value {
    let mut resource = Map::new();
    resource.insert("type".to_owned(), Value::from(kind));
    if let Some(id) = id {
        resource.insert("id".to_owned(), Value::from(id));
    }
    for (key, part) in [("attributes", attributes), ("relationships", relationships)] {
        if part.as_object().is_some_and(|part| !part.is_empty()) {
            resource.insert(key.to_owned(), part);
        }
    }
    Value::Object(resource)
}

/// A relationship to one object.
pub fn to_one(kind: &str, id: &str) -> Value {
    json!({"data": {"type": kind, "id": id}})
}

fn identity(resource: &Value) -> Option<(&str, &str)> {
    Some((resource.get("type")?.as_str()?, resource.get("id")?.as_str()?))
}

fn flatten(resource: &Value, index: &HashMap<(&str, &str), &Value>, depth: usize) -> Result<Object, String> {
    let resource = resource
        .as_object()
        .ok_or("a resource in the answer is not an object")?;
    let mut object = Object::new();
    for key in ["type", "id"] {
        if let Some(value) = resource.get(key) {
            object.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(Value::Object(attributes)) = resource.get("attributes") {
        object.extend(attributes.clone());
    }
    if let Some(meta) = resource.get("meta") {
        object.insert("meta".to_owned(), meta.clone());
    }
    if let Some(Value::Object(relationships)) = resource.get("relationships") {
        for (name, relationship) in relationships {
            let linkage = relationship
                .get("data")
                .ok_or_else(|| format!("relationship {name} has no data"))?;
            object.insert(name.clone(), follow(linkage, index, depth)?);
        }
    }
    Ok(object)
}

fn follow(linkage: &Value, index: &HashMap<(&str, &str), &Value>, depth: usize) -> Result<Value, String> {
    match linkage {
        Value::Array(list) => list
            .iter()
            .map(|linkage| follow(linkage, index, depth))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Value::Object(_) => match identity(linkage).and_then(|identity| index.get(&identity)) {
            Some(resource) if depth < MAX_DEPTH => flatten(resource, index, depth + 1).map(Value::Object),
            _ => Ok(linkage.clone()),
        },
        other => Ok(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_objects_replace_linkages_and_missing_ones_stay_stubs() {
        let document = json!({
            "data": {"type": "bundles", "id": "0x1", "attributes": {"uuid": "0x1", "command": null},
                "relationships": {
                    "owner": {"data": {"type": "users", "id": "7"}},
                    "children": {"data": [{"type": "bundles", "id": "0x2"}]},
                    "parent": {"data": null}}},
            "included": [{"type": "users", "id": "7", "attributes": {"user_name": "mira"}}],
            "meta": {"version": "1.7.3"}
        });
        let Fetched::One(object) = unpack(document).unwrap() else {
            panic!("not a single object")
        };
        assert_eq!(
            Value::Object(object),
            json!({"type": "bundles", "id": "0x1", "uuid": "0x1", "command": null,
                "owner": {"type": "users", "id": "7", "user_name": "mira"},
                "children": [{"type": "bundles", "id": "0x2"}], "parent": null,
                "meta": {"version": "1.7.3"}})
        );
    }

    #[test]
    fn documents_without_data_give_their_meta() {
        let cases = [
            (Value::Null, json!({})),
            (json!({"meta": {"result": 4}}), json!({"result": 4})),
        ];
        for (document, meta) in cases {
            let Fetched::Meta(found) = unpack(document).unwrap() else {
                panic!("data out of nothing")
            };
            assert_eq!(Value::Object(found), meta);
        }
    }

    #[test]
    fn cycles_end_and_malformed_documents_are_errors() {
        let link = json!({"data": {"type": "a", "id": "1"}});
        let cyclic = json!({"type": "a", "id": "1", "relationships": {"self": link}});
        assert!(unpack(json!({"data": cyclic, "included": [cyclic]})).is_ok());
        for bad in [
            json!([1]),
            json!("text"),
            json!({"data": 5}),
            json!({"data": [null]}),
            json!({"data": {"relationships": {"x": {}}}}),
        ] {
            assert!(unpack(bad.clone()).is_err(), "{bad}");
        }
    }
}
