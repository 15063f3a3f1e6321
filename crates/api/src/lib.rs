//! Documents of the REST API: what server, client, command line and worker must agree on (REST sections 4 and 5).
#![forbid(unsafe_code)]

pub mod bundles;
pub mod document;
pub mod object;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod people;
pub mod worksheets;

pub use document::{Document, Resource};

/// The version that every JSON object answer carries in `meta.version`. Clients split it at the dots, so it is digits
/// and dots only; a version newer than theirs makes them print an upgrade notice, so it stays that of CodaLab 1.7.
pub const VERSION: &str = "1.7.3";

/// Largest JSON body that a server reads, in bytes.
pub const MAX_JSON_BODY: usize = 8 << 20;

/// Names of the resource types.
pub mod kind {
    /// Bundles.
    pub const BUNDLES: &str = "bundles";
    /// Kill and write.
    pub const BUNDLE_ACTIONS: &str = "bundle-actions";
    /// Where contents lie.
    pub const BUNDLE_LOCATIONS: &str = "bundle_locations";
    /// Permissions of groups on bundles.
    pub const BUNDLE_PERMISSIONS: &str = "bundle-permissions";
    /// Places for contents.
    pub const BUNDLE_STORES: &str = "bundle_stores";
    /// Groups of users.
    pub const GROUPS: &str = "groups";
    /// Accounts.
    pub const USERS: &str = "users";
    /// Worksheets.
    pub const WORKSHEETS: &str = "worksheets";
    /// Lines of worksheets.
    pub const WORKSHEET_ITEMS: &str = "worksheet-items";
    /// Permissions of groups on worksheets.
    pub const WORKSHEET_PERMISSIONS: &str = "worksheet-permissions";
}
