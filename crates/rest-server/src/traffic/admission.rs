//! How many requests are worked on at the same time. What waits on purpose (check-ins) and what takes long by nature
//! (transfers) has bounds of its own, so that it cannot use up the places of ordinary requests, nor they its.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::limits::Limits;
use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::error::ApiError;

/// A body up to this size is read without asking for room.
const FREE_BODY: usize = 64 << 10;
/// Bodies that are worked on at the same time may have this many bytes together: parsed, turned into rows and answered, a
/// body takes up to forty times its size. A larger body is alone.
const PARSED_TOGETHER: usize = 2 << 20;
/// So long a body waits for those before it. What waits is the text alone, and that has its bound.
const PARSE_QUEUE: Duration = Duration::from_secs(300);
const KIB: usize = 1 << 10;

/// What a request asks of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A probe: always let in.
    Probe,
    /// Answered as fast as possible.
    Ordinary,
    /// Moves contents, for as long as its client takes.
    Stream,
    /// Waits for messages.
    CheckIn,
}

impl Class {
    /// The class of a route, by its template.
    pub fn of(route: &str) -> Self {
        let has = |part: &str| route.contains(part);
        if has("/health") || route == "/readyz" {
            Self::Probe
        } else if has("/contents/blob") || has("/reply_data/") || has("/netcat/") || has("/netcurl/") {
            Self::Stream
        } else if route.ends_with("/checkin") {
            Self::CheckIn
        } else {
            Self::Ordinary
        }
    }

    /// As a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Ordinary => "ordinary",
            Self::Stream => "stream",
            Self::CheckIn => "checkin",
        }
    }
}

/// A place among the requests of a class, free again when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Permit(#[allow(dead_code, reason = "held, not read")] Option<Arc<OwnedSemaphorePermit>>);

/// The places of all classes, and the room for bodies.
#[derive(Debug)]
pub struct Admission {
    ordinary: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    checkins: Arc<Semaphore>,
    queue: Duration,
    held: Arc<AtomicUsize>,
    most_held: usize,
    parsing: Arc<Semaphore>,
}

impl Admission {
    pub fn new(limits: &Limits) -> Self {
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self {
            ordinary: places(limits.max_requests),
            streams: places(limits.max_streams),
            checkins: places(limits.max_checkins),
            queue: Duration::from_secs_f64(limits.queue_seconds),
            held: Arc::default(),
            most_held: limits.max_json_bytes,
            parsing: places(PARSED_TOGETHER / KIB),
        }
    }

    /// A place for a request, waiting for it a short while; else 503.
    pub async fn enter(&self, class: Class) -> Result<Permit, ApiError> {
        let places = match class {
            Class::Probe => return Ok(Permit(None)),
            Class::Ordinary => &self.ordinary,
            Class::Stream => &self.streams,
            Class::CheckIn => &self.checkins,
        };
        match Arc::clone(places).try_acquire_owned() {
            Ok(permit) => return Ok(Permit(Some(Arc::new(permit)))),
            Err(TryAcquireError::Closed) => return Err(busy()),
            Err(TryAcquireError::NoPermits) => {}
        }
        match tokio::time::timeout(self.queue, Arc::clone(places).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Permit(Some(Arc::new(permit)))),
            _ => Err(busy()),
        }
    }

    /// Room for a body that is being collected.
    pub fn room(&self) -> Room {
        Room {
            held: Arc::clone(&self.held),
            most: self.most_held,
            size: 0,
        }
    }

    /// Waits until a body of this size may be parsed. Dropped when the request is answered.
    pub async fn parse(&self, size: usize) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
        if size <= FREE_BODY {
            return Ok(None);
        }
        let kilobytes = size.min(PARSED_TOGETHER).div_ceil(KIB) as u32;
        match tokio::time::timeout(
            self.queue.max(PARSE_QUEUE),
            Arc::clone(&self.parsing).acquire_many_owned(kilobytes),
        )
        .await
        {
            Ok(Ok(permit)) => Ok(Some(permit)),
            _ => Err(busy()),
        }
    }
}

/// What one collected body holds of the common room.
#[derive(Debug)]
pub struct Room {
    held: Arc<AtomicUsize>,
    most: usize,
    size: usize,
}

impl Room {
    /// The body has grown to `size` bytes.
    pub fn grow(&mut self, size: usize) -> Result<(), ApiError> {
        let wanted = size.saturating_sub(FREE_BODY);
        let more = wanted.saturating_sub(self.size);
        if more == 0 {
            return Ok(());
        }
        self.size += more;
        if self.held.fetch_add(more, Ordering::Relaxed) + more > self.most {
            return Err(busy());
        }
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.fetch_sub(self.size, Ordering::Relaxed);
    }
}

fn busy() -> ApiError {
    ApiError::Status(
        StatusCode::SERVICE_UNAVAILABLE,
        "The server is busy. Try again in a moment.".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_fall_into_classes() {
        for (route, class) in [
            ("/healthz", Class::Probe),
            ("/readyz", Class::Probe),
            ("/rest/health/ready", Class::Probe),
            ("/rest/bundles/{uuid}", Class::Ordinary),
            ("/rest/bundles/{uuid}/contents/info/{*path}", Class::Ordinary),
            ("/rest/bundles/{uuid}/contents/blob/{*path}", Class::Stream),
            ("/rest/bundles/{uuid}/netcurl/{port}/{*path}", Class::Stream),
            ("/rest/workers/{worker_id}/reply_data/{socket_id}", Class::Stream),
            ("/rest/workers/{worker_id}/checkin", Class::CheckIn),
            ("unmatched", Class::Ordinary),
        ] {
            assert_eq!(Class::of(route), class, "{route}");
        }
    }

    #[tokio::test]
    async fn classes_do_not_take_places_from_each_other() {
        let limits = Limits {
            max_requests: 1,
            max_checkins: 1,
            queue_seconds: 0.0,
            ..Limits::default()
        };
        let admission = Admission::new(&limits);
        let ordinary = admission.enter(Class::Ordinary).await.unwrap();
        assert_eq!(
            admission.enter(Class::Ordinary).await.unwrap_err().status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert!(admission.enter(Class::CheckIn).await.is_ok());
        assert!(admission.enter(Class::Probe).await.is_ok());
        drop(ordinary);
        assert!(admission.enter(Class::Ordinary).await.is_ok());
    }

    #[tokio::test]
    async fn large_bodies_wait_for_those_before_them() {
        let admission = Arc::new(Admission::new(&Limits::default()));
        assert!(
            admission.parse(FREE_BODY).await.unwrap().is_none(),
            "small bodies do not wait"
        );
        let first = admission.parse(8 << 20).await.unwrap();
        let second = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.parse(PARSED_TOGETHER / 2).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap().is_ok());
    }

    #[test]
    fn bodies_share_their_room_and_give_it_back() {
        let limits = Limits {
            max_json_bytes: 100 << 10,
            ..Limits::default()
        };
        let admission = Admission::new(&limits);
        let mut first = admission.room();
        assert!(first.grow(FREE_BODY).is_ok());
        assert!(first.grow(FREE_BODY + (90 << 10)).is_ok());
        let mut second = admission.room();
        assert!(second.grow(FREE_BODY).is_ok(), "small bodies need no room");
        assert!(second.grow(FREE_BODY + (20 << 10)).is_err());
        drop((first, second));
        assert!(admission.room().grow(FREE_BODY + (90 << 10)).is_ok());
    }
}
