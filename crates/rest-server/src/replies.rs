//! Reply channels: how the answer of a worker reaches the request that waits for it.
//!
//! A read of a running bundle opens a channel (a socket id from the database), queues a message that names it, and
//! waits here. The worker answers with a request of its own, which is checked to come from the worker that was asked.
//! Data flows through a small bounded queue, so that a worker sends only as fast as the client reads.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use model::WorkerKey;
use tokio::sync::{mpsc, oneshot};

/// Chunks on their way between two requests; each is at most what hyper reads at once.
const QUEUED_CHUNKS: usize = 4;

/// What a worker answers.
#[derive(Debug)]
pub enum Reply {
    /// A JSON object: a target info, or an error.
    Json(serde_json::Value),
    /// A header (normally empty) and the bytes that follow.
    Data(serde_json::Value, mpsc::Receiver<io::Result<Bytes>>),
}

struct Waiting {
    worker: WorkerKey,
    sender: oneshot::Sender<Reply>,
}

/// All channels of this process.
#[derive(Clone, Default)]
pub struct Replies(Arc<Mutex<HashMap<i64, Waiting>>>);

/// Where a request waits for its answer. Dropping it closes the channel.
pub struct ReplyChannel {
    id: i64,
    replies: Replies,
    receiver: oneshot::Receiver<Reply>,
}

impl Replies {
    /// Opens the channel `id` for an answer of this worker.
    pub fn open(&self, id: i64, worker: WorkerKey) -> ReplyChannel {
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(id, Waiting { worker, sender });
        ReplyChannel {
            id,
            replies: self.clone(),
            receiver,
        }
    }

    /// True when somebody waits on `id` for this worker.
    pub fn is_open(&self, id: i64, worker: &WorkerKey) -> bool {
        self.lock().get(&id).is_some_and(|waiting| waiting.worker == *worker)
    }

    /// Hands a JSON answer over. False when nobody waits any more.
    pub fn deliver_json(&self, id: i64, value: serde_json::Value) -> bool {
        self.take(id)
            .is_some_and(|waiting| waiting.sender.send(Reply::Json(value)).is_ok())
    }

    /// Hands a data answer over and moves `body` until its end, or until the reader has gone away.
    pub async fn deliver_data(&self, id: i64, header: serde_json::Value, body: Body) -> io::Result<()> {
        let Some(waiting) = self.take(id) else { return Ok(()) };
        let (sender, receiver) = mpsc::channel(QUEUED_CHUNKS);
        if waiting.sender.send(Reply::Data(header, receiver)).is_err() {
            return Ok(());
        }
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(bytes) => {
                    if sender.send(Ok(bytes)).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    let cut = || {
                        io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            format!("the worker's answer was cut off: {error}"),
                        )
                    };
                    let _ = sender.send(Err(cut())).await;
                    return Err(cut());
                }
            }
        }
        Ok(())
    }

    fn take(&self, id: i64) -> Option<Waiting> {
        self.lock().remove(&id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplyChannel {
    /// The socket id that the worker must name.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Waits for the answer, at most `patience`.
    pub async fn answer(&mut self, patience: Duration) -> Option<Reply> {
        tokio::time::timeout(patience, &mut self.receiver).await.ok()?.ok()
    }
}

impl Drop for ReplyChannel {
    fn drop(&mut self) {
        self.replies.take(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn worker(id: &str) -> WorkerKey {
        WorkerKey {
            user_id: "0".into(),
            worker_id: id.into(),
        }
    }

    #[tokio::test]
    async fn an_answer_reaches_the_one_who_waits_and_nobody_else() {
        let replies = Replies::default();
        let mut channel = replies.open(7, worker("w"));
        assert!(replies.is_open(7, &worker("w")));
        assert!(!replies.is_open(7, &worker("other")));
        assert!(!replies.deliver_json(8, json!({})));
        assert!(replies.deliver_json(7, json!({"x": 1})));
        assert!(matches!(channel.answer(Duration::from_secs(1)).await, Some(Reply::Json(value)) if value["x"] == 1));
        assert!(!replies.is_open(7, &worker("w")));
    }

    #[tokio::test]
    async fn data_flows_to_the_end_and_a_closed_channel_takes_nothing() {
        let replies = Replies::default();
        let mut channel = replies.open(1, worker("w"));
        let sending = tokio::spawn({
            let replies = replies.clone();
            async move { replies.deliver_data(1, json!({}), Body::from("hello")).await }
        });
        let Some(Reply::Data(_, mut chunks)) = channel.answer(Duration::from_secs(1)).await else {
            panic!("no data")
        };
        assert_eq!(chunks.recv().await.unwrap().unwrap(), "hello");
        assert!(chunks.recv().await.is_none());
        sending.await.unwrap().unwrap();

        drop(replies.open(2, worker("w")));
        assert!(!replies.is_open(2, &worker("w")));
    }
}
