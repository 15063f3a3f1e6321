//! Contents of bundles: what is there, its bytes, uploads, and ports of running bundles.

pub mod blob;
mod fetched;
pub mod filesize;
pub mod headers;
mod incoming;
pub mod info;
pub mod netcat;
pub mod netcurl;
pub mod types;
pub mod upload;
