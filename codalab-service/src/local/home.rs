//! The home directory of an instance: its paths, and the lock that says that an instance lives there.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use domain::error::Error;
use serde::{Deserialize, Serialize};

use super::Result;

/// An instance's directory. Making the value touches nothing.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

/// What `server.json` says about the instance that holds its lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    pub pid: u32,
    /// Base address, such as `http://localhost:2900`.
    pub address: String,
    pub port: u16,
    /// The runtime of the worker inside: `docker`, `process`, or `none`.
    pub runtime: String,
    pub version: String,
}

/// Held as long as the instance lives. The kernel lets go of it when the process ends.
#[derive(Debug)]
pub struct HomeLock {
    file: File,
}

impl Home {
    /// `--home`, else `CODALAB_HOME`, else `~/.codalab`; made absolute. `~/` is expanded.
    pub fn locate(option: Option<&Path>) -> Result<Home> {
        let chosen = option.map(Path::to_path_buf).or_else(|| {
            std::env::var_os("CODALAB_HOME")
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        });
        let user_home =
            || std::env::home_dir().ok_or_else(|| Error::usage("HOME is not set; name the directory with --home DIR"));
        let root = match chosen {
            None => user_home()?.join(".codalab"),
            Some(path) => match path.strip_prefix("~") {
                Ok(rest) => user_home()?.join(rest),
                Err(_) => path,
            },
        };
        let root = std::path::absolute(&root)
            .map_err(|error| Error::usage(format!("cannot use the home {}: {error}", root.display())))?;
        Ok(Home { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn config(&self) -> PathBuf {
        path_from_environment("CODALAB_CONFIG").unwrap_or_else(|| self.root.join("config.json"))
    }

    pub fn state(&self) -> PathBuf {
        path_from_environment("CODALAB_STATE").unwrap_or_else(|| self.root.join("state.json"))
    }

    pub fn database(&self) -> PathBuf {
        self.root.join("bundle.db")
    }

    pub fn worker(&self) -> PathBuf {
        self.root.join("worker")
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("logs/service.log")
    }

    fn server_json(&self) -> PathBuf {
        self.root.join("server.json")
    }

    /// There from before the root account is made until its password was shown.
    pub fn first_start_marker(&self) -> PathBuf {
        self.root.join(".first-start")
    }

    /// Makes the directory and those that the instance itself fills.
    pub fn create(&self) -> Result<()> {
        for directory in [self.root.clone(), self.root.join("logs"), self.worker()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(|error| Error::internal(format!("cannot make {}: {error}", directory.display())))?;
        }
        Ok(())
    }

    /// Takes the lock, or says which instance has it.
    pub fn lock(&self) -> Result<std::result::Result<HomeLock, ServerInfo>> {
        let path = self.server_json();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Error::internal(format!("cannot open {}: {error}", path.display())))?;
        match file.try_lock() {
            Ok(()) => Ok(Ok(HomeLock { file })),
            Err(TryLockError::WouldBlock) => Ok(Err(read_info(file).unwrap_or_else(unknown_instance))),
            Err(TryLockError::Error(error)) => Err(Error::internal(format!("cannot lock {}: {error}", path.display()))),
        }
    }

    /// The instance that runs on this home, if one does.
    pub fn running(&self) -> Option<ServerInfo> {
        let file = File::open(self.server_json()).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_info(file).unwrap_or_else(unknown_instance)),
            _ => None,
        }
    }
}

impl HomeLock {
    /// Says where the instance listens. A reader never sees half of it: it is one small write.
    pub fn publish(&mut self, info: &ServerInfo) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(info)?;
        text.push(b'\n');
        self.file.rewind()?;
        self.file.write_all(&text)?;
        self.file.set_len(text.len() as u64)
    }

    /// Empties the file at a clean end.
    pub fn clear(&mut self) {
        let _ = self.file.set_len(0);
    }
}

fn read_info(mut file: File) -> Option<ServerInfo> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Between taking the lock and publishing, an instance has no address yet.
fn unknown_instance() -> ServerInfo {
    ServerInfo {
        pid: 0,
        address: String::new(),
        port: 0,
        runtime: String::new(),
        version: String::new(),
    }
}

fn path_from_environment(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Removes a file that may be absent.
pub fn remove_if_present(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::internal(format!("cannot remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instance_per_home_and_a_lost_holder_blocks_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home {
            root: directory.path().join("home"),
        };
        assert_eq!(home.running(), None);
        home.create().unwrap();
        let mut lock = home.lock().unwrap().unwrap();
        let info = ServerInfo {
            pid: 7,
            address: "http://localhost:1".into(),
            port: 1,
            runtime: "process".into(),
            version: "2".into(),
        };
        lock.publish(&info).unwrap();
        assert_eq!(home.running(), Some(info.clone()));
        assert_eq!(home.lock().unwrap().unwrap_err(), info);
        drop(lock);
        assert_eq!(home.running(), None);
        home.lock().unwrap().unwrap();
    }
}
