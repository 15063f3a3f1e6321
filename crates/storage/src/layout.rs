//! Where things lie below the home: partitions, and in each of them bundles, staging and trash on one file system, so
//! that publishing and deleting are renames.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::{Error, Result};
use rustix::fs::{FlockOperation, RenameFlags, flock, renameat_with, statvfs};
use rustix::io::Errno;

use crate::StorageOptions;

#[derive(Debug)]
pub struct Layout {
    partitions: PathBuf,
}

/// One directory tree of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub name: String,
    path: PathBuf,
    /// Holds `staging` and `trash` (or `.staging` and `.trash`): on the file system of `bundles`.
    work: PathBuf,
    hidden: bool,
}

/// Room in one partition of the disk store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    pub name: String,
    /// The directory that holds `bundles`.
    pub path: PathBuf,
    /// Free for new contents, in bytes.
    pub available_bytes: u64,
    pub total_bytes: u64,
}

impl Layout {
    /// Makes what is missing. A new home keeps its contents in `data`, which is partition `default`.
    pub fn open(home: &Path) -> Result<Self> {
        let partitions = home.join("partitions");
        make_directory(&partitions)?;
        let layout = Self { partitions };
        if layout.partitions()?.is_empty() {
            make_directory(&home.join("data"))?;
            let default = layout.partitions.join("default");
            match std::os::unix::fs::symlink("../data", &default) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("make partition", &default, &error));
                }
                _ => {}
            }
        }
        for partition in layout.partitions()? {
            partition.make_directories()?;
        }
        Ok(layout)
    }

    /// Every entry of `partitions` that is no regular file, in byte order of names.
    pub fn partitions(&self) -> Result<Vec<Partition>> {
        let listing = |error: io::Error| failed("list", &self.partitions, &error);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.partitions).map_err(listing)? {
            let entry = entry.map_err(listing)?;
            if !entry.file_type().map_err(listing)?.is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                found.push(Partition::at(name, entry.path()));
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Where new contents of a bundle go: where it is already, else the partition with most room.
    pub fn choose(&self, bundle: &str, options: &StorageOptions) -> Result<Partition> {
        let mut best: Option<(u64, Partition)> = None;
        for partition in self.partitions()? {
            let is_there = partition.bundle(bundle).symlink_metadata().is_ok();
            let Ok(status) = partition.status() else { continue };
            let floor = options
                .min_free_bytes
                .max(status.total_bytes / 100 * options.min_free_percent);
            if status.available_bytes <= floor {
                continue;
            }
            if is_there {
                return Ok(partition);
            }
            if best.as_ref().is_none_or(|(most, _)| status.available_bytes > *most) {
                best = Some((status.available_bytes, partition));
            }
        }
        let (_, partition) = best.ok_or_else(|| Error::unavailable("Storage is full; try again later."))?;
        partition.make_directories()?;
        Ok(partition)
    }
}

impl Partition {
    fn at(name: String, path: PathBuf) -> Self {
        let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
        let bundles = path.join("bundles");
        // `bundles` may itself be a mount or a link to another disk.
        let hidden = match (device(&bundles), device(&path)) {
            (Some(bundles), Some(partition)) => bundles != partition,
            _ => false,
        };
        let work = if hidden { bundles } else { path.clone() };
        Self {
            name,
            path,
            work,
            hidden,
        }
    }

    fn make_directories(&self) -> Result<()> {
        for directory in [self.bundles(), self.staging(), self.trash()] {
            make_directory(&directory)?;
        }
        Ok(())
    }

    pub fn bundles(&self) -> PathBuf {
        self.path.join("bundles")
    }

    pub fn bundle(&self, uuid: &str) -> PathBuf {
        self.bundles().join(uuid)
    }

    pub fn staging(&self) -> PathBuf {
        self.work.join(if self.hidden { ".staging" } else { "staging" })
    }

    pub fn trash(&self) -> PathBuf {
        self.work.join(if self.hidden { ".trash" } else { "trash" })
    }

    pub fn status(&self) -> Result<PartitionStatus> {
        let bundles = self.bundles();
        let room = statvfs(&bundles).map_err(|errno| failed("measure", &bundles, &errno.into()))?;
        Ok(PartitionStatus {
            name: self.name.clone(),
            path: self.path.clone(),
            available_bytes: room.f_bavail * room.f_frsize,
            total_bytes: room.f_blocks * room.f_frsize,
        })
    }

    /// Moves what is at `path` out of sight; gives its place in the trash, or `None` when nothing was there.
    pub fn move_to_trash(&self, path: &Path) -> Result<Option<PathBuf>> {
        let place = self.trash().join(random_name());
        let moved = match std::fs::rename(path, &place) {
            // A directory that its owner may not write to cannot be moved either; older stores have such.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_directory(path) => {
                let writable = std::fs::Permissions::from_mode(0o700);
                std::fs::set_permissions(path, writable).and_then(|()| std::fs::rename(path, &place))
            }
            moved => moved,
        };
        match moved {
            Ok(()) => Ok(Some(place)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("move to trash", path, &error)),
        }
    }

    /// Puts `tree` in the place of a bundle in one step. Gives where the earlier contents are now, to be removed.
    pub fn publish(&self, tree: &Path, uuid: &str) -> Result<Option<PathBuf>> {
        let target = self.bundle(uuid);
        let cwd = rustix::fs::CWD;
        let failed = |errno: Errno| failed("publish", &target, &errno.into());
        let old = match renameat_with(cwd, tree, cwd, &target, RenameFlags::NOREPLACE) {
            Ok(()) => None,
            Err(Errno::EXIST) => {
                renameat_with(cwd, tree, cwd, &target, RenameFlags::EXCHANGE).map_err(failed)?;
                Some(tree.to_owned())
            }
            // Some network file systems know only the plain rename.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                let old = self.move_to_trash(&target)?;
                rustix::fs::rename(tree, &target).map_err(failed)?;
                old
            }
            Err(errno) => return Err(failed(errno)),
        };
        sync_directory(&self.bundles())?;
        Ok(old)
    }
}

/// A directory below `staging` that belongs to this process: locked while it lives, so that no sweep of another process
/// touches it, and free to be swept once it is gone, however it ended.
#[derive(Debug)]
pub struct Session {
    path: PathBuf,
    _lock: File,
}

impl Session {
    /// Removes what processes that are gone have left in the partition, then makes this process's own directory.
    pub fn begin(partition: &Partition) -> Result<Self> {
        let staging = partition.staging();
        let trouble = |error: io::Error| failed("prepare", &staging, &error);
        // Held while sweeping and making, so that no other process sees a directory before it is locked.
        let gate = File::open(&staging).map_err(trouble)?;
        flock(&gate, FlockOperation::LockExclusive).map_err(|errno| trouble(errno.into()))?;
        for entry in std::fs::read_dir(&staging).map_err(trouble)? {
            let path = entry.map_err(trouble)?.path();
            let in_use = File::open(&path)
                .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK));
            if !in_use {
                partition.move_to_trash(&path)?;
            }
        }
        let path = staging.join(random_name());
        std::fs::create_dir(&path).map_err(trouble)?;
        let lock = File::open(&path).map_err(trouble)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|errno| trouble(errno.into()))?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Only when it is empty; else the next sweep removes it.
        let _ = std::fs::remove_dir(&self.path);
    }
}

pub fn random_name() -> String {
    format!("{:032x}", rand::random::<u128>())
}

pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| failed("sync", path, &error))
}

fn make_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| failed("make directory", path, &error))
}

/// A directory itself, not a link to one.
fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}

pub fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::unavailable("Storage is full; try again later.")
        }
        _ => Error::internal(format!("{what} {}: {error}", path.display())),
    }
}
