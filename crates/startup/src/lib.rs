//! What every program of a service does before it serves: find its home and read `config.json`, send its log somewhere,
//! listen for signals.

mod home;
pub mod logging;
mod signals;

pub use home::Home;
pub use signals::stop_on_signals;
