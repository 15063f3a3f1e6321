//! Request bodies that are counted, and given up when their client sends next to nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

/// A client must send this many bytes in each period of waiting for it.
const LEAST: u64 = 1024;

/// What has come of a request body. Rides on the request.
#[derive(Clone, Debug, Default)]
pub struct Received(Arc<State>);

#[derive(Debug, Default)]
struct State {
    bytes: AtomicU64,
    stalled: AtomicBool,
}

impl Received {
    /// Bytes until now.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// The body was given up.
    pub fn is_stalled(&self) -> bool {
        self.0.stalled.load(Ordering::Relaxed)
    }
}

/// A body that fails when less than a kilobyte arrives while the server has waited for `patience` in all. Time in which
/// nobody asks for more (a full disk queue, a slow reader behind it) does not count.
#[derive(Debug)]
pub struct ReceivedBody {
    incoming: Incoming,
    received: Received,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
    waited: Duration,
    fresh: u64,
}

impl ReceivedBody {
    pub fn new(incoming: Incoming, received: Received, patience: Duration) -> Self {
        Self {
            incoming,
            received,
            patience,
            timer: None,
            waiting_since: None,
            waited: Duration::ZERO,
            fresh: 0,
        }
    }

    fn arrived(&mut self, bytes: u64) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        self.received.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.fresh += bytes;
        if self.fresh >= LEAST {
            self.fresh = 0;
            self.waited = Duration::ZERO;
        }
    }

    /// Ready when the client has had its time.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = if self.waiting_since.is_none() {
            let now = Instant::now();
            self.waiting_since = Some(now);
            let deadline = now + self.patience.saturating_sub(self.waited);
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(deadline);
            }
            self.timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)))
        } else {
            match &mut self.timer {
                Some(timer) => timer,
                None => return Poll::Pending,
            }
        };
        timer.as_mut().poll(cx)
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.arrived(bytes);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match self.poll_stall(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    self.received.0.stalled.store(true, Ordering::Relaxed);
                    let message = "the client stopped sending the request body";
                    Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, message))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
