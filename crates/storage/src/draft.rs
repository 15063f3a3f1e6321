//! Contents that somebody else writes: a place in staging, filled by the caller.

use std::path::PathBuf;

use domain::{Result, Uuid};

use crate::staged::Place;
use crate::{Staged, Storage, blocking};

/// A place for contents that are being written. Dropping it removes them.
#[derive(Debug)]
pub struct Draft(Place);

impl Storage {
    /// Begins contents of a bundle that the caller writes to [`Draft::tree`].
    pub async fn draft(&self, uuid: &Uuid) -> Result<Draft> {
        let (storage, uuid) = (self.clone(), *uuid);
        blocking(move || Place::new(&storage, &uuid).map(Draft)).await
    }
}

impl Draft {
    /// What will become the bundle. It does not exist yet.
    pub fn tree(&self) -> PathBuf {
        self.0.tree()
    }

    /// Measures the tree, holds it against the quota (`max_bytes`) and makes it durable. Nobody may write to it any more.
    pub async fn finish(self, max_bytes: Option<u64>) -> Result<Staged> {
        blocking(move || self.0.finish(max_bytes, None, 0, false)).await
    }
}
