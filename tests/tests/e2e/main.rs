//! End to end: the real programs, on SQLite and MariaDB, with plain processes and with Docker.

#![allow(
    clippy::unwrap_used,
    reason = "these are tests, also the functions that several of them share"
)]

mod bad_input;
mod commands;
mod description;
mod differential;
mod fetching;
mod first_run;
mod interop;
mod lifecycle;
mod permissions;
mod ports;
mod python_commands;
mod python_worksheets;
mod restarts;
mod running;
mod sample;
mod transfers;
mod worksheets;
