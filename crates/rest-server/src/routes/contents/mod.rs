//! Contents of bundles: what is there, its bytes, uploads, and ports of running bundles.

pub mod blob;
pub mod headers;
pub mod info;
pub mod netcat;
pub mod upload;
