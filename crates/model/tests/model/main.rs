//! The model against both databases: every test runs on SQLite and on MariaDB.
#![allow(clippy::unwrap_used)] // a failed step of the preparations fails the test

#[macro_use]
mod fixture;

mod accounts;
mod adoption;
mod bulk;
mod bundles;
mod deletion;
mod derived;
mod invariants;
mod items;
mod limits;
mod permissions;
mod plans;
mod resolution;
mod runs;
mod schema;
mod search;
mod sql;
mod stores;
mod workers;
mod worksheets;
