//! What the interpreter needs from the outside: contents of bundles, and searches. The server implements it.

use async_trait::async_trait;
use domain::{Error, ErrorKind, Result};

use crate::genpath::BundleInfo;

/// A path inside a bundle, as far as worksheets care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A regular file.
    File {
        /// Its beginning: at most the number of bytes asked for.
        bytes: Vec<u8>,
        /// Its whole size in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// Missing, a symbolic link, a device, or not readable now.
    NotFound,
}

/// Result of a bundle search.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Readable bundles in order, without `id` and `sort_key`.
    Bundles(Vec<BundleInfo>),
    /// The number of a `.count` or `.sum`.
    Aggregate(serde_json::Value),
}

/// Access to data on behalf of the viewer.
#[async_trait]
pub trait Reader: Send + Sync {
    /// Looks up a path (`""` is the bundle itself) in a bundle, following dependencies, and reads at most `limit` bytes
    /// of a file. A missing permission is an error of kind [`ErrorKind::Permission`].
    async fn read(&self, bundle_uuid: &str, path: &str, limit: u64) -> Result<Target>;

    /// Runs a bundle search. The keywords are those of the directive, without `.format=`.
    async fn search(&self, keywords: &[String]) -> Result<Found>;

    /// Runs a worksheet search; the infos go into a sub-worksheets block as they are.
    async fn search_worksheets(&self, keywords: &[String]) -> Result<Vec<BundleInfo>>;
}

/// Whether an error says that the viewer may not read something.
pub fn is_forbidden(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Permission | ErrorKind::Authentication)
}
