//! Taking in an upload: the body streams into a staging directory of the partition where it will stay.

use bytes::Bytes;
use domain::{Result, Uuid};
use futures::Stream;

use crate::{Staged, Storage};

/// How an upload is taken in.
#[derive(Clone, Debug, Default)]
pub struct ReceiveOptions {
    /// Name of the uploaded file; its suffix decides whether it is an archive.
    pub filename: String,
    /// Unpack archives.
    pub unpack: bool,
    /// Room that the owner has left for this bundle, in bytes (what the bundle holds now counts as free).
    pub max_bytes: Option<u64>,
    /// Results of a run: device nodes are skipped instead of refused.
    pub run_results: bool,
}

impl Storage {
    /// Writes `body` to staging, unpacked if it is an archive, and makes it durable. Nothing is visible until
    /// [`Staged::publish`]; on any error, or when the future is dropped, nothing stays on the disk.
    ///
    /// `body` is read to its end on success; after an error the rest is left to the caller, so pass `&mut stream`.
    ///
    /// Errors: usage (400) when the archive or the quota is at fault, unavailable (503) when the disk is full, internal
    /// (500) when the body or the disk fails. Messages have no `Upload failed: ` prefix.
    pub async fn receive<S, E>(&self, _uuid: &Uuid, _body: S, _options: ReceiveOptions) -> Result<Staged>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        todo!()
    }
}
