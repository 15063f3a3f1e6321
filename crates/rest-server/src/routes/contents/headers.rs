//! The header rules of contents answers: type, encoding, name, ranges.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::error::{ApiError, ApiResult};

/// `Content-Type` of a file by its name. Names that imply an encoding (`.gz`) are opaque; unknown ones are text.
pub fn content_type(name: &str) -> String {
    const ENCODED: [&str; 8] = ["gz", "tgz", "bz2", "tbz2", "xz", "txz", "br", "z"];
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase())
        .unwrap_or_default();
    if ENCODED.contains(&extension.as_str()) {
        return "application/octet-stream".to_owned();
    }
    mime_guess::from_path(name)
        .first_raw()
        .unwrap_or("text/plain")
        .to_owned()
}

/// True when the client takes gzip: the list names it and not with `q=0`.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| {
            let mut parts = item.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            named && !parts.any(|part| matches!(part.replace(' ', "").as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
}

/// An inclusive byte range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// How many bytes were asked for.
    pub length: u64,
}

/// Reads `Range: bytes=START-END`; both ends are required.
pub fn byte_range(headers: &HeaderMap) -> ApiResult<Option<ByteRange>> {
    let Some(value) = headers.get(header::RANGE) else {
        return Ok(None);
    };
    let malformed = || ApiError::usage("Range must be 'bytes=START-END'.");
    let text = value.to_str().map_err(|_| malformed())?;
    let (start, end) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .ok_or_else(malformed)?;
    let start: u64 = digits(start).ok_or_else(malformed)?;
    let end: u64 = digits(end).ok_or_else(malformed)?;
    if end < start {
        return Err(malformed());
    }
    Ok(Some(ByteRange {
        start,
        length: (end - start).saturating_add(1),
    }))
}

fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// What the headers of a contents answer say.
#[derive(Clone, Debug)]
pub struct BlobHeaders<'a> {
    /// File name offered to the browser; `.tar.gz` is added for directories.
    pub name: &'a str,
    /// The body is a tar.gz of a directory.
    pub is_directory: bool,
    /// The body is gzip-encoded (files only).
    pub gzip: bool,
    /// Uncompressed size, for progress bars.
    pub target_size: u64,
}

impl BlobHeaders<'_> {
    /// Puts the headers on an answer. User content is served from our own origin, hence the sandbox.
    pub fn apply(&self, response: &mut Response) {
        let headers = response.headers_mut();
        let (content_type, disposition, target) = if self.is_directory {
            (
                "application/gzip".to_owned(),
                format!("attachment; filename=\"{}.tar.gz\"", quoted(self.name)),
                "directory",
            )
        } else {
            (
                content_type(self.name),
                format!("inline; filename=\"{}\"", quoted(self.name)),
                "file",
            )
        };
        let encoding = if self.gzip && !self.is_directory {
            "gzip"
        } else {
            "identity"
        };
        let values: [(HeaderName, HeaderValue); 8] = [
            (header::CONTENT_TYPE, header_value(&content_type)),
            (header::CONTENT_ENCODING, HeaderValue::from_static(encoding)),
            (header::CONTENT_DISPOSITION, header_value(&disposition)),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            (HeaderName::from_static("target-type"), HeaderValue::from_static(target)),
            (
                HeaderName::from_static("x-codalab-target-size"),
                HeaderValue::from(self.target_size),
            ),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox")),
        ];
        headers.extend(values);
    }
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"))
}

/// A file name that can stand between the quotes of a header.
fn quoted(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .collect::<String>()
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_the_name() {
        for (name, expected) in [
            ("codalab.png", "image/png"),
            ("stdout", "text/plain"),
            ("a.unknown-thing", "text/plain"),
            ("a.tar.gz", "application/octet-stream"),
            ("A.GZ", "application/octet-stream"),
            ("page.html", "text/html"),
        ] {
            assert_eq!(content_type(name), expected, "{name}");
        }
    }

    #[test]
    fn gzip_is_accepted_only_when_it_is_wanted() {
        for (value, expected) in [
            ("gzip", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("deflate, gzip;q=0.5", true),
            ("gzip; q=0", false),
            ("x-gzip", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), expected, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn ranges_need_both_ends() {
        for (value, expected) in [
            ("bytes=0-0", Some(ByteRange { start: 0, length: 1 })),
            (
                "bytes=5-16388",
                Some(ByteRange {
                    start: 5,
                    length: 16384,
                }),
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(value));
            assert_eq!(byte_range(&headers).unwrap(), expected);
        }
        for value in [
            "bytes=5-",
            "bytes=-5",
            "bytes=5-4",
            "lines=1-2",
            "bytes=+1-2",
            "bytes=a-b",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(value));
            assert_eq!(
                byte_range(&headers).unwrap_err().message(),
                "Range must be 'bytes=START-END'.",
                "{value}"
            );
        }
    }

    #[test]
    fn names_cannot_break_out_of_the_header() {
        let mut response = Response::new(axum::body::Body::empty());
        BlobHeaders {
            name: "a\"b\r\nc",
            is_directory: false,
            gzip: true,
            target_size: 3,
        }
        .apply(&mut response);
        assert_eq!(
            response.headers()["content-disposition"],
            "inline; filename=\"a\\\"b__c\""
        );
        assert_eq!(response.headers()["content-encoding"], "gzip");
    }
}
