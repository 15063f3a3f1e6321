//! The cache on disk: `dependencies/<name>` is the data, `dependencies/.meta/<name>.json` says what it is and when it
//! was last used (its time), `.locks/` and `.partial/` are for downloads, `.lock` guards additions against evictions.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use contents::SubPath;
use domain::run::DependencyKey;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Entries;
use crate::run::store;
use crate::workdir::STATES_PREFIX;

/// The server keeps the list of a worker's dependencies in a column of 65,535 bytes.
const LONGEST_LIST: u64 = 60_000;

pub struct Files {
    work: PathBuf,
    directory: PathBuf,
    /// Bytes.
    limit: u64,
    counter: AtomicU64,
}

/// What `.meta/<name>.json` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    uuid: String,
    path: String,
    /// On disk.
    bytes: u64,
    #[serde(skip, default = "SystemTime::now")]
    used: SystemTime,
}

/// A place for a download; removed when dropped unless it was published.
pub struct Partial {
    directory: PathBuf,
}

impl Partial {
    /// Where the data goes; nothing is there.
    pub fn path(&self) -> PathBuf {
        self.directory.join("data")
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // An aborted download may write for another moment; what that leaves is removed at the next start.
        discard(&self.directory);
    }
}

impl Files {
    pub fn open(work: &Path, limit: u64) -> Result<Self> {
        let directory = work.join("dependencies");
        for part in [".meta", ".locks", ".partial"] {
            fs::create_dir_all(directory.join(part))?;
        }
        Ok(Self {
            work: work.to_owned(),
            directory,
            limit,
            counter: AtomicU64::new(0),
        })
    }

    /// Removes everything that is not a complete entry and gives the keys of the rest.
    pub fn reconcile(&self) -> Result<BTreeSet<DependencyKey>> {
        let _guard = self.lock(FlockOperation::LockExclusive)?;
        for name in names(&self.directory.join(".partial"))? {
            let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
            if self.lock_name(stem)?.is_some() {
                discard(&self.directory.join(".partial").join(&name));
            }
        }
        let entries = self.entries()?;
        for name in names(&self.directory)?.iter().filter(|name| !name.starts_with('.')) {
            if !entries.contains_key(name) {
                self.remove(name);
            }
        }
        let mut keys = BTreeSet::new();
        for (name, entry) in entries {
            if self.directory.join(&name).symlink_metadata().is_ok() {
                keys.insert((entry.uuid, entry.path));
            } else {
                let _ = fs::remove_file(self.meta(&name));
            }
        }
        Ok(keys)
    }

    /// The place of a complete entry, which counts as used now.
    pub fn ready(&self, key: &DependencyKey) -> Result<Option<PathBuf>> {
        let name = name(key);
        let _guard = self.lock(FlockOperation::LockShared)?;
        let path = self.directory.join(&name);
        let Ok(meta) = File::options().write(true).open(self.meta(&name)) else {
            return Ok(None);
        };
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        meta.set_modified(SystemTime::now())?;
        Ok(Some(path))
    }

    /// The right to download an entry; `None` while another process has it.
    pub fn lock_entry(&self, key: &DependencyKey) -> Result<Option<File>> {
        self.lock_name(&name(key))
    }

    fn lock_name(&self, name: &str) -> Result<Option<File>> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.directory.join(".locks").join(name))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A fresh place to download to; the caller holds the entry's lock.
    pub fn new_partial(&self, key: &DependencyKey) -> Result<Partial> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{}.{}-{number}", name(key), std::process::id());
        let directory = self.directory.join(".partial").join(unique);
        discard(&directory);
        fs::create_dir_all(&directory)?;
        Ok(Partial { directory })
    }

    /// Makes a download an entry.
    pub fn publish(&self, key: &DependencyKey, partial: &Partial) -> Result<PathBuf> {
        let data = partial.path();
        let bytes = contents::disk_usage(&data, &SubPath::root())
            .map_err(std::io::Error::other)?
            .bytes;
        let name = name(key);
        let entry = Entry {
            uuid: key.0.clone(),
            path: key.1.clone(),
            bytes,
            used: SystemTime::now(),
        };
        let _guard = self.lock(FlockOperation::LockShared)?;
        let path = self.directory.join(&name);
        if path.symlink_metadata().is_ok() {
            // Without its description; left by a crash.
            self.remove(&name);
        }
        fs::rename(&data, &path)?;
        let temporary = partial.directory.join("meta");
        fs::write(&temporary, serde_json::to_vec(&entry)?)?;
        fs::rename(&temporary, self.meta(&name))?;
        Ok(path)
    }

    /// Removes the least recently used entries that no run uses, until the limits hold; `keep` stays in any case.
    pub fn make_room(&self, keep: &DependencyKey) -> Result<BTreeSet<DependencyKey>> {
        let _guard = self.lock(FlockOperation::LockExclusive)?;
        let mut entries = self.entries()?;
        let listed = |entry: &Entry| (entry.uuid.len() + entry.path.len() + 8) as u64;
        let mut bytes: u64 = entries.values().map(|entry| entry.bytes).sum();
        let mut list: u64 = entries.values().map(listed).sum();
        if bytes > self.limit || list > LONGEST_LIST {
            let mut used = self.in_use();
            used.insert(name(keep));
            let mut oldest: Vec<(SystemTime, String)> = entries
                .iter()
                .filter(|(name, _)| !used.contains(*name))
                .map(|(n, e)| (e.used, n.clone()))
                .collect();
            oldest.sort();
            for (_, name) in oldest {
                if bytes <= self.limit && list <= LONGEST_LIST {
                    break;
                }
                self.remove(&name);
                if let Some(entry) = entries.remove(&name) {
                    bytes -= entry.bytes;
                    list -= listed(&entry);
                }
            }
        }
        Ok(entries.into_values().map(|entry| (entry.uuid, entry.path)).collect())
    }

    /// Names of the entries that some worker's run still needs.
    fn in_use(&self) -> BTreeSet<String> {
        let Ok(found) = names(&self.work) else {
            return BTreeSet::new();
        };
        found
            .iter()
            .filter(|name| name.starts_with(STATES_PREFIX))
            .flat_map(|name| store::read_all(&self.work.join(name)))
            .filter(|state| state.stage.uses_dependencies())
            .flat_map(|state| state.bundle.dependencies)
            .map(|parent| name(&(parent.parent_uuid.to_string(), parent.parent_path)))
            .collect()
    }

    fn entries(&self) -> Result<Entries> {
        let directory = self.directory.join(".meta");
        let mut entries = Entries::new();
        for file in names(&directory)? {
            let Some(name) = file.strip_suffix(".json") else {
                continue;
            };
            let path = directory.join(&file);
            let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Entry>(&bytes)?));
            match read {
                Ok(mut entry) => {
                    entry.used = fs::metadata(&path)
                        .and_then(|found| found.modified())
                        .unwrap_or(entry.used);
                    entries.insert(name.to_owned(), entry);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!("{}: {error}; its data will be downloaded again", path.display());
                    let _ = fs::remove_file(&path);
                }
            }
        }
        Ok(entries)
    }

    fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.meta(name));
        // Out of sight at once, whatever the removal takes.
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let gone = self
            .directory
            .join(".partial")
            .join(format!("{name}.gone-{}-{number}", std::process::id()));
        if fs::rename(self.directory.join(name), &gone).is_ok() {
            discard(&gone);
        }
    }

    fn meta(&self, name: &str) -> PathBuf {
        self.directory.join(".meta").join(format!("{name}.json"))
    }

    fn lock(&self, operation: FlockOperation) -> Result<File> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.directory.join(".lock"))?;
        rustix::fs::flock(&file, operation)?;
        Ok(file)
    }
}

fn names(directory: &Path) -> Result<Vec<String>> {
    Ok(fs::read_dir(directory)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect())
}

fn discard(path: &Path) {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => contents::remove_tree(path).map_err(std::io::Error::other),
        Ok(_) => fs::remove_file(path),
        Err(_) => return,
    };
    if let Err(error) = removed {
        tracing::warn!("{}: cannot be removed: {error}", path.display());
    }
}

/// The file name of an entry: readable, and different for different keys whatever characters their paths have.
pub fn name(key: &DependencyKey) -> String {
    let (uuid, path) = key;
    if path.is_empty() {
        return uuid.clone();
    }
    let readable: String = path
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') {
                c
            } else {
                '_'
            }
        })
        .take(100)
        .collect();
    let digest = Sha256::digest(path.as_bytes());
    let short = digest
        .iter()
        .take(6)
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{uuid}_{readable}_{short:012x}")
}
