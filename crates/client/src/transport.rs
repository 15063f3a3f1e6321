//! One HTTP exchange: addresses, headers, time-outs, retries, redirects and error statuses.
//!
//! TLS (provider and the platform's certificates) is set up at the first `https` request only, because loading the
//! certificates takes longer than a whole local command.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use url::Url;

use crate::error::{Error, Result};
use crate::query::Query;

/// JSON answers larger than this are refused, bytes.
const MAX_JSON: usize = 256 << 20;
/// Error messages are cut here, bytes.
const MAX_MESSAGE: usize = 64 << 10;
const MAX_REDIRECTS: usize = 5;

/// Settings of an [`Endpoint`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Longest wait for a connection, for the answer to a request without streamed body, and for the next piece of an
    /// answer.
    pub timeout: Duration,
    /// Extra headers of every request.
    pub headers: Vec<(String, String)>,
    /// Pause before the single retry; `None`: no retry.
    pub retry_after: Option<Duration>,
    /// `User-Agent` header.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(300),
            headers: Vec::new(),
            retry_after: Some(Duration::from_secs(1)),
            user_agent: concat!("codalab/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// One CodaLab instance. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Endpoint(Arc<Shared>);

/// What answers the requests of an [`Endpoint::in_process`].
pub type InProcess =
    Arc<dyn Fn(http::Request<reqwest::Body>) -> BoxFuture<'static, http::Response<reqwest::Body>> + Send + Sync>;

/// Where requests go that never leave the process.
const INSIDE: &str = "http://127.0.0.1/rest/";

struct Shared {
    address: String,
    base: String,
    in_process: Option<InProcess>,
    loopback: bool,
    headers: HeaderMap,
    options: Options,
    plain: OnceLock<reqwest::Client>,
    tls: OnceLock<reqwest::Client>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Endpoint").field(&self.0.address).finish()
    }
}

/// Body of a request.
#[derive(Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// Bytes in memory; the request can be repeated.
    Bytes(Bytes),
    /// Sent as it is read, in chunks or with the given length in bytes; the request cannot be repeated.
    Stream(BoxStream<'static, std::io::Result<Bytes>>, Option<u64>),
}

/// A request below `<address>/rest/`.
pub struct Request {
    method: Method,
    path: String,
    query: Query,
    headers: HeaderMap,
    body: Body,
    timeout: Option<Duration>,
}

impl Request {
    /// `path` has no leading slash and is percent-encoded already, see [`encode_path`].
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Query::new(),
            headers: HeaderMap::new(),
            body: Body::Empty,
            timeout: None,
        }
    }

    /// Sets the query parameters.
    pub fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// Sets a header; values that are not valid in a header are dropped.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Sets the bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sets the body.
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Sets a JSON body with the media type the Python client uses.
    pub fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json; charset=utf-8")
            .body(Body::Bytes(value.to_string().into()))
    }

    /// Overrides the time-out of [`Options`] for this request.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// A copy, if the body is not a stream.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        let body = match &self.body {
            Body::Empty => Body::Empty,
            Body::Bytes(bytes) => Body::Bytes(bytes.clone()),
            Body::Stream(..) => return None,
        };
        Some(Self {
            method: self.method.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            body,
            timeout: self.timeout,
        })
    }

    fn is_idempotent(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

impl Endpoint {
    /// `address` is used literally (`https://host[:port][/prefix]`); only a trailing slash is dropped for requests.
    pub fn new(address: &str, options: Options) -> Result<Self> {
        let unusable = || {
            Error::Usage(format!(
                "{address} is neither an alias (see cl alias) nor an address starting with http:// or https://"
            ))
        };
        let url = Url::parse(address).map_err(|_| unusable())?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(unusable());
        }
        let loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-requested-with", HeaderValue::from_static("XMLHttpRequest"));
        for (name, value) in &options.headers {
            let name = HeaderName::try_from(name.as_str());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) else {
                return Err(Error::Usage(format!(
                    "bad extra header for {address} in the configuration"
                )));
            };
            headers.insert(name, value);
        }
        Ok(Self(Arc::new(Shared {
            address: address.to_owned(),
            base: format!("{}/rest/", address.trim_end_matches('/')),
            in_process: None,
            loopback,
            headers,
            options,
            plain: OnceLock::new(),
            tls: OnceLock::new(),
        })))
    }

    /// An instance that is this process: `answer` is called instead of a server at `address`, which is only shown. Not
    /// compressed, not retried.
    pub fn in_process(address: &str, answer: InProcess) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("x-requested-with", HeaderValue::from_static("XMLHttpRequest"));
        Self(Arc::new(Shared {
            address: address.trim_end_matches('/').to_owned(),
            base: INSIDE.to_owned(),
            in_process: Some(answer),
            loopback: true,
            headers,
            options: Options {
                retry_after: None,
                ..Options::default()
            },
            plain: OnceLock::new(),
            tls: OnceLock::new(),
        }))
    }

    /// The address as given.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// True if the address names this machine, so that compression on the way is a waste.
    pub fn is_loopback(&self) -> bool {
        self.0.loopback
    }

    /// Sends a request. Error statuses become [`Error::Status`]; a broken connection is retried once if the server
    /// cannot have acted on the request or the request is idempotent.
    pub async fn send(&self, request: Request) -> Result<Response> {
        let again = self
            .0
            .options
            .retry_after
            .and_then(|pause| Some((pause, request.try_clone()?)));
        let idempotent = request.is_idempotent();
        match self.send_once(request).await {
            Err(Error::Unreachable { before_sending, .. }) if (before_sending || idempotent) && again.is_some() => {
                let (pause, request) = again.expect("checked in the guard");
                tokio::time::sleep(pause).await;
                self.send_once(request).await
            }
            other => other,
        }
    }

    async fn send_once(&self, request: Request) -> Result<Response> {
        let mut url = Url::parse(&format!("{}{}", self.0.base, request.path))
            .map_err(|_| Error::Usage(format!("{}: cannot be part of an address", request.path)))?;
        if !request.query.pairs().is_empty() {
            url.query_pairs_mut().extend_pairs(request.query.pairs());
        }
        let may_redirect = request.is_idempotent();
        let timeout = request.timeout.unwrap_or(self.0.options.timeout);
        let streaming = matches!(request.body, Body::Stream(..));
        // A failure of what feeds the body must not be reported as one of the network.
        let source_failure = Arc::new(Mutex::new(None::<String>));
        let mut headers = self.0.headers.clone();
        headers.extend(request.headers);
        let mut builder = self
            .http(&url)?
            .request(request.method.clone(), url.clone())
            .headers(headers.clone());
        builder = match request.body {
            Body::Empty if request.method == Method::GET => builder,
            // A PUT or POST without body says so, for servers and proxies that insist on a length.
            Body::Empty => builder.header(http::header::CONTENT_LENGTH, "0"),
            Body::Bytes(bytes) => builder.body(bytes),
            Body::Stream(stream, length) => {
                let noted = source_failure.clone();
                let body = reqwest::Body::wrap_stream(stream.inspect_err(move |error| {
                    if let Ok(mut slot) = noted.lock() {
                        *slot = Some(error.to_string());
                    }
                }));
                match length {
                    Some(length) => builder.header(http::header::CONTENT_LENGTH, length).body(body),
                    None => builder.body(body),
                }
            }
        };
        // How long a server may take to digest a streamed upload is unknown.
        let limit = (!streaming).then_some(timeout);
        let mut response = match self.exchange(builder, limit).await {
            Ok(response) => response,
            Err(error) => {
                let failed = source_failure.lock().ok().and_then(|mut slot| slot.take());
                return Err(failed.map_or(error, Error::Local));
            }
        };
        if response.status().is_redirection() && may_redirect {
            headers.remove(AUTHORIZATION);
            for _ in 0..MAX_REDIRECTS {
                let Some(target) = redirect_target(&response, &url) else {
                    break;
                };
                url = target;
                let builder = self
                    .http(&url)?
                    .request(request.method.clone(), url.clone())
                    .headers(headers.clone());
                response = self.exchange(builder, Some(timeout)).await?;
                if !response.status().is_redirection() {
                    break;
                }
            }
        }
        let status = response.status();
        let response = Response {
            inner: response,
            address: self.0.address.clone(),
            timeout,
        };
        if status.is_success() {
            return Ok(response);
        }
        if status.is_client_error() || status.is_server_error() {
            return Err(Error::Status {
                status: status.as_u16(),
                message: response.message().await,
            });
        }
        let to = response
            .header("location")
            .map(|to| format!(" to {to}"))
            .unwrap_or_default();
        Err(response.bad(&format!("status {}{to}", status.as_u16())))
    }

    async fn exchange(&self, builder: reqwest::RequestBuilder, limit: Option<Duration>) -> Result<reqwest::Response> {
        let sending = self.perform(builder);
        let result = match limit {
            Some(limit) => match tokio::time::timeout(limit, sending).await {
                Ok(result) => result,
                Err(_) => {
                    return Err(Error::Unreachable {
                        address: self.0.address.clone(),
                        reason: format!("no answer within {} seconds", limit.as_secs()),
                        before_sending: false,
                    });
                }
            },
            None => sending.await,
        };
        result.map_err(|error| {
            // After a redirect it may be another host that is out of reach.
            let elsewhere = error.url().filter(|url| !url.as_str().starts_with(&self.0.base));
            let address = elsewhere.map_or_else(|| self.0.address.clone(), |url| url.origin().ascii_serialization());
            transport_error(&address, &error)
        })
    }

    async fn perform(&self, builder: reqwest::RequestBuilder) -> reqwest::Result<reqwest::Response> {
        match &self.0.in_process {
            None => builder.send().await,
            Some(answer) => {
                let request = http::Request::<reqwest::Body>::try_from(builder.build()?)?;
                Ok(answer(request).await.into())
            }
        }
    }

    fn http(&self, url: &Url) -> Result<&reqwest::Client> {
        let tls = url.scheme() == "https";
        let slot = if tls { &self.0.tls } else { &self.0.plain };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        // A second installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.0.options.timeout)
            .tcp_nodelay(true)
            .user_agent(&self.0.options.user_agent);
        if !tls {
            builder = builder.tls_certs_only([]);
        }
        if self.0.loopback {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| Error::Usage(format!("cannot set up HTTP for {}: {}", self.0.address, cause(&error))))?;
        Ok(slot.get_or_init(|| client))
    }
}

/// Answer with a success status.
pub struct Response {
    inner: reqwest::Response,
    address: String,
    timeout: Duration,
}

impl Response {
    /// Status code (2xx).
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// A header as text; `None` if absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// The body as JSON; `Null` if the answer is not labelled as JSON (that is how the API says "no data").
    pub async fn json(self) -> Result<Value> {
        let is_json = self
            .inner
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                value
                    .split(';')
                    .next()
                    .is_some_and(|kind| kind.trim() == "application/json")
            });
        if !is_json {
            return Ok(Value::Null);
        }
        let address = self.address.clone();
        let body = self.collect(MAX_JSON).await?;
        serde_json::from_slice(&body).map_err(|error| Error::BadAnswer {
            address,
            reason: format!("invalid JSON ({error})"),
        })
    }

    /// The body piece by piece. Breaking off before the end is an error.
    pub fn stream(self) -> BoxStream<'static, Result<Bytes>> {
        let Self {
            inner,
            address,
            timeout,
        } = self;
        let pieces = inner.bytes_stream();
        futures::stream::unfold(Some((Box::pin(pieces), address)), move |state| async move {
            let (mut pieces, address) = state?;
            match tokio::time::timeout(timeout, pieces.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some((pieces, address)))),
                Ok(Some(Err(error))) => Some((Err(transport_error(&address, &error)), None)),
                Err(_) => {
                    let reason = format!("nothing received for {} seconds", timeout.as_secs());
                    Some((
                        Err(Error::Unreachable {
                            address,
                            reason,
                            before_sending: false,
                        }),
                        None,
                    ))
                }
            }
        })
        .boxed()
    }

    /// The whole body, at most `limit` bytes.
    pub async fn collect(self, limit: usize) -> Result<Bytes> {
        let too_large = self.bad(&format!("more than {limit} bytes"));
        let mut pieces = self.stream();
        let mut body = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            if body.len() + piece.len() > limit {
                return Err(too_large);
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// The text of an error answer: its body, or the reason phrase.
    async fn message(self) -> String {
        let status = self.inner.status();
        let mut pieces = self.stream();
        let mut body = Vec::new();
        while let Some(Ok(piece)) = pieces.next().await {
            body.extend_from_slice(&piece[..piece.len().min(MAX_MESSAGE - body.len())]);
            if body.len() == MAX_MESSAGE {
                break;
            }
        }
        let text = String::from_utf8_lossy(&body);
        let text = text.trim_end();
        if text.is_empty() {
            status.canonical_reason().unwrap_or("unknown error").to_owned()
        } else {
            text.to_owned()
        }
    }

    fn bad(&self, reason: &str) -> Error {
        Error::BadAnswer {
            address: self.address.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// Percent-encodes a path inside a bundle: everything but unreserved characters and `/`.
pub fn encode_path(path: &str) -> String {
    const KEEP: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    percent_encoding::utf8_percent_encode(path, KEEP).to_string()
}

fn redirect_target(response: &reqwest::Response, from: &Url) -> Option<Url> {
    let target = from.join(response.headers().get(LOCATION)?.to_str().ok()?).ok()?;
    matches!(target.scheme(), "http" | "https").then_some(target)
}

fn transport_error(address: &str, error: &reqwest::Error) -> Error {
    Error::Unreachable {
        address: address.to_owned(),
        reason: cause(error),
        before_sending: error.is_connect() || error.is_builder(),
    }
}

/// The innermost cause, which is the one that says something (`Connection refused`), without the error number.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_a_scheme_and_a_host() {
        for (address, ok) in [
            ("http://localhost:2900", true),
            ("https://worksheets.example.org/", true),
            ("http://[::1]:80/prefix", true),
            ("local", false),
            ("localhost:2900", false),
            ("ftp://host", false),
            ("", false),
            ("http://", false),
        ] {
            assert_eq!(Endpoint::new(address, Options::default()).is_ok(), ok, "{address}");
        }
    }

    #[test]
    fn paths_are_encoded_except_slashes() {
        for (path, encoded) in [
            ("a/b.txt", "a/b.txt"),
            ("a b?c#d%", "a%20b%3Fc%23d%25"),
            ("-é", "-%C3%A9"),
            ("a+b&c=d", "a%2Bb%26c%3Dd"),
        ] {
            assert_eq!(encode_path(path), encoded);
        }
    }

    #[tokio::test]
    async fn a_refused_connection_names_address_and_cause() {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let options = Options {
            retry_after: None,
            ..Options::default()
        };
        let address = format!("http://127.0.0.1:{port}");
        let endpoint = Endpoint::new(&address, options).unwrap();
        let error = endpoint.send(Request::new(Method::GET, "user")).await.err().unwrap();
        assert_eq!(error.to_string(), format!("cannot reach {address}: Connection refused"));
        assert!(matches!(
            error,
            Error::Unreachable {
                before_sending: true,
                ..
            }
        ));
    }
}
