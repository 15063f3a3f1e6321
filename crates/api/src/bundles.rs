//! Attributes of bundles and of what belongs to them (REST sections 5.1, 5.4, 5.7, 5.8).

use std::collections::HashMap;

use domain::bundle::{Bundle, private_metadata};
use domain::metadata::{editable_keys, fields, metadata_types};
use domain::{BundleState, BundleType, Metadata, Permission, UtcTime, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A dependency with what is known about the parent now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DependencyAttributes {
    /// The bundle that depends.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{32}$"))]
    pub child_uuid: Uuid,
    /// Where the parent appears in it.
    pub child_path: String,
    /// The bundle that is depended upon.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{32}$"))]
    pub parent_uuid: Uuid,
    /// The part of it, empty for all.
    pub parent_path: String,
    /// Its name; null if it is gone.
    pub parent_name: Option<String>,
    /// Its state; null if it is gone.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub parent_state: Option<BundleState>,
}

/// Attributes of a bundle as served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BundleAttributes {
    /// Same as the resource's id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{32}$"))]
    pub uuid: Uuid,
    /// `private` for the placeholder.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub bundle_type: BundleType,
    /// Command of a run.
    pub command: Option<String>,
    /// Null for the placeholder.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub state: Option<BundleState>,
    /// A sentence about the state; absent on the placeholder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_details: Option<String>,
    /// When it was frozen.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub frozen: Option<UtcTime>,
    /// Null for the placeholder.
    pub is_anonymous: Option<bool>,
    /// The viewer's permission; absent on the placeholder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>))]
    pub permission: Option<Permission>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission_spec: Option<String>,
    /// The command line that would make it again.
    pub args: Option<String>,
    /// In the order given at creation.
    pub dependencies: Vec<DependencyAttributes>,
    /// Typed values, keys in alphabetical order.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub metadata: Metadata,
}

/// Name and state of a parent.
pub type ParentFacts = HashMap<Uuid, (String, BundleState)>;

impl BundleAttributes {
    /// A bundle that the viewer may read. `parents` holds what is known about parents; missing ones are gone.
    pub fn new(bundle: Bundle, permission: Permission, parents: &ParentFacts) -> Self {
        let (state_details, args) = (bundle.state_details(), bundle.args());
        let dependencies = bundle
            .dependencies
            .into_iter()
            .map(|dependency| {
                let parent = parents.get(&dependency.parent_uuid);
                DependencyAttributes {
                    child_uuid: dependency.child_uuid,
                    child_path: dependency.child_path,
                    parent_uuid: dependency.parent_uuid,
                    parent_path: dependency.parent_path,
                    parent_name: parent.map(|(name, _)| name.clone()),
                    parent_state: parent.map(|(_, state)| *state),
                }
            })
            .collect();
        Self {
            uuid: bundle.uuid,
            bundle_type: bundle.bundle_type,
            command: bundle.command,
            state: Some(bundle.state),
            state_details: Some(state_details),
            frozen: bundle.frozen,
            is_anonymous: Some(bundle.is_anonymous),
            permission: Some(permission),
            permission_spec: Some(permission.to_string()),
            args,
            dependencies,
            metadata: bundle.metadata,
        }
    }

    /// The placeholder for a bundle that the viewer may not read.
    pub fn private(uuid: Uuid) -> Self {
        Self {
            uuid,
            bundle_type: BundleType::Private,
            command: None,
            state: None,
            state_details: None,
            frozen: None,
            is_anonymous: None,
            permission: None,
            permission_spec: None,
            args: None,
            dependencies: Vec::new(),
            metadata: private_metadata(),
        }
    }
}

/// The `meta` of a bundle resource with `include_display_metadata=1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DisplayMetadata {
    /// Keys that a user may edit in the bundle's state.
    pub editable_metadata_keys: Vec<String>,
    /// Key to type or format name.
    pub metadata_type: Map<String, Value>,
    /// Key to help text.
    pub metadata_descriptions: Map<String, Value>,
}

impl DisplayMetadata {
    /// For a type and state; the placeholder has no state.
    pub fn new(bundle_type: BundleType, state: Option<BundleState>) -> Self {
        let editable = state.map(|state| editable_keys(bundle_type, state)).unwrap_or_default();
        Self {
            editable_metadata_keys: editable.into_iter().map(str::to_owned).collect(),
            metadata_type: metadata_types(bundle_type)
                .map(|(key, name)| (key.to_owned(), name.into()))
                .collect(),
            metadata_descriptions: fields(bundle_type)
                .iter()
                .map(|field| (field.key.to_owned(), field.description().into()))
                .collect(),
        }
    }
}

/// Attributes of a permission of a group on a bundle or worksheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PermissionAttributes {
    /// Name of the group; absent in the answer to setting one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_name: Option<String>,
    /// The level.
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub permission: Permission,
    /// The same in words.
    pub permission_spec: String,
}

impl PermissionAttributes {
    /// A group's permission.
    pub fn new(group_name: Option<String>, permission: Permission) -> Self {
        Self {
            group_name,
            permission,
            permission_spec: permission.to_string(),
        }
    }
}

/// Attributes of a bundle action, both ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BundleAction {
    /// `kill` or `write`.
    #[serde(rename = "type")]
    pub action: String,
    /// The run.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{32}$"))]
    pub uuid: Uuid,
    /// File to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// Text to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string: Option<String>,
}

/// Attributes of a bundle store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreAttributes {
    /// Same as the resource's id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{32}$"))]
    pub uuid: Uuid,
    /// Owner: integer form of the id in lists, a user name in the single fetch.
    pub owner: Value,
    /// Unique name.
    pub name: String,
    /// `disk`, `azure_blob` or `gcs`.
    pub storage_type: String,
    /// `uncompressed` or `compressed_v1`.
    pub storage_format: String,
    /// Where it is.
    pub url: Option<String>,
}

/// Attributes of a location of a bundle's contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LocationAttributes {
    /// Same as the resource's id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{32}$"))]
    pub bundle_store_uuid: Uuid,
    /// Name of the store.
    pub name: String,
    /// Kind of the store.
    pub storage_type: String,
    /// Format of the store.
    pub storage_format: String,
    /// Where the contents are.
    pub url: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Dependency;
    use serde_json::json;

    const RUN: &str = "0x0000000000000000000000000000000a";
    const DATA: &str = "0x0000000000000000000000000000000b";

    #[test]
    fn a_run_is_served_as_the_contract_shows() {
        let uuid = Uuid::parse(RUN).unwrap();
        let parent_uuid = Uuid::parse(DATA).unwrap();
        let bundle = Bundle {
            uuid,
            bundle_type: BundleType::Run,
            command: Some("python train.py".into()),
            state: BundleState::Running,
            owner_id: Some("7".into()),
            frozen: None,
            is_anonymous: false,
            storage_type: None,
            is_dir: None,
            metadata: Metadata::try_from(json!({"name": "run-train", "run_status": "Running", "request_cpus": 1}))
                .unwrap(),
            dependencies: vec![Dependency {
                child_uuid: uuid,
                child_path: "train.py".into(),
                parent_uuid,
                parent_path: "train.py".into(),
            }],
        };
        let parents = HashMap::from([(parent_uuid, ("code".to_owned(), BundleState::Ready))]);
        let served = serde_json::to_value(BundleAttributes::new(bundle.clone(), Permission::All, &parents)).unwrap();
        assert_eq!(
            served,
            json!({
                "uuid": RUN, "bundle_type": "run", "command": "python train.py", "state": "running", "state_details": "Running",
                "frozen": null, "is_anonymous": false, "permission": 2, "permission_spec": "all",
                "args": format!("run train.py:{DATA}/train.py \"python train.py\" --request-cpus 1"),
                "dependencies": [{"child_uuid": RUN, "child_path": "train.py", "parent_uuid": DATA,
                                  "parent_path": "train.py", "parent_name": "code", "parent_state": "ready"}],
                "metadata": {"name": "run-train", "request_cpus": 1, "run_status": "Running"},
            })
        );
        let gone = BundleAttributes::new(bundle, Permission::All, &HashMap::new());
        assert_eq!(gone.dependencies[0].parent_name, None);
    }

    #[test]
    fn the_placeholder_tells_nothing() {
        let served = serde_json::to_value(BundleAttributes::private(Uuid::parse(DATA).unwrap())).unwrap();
        assert_eq!(
            served,
            json!({
                "uuid": DATA, "bundle_type": "private", "command": null, "state": null, "frozen": null, "is_anonymous": null,
                "args": null, "dependencies": [], "metadata": {"name": "<private>"},
            })
        );
        assert!(serde_json::from_value::<BundleAttributes>(served).is_ok());
    }

    #[test]
    fn display_metadata_describes_every_field() {
        let meta = DisplayMetadata::new(BundleType::Run, Some(BundleState::Ready));
        assert_eq!(meta.editable_metadata_keys, ["name", "description", "tags"]);
        assert_eq!(meta.metadata_type["time"], "duration");
        assert_eq!(
            meta.metadata_descriptions["name"],
            "Short name; need not be unique (name)"
        );
        assert!(
            DisplayMetadata::new(BundleType::Private, None)
                .editable_metadata_keys
                .is_empty()
        );
    }
}
