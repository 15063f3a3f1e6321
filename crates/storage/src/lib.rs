//! Bundle contents on the server: where they lie, how they get in whole or not at all, how they are read.
//!
//! Invariants: a reader sees either nothing or the complete contents of one generation; nothing is acknowledged before
//! it is durable; whatever lies below `staging` or `trash` belongs to a running transfer or is removed by the sweep.
#![forbid(unsafe_code)]

mod draft;
mod layout;
mod make;
mod options;
mod read;
mod receive;
mod staged;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Error, Result, Uuid};

use layout::{Layout, Partition, Session};

pub use contents::Beginning;
pub use draft::Draft;
pub use layout::PartitionStatus;
pub use make::MakePart;
pub use options::StorageOptions;
pub use read::{Contents, WayEnd};
pub use receive::ReceiveOptions;
pub use staged::{Published, Staged, over_quota};

/// The disk store of one home directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    options: StorageOptions,
    /// This process's directory in the staging area of each partition, by that area's path.
    sessions: Mutex<HashMap<PathBuf, Session>>,
}

impl Storage {
    /// Opens the store below `home`, making its directories when they are missing, and removes what processes that are
    /// gone have left in `staging` and `trash`. Blocks shortly; call it once at start. Several processes may have one
    /// home open.
    pub fn open(home: &Path, options: StorageOptions) -> Result<Self> {
        let layout = Layout::open(home)?;
        let storage = Self {
            inner: Arc::new(Inner {
                layout,
                options,
                sessions: Mutex::default(),
            }),
        };
        for partition in storage.inner.layout.partitions()? {
            storage.session(&partition)?;
            let trash = partition.trash();
            std::thread::spawn(move || empty_trash(&trash));
        }
        Ok(storage)
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
    pub async fn delete(&self, uuid: &Uuid) -> Result<()> {
        let (storage, uuid) = (self.clone(), *uuid);
        blocking(move || storage.delete_except(&uuid, None)).await
    }

    /// Free and used room of each partition.
    pub async fn partitions(&self) -> Result<Vec<PartitionStatus>> {
        let storage = self.clone();
        blocking(move || {
            storage
                .inner
                .layout
                .partitions()?
                .iter()
                .map(Partition::status)
                .collect()
        })
        .await
    }

    /// Moves the bundle to the trash of every partition but `kept`.
    fn delete_except(&self, uuid: &Uuid, kept: Option<&Partition>) -> Result<()> {
        for partition in self.inner.layout.partitions()? {
            if kept == Some(&partition) {
                continue;
            }
            if let Some(trash) = partition.move_to_trash(&partition.bundle(uuid.as_str()))? {
                layout::sync_directory(&partition.bundles())?;
                remove_in_background(trash);
            }
        }
        Ok(())
    }

    /// This process's directory in the staging area of a partition.
    fn session(&self, partition: &Partition) -> Result<PathBuf> {
        let mut sessions = self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let staging = partition.staging();
        if let Some(session) = sessions.get(&staging) {
            return Ok(session.path().to_owned());
        }
        let session = Session::begin(partition)?;
        let path = session.path().to_owned();
        sessions.insert(staging, session);
        Ok(path)
    }
}

/// Runs blocking work on the pool.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal(format!("background task: {error}")))?
}

/// Removes a tree that nobody sees any more; what cannot be removed now is left to the sweep at the next start.
fn remove_in_background(path: PathBuf) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || remove(&path))),
        Err(_) => remove(&path),
    }
}

fn remove(path: &Path) {
    if let Err(error) = contents::remove_tree(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove contents; the next start tries again");
    }
}

fn empty_trash(trash: &Path) {
    let Ok(entries) = std::fs::read_dir(trash) else { return };
    for entry in entries.flatten() {
        remove(&entry.path());
    }
}
