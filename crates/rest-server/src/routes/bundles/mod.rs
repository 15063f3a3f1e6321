//! Bundles: reading, creating, changing, deleting their records.

pub mod create;
pub mod delete;
pub mod fetch;
pub mod update;
