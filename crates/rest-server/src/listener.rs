//! The accept loop: HTTP/1.1 (and 1.0) with upgrades, limits on connections, heads and waiting, and a graceful end.
//!
//! It is public because the local mode serves this router and others on the same port.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use domain::limits::Limits;
use http::{Request, Uri};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::traffic::{Received, ReceivedBody, Stalling, Traffic};

/// How the accept loop treats its connections.
#[derive(Clone, Copy, Debug)]
pub struct ListenerOptions {
    /// The head of a request must be complete after this time; also the longest idle time between two requests.
    pub header_timeout: Duration,
    /// Running requests get this long after a shutdown was asked for.
    pub drain: Duration,
    /// More connections than this wait in the kernel's queue.
    pub max_connections: usize,
    /// See [`Limits`].
    pub upload_stall: Duration,
    /// See [`Limits`].
    pub download_stall: Duration,
    /// See [`Limits`].
    pub max_head_bytes: usize,
    /// See [`Limits`].
    pub max_header_fields: usize,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

impl From<&Limits> for ListenerOptions {
    fn from(limits: &Limits) -> Self {
        Self {
            header_timeout: Duration::from_secs_f64(limits.head_seconds),
            drain: Duration::from_secs(30),
            max_connections: limits.max_connections.min(Semaphore::MAX_PERMITS),
            upload_stall: Duration::from_secs_f64(limits.upload_stall_seconds),
            download_stall: Duration::from_secs_f64(limits.download_stall_seconds),
            max_head_bytes: limits.max_head_bytes,
            max_header_fields: limits.max_header_fields,
        }
    }
}

/// Serves `router` on `listener` until `shutdown` is cancelled and the running requests have ended.
///
/// Leading double slashes in request paths are collapsed, because workers that were given a server address with a
/// trailing slash ask for `//rest/...`.
pub async fn serve_router(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    options: ListenerOptions,
) -> io::Result<()> {
    let limits = Limits {
        max_connections_per_address: 0,
        ..Limits::default()
    };
    let traffic = Arc::new(Traffic::new(limits));
    serve_counted(listener, router, shutdown, options, &traffic).await
}

/// As [`serve_router`], with the connections counted in `traffic` and bounded by its limits.
pub async fn serve_counted(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    options: ListenerOptions,
    traffic: &Traffic,
) -> io::Result<()> {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(options.max_connections));
    let abort = CancellationToken::new();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place.map_err(io::Error::other)?,
            () = shutdown.cancelled() => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = shutdown.cancelled() => break,
        };
        let Some(counted) = traffic.connections.enter(peer.ip()) else {
            refuse(&stream);
            continue;
        };
        let abort = abort.clone();
        let serving = serve_connection(
            stream,
            peer,
            router.clone(),
            shutdown.clone(),
            Aborted(abort.clone()),
            options,
        );
        connections.spawn(async move {
            tokio::select! {
                () = serving => {}
                () = abort.cancelled() => {}
            }
            drop((place, counted));
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(options.drain, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "closing connections that are still busy");
        abort.cancel();
        connections.wait().await;
    }
    Ok(())
}

/// Rides on every request: cancelled before its connection is dropped by force. A body that ends after that was cut off,
/// although it looks complete.
#[derive(Clone, Debug)]
pub(crate) struct Aborted(pub(crate) CancellationToken);

/// Says why, as far as the socket takes it without waiting.
fn refuse(stream: &TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Length: 39\r\nConnection: close\r\n\r\nToo many connections from this address.";
    let _ = stream.try_write(ANSWER);
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
    aborted: Aborted,
    options: ListenerOptions,
) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (router, aborted) = (router.clone(), aborted.clone());
        async move {
            let mut request = collapse_leading_slashes(watched(request, options.upload_stall));
            request.extensions_mut().insert(aborted);
            request.extensions_mut().insert(ConnectInfo(peer));
            Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {}))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_headers(options.max_header_fields)
        .max_buf_size(options.max_head_bytes.max(8 << 10))
        .serve_connection(TokioIo::new(Stalling::new(stream, options.download_stall)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended early");
    }
}

/// The request with its body counted, and given up when it stalls.
fn watched(request: Request<Incoming>, patience: Duration) -> Request<Body> {
    if request.body().is_end_stream() {
        return request.map(|_| Body::empty());
    }
    let received = Received::default();
    let mut request = request.map(|body| Body::new(ReceivedBody::new(body, received.clone(), patience)));
    request.extensions_mut().insert(received);
    request
}

fn collapse_leading_slashes(mut request: Request<Body>) -> Request<Body> {
    if request.uri().path().starts_with("//") {
        let path = format!("/{}", request.uri().path().trim_start_matches('/'));
        let target = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        if let Ok(uri) = target.parse::<Uri>() {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_double_slashes_are_collapsed_and_the_query_stays() {
        for (given, expected) in [
            ("//rest/user?x=1", "/rest/user?x=1"),
            ("/rest/user", "/rest/user"),
            ("///a", "/a"),
        ] {
            let request = Request::builder().uri(given).body(Body::empty()).unwrap();
            assert_eq!(collapse_leading_slashes(request).uri().to_string(), expected);
        }
    }
}
