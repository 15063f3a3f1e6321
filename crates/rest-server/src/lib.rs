//! rest-server
