//! Contents that are complete and durable but not visible yet.

use domain::Result;

/// Complete contents in staging. Dropping it removes them.
#[derive(Debug)]
pub struct Staged {
    /// A directory, or one file.
    pub is_dir: bool,
    /// What `data_size` shows, in bytes.
    pub size: u64,
    /// `blake3:…` of a file; directories have none yet.
    pub digest: Option<String>,
    /// Entries of the archive that cannot be stored and were passed over.
    pub skipped: u64,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub is_dir: bool,
    /// What `data_size` shows, in bytes.
    pub size: u64,
    pub digest: Option<String>,
    pub skipped: u64,
}

impl Staged {
    /// Puts the contents in the bundle's place in one step; what was there before is deleted.
    pub async fn publish(self) -> Result<Published> {
        todo!()
    }

    /// Removes the contents.
    pub async fn discard(self) {
        todo!()
    }
}
