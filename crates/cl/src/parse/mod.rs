//! The command line, read by the rules of Python's `argparse` that existing scripts rely on: prefixes of long options,
//! clustered flags, greedy lists, dash-leading values, `--`, and the wording of the errors.
//!
//! One thing is more liberal: options may stand between the positionals of a list.

mod dashes;
mod definition;
mod matching;
mod parsed;
mod usage;

pub use dashes::join_after_dashes;
pub use definition::{Argument, Arity, Kind};
pub use matching::{Outcome, ParseError, parse};
pub use parsed::Parsed;
pub use usage::{help, usage_line};
