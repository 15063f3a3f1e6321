//! The files that `cl` shares with the Python client: `config.json` and `state.json`.

mod files;
mod session;
mod settings;
mod state;

pub use files::Home;
pub use session::session_name;
pub use settings::Settings;
pub use state::{Session, StateFile};
