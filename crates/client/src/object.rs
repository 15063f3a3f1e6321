//! JSON:API documents to and from the flat objects that callers work with; shared with the tests of the server.

pub use api::object::{Fetched, Object, resource, to_one, unpack};
