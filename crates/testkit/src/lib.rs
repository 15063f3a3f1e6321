//! What tests share: throw-away databases (SQLite files and a private MariaDB), turns at the Docker engine, temporary homes,
//! free ports, and waiting on a condition with a deadline. Only ever a dev-dependency.
#![forbid(unsafe_code)]

mod database;
mod docker;
mod waiting;

pub use database::{Engine, TestDatabase, fresh_database, mariadb_url};
pub use docker::DockerTurn;
pub use waiting::{wait_for, wait_until};

use std::net::TcpListener;

pub use tempfile::TempDir;

/// An empty directory that goes away with the value. Real paths only: a home below a link is another test.
pub fn temp_home() -> TempDir {
    tempfile::Builder::new()
        .prefix("codalab-test.")
        .tempdir()
        .expect("the temporary directory is writable")
}

/// A loopback port that nothing listens on. It is not reserved: use it at once, and not for two servers.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
    listener.local_addr().expect("a bound socket has an address").port()
}
