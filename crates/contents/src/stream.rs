//! The bridge between asynchronous byte streams and blocking code, in both directions, with bounded memory: a slow
//! consumer stops the producer.

use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream::BoxStream};
use tokio::sync::mpsc;

use crate::{Error, Result};

/// Bytes on their way. An error item means that what came before is incomplete: never end a body cleanly after it.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// Size of the pieces that travel, in bytes.
pub const CHUNK: usize = 256 << 10;
/// How many pieces wait between the two sides.
const QUEUE: usize = 4;

/// Runs `work` on the blocking pool; what it writes is the stream. An error of `work` is the last item. When the stream
/// is dropped, the next write fails and `work` ends.
pub fn produce<F>(work: F) -> ByteStream
where
    F: FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = write_chunks(&sender, work) {
            let _ = sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
    });
    tokio_stream(receiver)
}

/// A stream made by blocking `work` out of another stream, e.g. a decoder.
pub fn transform<S, E, F>(stream: S, work: F) -> ByteStream
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: std::fmt::Display + Send,
    F: FnOnce(&mut StreamReader, &mut dyn Write) -> Result<()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let out = sender.clone();
        let worked = consume(stream, move |reader| write_chunks(&out, |out| work(reader, out)));
        tokio::select! {
            // Nobody reads any more: dropping the work ends it, also while the source is silent.
            () = sender.closed() => {}
            outcome = worked => {
                if let Err(error) = outcome {
                    let _ = sender.send(Err(io::Error::other(error.to_string()))).await;
                }
            }
        }
    });
    tokio_stream(receiver)
}

fn write_chunks(
    sender: &mpsc::Sender<io::Result<Bytes>>,
    work: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let mut out = ChunkWriter {
        buffer: BytesMut::with_capacity(CHUNK),
        sender: sender.clone(),
    };
    work(&mut out)?;
    out.flush().map_err(|source| Error::io("send", source))
}

/// A stream of one piece.
pub fn once(bytes: impl Into<Bytes>) -> ByteStream {
    let bytes = bytes.into();
    futures::stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed()
}

fn tokio_stream(mut receiver: mpsc::Receiver<io::Result<Bytes>>) -> ByteStream {
    futures::stream::poll_fn(move |context| receiver.poll_recv(context)).boxed()
}

struct ChunkWriter {
    buffer: BytesMut,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(CHUNK)).freeze();
        self.sender
            .blocking_send(Ok(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Runs `work` on the blocking pool with a reader over `stream`; returns what it returns. `work` may stop reading
/// early; the rest of the stream is then not polled any more.
///
/// When the stream breaks, or this future is dropped, the reader fails: an end of input is only ever a true end. A
/// failure of the stream comes back as [`Error::Io`] whatever `work` made of it.
pub async fn consume<S, E, T, F>(mut stream: S, work: F) -> Result<T>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
    T: Send + 'static,
    F: FnOnce(&mut StreamReader) -> Result<T> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    let broken = Arc::new(Mutex::new(None));
    let task = tokio::task::spawn_blocking({
        let broken = broken.clone();
        move || {
            let mut reader = StreamReader {
                receiver,
                current: Bytes::new(),
                ended: false,
                broken: broken.clone(),
            };
            work(&mut reader)
        }
    });
    let mut gathered = BytesMut::new();
    loop {
        let message = match stream.next().await {
            Some(Ok(bytes)) => {
                // Small inputs wait for company, but only while the other side is busy anyway.
                let is_busy = sender.capacity() < QUEUE;
                if gathered.is_empty() && (bytes.len() >= CHUNK / 2 || !is_busy) {
                    Message::Bytes(bytes)
                } else {
                    if gathered.is_empty() {
                        gathered.reserve(CHUNK);
                    }
                    gathered.extend_from_slice(&bytes);
                    if gathered.len() < CHUNK && is_busy {
                        continue;
                    }
                    Message::Bytes(gathered.split().freeze())
                }
            }
            Some(Err(error)) => Message::Broken(error.to_string()),
            None => Message::End,
        };
        let last = !matches!(message, Message::Bytes(_));
        if last && !gathered.is_empty() && sender.send(Message::Bytes(gathered.split().freeze())).await.is_err() {
            break;
        }
        if sender.send(message).await.is_err() || last {
            break;
        }
    }
    let outcome = task
        .await
        .map_err(|error| Error::io("background task", io::Error::other(error)))?;
    let broken = broken.lock().ok().and_then(|mut broken| broken.take());
    match (outcome, broken) {
        (Err(_), Some(reason)) => Err(Error::io(
            "receive",
            io::Error::new(io::ErrorKind::ConnectionAborted, reason),
        )),
        (outcome, _) => outcome,
    }
}

enum Message {
    Bytes(Bytes),
    End,
    Broken(String),
}

/// The blocking side of [`consume`].
pub struct StreamReader {
    receiver: mpsc::Receiver<Message>,
    current: Bytes,
    ended: bool,
    broken: Arc<Mutex<Option<String>>>,
}

impl BufRead for StreamReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            let reason = match self.receiver.blocking_recv() {
                Some(Message::Bytes(bytes)) => {
                    self.current = bytes;
                    continue;
                }
                Some(Message::End) => {
                    self.ended = true;
                    break;
                }
                Some(Message::Broken(reason)) => reason,
                None => "the sender went away".to_owned(),
            };
            if let Ok(mut broken) = self.broken.lock() {
                *broken = Some(reason.clone());
            }
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason));
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount.min(self.current.len()));
    }
}

impl Read for StreamReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(out.len());
        out[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn what_is_written_comes_out() {
        runtime().block_on(async {
            let data: Vec<u8> = (0..1_000_003u32).map(|n| n as u8).collect();
            let expected = data.clone();
            let stream = produce(move |out| out.write_all(&data).map_err(|e| Error::io("", e)));
            let back: Vec<u8> = stream
                .try_fold(Vec::new(), |mut all, chunk| async move {
                    all.extend_from_slice(&chunk);
                    Ok(all)
                })
                .await
                .unwrap();
            assert!(back == expected);
        });
    }

    #[test]
    fn a_failing_producer_ends_with_an_error() {
        runtime().block_on(async {
            let stream = produce(|out| {
                out.write_all(b"some").map_err(|e| Error::io("", e))?;
                Err(Error::Usage("broken".to_owned()))
            });
            let items: Vec<_> = stream.collect().await;
            assert!(
                items
                    .last()
                    .unwrap()
                    .as_ref()
                    .is_err_and(|error| error.to_string() == "broken")
            );
        });
    }

    #[test]
    fn a_broken_stream_is_never_a_clean_end() {
        runtime().block_on(async {
            let items: Vec<io::Result<Bytes>> = vec![
                Ok(Bytes::from_static(b"abc")),
                Err(io::Error::other("client went away")),
            ];
            let outcome = consume(futures::stream::iter(items), |reader| {
                let mut all = Vec::new();
                reader
                    .read_to_end(&mut all)
                    .map_err(|_| Error::Archive("ends early".to_owned()))?;
                Ok(all)
            })
            .await;
            let error = outcome.unwrap_err();
            assert!(
                matches!(&error, Error::Io { source, .. } if source.to_string() == "client went away"),
                "{error:?}"
            );
        });
    }

    #[test]
    fn a_dropped_transfer_fails_the_reader() {
        let (tell, told) = std::sync::mpsc::channel();
        runtime().block_on(async {
            let endless =
                futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"x"))]).chain(futures::stream::pending());
            let transfer = consume(endless, move |reader| {
                let outcome = reader.read_to_end(&mut Vec::new()).map(|_| ());
                tell.send(outcome.is_err()).unwrap();
                Ok(())
            });
            let _ = tokio::time::timeout(std::time::Duration::from_millis(20), transfer).await;
        });
        assert!(told.recv_timeout(std::time::Duration::from_secs(5)).unwrap());
    }

    #[test]
    fn a_transformation_that_nobody_reads_lets_go_of_its_source() {
        struct Tell(std::sync::mpsc::Sender<()>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (tell, told) = std::sync::mpsc::channel();
        let runtime = runtime();
        runtime.block_on(async {
            let tell = Tell(tell);
            let silent = futures::stream::poll_fn(move |_| {
                let _held = &tell;
                std::task::Poll::<Option<io::Result<Bytes>>>::Pending
            });
            drop(transform(silent, |reader, out| {
                io::copy(reader, out)
                    .map(drop)
                    .map_err(|source| Error::io("copy", source))
            }));
        });
        told.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn work_may_stop_reading_early() {
        runtime().block_on(async {
            let endless = futures::stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from(vec![0u8; 1000])));
            let outcome = consume(endless.boxed(), |reader| {
                let mut first = [0; 10];
                reader.read_exact(&mut first).map_err(|e| Error::io("", e))?;
                Ok(first)
            });
            assert_eq!(outcome.await.unwrap(), [0; 10]);
        });
    }
}
