//! Whose turn it is to use the machine's Docker engine.
//!
//! A Python worker of 1.7 removes every network that no container uses, many times a second, and so breaks the runs that
//! other workers of the same engine start at that moment. Its tests therefore have the engine to themselves.

use std::fs::File;

/// Held while a test uses the Docker engine, together with others or alone.
#[derive(Debug)]
pub struct DockerTurn(#[expect(dead_code, reason = "the lock ends with the file")] File);

impl DockerTurn {
    /// Waits until nobody has the engine alone.
    pub fn shared() -> Self {
        let file = lock_file();
        file.lock_shared()
            .expect("files of the temporary directory can be locked");
        Self(file)
    }

    /// Waits until nobody else uses the engine.
    pub fn alone() -> Self {
        let file = lock_file();
        file.lock().expect("files of the temporary directory can be locked");
        Self(file)
    }
}

fn lock_file() -> File {
    let path = std::env::temp_dir().join("codalab-tests-docker.lock");
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    options.open(path).expect("the temporary directory is writable")
}
