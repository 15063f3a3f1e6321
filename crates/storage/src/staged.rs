//! Contents that are complete and durable but not visible yet.

use std::fs::File;
use std::path::{Path, PathBuf};

use contents::{SubPath, disk_usage};
use domain::{Error, Result, Uuid};

use crate::layout::{Partition, failed, random_name};
use crate::{Storage, blocking, remove, remove_in_background};

/// Trees with more entries than this are made durable by one sync of the file system.
const SYNC_EACH: u64 = 64;

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
    place: Place,
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

/// A directory in staging that is removed unless its tree is published.
#[derive(Debug)]
pub(crate) struct Place {
    storage: Storage,
    uuid: Uuid,
    partition: Partition,
    directory: PathBuf,
}

impl Place {
    /// A new place in the partition where contents of the bundle belong. Blocks.
    pub fn new(storage: &Storage, uuid: &Uuid) -> Result<Self> {
        let partition = storage.inner.layout.choose(uuid.as_str(), &storage.inner.options)?;
        let directory = storage.session(&partition)?.join(random_name());
        std::fs::create_dir(&directory).map_err(|error| failed("make directory", &directory, &error))?;
        Ok(Self {
            storage: storage.clone(),
            uuid: *uuid,
            partition,
            directory,
        })
    }

    /// What will become the bundle.
    pub fn tree(&self) -> PathBuf {
        self.directory.join("tree")
    }

    /// Measures the finished tree, holds it against the quota and makes it durable. `synced`: its bytes already are.
    pub fn finish(self, max_bytes: Option<u64>, digest: Option<String>, skipped: u64, synced: bool) -> Result<Staged> {
        let tree = self.tree();
        let usage = disk_usage(&tree, &SubPath::root())?;
        if let Some(limit) = max_bytes.filter(|limit| usage.bytes > *limit) {
            return Err(over_quota(&self.uuid, &format!("{} bytes", usage.bytes), limit));
        }
        if !synced {
            make_durable(&tree, usage.entries)?;
        }
        let is_dir = tree.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        Ok(Staged {
            is_dir,
            size: usage.bytes,
            digest,
            skipped,
            place: self,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The usual case is an empty directory after publishing.
        if std::fs::remove_dir(&self.directory).is_err() {
            remove_in_background(self.directory.clone());
        }
    }
}

impl Staged {
    /// Puts the contents in the bundle's place in one step; what was there before is deleted.
    pub async fn publish(self) -> Result<Published> {
        blocking(move || {
            let Self {
                is_dir,
                size,
                digest,
                skipped,
                place,
            } = self;
            let old = place.partition.publish(&place.tree(), place.uuid.as_str())?;
            place.storage.delete_except(&place.uuid, Some(&place.partition))?;
            // An old tree that was exchanged lies in the staging place and goes with it.
            if let Some(old) = old
                && old != place.tree()
            {
                remove_in_background(old);
            }
            Ok(Published {
                is_dir,
                size,
                digest,
                skipped,
            })
        })
        .await
    }

    /// Removes the contents and waits until they are gone.
    pub async fn discard(self) {
        let _ = blocking(move || {
            remove(&self.place.directory);
            Ok(())
        })
        .await;
    }
}

/// The refusal (400) for the quota: what the bundle needs and what is left, in bytes.
pub fn over_quota(uuid: &Uuid, needs: &str, left: u64) -> Error {
    Error::usage(format!(
        "user disk quota exceeded: bundle {uuid} needs {needs}, the quota left is {left} bytes"
    ))
}

/// The staging directory itself need not be synced: publishing syncs the directory that holds the tree then.
fn make_durable(tree: &Path, entries: u64) -> Result<()> {
    let trouble = |error: std::io::Error| failed("sync", tree, &error);
    if entries <= SYNC_EACH {
        return sync_each(tree).map_err(trouble);
    }
    let root = File::open(tree).map_err(trouble)?;
    rustix::fs::syncfs(&root).map_err(|errno| trouble(errno.into()))
}

fn sync_each(path: &Path) -> std::io::Result<()> {
    let kind = path.symlink_metadata()?.file_type();
    if kind.is_dir() {
        for entry in std::fs::read_dir(path)? {
            sync_each(&entry?.path())?;
        }
    }
    if kind.is_dir() || kind.is_file() {
        File::open(path)?.sync_all()
    } else {
        Ok(())
    }
}
