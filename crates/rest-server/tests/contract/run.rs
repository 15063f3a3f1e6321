//! Plays the rows of a file against a scene and says what differs.

use std::fmt::Write as _;
use std::io::Read;

use serde_json::Value;

use crate::pattern::{Bindings, fill, match_json, match_text};
use crate::row::{Body, Exchange, Expected, Row, Step};
use crate::scene::{self, Scene};
use crate::wire::{self, Answer};

/// Plays one row. `number` differs between the rows of a file.
pub async fn play(scene: &mut Scene, row: &Row, number: usize) -> Result<(), String> {
    let mut names = scene.names.clone();
    names.insert("N".to_owned(), number.to_string());
    for step in &row.steps {
        match step {
            Step::Given(line, text) => scene
                .give(text, &mut names)
                .await
                .map_err(|error| format!("line {line}: given {text}: {error}"))?,
            Step::Exchange(exchange) => play_exchange(scene, exchange, &mut names)
                .await
                .map_err(|error| format!("line {}: {} {}: {error}", exchange.line, exchange.method, exchange.path))?,
        }
    }
    Ok(())
}

async fn play_exchange(scene: &mut Scene, exchange: &Exchange, names: &mut Bindings) -> Result<(), String> {
    let path = fill(&exchange.path, names);
    let role = fill(&exchange.role, names);
    let mut request = scene.request(&role, &exchange.method, &path).await;
    let ajax = !exchange.page;
    if ajax {
        request = request.header("X-Requested-With", "XMLHttpRequest");
    }
    for (name, value) in &exchange.headers {
        request = request.header(name, &fill(value, names));
    }
    let (kind, body) = match &exchange.body {
        Body::None => (None, Vec::new()),
        Body::Json(text) => (Some("application/json; charset=utf-8"), fill(text, names).into_bytes()),
        Body::Form(text) => (
            Some("application/x-www-form-urlencoded"),
            fill(text, names).into_bytes(),
        ),
        Body::Multipart(text) => (
            Some("multipart/form-data; boundary=between"),
            multipart(&fill(text, names)).into_bytes(),
        ),
        Body::Text(text) => (Some("text/plain; charset=utf-8"), fill(text, names).into_bytes()),
        Body::Archive(files) => (Some("application/x-www-form-urlencoded"), scene::archive(files)),
    };
    if let Some(kind) = kind
        && !exchange
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    {
        request = request.header("Content-Type", kind);
    }
    let answer = wire::send(scene.server.address, &request.body(body))
        .await
        .map_err(|error| error.to_string())?;
    check(exchange, &path, &answer, names)
        .map_err(|error| format!("{error}\n      answer: {} {}", answer.status, shortened(&answer.text())))
}

fn check(exchange: &Exchange, path: &str, answer: &Answer, names: &mut Bindings) -> Result<(), String> {
    if answer.status != exchange.status {
        return Err(format!("expected the status {}", exchange.status));
    }
    every_answer(exchange, answer)?;
    for (name, pattern) in &exchange.expected_headers {
        match (pattern.as_str(), answer.header(name)) {
            ("-", None) => {}
            ("-", Some(value)) => return Err(format!("there must be no header {name}, it is {value:?}")),
            (_, None) => return Err(format!("the header {name} is missing")),
            (pattern, Some(value)) => {
                if !match_text(pattern, &value, names) {
                    return Err(format!("header {name}: expected {pattern:?}, found {value:?}"));
                }
            }
        }
    }
    match &exchange.expected {
        Expected::Any => Ok(()),
        Expected::Empty if answer.body.is_empty() => Ok(()),
        Expected::Empty => Err("the body must be empty".to_owned()),
        Expected::Text(pattern) => expect_text(pattern, &answer.text(), names),
        Expected::Pre(pattern) => {
            let text = answer.text();
            let inner = text.split_once("<pre>").and_then(|(_, rest)| rest.split_once("</pre>"));
            let (inner, _) = inner.ok_or("the page has no <pre>")?;
            let inner = inner
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#x27;", "'")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
            expect_text(pattern, &inner, names)
        }
        Expected::Gzip(pattern) => {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&answer.body[..])
                .read_to_string(&mut text)
                .map_err(|error| format!("not gzip: {error}"))?;
            expect_text(pattern, &text, names)
        }
        Expected::Json(pattern) => {
            if answer.header("content-type").as_deref() != Some("application/json") {
                return Err(format!("the content type is {:?}", answer.header("content-type")));
            }
            let actual: Value = serde_json::from_slice(&answer.body).map_err(|error| format!("not JSON: {error}"))?;
            let pattern = fill(pattern, names);
            let mut pattern: Value = serde_json::from_str(&pattern)
                .map_err(|error| format!("the expectation is not JSON: {error}\n{pattern}"))?;
            // Every JSON object says the version (4.1), so the rows need not repeat it.
            if let Value::Object(object) = &mut pattern
                && !path.starts_with("/oauth2")
                && !path.starts_with("/openapi.json")
            {
                let meta = object.entry("meta").or_insert_with(|| serde_json::json!({}));
                if let Value::Object(meta) = meta {
                    meta.entry("version").or_insert_with(|| "1.7.3".into());
                }
            }
            match_json(&pattern, &actual, names)
        }
    }
}

fn multipart(fields: &str) -> String {
    let mut body = String::new();
    for (name, value) in fields.split('&').filter_map(|field| field.split_once('=')) {
        write!(
            body,
            "--between\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
        .unwrap();
    }
    body + "--between--\r\n"
}

/// What holds for every answer, whatever the row says.
fn every_answer(exchange: &Exchange, answer: &Answer) -> Result<(), String> {
    let kind = answer.header("content-type").unwrap_or_default();
    if kind == "application/json" && answer.header("content-encoding").is_some() {
        return Err("JSON must never be compressed".to_owned());
    }
    if kind.starts_with("application/json") && kind != "application/json" {
        return Err(format!("the content type of JSON is {kind:?}"));
    }
    if answer.status >= 400 && kind == "application/json" && !exchange.path.starts_with("/oauth2") {
        return Err("errors are not JSON".to_owned());
    }
    if answer.status >= 400 && !exchange.page && answer.text().contains("<html") {
        return Err("a client of the API gets errors as bare text".to_owned());
    }
    if answer.header("x-request-id").is_none() {
        return Err("the answer has no request id".to_owned());
    }
    Ok(())
}

fn expect_text(pattern: &str, actual: &str, names: &mut Bindings) -> Result<(), String> {
    if match_text(pattern, actual, names) {
        return Ok(());
    }
    Err(format!("expected the text {:?}", fill(pattern, names)))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(1500) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
