//! Taking in an upload: the body streams into a staging directory of the partition where it will stay.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use bytes::Bytes;
use contents::{ArchiveKind, FileHasher, UnpackOptions, stream, unpack};
use domain::{Error, Result, Uuid};
use futures::Stream;

use crate::staged::{Place, over_quota};
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
    pub async fn receive<S, E>(&self, uuid: &Uuid, body: S, options: ReceiveOptions) -> Result<Staged>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let (storage, uuid) = (self.clone(), *uuid);
        // The outer result is about the transfer itself, the inner one about what became of it.
        stream::consume(body, move |reader| match storage.take_in(&uuid, reader, &options) {
            Err(Failure::Contents(error)) => Err(error),
            Err(Failure::Domain(error)) => Ok(Err(error)),
            Ok(staged) => Ok(Ok(staged)),
        })
        .await
        .unwrap_or_else(|error| Err(error.into()))
    }

    fn take_in(&self, uuid: &Uuid, body: &mut dyn BufRead, options: &ReceiveOptions) -> Result<Staged, Failure> {
        let place = Place::new(self, uuid)?;
        let kind = if options.unpack {
            ArchiveKind::from_name(&options.filename)
        } else {
            None
        };
        let Some(kind) = kind else {
            let digest =
                write_file(body, &place.tree(), options.max_bytes).map_err(|error| explain(error, None, uuid))?;
            return Ok(place.finish(options.max_bytes, Some(digest), 0, true)?);
        };
        let unpack_options = UnpackOptions {
            limits: self.inner.options.limits,
            max_bytes: options.max_bytes,
            skip_devices: options.run_results,
        };
        let unpacked =
            unpack(kind, body, &place.tree(), &unpack_options).map_err(|error| explain(error, Some(kind), uuid))?;
        Ok(place.finish(options.max_bytes, unpacked.digest, unpacked.skipped, false)?)
    }
}

/// Errors of the transfer are told apart from the rest, because [`stream::consume`] may know better what happened.
enum Failure {
    Contents(contents::Error),
    Domain(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Domain(error)
    }
}

/// The message for the uploader.
fn explain(error: contents::Error, kind: Option<ArchiveKind>, uuid: &Uuid) -> Failure {
    match error {
        contents::Error::Archive(detail) => {
            let what = if kind == Some(ArchiveKind::Zip) {
                ".zip file"
            } else {
                "archive"
            };
            Failure::Contents(contents::Error::Usage(format!(
                "Invalid archive upload: failed to unpack {what}. {detail}"
            )))
        }
        contents::Error::TooBig { limit } => Failure::Contents(contents::Error::Usage(
            over_quota(uuid, &format!("more than {limit} bytes"), limit).message,
        )),
        other => Failure::Contents(other),
    }
}

/// Bytes after which the disk is set to work while more arrive.
const WRITE_BACK: u64 = 32 << 20;

/// Writes the body to a new file and makes it durable; gives its digest.
fn write_file(body: &mut dyn BufRead, path: &Path, max_bytes: Option<u64>) -> contents::Result<String> {
    let failed = |error| contents::Error::io("write contents", error);
    let file = File::create_new(path).map_err(failed)?;
    let mut hasher = FileHasher::new();
    let mut size = 0;
    std::thread::scope(|scope| {
        let mut early = EarlySync {
            scope,
            file: &file,
            written: 0,
            thread: None,
        };
        loop {
            let chunk = body.fill_buf().map_err(|error| contents::Error::io("receive", error))?;
            if chunk.is_empty() {
                return early.finish().map_err(failed);
            }
            let taken = chunk.len();
            size += taken as u64;
            if let Some(limit) = max_bytes.filter(|limit| size > *limit) {
                return Err(contents::Error::TooBig { limit });
            }
            hasher.update(chunk);
            (&file).write_all(chunk).map_err(failed)?;
            body.consume(taken);
            early.note(taken as u64);
        }
    })?;
    file.sync_all().map_err(failed)?;
    Ok(hasher.finish())
}

/// Syncs a growing file on a thread of its own, so that the last sync finds little left to do. Small files never get
/// that far.
struct EarlySync<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    file: &'env File,
    /// Bytes since the disk was last asked.
    written: u64,
    thread: Option<(SyncSender<()>, ScopedJoinHandle<'scope, io::Result<()>>)>,
}

impl EarlySync<'_, '_> {
    fn note(&mut self, bytes: u64) {
        self.written += bytes;
        if self.written < WRITE_BACK {
            return;
        }
        self.written = 0;
        let (ask, _) = self.thread.get_or_insert_with(|| {
            let (ask, asked) = sync_channel(1);
            let file = self.file;
            (
                ask,
                self.scope
                    .spawn(move || asked.iter().try_for_each(|()| file.sync_data())),
            )
        });
        // Still busy with the last request: that one covers these bytes in part, the next one the rest.
        let _ = ask.try_send(());
    }

    /// A sync that failed early must be told now: the kernel reports an error only once.
    fn finish(self) -> io::Result<()> {
        let Some((ask, thread)) = self.thread else {
            return Ok(());
        };
        drop(ask);
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that syncs has failed")))
    }
}
