//! The end-to-end harness: starts a whole CodaLab system from the real binaries on a private home, port and database, and
//! drives it as users do, through `cl`, through the Python client, and over raw HTTP.
#![forbid(unsafe_code)]

mod http;
mod program;
mod python;
mod system;

pub use http::{Answer, Http};
pub use program::{Cl, Outcome, Process, binary, finish, python, python_tool};
pub use python::PythonCl;
pub use system::{PASSWORD, Runtime, Setup, System, USER, quick};
