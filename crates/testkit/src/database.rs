//! Throw-away databases. MariaDB is one server for all test processes of a machine: the first that needs it starts it
//! through `tools/with-mariadb`, each holds a shared lock while it lives, and the server leaves when no lock was held for
//! half a minute. `CODALAB_TEST_MYSQL_URL` (no database named, an account that may make them) replaces it.

use std::fs::{self, File, OpenOptions};
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use url::Url;

use crate::wait_until;

/// The databases a test can be run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Mariadb,
}

impl Engine {
    /// A new, empty database of this kind.
    pub fn fresh(self) -> TestDatabase {
        match self {
            Engine::Sqlite => {
                let directory = crate::temp_home();
                let url = format!("sqlite://{}", directory.path().join("codalab.db").display());
                TestDatabase {
                    url,
                    kind: Kind::Sqlite(directory),
                }
            }
            Engine::Mariadb => fresh_database(),
        }
    }
}

/// A database of one test; dropped with the value.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sqlite(#[expect(dead_code, reason = "holds the directory")] TempDir),
    Mariadb(String),
}

impl TestDatabase {
    /// `sqlite:///…/codalab.db` (the file does not exist yet) or `mysql://user:password@127.0.0.1:port/name`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Kind::Mariadb(name) = &self.kind {
            // A failure only leaves an empty database on a server that goes away anyway.
            let _ = mariadb(&format!("DROP DATABASE IF EXISTS `{name}`"));
        }
    }
}

/// A new, empty MariaDB database (utf8mb4, as operators create them).
pub fn fresh_database() -> TestDatabase {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "codalab_test_{}_{}",
        std::process::id(),
        SERIAL.fetch_add(1, Ordering::Relaxed)
    );
    mariadb(&format!(
        "DROP DATABASE IF EXISTS `{name}`; CREATE DATABASE `{name}` CHARACTER SET utf8mb4"
    ))
    .unwrap_or_else(|error| panic!("cannot make the test database {name}: {error}"));
    let mut url = Url::parse(mariadb_url()).expect("the test server's address is a URL");
    url.set_path(&name);
    TestDatabase {
        url: url.into(),
        kind: Kind::Mariadb(name),
    }
}

/// The address of the test server, without a database. Starts the server where that is needed.
pub fn mariadb_url() -> &'static str {
    static SERVER: OnceLock<(String, Option<File>)> = OnceLock::new();
    let (url, _lock) = SERVER.get_or_init(|| match std::env::var("CODALAB_TEST_MYSQL_URL") {
        Ok(url) if !url.is_empty() => (url, None),
        _ => {
            let (url, lock) = shared_server();
            (url, Some(lock))
        }
    });
    url
}

/// Runs statements with the command-line client, so that this crate needs no driver.
fn mariadb(sql: &str) -> Result<(), String> {
    let url = Url::parse(mariadb_url()).map_err(|error| format!("CODALAB_TEST_MYSQL_URL: {error}"))?;
    let output = Command::new("mariadb")
        .arg("--no-defaults")
        .arg(format!("--host={}", url.host_str().unwrap_or("127.0.0.1")))
        .arg(format!("--port={}", url.port().unwrap_or(3306)))
        .arg(format!("--user={}", url.username()))
        .env("MYSQL_PWD", url.password().unwrap_or_default())
        .args(["--protocol=tcp", "--batch", "-e", sql])
        .output()
        .map_err(|error| format!("cannot run `mariadb` ({error}); run tools/setup-tests"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Joins the server of this machine's test processes, or starts it. The lock says that it is in use.
fn shared_server() -> (String, File) {
    let directory = shared_directory();
    let users = lock_file(&directory.join("users"));
    users.lock_shared().expect("a lock on the list of users");
    let starting = lock_file(&directory.join("starting"));
    starting.lock().expect("a lock for starting the server");
    let address = directory.join("url");
    if let Some(url) = running(&address) {
        return (url, users);
    }
    let _ = fs::remove_file(&address);
    start_server(&directory);
    let mut url = None;
    wait_until(
        "the start of MariaDB (its messages are in the log beside the lock)",
        Duration::from_secs(60),
        || {
            url = running(&address);
            url.is_some()
        },
    );
    (url.expect("the wait ended with an address"), users)
}

#[expect(clippy::zombie_processes, reason = "the server outlives this process on purpose")]
fn start_server(directory: &Path) {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools");
    let log = File::create(directory.join("log")).expect("a log file");
    Command::new(tools.join("with-mariadb"))
        .arg(tools.join("mariadb-for-tests"))
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("tools/with-mariadb can be executed");
}

/// The address in the file, if something answers there.
fn running(address: &Path) -> Option<String> {
    let text = fs::read_to_string(address).ok()?;
    let url = Url::parse(text.trim()).ok()?;
    TcpStream::connect((url.host_str()?, url.port()?)).ok()?;
    Some(text.trim().to_owned())
}

fn shared_directory() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("codalab-testkit-{}", nix::unistd::Uid::effective()));
    if !directory.is_dir() {
        let made = fs::DirBuilder::new().mode(0o700).create(&directory);
        assert!(
            made.is_ok() || directory.is_dir(),
            "cannot make {}: {made:?}",
            directory.display()
        );
    }
    directory
}

fn lock_file(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_databases_are_empty_and_apart() {
        let (one, two) = (fresh_database(), fresh_database());
        assert_ne!(one.url(), two.url());
        let name = one.url().rsplit('/').next().unwrap();
        mariadb(&format!("CREATE TABLE `{name}`.t (id INT)")).unwrap();
    }

    #[test]
    fn a_fresh_sqlite_database_names_a_file_in_a_directory_that_exists() {
        let database = Engine::Sqlite.fresh();
        let path = Path::new(database.url().strip_prefix("sqlite://").unwrap());
        assert!(path.parent().unwrap().is_dir() && !path.exists());
    }
}
