//! Gzip for answers and for replies of workers. Everything written is one member; everything read may have several.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use futures::Stream;

use crate::stream::{self, ByteStream, CHUNK};
use crate::{Error, Result};

/// Level for answers made on the fly.
const ANSWER_LEVEL: u32 = 4;

/// One gzip member holding `bytes`.
pub fn gzip_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(ANSWER_LEVEL));
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// The stream as one gzip member.
pub fn gzip_stream<S, E>(stream: S) -> ByteStream
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: std::fmt::Display + Send,
{
    stream::transform(stream, |reader, out| {
        gzip_to(out, |encoder| {
            copy(reader, encoder).map_err(|source| Error::io("compress", source))
        })
    })
}

/// The decompressed stream; all members. Damaged or cut-off input ends with an error.
pub fn gunzip_stream<S, E>(stream: S) -> ByteStream
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: std::fmt::Display + Send,
{
    stream::transform(stream, |reader, out| {
        copy(&mut MultiGzDecoder::new(reader), out).map_err(|source| Error::io("decompress", source))
    })
}

/// Hands `work` a writer whose bytes become one gzip member on `out`.
pub(crate) fn gzip_to(out: &mut dyn Write, work: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut encoder = GzEncoder::new(out, Compression::new(ANSWER_LEVEL));
    work(&mut encoder)?;
    encoder
        .finish()
        .map(|_| ())
        .map_err(|source| Error::io("compress", source))
}

fn copy(reader: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => out.write_all(&buffer[..got])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, TryStreamExt};

    async fn collect(stream: ByteStream) -> io::Result<Vec<u8>> {
        stream
            .try_fold(Vec::new(), |mut all, chunk| async move {
                all.extend_from_slice(&chunk);
                Ok(all)
            })
            .await
    }

    fn pieces(bytes: &[u8], size: usize) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
        let pieces: Vec<_> = bytes
            .chunks(size)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        futures::stream::iter(pieces)
    }

    #[tokio::test]
    async fn both_directions_work_one_byte_at_a_time() {
        let data = b"hello ".repeat(2000);
        let packed = collect(gzip_stream(pieces(&data, 1))).await.unwrap();
        assert_eq!(collect(gunzip_stream(pieces(&packed, 1))).await.unwrap(), data);
        let members = [gzip_bytes(b"one"), gzip_bytes(b"two")].concat();
        assert_eq!(collect(gunzip_stream(pieces(&members, 7))).await.unwrap(), b"onetwo");
    }

    #[tokio::test]
    async fn nothing_is_still_one_member() {
        let packed = collect(gzip_stream(pieces(b"", 1))).await.unwrap();
        assert_eq!(packed, gzip_bytes(b""));
        assert!(!packed.is_empty());
    }

    #[tokio::test]
    async fn a_cut_off_member_is_an_error() {
        let packed = gzip_bytes(&b"hello ".repeat(2000));
        assert!(
            collect(gunzip_stream(pieces(&packed[..packed.len() - 3], 50)))
                .await
                .is_err()
        );
        assert!(collect(gunzip_stream(pieces(b"not gzip at all", 50))).await.is_err());
        let broken = pieces(&packed, 10)
            .take(3)
            .chain(futures::stream::iter([Err(io::Error::other("gone"))]));
        assert!(
            collect(gunzip_stream(broken))
                .await
                .unwrap_err()
                .to_string()
                .contains("gone")
        );
    }
}
