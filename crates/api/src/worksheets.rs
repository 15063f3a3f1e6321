//! Attributes of worksheets and their items (REST sections 5.2 and 5.3).

use domain::worksheet::ItemType;
use domain::{Permission, UtcTime, Uuid};
use serde::{Deserialize, Deserializer, Serialize};

/// Attributes of a worksheet in a single fetch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorksheetAttributes {
    /// Same as the resource's id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{32}$"))]
    pub uuid: Uuid,
    /// Unique name.
    pub name: String,
    /// Free text, may be empty.
    pub title: Option<String>,
    /// When it was frozen.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub frozen: Option<UtcTime>,
    /// Whether its owner is hidden.
    pub is_anonymous: bool,
    /// Labels.
    pub tags: Vec<String>,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub date_created: Option<UtcTime>,
    /// When items or attributes changed last.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub date_last_modified: Option<UtcTime>,
    /// Largest item id; -1 without items; null when items were not fetched.
    pub last_item_id: Option<i64>,
    /// Names the items and their order; only when items were fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    /// The viewer's permission; single fetch only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>))]
    pub permission: Option<Permission>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission_spec: Option<String>,
}

/// Attributes of a worksheet in lists and search results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorksheetSummary {
    /// Same as the resource's id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{32}$"))]
    pub uuid: Uuid,
    /// Unique name.
    pub name: String,
    /// Free text, may be empty.
    pub title: Option<String>,
    /// When it was frozen.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub frozen: Option<UtcTime>,
    /// When items or attributes changed last.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub date_last_modified: Option<UtcTime>,
}

/// Attributes of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ItemAttributes {
    /// Markup, directive, bundle or worksheet.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub item_type: ItemType,
    /// Text of markup and directives, else empty.
    pub value: String,
    /// Place on the worksheet.
    pub sort_key: Option<i64>,
}

/// Body of `POST /worksheets/<uuid>/add-items`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AddItems {
    /// New lines, bundle uuids or directives.
    #[serde(default)]
    pub items: Option<Vec<String>>,
    /// `markup` (default), `bundle` or `directive`.
    #[serde(default)]
    pub item_type: Option<String>,
    /// Insert after this key; -1 is the top; absent appends.
    #[serde(default, deserialize_with = "integer")]
    pub after_sort_key: Option<i64>,
    /// Ids of items to delete first.
    #[serde(default)]
    pub ids: Option<Vec<i64>>,
}

/// An integer or its text; absent or null is none.
fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Input {
        Number(i64),
        Text(String),
    }
    match Option::deserialize(deserializer)? {
        None => Ok(None),
        Some(Input::Number(number)) => Ok(Some(number)),
        Some(Input::Text(text)) => text.trim().parse().map(Some).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn worksheets_are_served_as_the_contract_shows() {
        let attributes = WorksheetAttributes {
            uuid: Uuid::parse("0x0000000000000000000000000000000a").unwrap(),
            name: "alice-lab".into(),
            title: Some("Lab notes".into()),
            frozen: None,
            is_anonymous: false,
            tags: vec!["demo".into()],
            date_created: Some(UtcTime::from_unix(1_714_555_860)),
            date_last_modified: None,
            last_item_id: Some(902),
            source_version: Some("5f".into()),
            permission: Some(Permission::All),
            permission_spec: Some("all".into()),
        };
        assert_eq!(
            serde_json::to_value(attributes).unwrap(),
            json!({
                "uuid": "0x0000000000000000000000000000000a", "name": "alice-lab", "title": "Lab notes", "frozen": null,
                "is_anonymous": false, "tags": ["demo"], "date_created": "2024-05-01T09:31:00+00:00",
                "date_last_modified": null, "last_item_id": 902, "source_version": "5f", "permission": 2,
                "permission_spec": "all",
            })
        );
        let item = ItemAttributes {
            item_type: ItemType::Markup,
            value: "# Lab".into(),
            sort_key: Some(899),
        };
        assert_eq!(
            serde_json::to_value(item).unwrap(),
            json!({"type": "markup", "value": "# Lab", "sort_key": 899})
        );
    }

    #[test]
    fn a_place_may_be_a_number_or_its_text() {
        for (key, place) in [
            (json!(24), Some(24)),
            (json!("24"), Some(24)),
            (json!(-1), Some(-1)),
            (json!(null), None),
        ] {
            let request: AddItems = serde_json::from_value(json!({"items": ["x"], "after_sort_key": key})).unwrap();
            assert_eq!(request.after_sort_key, place);
        }
        assert!(serde_json::from_value::<AddItems>(json!({"after_sort_key": "top"})).is_err());
        assert_eq!(
            serde_json::from_value::<AddItems>(json!({})).unwrap(),
            AddItems::default()
        );
    }
}
