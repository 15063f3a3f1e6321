//! HTTP client of the REST API, shared by the command line and the worker: log-in and refreshed tokens, JSON:API
//! calls, streaming upload and download, retries and one error type.
//!
//! Nothing here prints, prompts or touches configuration files; where tokens come from is a [`TokenSource`].
#![forbid(unsafe_code)]

mod auth;
mod contents;
mod documents;
mod error;
mod oauth;
mod object;
mod query;
mod transport;
pub mod worker;

pub use auth::{NoLogin, PasswordLogin, TokenSource};
pub use contents::{BlobOptions, ByteStream, Download, UploadOptions};
pub use documents::Client;
pub use error::{Error, Result};
pub use oauth::{CLI_CLIENT, REFRESH_MARGIN, Token, WORKER_CLIENT, password_grant, refresh_grant};
pub use object::{Fetched, Object, resource, to_one, unpack};
pub use query::Query;
pub use transport::{Body, Endpoint, InProcess, Options, Request, Response, encode_path};
