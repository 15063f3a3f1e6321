//! The bundle manager: moves bundles from `created` to where they run, makes make bundles, and notices what went silent.

#![forbid(unsafe_code)]

pub mod repair;
pub mod request;
pub mod schedule;
pub mod staging;
