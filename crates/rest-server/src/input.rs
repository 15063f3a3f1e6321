//! Request documents: the JSON:API dialect of the clients, with the error texts that they show.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde_json::{Map, Value};
use std::convert::Infallible;

use crate::error::{ApiError, ApiResult};
use crate::pipeline::ParsedJson;

/// The JSON body of a request, if it had one.
#[derive(Clone, Debug, Default)]
pub struct JsonBody(pub Option<Value>);

impl<S: Sync> FromRequestParts<S> for JsonBody {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.remove::<ParsedJson>().map(|json| json.0)))
    }
}

impl JsonBody {
    /// The body as a JSON object; anything else is empty.
    pub fn object(self) -> Map<String, Value> {
        match self.0 {
            Some(Value::Object(object)) => object,
            _ => Map::new(),
        }
    }

    /// The resources of a create or update. A single object counts as a list of one.
    pub fn resources(self, kind: &str) -> ApiResult<Vec<ResourceInput>> {
        let alone = matches!(&self.0, Some(document) if document["data"].is_object());
        let items = self.data()?.into_iter();
        items
            .enumerate()
            .map(|(index, item)| {
                let pointer = if alone {
                    "/data".to_owned()
                } else {
                    format!("/data/{index}")
                };
                ResourceInput::parse(item, kind, pointer)
            })
            .collect()
    }

    /// Like [`Self::resources`] where exactly one is allowed; `several` is the text for more or fewer.
    pub fn single_resource(self, kind: &str, several: &str) -> ApiResult<ResourceInput> {
        let mut resources = self.resources(kind)?;
        match (resources.pop(), resources.is_empty()) {
            (Some(resource), true) => Ok(resource),
            _ => Err(ApiError::usage(several)),
        }
    }

    /// The ids of a list of linkages `{"type", "id"}`.
    pub fn linkages(self, kind: &str) -> ApiResult<Vec<String>> {
        self.data()?.iter().map(|item| linkage_id(item, kind)).collect()
    }

    fn data(self) -> ApiResult<Vec<Value>> {
        match self.object().remove("data") {
            None => Err(ApiError::usage("Object must include `data` key.")),
            Some(Value::Array(items)) => Ok(items),
            Some(item) => Ok(vec![item]),
        }
    }
}

fn linkage_id(item: &Value, kind: &str) -> ApiResult<String> {
    if item["type"].as_str() != Some(kind) {
        return Err(ApiError::usage(format!("type must be '{kind}'")));
    }
    id_text(&item["id"]).ok_or_else(|| ApiError::usage("Must include an `id` key"))
}

fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// One resource of a request. Attributes that nobody reads are ignored, as the clients expect.
#[derive(Clone, Debug)]
pub struct ResourceInput {
    /// Top-level `id`, else the attribute `uuid`.
    pub id: Option<String>,
    /// As sent.
    pub attributes: Map<String, Value>,
    relationships: Map<String, Value>,
    /// Where it stands in the document.
    pointer: String,
}

impl ResourceInput {
    fn parse(item: Value, kind: &str, pointer: String) -> ApiResult<Self> {
        let Value::Object(mut item) = item else {
            return Err(ApiError::usage("`data` object must include `type` key."));
        };
        match item.get("type").and_then(Value::as_str) {
            None => return Err(ApiError::usage("`data` object must include `type` key.")),
            Some(found) if found != kind => {
                return Err(ApiError::usage(format!("Invalid type. Expected \"{kind}\".")));
            }
            Some(_) => {}
        }
        let attributes = take_object(&mut item, "attributes");
        let relationships = take_object(&mut item, "relationships");
        let id = item
            .get("id")
            .and_then(id_text)
            .or_else(|| attributes.get("uuid").and_then(id_text));
        Ok(Self {
            id,
            attributes,
            relationships,
            pointer,
        })
    }

    /// The id, which an update cannot do without.
    pub fn required_id(&self) -> ApiResult<&str> {
        self.id
            .as_deref()
            .ok_or_else(|| self.invalid("id", "Missing data for required field."))
    }

    /// True when the attribute was sent, even as null.
    pub fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    /// A text; absent is `None`, null is refused.
    pub fn text(&self, name: &str) -> ApiResult<Option<&str>> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Null) => Err(self.invalid(name, "Field may not be null.")),
            Some(_) => Err(self.invalid(name, "Not a valid string.")),
        }
    }

    /// A text that must be there.
    pub fn required_text(&self, name: &str) -> ApiResult<&str> {
        self.text(name)?
            .ok_or_else(|| self.invalid(name, "Missing data for required field."))
    }

    /// A text or null: outer `None` when absent, inner `None` for null.
    #[allow(clippy::option_option)] // absent, null and a text are three different things in an update
    pub fn nullable_text(&self, name: &str) -> ApiResult<Option<Option<&str>>> {
        match self.attributes.get(name) {
            Some(Value::Null) => Ok(Some(None)),
            _ => Ok(self.text(name)?.map(Some)),
        }
    }

    /// A whole number; floats without fraction and decimal text count.
    pub fn int(&self, name: &str) -> ApiResult<Option<i64>> {
        let wrong = || self.invalid(name, "Not a valid integer.");
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Value::Null) => Err(self.invalid(name, "Field may not be null.")),
            Some(Value::Number(number)) => number
                .as_i64()
                .or_else(|| number.as_f64().map(|float| float as i64))
                .map(Some)
                .ok_or_else(wrong),
            Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| wrong()),
            Some(_) => Err(wrong()),
        }
    }

    /// A boolean; the spellings of the Python client count.
    pub fn boolean(&self, name: &str) -> ApiResult<Option<bool>> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Value::Null) => Err(self.invalid(name, "Field may not be null.")),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(Value::Number(number)) if number.as_i64() == Some(0) => Ok(Some(false)),
            Some(Value::Number(number)) if number.as_i64() == Some(1) => Ok(Some(true)),
            Some(Value::String(text)) if matches!(text.as_str(), "true" | "True" | "1") => Ok(Some(true)),
            Some(Value::String(text)) if matches!(text.as_str(), "false" | "False" | "0") => Ok(Some(false)),
            Some(_) => Err(self.invalid(name, "Not a valid boolean.")),
        }
    }

    /// A list of texts.
    pub fn texts(&self, name: &str) -> ApiResult<Option<Vec<String>>> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Value::Null) => Err(self.invalid(name, "Field may not be null.")),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                texts.map(Some).ok_or_else(|| self.invalid(name, "Not a valid string."))
            }
            Some(_) => Err(self.invalid(name, "Not a valid list.")),
        }
    }

    /// The id that a to-one relationship names: outer `None` when absent, inner `None` for null.
    #[allow(clippy::option_option)] // as above
    pub fn linkage(&self, name: &str, kind: &str) -> ApiResult<Option<Option<String>>> {
        let Some(relationship) = self.relationships.get(name) else {
            return Ok(None);
        };
        match relationship.get("data") {
            None => Err(self.invalid_relationship(name, "Must include a `data` key")),
            Some(Value::Null) => Ok(Some(None)),
            Some(data) => {
                if data["type"].as_str() != Some(kind) {
                    return Err(self.invalid_relationship(name, "Invalid `type` specified"));
                }
                let id =
                    id_text(&data["id"]).ok_or_else(|| self.invalid_relationship(name, "Must have an `id` field"))?;
                Ok(Some(Some(id)))
            }
        }
    }

    /// The id of a relationship that must be there.
    pub fn required_linkage(&self, name: &str, kind: &str) -> ApiResult<String> {
        self.linkage(name, kind)?
            .flatten()
            .ok_or_else(|| self.invalid_relationship(name, "Must include a `data` key"))
    }

    /// A name by the common rule.
    pub fn name(&self, name: &str) -> ApiResult<Option<&str>> {
        let text = self.text(name)?;
        match text {
            Some(text) if domain::name::check(text).is_err() => Err(self.invalid(
                name,
                &format!("Names must match ^[a-zA-Z_][a-zA-Z0-9_\\.\\-]*$, was {text}"),
            )),
            _ => Ok(text),
        }
    }

    /// The error for an attribute of this resource.
    pub fn invalid(&self, attribute: &str, detail: &str) -> ApiError {
        ApiError::Invalid {
            detail: detail.to_owned(),
            pointer: format!("{}/attributes/{attribute}", self.pointer),
        }
    }

    fn invalid_relationship(&self, name: &str, detail: &str) -> ApiError {
        ApiError::Invalid {
            detail: detail.to_owned(),
            pointer: format!("{}/relationships/{name}", self.pointer),
        }
    }
}

fn take_object(item: &mut Map<String, Value>, key: &str) -> Map<String, Value> {
    match item.remove(key) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(value: Value) -> JsonBody {
        JsonBody(Some(value))
    }

    #[test]
    fn broken_documents_get_the_texts_of_the_contract() {
        let cases = [
            (json!({}), "Object must include `data` key."),
            (json!({"data": [{}]}), "`data` object must include `type` key."),
            (
                json!({"data": [{"type": "bundles"}]}),
                "Invalid type. Expected \"worksheets\".",
            ),
        ];
        for (document, expected) in cases {
            assert_eq!(body(document).resources("worksheets").unwrap_err().message(), expected);
        }
        let wrong = body(json!({"data": [{"type": "x", "id": "1"}]}))
            .linkages("bundles")
            .unwrap_err();
        assert_eq!(wrong.message(), "type must be 'bundles'");
    }

    #[test]
    fn attributes_are_read_by_type() {
        let document = json!({"data": {"type": "t", "attributes": {
            "uuid": "0x1", "s": "x", "n": null, "i": 3, "b": "True", "l": ["a"], "bad": "no spaces"}}});
        let resource = body(document).single_resource("t", "one").unwrap();
        assert_eq!(resource.id.as_deref(), Some("0x1"));
        assert_eq!(resource.text("s").unwrap(), Some("x"));
        assert_eq!(resource.text("n").unwrap_err().message(), "Field may not be null.");
        assert_eq!(resource.nullable_text("n").unwrap(), Some(None));
        assert_eq!(resource.int("i").unwrap(), Some(3));
        assert_eq!(resource.int("s").unwrap_err().message(), "Not a valid integer.");
        assert_eq!(resource.boolean("b").unwrap(), Some(true));
        assert_eq!(resource.texts("l").unwrap().unwrap(), ["a"]);
        assert_eq!(
            resource.name("bad").unwrap_err().message(),
            "Names must match ^[a-zA-Z_][a-zA-Z0-9_\\.\\-]*$, was no spaces"
        );
        assert_eq!(
            resource.required_text("none").unwrap_err().message(),
            "Missing data for required field."
        );
    }

    #[test]
    fn relationships_are_checked() {
        let document = json!({"data": [{"type": "t", "relationships": {
            "owner": {"data": {"type": "users", "id": 7}}, "none": {"data": null}, "broken": {}}}]});
        let resource = body(document).resources("t").unwrap().remove(0);
        assert_eq!(resource.required_linkage("owner", "users").unwrap(), "7");
        assert_eq!(
            resource.linkage("owner", "groups").unwrap_err().message(),
            "Invalid `type` specified"
        );
        assert_eq!(resource.linkage("none", "users").unwrap(), Some(None));
        assert_eq!(
            resource.linkage("broken", "users").unwrap_err().message(),
            "Must include a `data` key"
        );
        assert_eq!(
            resource.required_linkage("absent", "users").unwrap_err().message(),
            "Must include a `data` key"
        );
    }
}
