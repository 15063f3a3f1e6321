//! The REST server: JSON:API over the database, streaming over the bundle store, long polls for the workers.
//!
//! [`router`] is everything it answers, for whoever owns the listener; [`serve`] is the whole program.

#![forbid(unsafe_code)]

pub mod accounts;
mod auth;
mod captcha;
mod client_address;
mod error;
mod fetch;
mod form;
mod input;
mod inside;
mod interpretation;
pub mod listener;
pub mod mail;
mod openapi;
mod origin;
mod params;
mod path;
mod peers;
mod pipeline;
mod present;
mod reading;
mod relay;
mod repeats;
mod replies;
mod respond;
pub mod routes;
mod serve;
mod state;
pub mod telemetry;
mod throttle;
pub mod traffic;

pub use captcha::Captcha;
pub use routes::router;
pub use serve::{ServeOptions, finish, open_state, serve};
pub use state::{AppState, MailOverride, Settings};
