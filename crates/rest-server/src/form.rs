//! Bodies of HTML forms: `application/x-www-form-urlencoded` or `multipart/form-data`.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::header;
use http::request::Parts;
use http_body_util::BodyExt;

use crate::error::{ApiError, ApiResult};
use crate::origin;
use crate::state::AppState;

/// The fields of a form in the order sent.
#[derive(Clone, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first value of a field that is neither missing nor empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.first(name).filter(|value| !value.is_empty())
    }

    /// The first value of a field, perhaps empty.
    pub fn first(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        values.next().map(|(_, value)| value.as_str())
    }

    /// A field's value; empty if it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.first(name).unwrap_or_default()
    }

    /// Whether a field was sent more than once.
    pub fn is_repeated(&self, name: &str) -> bool {
        self.0.iter().filter(|(key, _)| key == name).count() > 1
    }
}

/// A form from anywhere. A body of another type counts as a form without fields.
pub struct Form(pub Fields);

/// A form of our own pages, with the head of its request: one that another site sent is refused with 403.
pub struct OwnForm(pub Parts, pub Fields);

impl FromRequest<AppState> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &AppState) -> ApiResult<Self> {
        let (parts, body) = request.into_parts();
        read(&parts, body).await.map(Self)
    }
}

impl FromRequest<AppState> for OwnForm {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> ApiResult<Self> {
        let (parts, body) = request.into_parts();
        origin::check(&parts, state)?;
        let fields = read(&parts, body).await?;
        Ok(Self(parts, fields))
    }
}

async fn read(parts: &Parts, body: Body) -> ApiResult<Fields> {
    let content_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/x-www-form-urlencoded");
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match kind.as_str() {
        "application/x-www-form-urlencoded" => Ok(urlencoded(&bytes(body).await?)),
        "multipart/form-data" => match boundary(content_type) {
            Some(boundary) => multipart(&bytes(body).await?, boundary)
                .ok_or_else(|| ApiError::usage("The form is not valid multipart/form-data.")),
            None => Err(ApiError::usage("The form's content type names no boundary.")),
        },
        _ => Ok(Fields::default()),
    }
}

/// The pipeline has read the body within its limits; here it is only handed over.
async fn bytes(body: Body) -> ApiResult<Vec<u8>> {
    let collected = body.collect().await;
    let collected = collected.map_err(|_| ApiError::usage("The request body was cut off"))?;
    Ok(collected.to_bytes().into())
}

fn urlencoded(bytes: &[u8]) -> Fields {
    Fields(url::form_urlencoded::parse(bytes).into_owned().collect())
}

fn boundary(content_type: &str) -> Option<&str> {
    let mut parameters = content_type.split(';').skip(1).map(str::trim);
    let value = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim())
    })?;
    Some(value.trim_matches('"')).filter(|value| (1..=70).contains(&value.len()))
}

/// The parts of a multipart body as texts; those without a name are left out.
fn multipart(bytes: &[u8], boundary: &str) -> Option<Fields> {
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    // The first delimiter needs no line before it.
    let whole = [b"\r\n", bytes].concat();
    let mut rest = &whole[find(&whole, &delimiter)? + delimiter.len()..];
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let head_start = find(rest, b"\r\n")?;
        if !rest[..head_start].iter().all(|byte| b" \t".contains(byte)) {
            return None;
        }
        let end = head_start + find(&rest[head_start..], &delimiter)?;
        let part = &rest[head_start..end];
        let head_end = find(part, b"\r\n\r\n")?;
        let (head, value) = (&part[..head_end], &part[head_end + 4..]);
        if let Some(name) = part_name(&String::from_utf8_lossy(head)) {
            fields.push((name, String::from_utf8_lossy(value).into_owned()));
        }
        rest = &rest[end + delimiter.len()..];
    }
    Some(Fields(fields))
}

/// The `name` of a `Content-Disposition: form-data` header.
fn part_name(head: &str) -> Option<String> {
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    disposition.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_name = name.trim().eq_ignore_ascii_case("name");
        is_name.then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_give_the_same_fields() {
        let plain = urlencoded(b"a=1&b=x+y%26%C3%BC&a=2&e=");
        let body = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
            --X\r\ncontent-disposition: form-data; name=b\r\nContent-Type: text/plain\r\n\r\nx y&ü\r\n\
            --X  \r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n2\r\n\
            --X\r\nContent-Disposition: form-data; name=\"e\"\r\n\r\n\r\n--X--\r\n";
        let parts = multipart(body.as_bytes(), "X").unwrap();
        assert_eq!(plain.0, parts.0);
        assert_eq!(
            (plain.text("b"), plain.get("e"), plain.first("e")),
            ("x y&ü", None, Some(""))
        );
        assert_eq!(
            (plain.get("a"), plain.is_repeated("a"), plain.is_repeated("b")),
            (Some("1"), true, false)
        );
        assert_eq!(
            boundary("multipart/form-data; charset=x; Boundary=\"a b\""),
            Some("a b")
        );
        assert_eq!(boundary("multipart/form-data"), None);
    }

    #[test]
    fn broken_multipart_bodies_are_refused() {
        for body in [
            "",
            "--X",
            "--X\r\n",
            "--X\r\n\r\n",
            "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1",
            "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n--X--",
            "--XY\r\n\r\n1\r\n--X--",
        ] {
            assert!(multipart(body.as_bytes(), "X").is_none(), "{body}");
        }
        assert!(multipart(b"--X--", "X").unwrap().0.is_empty());
    }
}
