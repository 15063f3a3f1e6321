//! The orchestrator: brings up a whole CodaLab system. Today that is the local mode ([`local`]): every service in one
//! process, on one port, with everything it keeps under one home directory. [`sample`] makes a worksheet to look at.
#![forbid(unsafe_code)]

pub mod cli;
pub mod local;
pub mod sample;
