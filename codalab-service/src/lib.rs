//! The orchestrator: brings up a whole CodaLab system. Today that is the local mode ([`local`]): every service in one
//! process, on one port, with everything it keeps under one home directory.
#![forbid(unsafe_code)]

pub mod cli;
pub mod local;
