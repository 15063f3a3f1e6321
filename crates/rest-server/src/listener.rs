//! The accept loop: HTTP/1.1 with upgrades, a time limit for request heads, and a graceful end.
//!
//! It is public because the local mode serves this router and others on the same port.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Uri};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// How the accept loop treats its connections.
#[derive(Clone, Copy, Debug)]
pub struct ListenerOptions {
    /// The head of a request must be complete after this time; also the longest idle time between two requests.
    pub header_timeout: Duration,
    /// Running requests get this long after a shutdown was asked for.
    pub drain: Duration,
    /// More connections than this wait in the kernel's queue.
    pub max_connections: usize,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            max_connections: 4096,
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
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(options.max_connections));
    let abort = CancellationToken::new();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place.map_err(io::Error::other)?,
            () = shutdown.cancelled() => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = shutdown.cancelled() => break,
        };
        let abort = abort.clone();
        let serving = serve_connection(
            stream,
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
            drop(place);
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

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    shutdown: CancellationToken,
    aborted: Aborted,
    options: ListenerOptions,
) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (router, aborted) = (router.clone(), aborted.clone());
        async move {
            let mut request = collapse_leading_slashes(request.map(Body::new));
            request.extensions_mut().insert(aborted);
            Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {}))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .serve_connection(TokioIo::new(stream), service)
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
