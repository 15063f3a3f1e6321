//! Bundles: records, reading, and the relations between them (data-model sections 4, 5 and 17).

mod create;
mod delete;
pub(crate) mod fetch;
pub(crate) mod metadata;
mod relations;
mod update;

use domain::{Bundle, BundleState, BundleType, Error, Metadata, UserId, UtcTime, Uuid};

/// A bundle as it is stored, with what listings show beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct BundleRecord {
    /// Chronological row id.
    pub id: i64,
    /// With metadata (presence rules of data-model 4.4 applied) and dependencies in order of creation.
    pub bundle: Bundle,
    /// Parallel to `bundle.dependencies`: what is known about each parent now.
    pub parents: Vec<ParentInfo>,
}

/// A dependency's parent as it is now; both none when it does not exist (any more).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParentInfo {
    pub name: Option<String>,
    pub state: Option<BundleState>,
}

/// A worksheet that shows a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostWorksheet {
    pub uuid: Uuid,
    pub name: String,
}

/// Where the item of a new bundle goes.
#[derive(Clone, Debug, Default)]
pub struct NewItemPlace {
    /// After this sort key (-1: at the top); at the end if none.
    pub after_sort_key: Option<i64>,
    /// A blank markup item goes first.
    pub after_image: bool,
}

/// One bundle to create.
#[derive(Clone, Debug)]
pub struct NewBundle {
    /// Must be unused; take a fresh one if the client gave none.
    pub uuid: Uuid,
    pub bundle_type: BundleType,
    pub command: Option<String>,
    /// `created`, `uploading` or `ready` (linked).
    pub state: BundleState,
    /// Complete as the client sent it; `created` is set by the model.
    pub metadata: Metadata,
    /// `child_uuid` is set by the model.
    pub dependencies: Vec<domain::Dependency>,
    /// Name or uuid of the bundle store that will hold it.
    pub store_uuid: Option<Uuid>,
}

/// A bulk creation; all or nothing.
#[derive(Clone, Debug)]
pub struct CreateBundles {
    pub owner_id: UserId,
    /// The worksheet they appear on and inherit permissions from; none for detached bundles.
    pub worksheet: Option<Uuid>,
    pub place: NewItemPlace,
    /// Place each beside this bundle wherever that occurs on worksheets the owner may edit.
    pub shadow: Option<Uuid>,
    pub bundles: Vec<NewBundle>,
}

/// A change of one bundle; `None` leaves things alone.
#[derive(Clone, Debug)]
pub struct BundleUpdate {
    pub uuid: Uuid,
    /// Partial: a null deletes the key.
    pub metadata: Metadata,
    /// `Some(None)` unfreezes.
    pub frozen: Option<Option<UtcTime>>,
    pub is_anonymous: Option<bool>,
    pub owner_id: Option<UserId>,
}

impl BundleUpdate {
    /// A change that changes nothing yet.
    pub fn new(uuid: Uuid) -> Self {
        Self {
            uuid,
            metadata: Metadata::new(),
            frozen: None,
            is_anonymous: None,
            owner_id: None,
        }
    }
}

/// A bulk deletion.
#[derive(Clone, Debug, Default)]
pub struct DeleteBundles {
    pub uuids: Vec<Uuid>,
    pub force: bool,
    pub recursive: bool,
    /// Keep the rows, forget the contents.
    pub data_only: bool,
    pub dry_run: bool,
}

/// A bundle that was deleted (or would be), with what is needed to remove its contents.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletedBundle {
    pub uuid: Uuid,
    /// Non-empty: the contents are not ours, leave them.
    pub link_url: String,
    pub is_dir: Option<bool>,
    pub storage_type: Option<String>,
    /// Uuids of the bundle stores that hold contents; empty for the built-in disk store.
    pub store_uuids: Vec<Uuid>,
    /// Rows of `bundle_contents` that were removed.
    pub contents: Vec<crate::BundleContents>,
}

/// 404 for a bundle that does not exist.
pub(crate) fn not_found(uuid: Uuid) -> Error {
    Error::not_found(format!("Bundle {uuid} not found"))
}
