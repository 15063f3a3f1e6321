//! The server as its clients see it: real listener, real database, real store, in one process.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

mod accounts;
mod bundles;
mod conformance;
mod contents;
mod fetching;
mod ports;
mod support;
mod transport;
mod traps;
mod workers;
mod worksheets;
