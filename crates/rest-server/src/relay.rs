//! Asking the worker of a running bundle: queue a message, wake the worker, wait for its reply.

use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::run::{ReadArgs, Reply as JsonReply, WorkerMessage};
use domain::target_info::TargetInfo;
use domain::{Bundle, ErrorKind, Uuid};
use futures::StreamExt;
use http::StatusCode;
use model::WorkerKey;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::{ApiError, ApiResult};
use crate::replies::{Reply, ReplyChannel};
use crate::state::AppState;

/// How long a worker may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a worker gave no answer.
pub enum Refusal {
    /// The run has ended meanwhile; its contents are in the store by now or soon.
    NoLongerRunning,
    /// Nobody answered in time, or no worker has the bundle.
    Unreachable,
    /// The worker said no, or something broke on the way.
    Failed(ApiError),
}

impl Refusal {
    /// The error for a client that wanted to look at a running bundle.
    pub fn into_error(self, bundle: &Bundle) -> ApiError {
        match self {
            Self::Failed(error) => error,
            Self::NoLongerRunning | Self::Unreachable => ApiError::not_found(format!(
                "Unable to reach worker of running bundle {} (state: {})",
                bundle.uuid, bundle.state
            )),
        }
    }
}

impl Refusal {
    /// The error for a client that talks to a program in the run. What broke there is told with `status`; it is no
    /// failure of this server.
    pub fn told(self, bundle: &Bundle, status: StatusCode) -> ApiError {
        match self {
            Self::Failed(ApiError::Failure(error)) if error.kind == ErrorKind::Internal => {
                ApiError::Status(status, error.message)
            }
            other => other.into_error(bundle),
        }
    }
}

/// What is sent to a port of a run.
pub enum Outgoing {
    /// Text, which every worker takes.
    Text(String),
    /// Other bytes, which workers of 1.7 do not take.
    Bytes(Vec<u8>),
}

impl Outgoing {
    /// Text if it is one.
    pub fn of(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }
}

impl From<domain::Error> for Refusal {
    fn from(error: domain::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The info tree of a path in a running bundle.
pub async fn target_info(state: &AppState, bundle: &Bundle, path: &str, depth: i64) -> Result<TargetInfo, Refusal> {
    let (reply, _channel) = ask(state, bundle.uuid, |uuid, socket_id| WorkerMessage::Read {
        uuid,
        socket_id,
        path: path.to_owned(),
        read_args: ReadArgs::GetTargetInfo { depth },
    })
    .await?;
    match reply {
        Reply::Json(value) => {
            let reply = understand(value)?;
            reply
                .target_info
                .ok_or_else(|| Refusal::Failed(ApiError::internal("the worker's answer has no target_info")))
        }
        Reply::Data(..) => Err(Refusal::Failed(ApiError::internal(
            "the worker answered an info request with data",
        ))),
    }
}

/// Bytes from a running bundle. Those of files are gzip, those of directories a tar.gz.
pub async fn read(state: &AppState, bundle: &Bundle, path: &str, read_args: ReadArgs) -> Result<Body, Refusal> {
    data(state, bundle.uuid, |uuid, socket_id| WorkerMessage::Read {
        uuid,
        socket_id,
        path: path.to_owned(),
        read_args,
    })
    .await
}

/// Sends a message to a TCP port of the run; the body is what comes back, unencoded.
pub async fn netcat(state: &AppState, bundle: &Bundle, port: u16, message: Outgoing) -> Result<Body, Refusal> {
    let (message, message_base64) = match message {
        Outgoing::Text(text) => (text, None),
        Outgoing::Bytes(bytes) => {
            let worker = state.model.worker_of_run(bundle.uuid).await?;
            if !worker.is_some_and(|worker| state.takes_bytes(&worker)) {
                return Err(Refusal::Failed(ApiError::usage(
                    "The worker of this run takes only text (UTF-8). Send text, or run on a worker of version 2.",
                )));
            }
            (String::new(), Some(STANDARD.encode(bytes)))
        }
    };
    data(state, bundle.uuid, |uuid, socket_id| WorkerMessage::Netcat {
        uuid,
        socket_id,
        port,
        message,
        message_base64,
    })
    .await
}

async fn data(state: &AppState, uuid: Uuid, message: impl FnOnce(Uuid, i64) -> WorkerMessage) -> Result<Body, Refusal> {
    let (reply, channel) = ask(state, uuid, message).await?;
    match reply {
        // An old worker answers an empty netcat with an empty object.
        Reply::Json(value) => understand(value).map(|_| Body::empty()),
        Reply::Data(header, chunks) => {
            understand(header)?;
            // The channel lives as long as the stream, so that its socket stays allocated until the last byte.
            let stream = ReceiverStream::new(chunks).map(move |chunk: std::io::Result<Bytes>| {
                let _open = &channel;
                chunk
            });
            Ok(Body::from_stream(stream))
        }
    }
}

fn understand(value: serde_json::Value) -> Result<JsonReply, Refusal> {
    let reply: JsonReply = serde_json::from_value(value).map_err(|error| {
        Refusal::Failed(ApiError::internal(format!(
            "the worker's answer makes no sense: {error}"
        )))
    })?;
    if reply.is_no_longer_running() {
        return Err(Refusal::NoLongerRunning);
    }
    match reply.failure() {
        Some(error) => Err(Refusal::Failed(error.into())),
        None => Ok(reply),
    }
}

async fn ask(
    state: &AppState,
    uuid: Uuid,
    message: impl FnOnce(Uuid, i64) -> WorkerMessage,
) -> Result<(Reply, Socket), Refusal> {
    let Some(worker) = state.model.worker_of_run(uuid).await? else {
        return Err(Refusal::Unreachable);
    };
    let id = state.model.allocate_socket(&worker).await?;
    let mut socket = Socket {
        state: state.clone(),
        channel: state.replies.open(id, worker.clone()),
    };
    send(state, &worker, &message(uuid, state.peers.channel_id(id)))
        .await
        .map_err(Refusal::Failed)?;
    match socket.channel.answer(PATIENCE).await {
        Some(reply) => Ok((reply, socket)),
        None => Err(Refusal::Unreachable),
    }
}

/// Puts a message into the worker's outbox, where it stays as long as somebody waits for the answer, and wakes the worker.
async fn send(state: &AppState, worker: &WorkerKey, message: &WorkerMessage) -> ApiResult<()> {
    let now = state.now();
    let payload = serde_json::to_value(message).map_err(|error| ApiError::internal(error.to_string()))?;
    let expires = now + PATIENCE.as_secs() as i64;
    state
        .model
        .queue_message(
            worker,
            message.uuid(),
            message.type_name(),
            &payload,
            now,
            Some(expires),
        )
        .await?;
    state
        .hub
        .publish(hub::Event::message_queued(&worker.user_id, &worker.worker_id));
    Ok(())
}

/// A reply channel whose socket id goes back to the database at the end.
struct Socket {
    state: AppState,
    channel: ReplyChannel,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let (state, id) = (self.state.clone(), self.channel.id());
        tokio::spawn(async move {
            if let Err(error) = state.model.release_socket(id).await {
                tracing::warn!(%error, id, "cannot free a reply socket");
            }
        });
    }
}
