//! The files in which the states of runs outlive the worker: one per run, replaced as a whole.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use domain::Uuid;

use super::state::{RunState, VERSION};

/// Where one worker keeps the states of its runs.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    pub fn open(directory: PathBuf) -> std::io::Result<Self> {
        fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    fn file(&self, uuid: Uuid) -> PathBuf {
        self.directory.join(format!("{uuid}.json"))
    }

    /// Writes the state so that a crash at any moment leaves the old or the new one.
    pub fn save(&self, state: &RunState) -> std::io::Result<()> {
        let file = self.file(state.uuid());
        let temporary = file.with_extension("new");
        let mut out = fs::File::create(&temporary)?;
        out.write_all(&serde_json::to_vec(state)?)?;
        out.sync_data()?;
        fs::rename(temporary, file)
    }

    pub fn forget(&self, uuid: Uuid) {
        let file = self.file(uuid);
        if let Err(error) = fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("{}: {error}", file.display());
        }
    }

    /// All states. Files that cannot be read are reported and skipped.
    pub fn load(&self) -> Vec<RunState> {
        read_all(&self.directory)
    }
}

/// The states in a directory, of this worker or of another one on the same work directory.
pub fn read_all(directory: &Path) -> Vec<RunState> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter_map(|path| match read(&path) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(
                    "{}: cannot read the state of this run, so it is not resumed: {error}",
                    path.display()
                );
                None
            }
        })
        .collect()
}

fn read(path: &Path) -> std::io::Result<Option<RunState>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let state: RunState = serde_json::from_slice(&bytes)?;
    if state.version > VERSION {
        return Err(std::io::Error::other("it was written by a newer version"));
    }
    Ok(Some(state))
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::message;
    use super::*;

    #[test]
    fn damaged_files_do_not_hide_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("s")).unwrap();
        let state = RunState::accept(message("true"), "a".into(), 1.0);
        store.save(&state).unwrap();
        fs::write(directory.path().join("s/0x1.json"), "{").unwrap();
        fs::write(directory.path().join("s/0x2.new"), "half").unwrap();
        let found = store.load();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].attempt, "a");
        store.forget(state.uuid());
        assert!(store.load().is_empty());
    }
}
