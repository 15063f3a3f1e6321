//! `/bundles/{uuid}/netcurl/{port}/{path}`: HTTP to a port of a running bundle.
//!
//! The request becomes one message to the port, through the worker, and what comes back until the other side closes is
//! the answer. The program at the port belongs to the owner of the run, and whoever looks is somebody else: nothing that
//! identifies the viewer goes there, and nothing comes back that has a meaning for this site (S10).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use domain::Uuid;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;
use tokio::sync::oneshot;
use tokio_util::io::StreamReader;

use crate::auth::Protected;
use crate::error::{ApiError, ApiResult};
use crate::openapi::{PortPath, WriteFailures};
use crate::path::{PathPort, PathUuid};
use crate::reading;
use crate::relay::{self, Outgoing};
use crate::state::AppState;

/// Most bytes of a request body, because it travels as one message.
const MOST_REQUEST: usize = 2 << 20;
/// Most bytes of an answer.
pub const MOST_ANSWER: usize = 64 << 20;
/// The request body must have arrived, and the answer must begin, in this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Headers of one connection, not of the message (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];
/// What says who the viewer is or how they came here, and what is written anew.
const PRIVATE: [&str; 6] = [
    "authorization",
    "cookie",
    "host",
    "content-length",
    "forwarded",
    "x-real-ip",
];
/// What would act on this site instead of on the page.
const OURS: [&str; 11] = [
    "set-cookie",
    "set-cookie2",
    "clear-site-data",
    "strict-transport-security",
    "public-key-pins",
    "service-worker-allowed",
    "alt-svc",
    "www-authenticate",
    "access-control-allow-credentials",
    "x-request-id",
    "refresh",
];

/// Passes a request on to the run and its answer back, with the answer's own status.
#[utoipa::path(
    method(get, post, put, delete, patch),
    path = "/bundles/{uuid}/netcurl/{port}/{path}",
    tag = "contents",
    summary = "HTTP to a port of a running bundle.",
    params(PortPath, ("path" = String, Path, description = "Path (and query) for the program in the run", example = "index.html")),
    responses(
        (status = 200, description = "The answer of the program in the run, with whatever status it has", content_type = "*/*"),
        (status = 502, description = "The program in the run did not answer with HTTP", body = String, content_type = "text/plain"),
        WriteFailures,
    )
)]
pub async fn curl(
    State(state): State<AppState>,
    Protected(viewer): Protected,
    PathUuid(uuid): PathUuid,
    PathPort(port): PathPort,
    request: Request,
) -> ApiResult {
    let bundle = reading::readable_bundle(&state, &viewer, uuid).await?;
    if bundle.state.is_final() {
        return Err(ApiError::permission("Cannot netcurl bundle, bundle already finalized."));
    }
    let (parts, body) = request.into_parts();
    let target = target(&parts.uri);
    let body = collect(body).await?;
    let message = request_text(&parts.method, &target, &parts.headers, port, &body);
    let reply = relay::netcat(&state, &bundle, port, Outgoing::of(message))
        .await
        .map_err(|refusal| refusal.told(&bundle, StatusCode::BAD_GATEWAY))?;
    let answer = read_answer(parts.method, reply).await.map_err(|reason| {
        let message = format!("Port {port} of the run did not answer with HTTP: {reason}.");
        ApiError::Status(StatusCode::BAD_GATEWAY, message)
    })?;
    Ok(passed_on(answer, uuid, port))
}

/// What the program in the run is asked for: the path behind the port as it was sent, and the query.
fn target(uri: &http::Uri) -> String {
    // "", bundles, uuid, netcurl, port, path
    let path = uri.path().splitn(6, '/').nth(5).unwrap_or_default();
    match uri.query() {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    }
}

async fn collect(body: Body) -> ApiResult<Bytes> {
    match tokio::time::timeout(PATIENCE, Limited::new(body, MOST_REQUEST).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::Status(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Request to large: at most {MOST_REQUEST} bytes can be sent to a run at once."),
        )),
        Ok(Err(_)) => Err(ApiError::usage("The request body was cut off")),
        Err(_) => Err(ApiError::Status(
            StatusCode::REQUEST_TIMEOUT,
            "The request body did not arrive in time".to_owned(),
        )),
    }
}

fn request_text(method: &Method, target: &str, headers: &HeaderMap, port: u16, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost:{port}\r\n").into_bytes();
    let named = connection_headers(headers);
    for (name, value) in headers {
        let name = name.as_str();
        let kept = !HOP_BY_HOP.contains(&name)
            && !PRIVATE.contains(&name)
            && !name.starts_with("x-forwarded-")
            && !named.iter().any(|other| other == name);
        if kept && value.to_str().is_ok() {
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
    }
    // A message that may have a body says how long it is.
    if !body.is_empty() || !matches!(*method, Method::GET | Method::HEAD | Method::DELETE) {
        text.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    // Without this the other side waits for more requests, and the worker for the end.
    text.extend_from_slice(b"connection: close\r\n\r\n");
    text.extend_from_slice(body);
    text
}

/// The headers that `Connection` declares to be of this connection only. Lower case.
fn connection_headers(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

/// Understands what came back as the answer to `method`.
async fn read_answer(method: Method, reply: Body) -> Result<Response, String> {
    let (asked, begin) = oneshot::channel();
    // The parser is that of an HTTP client, whose own copy of the request goes nowhere; the answer must not come first.
    let chunks = futures::stream::once(async move {
        let _ = begin.await;
        Ok::<_, io::Error>(Bytes::new())
    })
    .chain(reply.into_data_stream().map(|chunk| chunk.map_err(io::Error::other)));
    let incoming = StreamReader::new(Box::pin(chunks));
    let io = tokio::io::join(incoming, Nowhere(Some(asked)));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the answer of a run broke off");
        }
    });
    let request = http::Request::builder()
        .method(method)
        .uri("/")
        .header(header::HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request))
        .await
        .map_err(|_| "its answer did not begin in time".to_owned())?
        .map_err(|error| error.to_string())?;
    Ok(answer.map(|body| Body::new(Limited::new(body, MOST_ANSWER))))
}

/// Takes everything, and says when it has begun.
struct Nowhere(Option<oneshot::Sender<()>>);

impl AsyncWrite for Nowhere {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(begun) = self.0.take() {
            let _ = begun.send(());
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The answer as the viewer may have it.
fn passed_on(answer: Response, uuid: Uuid, port: u16) -> Response {
    let (mut parts, body) = answer.into_parts();
    let named = connection_headers(&parts.headers);
    for name in HOP_BY_HOP
        .iter()
        .chain(&OURS)
        .copied()
        .chain(named.iter().map(String::as_str))
    {
        while parts.headers.remove(name).is_some() {}
    }
    if let Some(here) = parts
        .headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|location| location_here(location, uuid, port))
        .and_then(|location| HeaderValue::try_from(location).ok())
    {
        parts.headers.insert(header::LOCATION, here);
    }
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/octet-stream"));
    response
}

/// A redirect to another page of the same program stays within this route.
fn location_here(location: &str, uuid: Uuid, port: u16) -> Option<String> {
    let path = location
        .strip_prefix(&format!("http://localhost:{port}"))
        .unwrap_or(location);
    let is_path = path.starts_with('/') && !path.starts_with("//");
    is_path.then(|| format!("/rest/bundles/{uuid}/netcurl/{port}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn requests_are_forwarded_without_the_viewers_secrets() {
        let sent = headers(&[
            ("host", "lab:2900"),
            ("authorization", "Bearer secret"),
            ("cookie", "codalab_session=secret"),
            ("x-forwarded-for", "10.0.0.1"),
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("accept", "text/html"),
        ]);
        let text = request_text(&Method::POST, "/a%20b?x=1", &sent, 8000, b"\xff\x00");
        let expected = b"POST /a%20b?x=1 HTTP/1.1\r\nHost: localhost:8000\r\naccept: text/html\r\n\
            content-length: 2\r\nconnection: close\r\n\r\n\xff\x00";
        assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(expected));
    }

    #[test]
    fn the_path_behind_the_port_is_passed_on_as_it_came() {
        for (uri, expected) in [
            ("/bundles/0x1/netcurl/8000/", "/"),
            ("/bundles/0x1/netcurl/8000/a/b%2Fc?q=1&r", "/a/b%2Fc?q=1&r"),
            ("/bundles/0x1/netcurl/8000//x", "//x"),
        ] {
            assert_eq!(target(&uri.parse().unwrap()), expected);
        }
    }

    #[test]
    fn redirects_of_the_program_stay_within_the_route() {
        let uuid = Uuid::from_random([7; 16]);
        let here = format!("/rest/bundles/{uuid}/netcurl/80");
        for (location, expected) in [
            ("/login", Some(format!("{here}/login"))),
            ("http://localhost:80/x?y", Some(format!("{here}/x?y"))),
            ("next", None),
            ("//evil.example/", None),
            ("https://example.org/", None),
        ] {
            assert_eq!(location_here(location, uuid, 80), expected, "{location}");
        }
    }

    #[tokio::test]
    async fn answers_keep_their_status_and_lose_what_is_ours() {
        let raw = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\
            Connection: close, X-Hop\r\nX-Hop: 1\r\nX-Own: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let answer = read_answer(Method::POST, Body::from(raw)).await.unwrap();
        let answer = passed_on(answer, Uuid::from_random([7; 16]), 80);
        assert_eq!(answer.status(), 201);
        for gone in ["set-cookie", "connection", "x-hop", "transfer-encoding"] {
            assert!(!answer.headers().contains_key(gone), "{gone}");
        }
        assert_eq!(answer.headers()["x-own"], "2");
        assert_eq!(answer.headers()["content-security-policy"], "sandbox");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
    }

    #[tokio::test]
    async fn what_is_no_http_is_an_error() {
        for raw in ["", "hello", "SSH-2.0-x\r\n", "HTTP/1.1 abc\r\n\r\n"] {
            assert!(read_answer(Method::GET, Body::from(raw)).await.is_err(), "{raw}");
        }
        // An answer without length ends with the connection.
        let answer = read_answer(Method::GET, Body::from("HTTP/1.0 200 OK\r\n\r\nrest"))
            .await
            .unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "rest");
        // The answer to HEAD has no body, whatever its length says.
        let raw = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let answer = read_answer(Method::HEAD, Body::from(raw)).await.unwrap();
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
        // One that ends too early is not taken for whole.
        let raw = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort";
        let answer = read_answer(Method::GET, Body::from(raw)).await.unwrap();
        assert!(answer.into_body().collect().await.is_err());
    }
}
