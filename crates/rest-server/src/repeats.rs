//! Requests that arrive twice.
//!
//! Clients of 1.7 send every request that failed a second time after one second, also one whose answer was lost on the
//! way although it had its effect. The second of two such creates must not create again. Nothing in the request says
//! that it is a repetition: two `cl run` of the same command are two equal requests and must make two bundles. What
//! tells them apart is the first answer: whoever got it has no reason to repeat, so only an answer that could not be
//! handed to its connection is kept, and given to the next equal request.
//!
//! The rule for creates ([`Keep::Undelivered`]): while an equal request (same credentials, method, target and body) is
//! at work, the second waits. If the first succeeded and its connection broke before the answer was written, the second
//! gets that answer. In all other cases (delivered, or failed) it runs by itself. A client that broke off and repeats
//! within [`KEPT`] on purpose gets what its first try made, which it never saw.
//!
//! For fetches of URLs ([`Keep::Always`]) the second joins the first whatever happens: the bundle is one and the same,
//! and the answer of the repetition would only be that it is final already.
//!
//! The memory is that of this process and bounded; clients that need certainty name the uuids of what they create.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use crate::error::{ApiError, ErrorText};
use crate::pipeline::ParsedJson;
use crate::state::AppState;

/// An answer that is kept is given to repetitions for this long.
pub const KEPT: Duration = Duration::from_secs(15);
/// Most answers that are kept, and their most bytes together.
const MOST_ANSWERS: usize = 1024;
const MOST_BYTES: usize = 64 << 20;

/// Names equal requests.
pub type Key = [u8; 32];

/// Which answers repetitions get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Successes whose connection broke before they were written.
    Undelivered,
    /// Every answer.
    Always,
}

/// The answers of equal requests. Cheap to clone.
#[derive(Clone, Default)]
pub struct Repeats(Arc<Mutex<HashMap<Key, Entry>>>);

struct Entry {
    /// Tells entries of one key apart.
    ticket: Arc<()>,
    stage: Stage,
    /// The client of a running request has gone away.
    abandoned: bool,
    changed: watch::Sender<()>,
}

enum Stage {
    /// The work is going on, or its answer is on its way to the connection.
    Busy(Option<Answer>),
    /// Waits for a repetition.
    Kept(Answer, Instant),
}

/// An answer that can be given more than once.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    error: Option<ErrorText>,
    body: Bytes,
}

/// What a new request has to do.
enum Turn {
    First(Ticket),
    Wait(watch::Receiver<()>),
    Again(Ticket, Answer),
}

/// Held by the request, then by the body of its answer. Dropped before that is written: the answer was not delivered.
struct Ticket {
    repeats: Repeats,
    key: Key,
    id: Arc<()>,
    keep: Keep,
    delivered: bool,
}

/// The layer for creates; other requests pass through. It stands behind the parser of JSON bodies.
pub async fn guard_creates(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Some(key) = key_of_create(&request) else {
        return next.run(request).await;
    };
    once(&state, key, Keep::Undelivered, next.run(request)).await
}

/// Runs `work` unless an equal request has done it; see the head of this file. The work goes on when the client hangs
/// up.
pub async fn once<F>(state: &AppState, key: Key, keep: Keep, work: F) -> Response
where
    F: Future<Output = Response> + Send + 'static,
{
    let ticket = loop {
        match state.repeats.enter(key, keep) {
            Turn::First(ticket) => break ticket,
            Turn::Again(ticket, answer) => {
                tracing::info!("a repeated request gets the answer of the first");
                return answer.into_response(ticket);
            }
            Turn::Wait(mut changed) => {
                let _ = changed.changed().await;
            }
        }
    };
    let (repeats, id) = (state.repeats.clone(), ticket.id.clone());
    let work = async move {
        let finished = Finish { repeats, key, id, keep };
        let answer = Answer::of(work.await).await?;
        finished.with(answer.clone());
        Ok::<_, ApiError>(answer)
    };
    match state.tasks.spawn(work.in_current_span()).await {
        Ok(Ok(answer)) => answer.into_response(ticket),
        Ok(Err(error)) => error.into_response(),
        Err(error) => ApiError::internal(format!("a handler broke off: {error}")).into_response(),
    }
}

/// The name of a request, for all that is the same in a repetition.
pub fn key(headers: &HeaderMap, parts: &[&[u8]]) -> Option<Key> {
    Some(hash_of(headers, parts)?.finalize().into())
}

fn hash_of(headers: &HeaderMap, parts: &[&[u8]]) -> Option<Sha256> {
    let mut hash = Sha256::new();
    let credentials = headers
        .get(header::AUTHORIZATION)
        .or_else(|| headers.get(header::COOKIE))?
        .as_bytes();
    for part in std::iter::once(&credentials).chain(parts) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Some(hash)
}

/// Takes in what is written.
struct Hashing(Sha256);

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The key of a POST that creates or sends something, else none.
fn key_of_create(request: &Request) -> Option<Key> {
    if request.method() != Method::POST {
        return None;
    }
    let path = request.uri().path();
    let creates = matches!(
        path,
        "/bundles"
            | "/worksheets"
            | "/worksheet-items"
            | "/groups"
            | "/bundle_stores"
            | "/bundle-actions"
            | "/cli/command"
            | "/help/"
            | "/help"
    ) || (path.starts_with("/worksheets/") && path.ends_with("/add-items"));
    let ParsedJson(body) = request.extensions().get::<ParsedJson>().filter(|_| creates)?;
    let target = request.uri().path_and_query()?.as_str();
    let mut hash = Hashing(hash_of(request.headers(), &[b"POST", target.as_bytes()])?);
    serde_json::to_writer(&mut hash, body).ok()?;
    Some(hash.0.finalize().into())
}

impl Repeats {
    fn enter(&self, key: Key, keep: Keep) -> Turn {
        let mut entries = self.lock();
        forget_old(&mut entries);
        let ticket = |id: &Arc<()>| Ticket {
            repeats: self.clone(),
            key,
            id: id.clone(),
            keep,
            delivered: false,
        };
        match entries.get_mut(&key) {
            None => {
                let id = Arc::new(());
                let turn = Turn::First(ticket(&id));
                let entry = Entry {
                    ticket: id,
                    stage: Stage::Busy(None),
                    abandoned: false,
                    changed: watch::Sender::new(()),
                };
                entries.insert(key, entry);
                turn
            }
            Some(entry) => match &entry.stage {
                Stage::Busy(_) => Turn::Wait(entry.changed.subscribe()),
                Stage::Kept(answer, _) => {
                    let answer = answer.clone();
                    let ticket = ticket(&entry.ticket);
                    if keep == Keep::Undelivered {
                        entry.stage = Stage::Busy(Some(answer.clone()));
                        entry.abandoned = false;
                    }
                    Turn::Again(ticket, answer)
                }
            },
        }
    }

    /// The work has ended: with an answer, or without one.
    fn finish(&self, key: Key, id: &Arc<()>, keep: Keep, answer: Option<Answer>) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&key).filter(|entry| Arc::ptr_eq(&entry.ticket, id)) else {
            return;
        };
        match answer {
            Some(answer) if keep == Keep::Always => entry.stage = Stage::Kept(answer, Instant::now() + KEPT),
            Some(answer) if answer.status.is_success() && entry.abandoned => {
                entry.stage = Stage::Kept(answer, Instant::now() + KEPT);
            }
            Some(answer) if answer.status.is_success() => {
                entry.stage = Stage::Busy(Some(answer));
                return;
            }
            _ => {
                entries.remove(&key);
                return;
            }
        }
        entry.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops kept answers that are too old, or too many.
fn forget_old(entries: &mut HashMap<Key, Entry>) {
    let now = Instant::now();
    entries.retain(|_, entry| !matches!(&entry.stage, Stage::Kept(_, until) if *until <= now));
    loop {
        let kept = || {
            entries.iter().filter_map(|(key, entry)| match &entry.stage {
                Stage::Kept(answer, until) => Some((*key, answer.body.len(), *until)),
                Stage::Busy(_) => None,
            })
        };
        if kept().count() <= MOST_ANSWERS && kept().map(|(_, size, _)| size).sum::<usize>() <= MOST_BYTES {
            return;
        }
        let Some((oldest, ..)) = kept().min_by_key(|(.., until)| *until) else {
            return;
        };
        entries.remove(&oldest);
    }
}

/// Ends the entry of a request even when its handler panics.
struct Finish {
    repeats: Repeats,
    key: Key,
    id: Arc<()>,
    keep: Keep,
}

impl Finish {
    fn with(self, answer: Answer) {
        self.repeats.finish(self.key, &self.id, self.keep, Some(answer));
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        // After `with` there is nothing left to end: a busy entry has its answer then.
        let mut entries = self.repeats.lock();
        let unfinished = entries
            .get(&self.key)
            .is_some_and(|entry| Arc::ptr_eq(&entry.ticket, &self.id) && matches!(entry.stage, Stage::Busy(None)));
        if unfinished {
            entries.remove(&self.key);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.keep == Keep::Always {
            return;
        }
        let mut entries = self.repeats.lock();
        let Some(entry) = entries
            .get_mut(&self.key)
            .filter(|entry| Arc::ptr_eq(&entry.ticket, &self.id))
        else {
            return;
        };
        match &mut entry.stage {
            _ if self.delivered => {
                entries.remove(&self.key);
            }
            Stage::Busy(None) => entry.abandoned = true,
            Stage::Busy(Some(answer)) => {
                entry.stage = Stage::Kept(answer.clone(), Instant::now() + KEPT);
                entry.changed.send_replace(());
            }
            Stage::Kept(..) => {}
        }
    }
}

impl Answer {
    async fn of(response: Response) -> Result<Self, ApiError> {
        let (mut parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| ApiError::internal(format!("an answer broke off: {error}")))?;
        Ok(Self {
            status: parts.status,
            headers: parts.headers,
            error: parts.extensions.remove::<ErrorText>(),
            body: body.to_bytes(),
        })
    }

    fn into_response(self, ticket: Ticket) -> Response {
        let mut body = Delivered {
            bytes: Some(self.body).filter(|bytes| !bytes.is_empty()),
            ticket: Some(ticket),
        };
        if body.bytes.is_none() {
            // Nobody will ask an empty body for its end.
            body.done();
        }
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Some(error) = self.error {
            response.extensions_mut().insert(error);
        }
        response
    }
}

/// A body that notes whether the connection has taken it.
struct Delivered {
    bytes: Option<Bytes>,
    ticket: Option<Ticket>,
}

impl Delivered {
    fn done(&mut self) {
        if let Some(mut ticket) = self.ticket.take() {
            ticket.delivered = true;
        }
    }
}

impl hyper::body::Body for Delivered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let bytes = self.bytes.take();
        self.done();
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}
