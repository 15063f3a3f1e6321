//! Where things lie below the home: partitions, bundles, staging, trash.

use std::path::PathBuf;

#[derive(Debug)]
pub struct Layout {}

/// One partition of the disk store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    pub name: String,
    /// The directory that holds `bundles`.
    pub path: PathBuf,
    /// Free for new contents, in bytes.
    pub available_bytes: u64,
    pub total_bytes: u64,
}
