//! The work directory: its layout, and the reservation of a worker id in it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::error::{Error, Result};

/// A prepared work directory with the id that this worker has in it. The id is ours until this is dropped.
pub struct WorkDir {
    /// Absolute, without symbolic links: container engines resolve it on their own.
    pub path: PathBuf,
    pub id: String,
    _lock: File,
}

impl WorkDir {
    /// Creates what is missing and takes the wanted id, or an id that no live worker of this machine holds, or
    /// `<hostname>(<pid>)`.
    pub fn open(path: &Path, wanted: Option<&str>, hostname: &str) -> Result<Self> {
        let failed = |reason: &dyn std::fmt::Display| Error::WorkDir {
            path: path.display().to_string(),
            reason: reason.to_string(),
        };
        let build = |at: &Path| fs::DirBuilder::new().recursive(true).mode(0o770).create(at);
        build(path).map_err(|error| failed(&error))?;
        let path = path.canonicalize().map_err(|error| failed(&error))?;
        let ids = path.join("worker-ids");
        for directory in [&ids, &path.join("runs")] {
            build(directory).map_err(|error| failed(&error))?;
        }
        let (id, lock) = match wanted {
            Some(id) => {
                let lock = reserve(&ids, id, hostname).map_err(|error| failed(&error))?;
                let lock = lock.ok_or_else(|| {
                    failed(&format_args!(
                        "another worker with the id {id} uses it; choose another --id or --work-dir"
                    ))
                })?;
                (id.to_owned(), lock)
            }
            None => adopt(&ids, hostname).map_or_else(
                || {
                    let id = format!("{hostname}({})", std::process::id());
                    let lock = reserve(&ids, &id, hostname).map_err(|error| failed(&error))?;
                    let lock = lock.ok_or_else(|| failed(&format_args!("the id {id} is taken")))?;
                    Ok((id, lock))
                },
                Ok,
            )?,
        };
        Ok(Self { path, id, _lock: lock })
    }

    /// Where the files of a run are while this worker holds it.
    pub fn run(&self, uuid: &str) -> PathBuf {
        self.path.join("runs").join(uuid)
    }

    /// Where the states of this worker's runs are kept.
    pub fn states(&self) -> PathBuf {
        self.path.join(format!("{STATES_PREFIX}{}", file_name(&self.id)))
    }
}

/// Directories with the states of some worker's runs start with this.
pub const STATES_PREFIX: &str = "worker-state-";

/// The lock on an id, or `None` when a live process has it.
fn reserve(ids: &Path, id: &str, hostname: &str) -> std::io::Result<Option<File>> {
    let path = ids.join(format!("{}.lock", file_name(id)));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o660)
        .open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{hostname}\n{id}\n")?;
    Ok(Some(file))
}

/// An id that a worker on this machine left behind.
fn adopt(ids: &Path, hostname: &str) -> Option<(String, File)> {
    let mut files: Vec<PathBuf> = fs::read_dir(ids)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    files.into_iter().find_map(|path| {
        let mut text = String::new();
        File::open(&path).ok()?.take(4096).read_to_string(&mut text).ok()?;
        let (host, id) = text.trim_end().split_once('\n')?;
        // Ids that somebody chose are for those who ask for them.
        let generated = id.strip_prefix(host)?.strip_prefix('(')?.strip_suffix(')')?;
        if host != hostname || !generated.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some((id.to_owned(), reserve(ids, id, hostname).ok()??))
    })
}

/// A worker id as part of a file name.
fn file_name(id: &str) -> String {
    const UNSAFE: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'/').add(b'%').add(b'.');
    percent_encoding::utf8_percent_encode(id, UNSAFE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_id_is_reused_only_after_its_owner_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let first = WorkDir::open(directory.path(), None, "lab").unwrap();
        assert_eq!(first.id, format!("lab({})", std::process::id()));
        assert!(WorkDir::open(directory.path(), Some(&first.id), "lab").is_err());
        let id = first.id.clone();
        drop(first);
        // As left by another process.
        let old = reserve(&directory.path().join("worker-ids"), "lab(1)", "lab").unwrap();
        drop(old);
        let second = WorkDir::open(directory.path(), None, "lab").unwrap();
        assert!(second.id == "lab(1)" || second.id == id);
        let other_host = WorkDir::open(directory.path(), None, "den").unwrap();
        assert!(other_host.id.starts_with("den("));
    }

    #[test]
    fn chosen_ids_are_never_adopted_and_cannot_leave_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let chosen = WorkDir::open(directory.path(), Some("../gpu/3"), "lab").unwrap();
        assert!(chosen.states().starts_with(directory.path().canonicalize().unwrap()));
        assert_eq!(chosen.states().parent(), Some(chosen.path.as_path()));
        drop(chosen);
        assert_eq!(
            WorkDir::open(directory.path(), None, "lab").unwrap().id,
            format!("lab({})", std::process::id())
        );
    }
}
