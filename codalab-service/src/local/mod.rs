//! Local mode: REST API, websockets, bundle manager and one worker in one process, on one port, under one home directory.
//!
//! Under the home: `config.json` and `state.json` (shared with `cl`), `bundle.db` (SQLite), `data/` (bundle contents),
//! `worker/`, `logs/`, and `server.json`, which says where the instance listens and is locked as long as it lives. The lock
//! goes with the process, however that ends, so a crash leaves nothing that blocks the next start.

mod account;
mod background;
mod control;
mod home;
mod instance;
mod json_file;
mod port;
mod settings;

pub use background::{Started, report, start_in_background};
pub use control::{Status, logs, status, stop};
pub use home::{Home, ServerInfo};
pub use instance::{Options, Ready, RootLogin, Runtime, run};

/// What goes wrong in local mode; the text names the thing and the remedy.
pub type Result<T> = std::result::Result<T, domain::error::Error>;
