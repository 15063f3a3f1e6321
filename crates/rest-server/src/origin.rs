//! By which address a browser knows this server, and which redirect targets and senders of forms belong to it.
//!
//! The rule for targets that come from outside (`success_uri`, `error_uri`, `redirect_uri`): a path on this server, with
//! query and fragment if it likes, resolved against the request. Whatever a browser could read as another place is
//! refused: a scheme, an authority (`//host`, also written with backslashes), control characters. The page that the
//! login form returns to (`next`) is one of these or made here.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use url::Url;

use crate::auth::cookie::{self, BadCookie};
use crate::error::{ApiError, ApiResult};
use crate::state::AppState;

/// `http` or `https`, as the client sees it.
pub fn scheme(headers: &HeaderMap) -> &'static str {
    match headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()) {
        Some(value) if value.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    }
}

/// Host (and port) by which the client knows this server.
pub fn host(headers: &HeaderMap) -> &str {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let plain = |host: &&str| {
        !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
    };
    text("x-forwarded-host")
        .filter(plain)
        .or_else(|| text("host").filter(plain))
        .unwrap_or("localhost")
}

/// `scheme://host[:port]` of this server as the request names it.
pub fn of_request(headers: &HeaderMap) -> String {
    format!("{}://{}", scheme(headers), host(headers))
}

/// A redirect target from outside, as a path of this server. 400 if it leads elsewhere.
pub fn local_target(parts: &Parts, target: &str) -> ApiResult<String> {
    let refused = || ApiError::usage("Only relative URIs are allowed!");
    let odd = |c: char| c.is_control() || c == '\\' || c.is_whitespace();
    if target.is_empty() || target.starts_with("//") || target.chars().any(odd) || Url::parse(target).is_ok() {
        return Err(refused());
    }
    // The host does not matter here: the result is the path only.
    let path = crate::path::full_uri(parts).path();
    let base = Url::parse("http://here")
        .and_then(|url| url.join(path))
        .map_err(|_| refused())?;
    let url = base.join(target).map_err(|_| refused())?;
    let stays = url.scheme() == "http" && url.host_str() == Some("here") && url.port().is_none();
    let bare = url.username().is_empty() && url.password().is_none();
    if !stays || !bare || url.path().starts_with("//") {
        return Err(refused());
    }
    Ok(url[url::Position::BeforePath..].to_owned())
}

/// `target` with more parameters in its query.
pub fn with_query(target: &str, pairs: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    let (target, fragment) = match target.split_once('#') {
        Some((target, fragment)) => (target, format!("#{fragment}")),
        None => (target, String::new()),
    };
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}{query}{fragment}")
}

/// A cookie travels with requests that other sites start, so a change needs an origin that is ours. Browsers send one with
/// every such request; what sends none is no browser.
pub fn check(parts: &Parts, state: &AppState) -> ApiResult<()> {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let text = |name: header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let Some(source) = text(header::ORIGIN).or_else(|| text(header::REFERER)) else {
        return Ok(());
    };
    let public = state.config.public_url.as_deref();
    if is_ours(source, &of_request(&parts.headers)) || public.is_some_and(|public| is_ours(source, public)) {
        Ok(())
    } else {
        Err(ApiError::permission(
            "This request was started by another site. Open CodaLab itself and try again.",
        ))
    }
}

/// Same host and port. Where we are known to be reached by https, http is another origin; behind a proxy that does not
/// tell, we cannot know.
fn is_ours(source: &str, ours: &str) -> bool {
    let (Ok(source), Ok(ours)) = (Url::parse(source), Url::parse(ours)) else {
        return false;
    };
    let same_host = source.host_str().is_some() && source.host_str() == ours.host_str();
    let same_port = source.port() == ours.port() || source.port_or_known_default() == ours.port_or_known_default();
    same_host && same_port && (ours.scheme() == "http" || source.scheme() == "https")
}

/// What every answer to a browser needs: redirects name an absolute address (303, or 302 for HTTP/1.0), and a session
/// cookie that is no good is removed.
pub async fn finish(mut request: Request, next: Next) -> Response {
    let origin = of_request(request.headers());
    let old = request.version() == Version::HTTP_10;
    let bad_cookie = BadCookie::default();
    request.extensions_mut().insert(bad_cookie.clone());
    let mut response = next.run(request).await;
    if response.status() == StatusCode::SEE_OTHER {
        let location = response
            .headers()
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok());
        let absolute = location
            .filter(|location| location.starts_with('/') && !location.starts_with("//"))
            .and_then(|location| HeaderValue::from_str(&format!("{origin}{location}")).ok());
        if let Some(absolute) = absolute {
            response.headers_mut().insert(header::LOCATION, absolute);
        }
        if old {
            *response.status_mut() = StatusCode::FOUND;
        }
    }
    if bad_cookie.was_seen() && !response.headers().contains_key(header::SET_COOKIE) {
        response
            .headers_mut()
            .append(header::SET_COOKIE, HeaderValue::from_static(cookie::CLEAR));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri("/rest/account/login?x=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn targets_stay_on_this_server() {
        let parts = parts("POST", &[]);
        for (target, expected) in [
            ("/", "/"),
            ("/worksheets?x=1#top", "/worksheets?x=1#top"),
            ("/a//b", "/a//b"),
            ("/x?next=https://evil.example", "/x?next=https://evil.example"),
            ("signup", "/rest/account/signup"),
            ("../x", "/rest/x"),
            ("?a=b", "/rest/account/login?a=b"),
            ("/a@b:c", "/a@b:c"),
            ("/ü", "/%C3%BC"),
        ] {
            assert_eq!(local_target(&parts, target).unwrap(), expected);
        }
        for bad in [
            "",
            "//evil.example",
            "///evil.example",
            "http://evil.example",
            "http:/evil.example",
            "http:evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "/\\evil.example",
            "\\\\evil.example",
            "/a\r\nb",
            "/\t/evil.example",
            " //evil.example",
            "/..//evil.example",
            "/a/..//evil.example",
            "/./\u{0}",
        ] {
            let message = local_target(&parts, bad).unwrap_err();
            assert_eq!(message.message(), "Only relative URIs are allowed!", "{bad:?}");
        }
    }

    #[test]
    fn queries_are_form_encoded_and_come_before_the_fragment() {
        let pairs = [("error", "no way"), ("next", "/")];
        for (target, expected) in [
            ("/l", "/l?error=no+way&next=%2F"),
            ("/l?a=1", "/l?a=1&error=no+way&next=%2F"),
            ("/l#top", "/l?error=no+way&next=%2F#top"),
        ] {
            assert_eq!(with_query(target, &pairs), expected);
        }
    }

    #[test]
    fn origins_are_compared_whole() {
        for (source, ours, same) in [
            ("http://lab:2900", "http://lab:2900", true),
            ("http://lab:2900/page?x", "http://lab:2900", true),
            ("https://lab", "http://lab", true),
            ("https://lab", "https://lab:443", true),
            ("http://lab", "https://lab", false),
            ("http://evil.example", "http://lab:2900", false),
            ("http://lab.evil.example", "http://lab", false),
            ("http://lab:1", "http://lab:2900", false),
            ("null", "http://lab:2900", false),
            ("", "http://lab:2900", false),
        ] {
            assert_eq!(is_ours(source, ours), same, "{source} {ours}");
        }
    }

    #[test]
    fn odd_hosts_are_not_repeated() {
        for (headers, expected) in [
            (vec![("host", "lab:2900")], "http://lab:2900"),
            (vec![("host", "lab/<x>")], "http://localhost"),
            (
                vec![("host", "a"), ("x-forwarded-host", "b"), ("x-forwarded-proto", "https")],
                "https://b",
            ),
            (vec![("host", "a"), ("x-forwarded-host", "b\"c")], "http://a"),
        ] {
            assert_eq!(of_request(&parts("GET", &headers).headers), expected);
        }
    }
}
