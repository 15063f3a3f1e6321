//! Settings of the store.

use std::path::PathBuf;

use contents::Limits;

/// Settings of the store; the defaults are those of a local instance.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Bounds on archives.
    pub limits: Limits,
    /// New contents are refused (503) below this much free room, in bytes...
    pub min_free_bytes: u64,
    /// ... or below this share of the disk, in percent.
    pub min_free_percent: u64,
    /// Directories that linked bundles may point into. Empty: linked bundles read as "not found".
    pub link_roots: Vec<PathBuf>,
    /// Put before a link's path, for servers in containers that see the allowed directories elsewhere
    /// (`/opt/codalab-worksheets-link-mounts`).
    pub link_prefix: Option<PathBuf>,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            min_free_bytes: 1 << 30,
            min_free_percent: 2,
            link_roots: Vec::new(),
            link_prefix: None,
        }
    }
}
