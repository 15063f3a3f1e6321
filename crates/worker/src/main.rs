//! The `cl-worker` program.
fn main() {}
