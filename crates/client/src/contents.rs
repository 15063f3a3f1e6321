//! Bundle contents: what is there, streaming download, streaming upload.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::Method;
use serde_json::Value;

use crate::documents::Client;
use crate::error::{Error, Result};
use crate::query::Query;
use crate::transport::{Body, Request, encode_path};

/// Pieces of a body.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Compressed input is expanded in pieces of this size, so that one piece cannot become more than a few MiB.
const GZIP_PIECE: usize = 4096;

/// A server that fetches a URL answers when it has the contents; longer than any server fetches.
const FETCH_TIMEOUT: Duration = Duration::from_secs(7 * 3600);

/// What to read of a file, and how.
#[derive(Debug, Clone, Default)]
pub struct BlobOptions {
    /// Lines from the start; 0 for none.
    pub head: u64,
    /// Lines from the end; 0 for none.
    pub tail: u64,
    /// Characters kept of a line with `head` and `tail` (server's default 128).
    pub max_line_length: Option<u64>,
    /// What stands for the lines left out between `head` and `tail`.
    pub truncation_text: Option<String>,
    /// First and last byte, both inclusive. Reading past the end gives fewer bytes, or none.
    pub range: Option<(u64, u64)>,
    /// Never ask for compression on the way (it is not asked for on this machine anyway).
    pub identity: bool,
}

/// Contents on their way here.
pub struct Download {
    /// True if the body is the gzip'd tar of a directory.
    pub is_directory: bool,
    /// Size in bytes if the server knows it: of the file, or the recorded size of the directory.
    pub size: Option<u64>,
    /// The body; compression on the way is undone.
    pub body: ByteStream,
}

/// Query parameters of an upload.
#[derive(Debug, Clone)]
pub struct UploadOptions {
    /// Name of the file, which decides the kind of archive. `None`: no data, the call only sets the state.
    pub filename: Option<String>,
    /// Unpack archives.
    pub unpack: bool,
    /// Final state to set; `None`: the state stays.
    pub state_on_success: Option<String>,
    /// Set state `failed` if the upload fails for reasons on the server's side.
    pub finalize_on_failure: bool,
    /// Name of the store; empty for the default.
    pub store: String,
    /// Send the legacy storage switch as well.
    pub use_azure_blob_beta: Option<bool>,
}

impl Client {
    /// The info tree of a path inside a bundle, `depth` levels deep; `None` if there is nothing (404).
    pub async fn contents_info(&self, uuid: &str, subpath: &str, depth: u32) -> Result<Option<Value>> {
        let path = format!("bundles/{uuid}/contents/info/{}", encode_path(subpath));
        match self
            .get_json(&path, Query::new().with("depth", depth.to_string()))
            .await
        {
            Ok(mut document) => match document.get_mut("data").map(Value::take) {
                Some(Value::Null) | None => Ok(None),
                Some(data) => Ok(Some(data)),
            },
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bytes of a file, or of a directory as gzip'd tar.
    pub async fn blob(&self, uuid: &str, subpath: &str, options: &BlobOptions) -> Result<Download> {
        let path = format!("bundles/{uuid}/contents/blob/{}", encode_path(subpath));
        let mut query = Query::new();
        if options.head > 0 {
            query = query.with("head", options.head.to_string());
        }
        if options.tail > 0 {
            query = query.with("tail", options.tail.to_string());
        }
        query = query
            .with_option(
                "max_line_length",
                options.max_line_length.map(|length| length.to_string()),
            )
            .with_option("truncation_text", options.truncation_text.as_deref())
            .flag("support_redirect", true);
        let encoding = if options.identity || self.endpoint().is_loopback() {
            "identity"
        } else {
            "gzip"
        };
        let mut request = Request::new(Method::GET, path)
            .query(query)
            .header("accept-encoding", encoding);
        if let Some((first, last)) = options.range {
            request = request.header("range", &format!("bytes={first}-{last}"));
        }
        let response = self.send(request).await?;
        let is_gzip = response
            .header("content-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("gzip"));
        let size = response
            .header("x-codalab-target-size")
            .and_then(|size| size.parse().ok());
        let is_directory = response.header("target-type") == Some("directory");
        let body = response.stream();
        let address = self.address().to_owned();
        Ok(Download {
            is_directory,
            size,
            body: if is_gzip { gunzip(body, address) } else { body },
        })
    }

    /// Uploads contents (`PUT …/contents/blob/`). A stream is sent as it is read and cannot be retried.
    pub async fn upload(&self, uuid: &str, options: &UploadOptions, body: Body) -> Result<()> {
        let finalize = options.state_on_success.is_some();
        let mut query = Query::new().with_option("filename", options.filename.as_deref());
        if options.filename.is_some() {
            query = query.flag("unpack", options.unpack);
        }
        query = query.with_option("state_on_success", options.state_on_success.as_deref());
        query = query.flag("finalize_on_success", finalize);
        if let Some(beta) = options.use_azure_blob_beta {
            query = query.flag("use_azure_blob_beta", beta);
        }
        query = query
            .with("store", options.store.clone())
            .flag("finalize_on_failure", options.finalize_on_failure);
        self.put_contents(uuid, query, body).await
    }

    /// `PUT …/contents/blob/` with the given parameters.
    pub async fn put_contents(&self, uuid: &str, query: Query, body: Body) -> Result<()> {
        let fetches = query.pairs().iter().any(|(name, _)| name == "urls");
        let mut request = Request::new(Method::PUT, format!("bundles/{uuid}/contents/blob/"))
            .query(query)
            .body(body);
        if fetches {
            request = request.timeout(FETCH_TIMEOUT);
        }
        self.send(request).await.map(drop)
    }
}

/// Undoes `Content-Encoding: gzip` on the way.
fn gunzip(body: ByteStream, address: String) -> ByteStream {
    let broken = move |error: &std::io::Error| Error::BadAnswer {
        address: address.clone(),
        reason: format!("the compressed contents are damaged ({error})"),
    };
    let broken_at_end = broken.clone();
    let decoder = std::sync::Arc::new(std::sync::Mutex::new(MultiGzDecoder::new(Vec::new())));
    let at_end = decoder.clone();
    // A body without any byte is an empty body, not a damaged archive.
    let started = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let any = started.clone();
    let expanded = body
        .map_ok(|piece| {
            let count = piece.len().div_ceil(GZIP_PIECE);
            futures::stream::iter(
                (0..count).map(move |i| Ok(piece.slice(i * GZIP_PIECE..piece.len().min((i + 1) * GZIP_PIECE)))),
            )
        })
        .try_flatten()
        .map(move |piece: Result<Bytes>| {
            let piece = piece?;
            let mut decoder = decoder.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            started.store(true, std::sync::atomic::Ordering::Relaxed);
            decoder.write_all(&piece).map_err(|error| broken(&error))?;
            Ok(Bytes::from(std::mem::take(decoder.get_mut())))
        });
    let last = futures::stream::once(async move {
        let mut decoder = at_end.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !any.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(Bytes::new());
        }
        decoder.try_finish().map_err(|error| broken_at_end(&error))?;
        Ok(Bytes::from(std::mem::take(decoder.get_mut())))
    });
    expanded
        .chain(last)
        .try_filter(|piece| futures::future::ready(!piece.is_empty()))
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    async fn expand(bytes: Vec<u8>, piece: usize) -> Result<Vec<u8>> {
        let pieces: Vec<Result<Bytes>> = bytes
            .chunks(piece)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let body = futures::stream::iter(pieces).boxed();
        gunzip(body, "http://x".into())
            .try_fold(Vec::new(), |mut all, piece| async move {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await
    }

    #[tokio::test]
    async fn gzip_is_undone_whatever_the_pieces() {
        let data: Vec<u8> = (0..100_000_u32).flat_map(|i| (i / 3).to_le_bytes()).collect();
        for piece in [1, 100, 5000, 1_000_000] {
            assert_eq!(expand(compressed(&data), piece).await.unwrap(), data);
        }
    }

    #[tokio::test]
    async fn a_cut_off_gzip_body_is_an_error() {
        let mut bytes = compressed(b"some text that is long enough");
        bytes.truncate(bytes.len() - 6);
        assert!(expand(bytes, 10).await.is_err());
    }
}
