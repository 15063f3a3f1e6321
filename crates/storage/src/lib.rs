//! Bundle contents on the server: where they lie, how they get in whole or not at all, how they are read.
//!
//! Invariants: a reader sees either nothing or the complete contents of one generation; nothing is acknowledged before
//! it is durable; whatever lies below `staging` or `trash` belongs to a running transfer or is removed by the sweep.
#![forbid(unsafe_code)]

mod layout;
mod links;
mod make;
mod options;
mod read;
mod receive;
mod staged;

use std::path::Path;
use std::sync::Arc;

use domain::{Result, Uuid};

pub use layout::PartitionStatus;
pub use make::MakePart;
pub use options::StorageOptions;
pub use read::Contents;
pub use receive::ReceiveOptions;
pub use staged::{Published, Staged};

/// The disk store of one home directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: layout::Layout,
    options: StorageOptions,
}

impl Storage {
    /// Opens the store below `home`, making its directories when they are missing, and removes what earlier processes
    /// left in `staging` and `trash`. Blocks; call it once at start. Only one process may have a home open.
    pub fn open(_home: &Path, _options: StorageOptions) -> Result<Self> {
        todo!()
    }

    /// The contents of a bundle, whether it has any or not; costs nothing.
    pub fn contents(&self, uuid: &Uuid) -> Contents {
        Contents::stored(self.clone(), uuid)
    }

    /// The contents of a linked bundle: the path `link_url`, when it lies in one of the allowed directories.
    pub fn linked(&self, uuid: &Uuid, link_url: &str) -> Contents {
        Contents::linked(self.clone(), uuid, link_url)
    }

    /// [`Storage::linked`] when there is a non-empty link, else [`Storage::contents`].
    pub fn contents_of(&self, uuid: &Uuid, link_url: Option<&str>) -> Contents {
        match link_url {
            Some(link) if !link.is_empty() => self.linked(uuid, link),
            _ => self.contents(uuid),
        }
    }

    /// Deletes the stored contents of a bundle; returns as soon as they are out of sight, the bytes go in the
    /// background. Nothing there is fine. Never touches what a bundle links to.
    pub async fn delete(&self, _uuid: &Uuid) -> Result<()> {
        todo!()
    }

    /// Free and used room of each partition.
    pub async fn partitions(&self) -> Result<Vec<PartitionStatus>> {
        todo!()
    }
}
