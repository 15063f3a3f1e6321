//! Pure types and rules of CodaLab: identifiers, names, bundles, metadata, specs, resources and the worker protocol.
//!
//! Invariant: nothing here does I/O, reads a clock, an environment variable or a random source. Whatever depends on
//! those comes in through parameters, so every rule can be tested as a table of cases.
#![forbid(unsafe_code)]

pub mod address;
pub mod bundle;
pub mod config;
pub mod duration;
pub mod error;
pub mod id;
pub mod lenient;
pub mod limits;
pub mod literal;
pub mod metadata;
pub mod name;
pub mod network;
pub mod password;
pub mod permission;
pub mod rate;
pub mod run;
pub mod search;
pub mod size;
pub mod spec;
pub mod state;
pub mod target_info;
pub mod time;
pub mod user;
pub mod worksheet;

pub use bundle::{Bundle, Dependency};
pub use error::{Error, ErrorKind, Result};
pub use id::{UserId, Uuid, WorkerId};
pub use metadata::Metadata;
pub use permission::Permission;
pub use rate::Rate;
pub use state::{BundleState, BundleType};
pub use time::UtcTime;
