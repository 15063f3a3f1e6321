//! The worksheet language: source text to items and back, and items to blocks.
//!
//! Invariant: contents of bundles and results of searches come in through [`Reader`] only; nothing here does I/O.
#![forbid(unsafe_code)]

mod block;
mod display;
pub mod file;
mod genpath;
mod interpret;
mod layout;
mod number;
mod page;
mod post;
mod reader;
mod resolve;
mod schema;
pub mod source;
pub mod tokens;
mod yaml;

pub use genpath::{BundleInfo, OwnerNames, bundle_info, private_info, value as genpath_value};
pub use page::{Directive, Interpretation, Page, file_genpaths, resolve_rows};
pub use post::apply as post_process;
pub use reader::{FileRef, Found, Parsed, Reader, Search, Searched, Target, parse_file, parsed_bytes};
pub use resolve::weight;
pub use source::{SourceLine, emit, parse};
