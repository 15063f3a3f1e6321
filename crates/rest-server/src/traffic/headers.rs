//! Headers that every answer carries for browsers, the rules for scripts of other sites, and requests whose framing two
//! programs could read differently.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use std::time::Duration;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::error::ApiError;

/// Nothing of an answer may act as a page, except where the answer says so itself.
const STRICT: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'self'");
/// Contents belong to users: whatever they are, their scripts do not run on this site.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");

/// Adds what protects browsers. What the handler has set stays, except for contents.
pub fn secure(headers: &mut HeaderMap, route: &str) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    let referrers = HeaderValue::from_static("same-origin");
    if route.contains("/contents/blob") || route.contains("/netcurl/") {
        headers.insert(header::REFERRER_POLICY, referrers);
        headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    } else {
        headers.entry(header::REFERRER_POLICY).or_insert(referrers);
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(STRICT);
    }
}

/// The layer that lets scripts of these origins read answers; none without origins. Cookies never count for them.
pub fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let origins = origins.iter().map(|origin| origin.trim_end_matches('/'));
        AllowOrigin::list(origins.filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let sent = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::RANGE,
        HeaderName::from_static("x-requested-with"),
        HeaderName::from_static("x-request-id"),
    ];
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_headers(sent)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .expose_headers(Any)
        .max_age(Duration::from_secs(600));
    Some(layer)
}

/// Refuses requests that a proxy in front may take for something else: several or no hosts, both ways to say how long the
/// body is, several lengths.
pub fn check_framing<B>(request: &Request<B>) -> Result<(), ApiError> {
    let headers = request.headers();
    let count = |name: HeaderName| headers.get_all(name).iter().count();
    let refuse = |text: &str| Err(ApiError::usage(text));
    match count(header::HOST) {
        0 if request.version() == Version::HTTP_11 => return refuse("The Host header is missing."),
        0 | 1 => {}
        _ => return refuse("There is more than one Host header."),
    }
    if headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH) {
        return refuse("Content-Length and Transfer-Encoding exclude each other.");
    }
    if count(header::CONTENT_LENGTH) > 1 {
        return refuse("There is more than one Content-Length header.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_with_two_readings_are_refused() {
        let cases: [(&[(&str, &str)], bool); 6] = [
            (&[("host", "a")], true),
            (&[], false),
            (&[("host", "a"), ("host", "b")], false),
            (
                &[("host", "a"), ("transfer-encoding", "chunked"), ("content-length", "3")],
                false,
            ),
            (&[("host", "a"), ("transfer-encoding", "chunked")], true),
            (
                &[("host", "a"), ("content-length", "3"), ("content-length", "3")],
                false,
            ),
        ];
        for (fields, fine) in cases {
            let mut request = Request::builder().uri("/");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            assert_eq!(check_framing(&request.body(()).unwrap()).is_ok(), fine, "{fields:?}");
        }
    }

    #[test]
    fn contents_are_in_a_sandbox_and_a_page_keeps_its_own_policy() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'self'"),
        );
        secure(&mut headers, "/rest/docs/{*path}");
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "default-src 'self'");
        secure(&mut headers, "/rest/bundles/{uuid}/contents/blob/");
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "sandbox");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
}
