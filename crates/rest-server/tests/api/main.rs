//! The server as its clients see it: real listener, real database, real store, in one process.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

#[macro_use]
mod site;

mod accounts;
mod accounts_mail;
mod accounts_oauth;
mod accounts_reset;
mod accounts_sessions;
mod accounts_signup;
mod bundles;
mod conformance;
mod contents;
mod fetching;
mod interpretation;
mod peers;
mod permission_matrix;
mod ports;
mod rights;
mod smtp;
mod support;
mod transport;
mod transport_headers;
mod transport_limits;
mod transport_records;
mod traps;
mod workers;
mod worksheets;
