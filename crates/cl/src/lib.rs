//! cl
