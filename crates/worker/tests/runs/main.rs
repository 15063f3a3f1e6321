//! The worker's binary against a minimal server, with the process runtime and, where an engine and the default image
//! are at hand, with Docker.
#![allow(clippy::unwrap_used)]

mod docker;
mod executing;
mod limits;
mod reading;
mod restarts;
mod setting;
mod support;
