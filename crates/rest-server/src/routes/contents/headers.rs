//! The header rules of contents answers: type, encoding, name, ranges.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::types::content_type;
use crate::error::{ApiError, ApiResult};

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
    let Some(range) = headers.get(header::RANGE) else {
        return Ok(None);
    };
    match ranges(range)?.as_slice() {
        [RangeSpec::Between(start, end)] => Ok(Some(ByteRange {
            start: *start,
            length: (end - start).saturating_add(1),
        })),
        _ => Err(malformed()),
    }
}

/// A range as RFC 9110 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// First and last byte.
    Between(u64, u64),
    /// From a byte to the end.
    From(u64),
    /// The last bytes.
    Last(u64),
}

impl RangeSpec {
    /// The part of a file of `size` bytes; none when there is nothing of it.
    pub fn within(self, size: u64) -> Option<ByteRange> {
        let (start, end) = match self {
            Self::Between(start, end) => (start, end.saturating_add(1).min(size)),
            Self::From(start) => (start, size),
            Self::Last(count) => (size.saturating_sub(count), size),
        };
        (start < end).then(|| ByteRange {
            start,
            length: end - start,
        })
    }
}

/// The range that a browser asks for. Several are answered with the whole file, which is allowed and simple.
pub fn standard_range(headers: &HeaderMap) -> ApiResult<Option<RangeSpec>> {
    let Some(range) = headers.get(header::RANGE) else {
        return Ok(None);
    };
    match ranges(range)?.as_slice() {
        [range] => Ok(Some(*range)),
        _ => Ok(None),
    }
}

fn malformed() -> ApiError {
    ApiError::usage("Range must be 'bytes=START-END'.")
}

fn ranges(value: &HeaderValue) -> ApiResult<Vec<RangeSpec>> {
    let text = value.to_str().map_err(|_| malformed())?;
    let list = text.strip_prefix("bytes=").ok_or_else(malformed)?;
    list.split(',')
        .map(|range| {
            let (start, end) = range.trim().split_once('-')?;
            match (start.is_empty(), end.is_empty()) {
                (false, false) => {
                    let (start, end) = (digits(start)?, digits(end)?);
                    (start <= end).then_some(RangeSpec::Between(start, end))
                }
                (false, true) => digits(start).map(RangeSpec::From),
                (true, false) => digits(end).map(RangeSpec::Last),
                (true, true) => None,
            }
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(malformed)
}

/// True when the client has this version already (`If-None-Match`).
pub fn has_version(headers: &HeaderMap, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim() == "*" || bare(known) == bare(tag))
}

/// False when the client wants a part only of another version than this one (`If-Range`).
pub fn may_be_part(headers: &HeaderMap, tag: Option<&str>) -> bool {
    match headers.get(header::IF_RANGE) {
        None => true,
        Some(value) => tag.is_some_and(|tag| value.as_bytes() == tag.as_bytes()),
    }
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
                "application/gzip",
                disposition("attachment", &format!("{}.tar.gz", self.name)),
                "directory",
            )
        } else {
            (content_type(self.name), disposition("inline", self.name), "file")
        };
        let encoding = if self.gzip && !self.is_directory {
            "gzip"
        } else {
            "identity"
        };
        let values: [(HeaderName, HeaderValue); 8] = [
            (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (header::CONTENT_ENCODING, HeaderValue::from_static(encoding)),
            (header::CONTENT_DISPOSITION, disposition),
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

/// `Content-Disposition` with a file name: quoted, without control characters; where it is not ASCII, an approximation
/// and the name itself (RFC 6266, RFC 8187).
pub fn disposition(kind: &str, name: &str) -> HeaderValue {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let mut text = format!("{kind}; filename=\"");
    for c in name.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_ascii() => text.push(c),
            _ => text.push('_'),
        }
    }
    text.push('"');
    if !name.is_ascii() {
        text.push_str("; filename*=UTF-8''");
        text.extend(utf8_percent_encode(&name, NOT_ATTRIBUTE));
    }
    // Only printable ASCII is left; a name of nothing else needs no header of its own.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("inline"))
}

/// Everything that is no `attr-char` of RFC 8187.
const NOT_ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

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
    fn browsers_may_ask_for_open_and_last_ranges() {
        let asked = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(value));
            standard_range(&headers)
        };
        let part = |start, length| Some(ByteRange { start, length });
        for (value, size, expected) in [
            ("bytes=0-", 10, part(0, 10)),
            ("bytes=4-", 10, part(4, 6)),
            ("bytes=4-5", 10, part(4, 2)),
            ("bytes=4-500", 10, part(4, 6)),
            ("bytes=-3", 10, part(7, 3)),
            ("bytes=-30", 10, part(0, 10)),
            ("bytes=10-", 10, None),
            ("bytes=-0", 10, None),
            ("bytes=0-0", 0, None),
            ("bytes=0-18446744073709551615", 10, part(0, 10)),
        ] {
            assert_eq!(asked(value).unwrap().unwrap().within(size), expected, "{value}");
        }
        assert_eq!(asked("bytes=0-1,3-4").unwrap(), None);
        for value in ["bytes=-", "bytes=a-", "bytes=5-4", "bits=1-2", "bytes=", "bytes=1-2,x"] {
            assert!(asked(value).is_err(), "{value}");
        }
    }

    #[test]
    fn versions_are_compared_as_lists() {
        for (value, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            assert_eq!(has_version(&headers, "\"a\""), expected, "{value}");
        }
    }

    #[test]
    fn names_cannot_break_out_of_the_header() {
        for (name, expected) in [
            ("f1", "inline; filename=\"f1\""),
            ("a b;c", "inline; filename=\"a b;c\""),
            (
                "a\"b\r\nSet-Cookie: x\0\u{85}c\\",
                "inline; filename=\"a\\\"bSet-Cookie: xc\\\\\"",
            ),
            (
                "größe.txt",
                "inline; filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.txt",
            ),
            (
                "日 \"x",
                "inline; filename=\"_ \\\"x\"; filename*=UTF-8''%E6%97%A5%20%22x",
            ),
            ("", "inline; filename=\"\""),
        ] {
            assert_eq!(disposition("inline", name), expected, "{name}");
        }
    }
}
