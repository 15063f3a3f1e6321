//! One request and its answer, from the first byte to the last: when both are over, one line goes to the access log and the
//! metrics count it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::{Permit, Received, Traffic};
use crate::pipeline::RequestContext;

/// Answers up to this size are handed to the connection at once and counted then.
const AT_ONCE: u64 = 64 << 10;
/// Path parameters that are secrets.
const SECRET: [&str; 3] = ["{key}", "{code}", "{token}"];

/// A request that is being answered. Dropped when it is over.
pub struct Exchange {
    pub traffic: Arc<Traffic>,
    pub context: RequestContext,
    pub method: Method,
    pub path: String,
    pub route: Option<MatchedPath>,
    pub received: Option<Received>,
    pub started: Instant,
    /// Probes are not logged.
    pub is_probe: bool,
    status: StatusCode,
    sent: u64,
    /// The length of the answer, where it is known beforehand.
    expected: Option<u64>,
    is_complete: bool,
    permit: Option<Permit>,
}

impl Exchange {
    pub fn begin(
        traffic: Arc<Traffic>,
        context: RequestContext,
        method: Method,
        path: String,
        route: Option<MatchedPath>,
        received: Option<Received>,
    ) -> Self {
        traffic.metrics.in_flight.inc();
        Self {
            traffic,
            context,
            method,
            path,
            route,
            received,
            started: Instant::now(),
            is_probe: false,
            status: StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            sent: 0,
            expected: None,
            is_complete: false,
            permit: None,
        }
    }

    /// The template of the route.
    pub fn route(&self) -> &str {
        self.route.as_ref().map_or("unmatched", MatchedPath::as_str)
    }

    /// Watches the answer until its last byte is handed over. `permit` is held as long.
    pub fn watch(mut self, response: Response, permit: Option<Permit>) -> Response {
        self.status = response.status();
        let exact = response.body().size_hint().exact();
        if let (Some(size @ 0..=AT_ONCE), None) = (exact, &permit) {
            self.sent = if self.method == Method::HEAD { 0 } else { size };
            self.is_complete = true;
            return response;
        }
        self.permit = permit;
        // The connection asks for no more once it has what was announced.
        let announced = response.headers().get(header::CONTENT_LENGTH);
        self.expected = exact.or_else(|| announced?.to_str().ok()?.parse().ok());
        response.map(|body| Body::new(SentBody { body, exchange: self }))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let received = self.received.as_ref().map_or(0, Received::bytes);
        let route = self.route.as_ref().map_or("unmatched", MatchedPath::as_str);
        let metrics = &self.traffic.metrics;
        metrics.in_flight.dec();
        metrics.count(&self.method, route, self.status, elapsed, received, self.sent);
        if self.is_probe {
            return;
        }
        let hidden = SECRET.iter().any(|parameter| route.contains(parameter));
        tracing::info!(
            request_id = %self.context.request_id,
            user = self.context.user.get().map(String::as_str),
            method = %self.method,
            route,
            path = if hidden { route } else { &self.path },
            status = self.status.as_u16(),
            ms = elapsed.as_secs_f64() * 1000.0,
            bytes_in = received,
            bytes_out = self.sent,
            complete = self.is_complete,
            "request"
        );
    }
}

struct SentBody {
    body: Body,
    exchange: Exchange,
}

impl HttpBody for SentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.exchange.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                let all = self.exchange.expected == Some(self.exchange.sent);
                self.exchange.is_complete = all || self.body.is_end_stream();
            }
            Poll::Ready(None) => self.exchange.is_complete = true,
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
