//! Text that means something to SQL, to LIKE, to HTTP or to Unicode, and here means only itself.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::bad_input::{Range, on_both};
use crate::pattern::fill;

/// Titles and first names of this kind are found by themselves alone.
const TRICKY: &[&str] = &[
    "100%",
    "a_c",
    "it's",
    "back\\slash",
    "two \\\\ slashes",
    "-- comment",
    "/* comment */",
    "'; DROP TABLE worksheet; --",
    "\" OR \"\"=\"",
    "${x} {{y}} %s %d",
    "caf\u{e9}",
    "cafe\u{301}",
    "🧪 \u{202e}abc",
    "line\nbreak\ttab",
];

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        write!(out, "%{byte:02X}").unwrap();
        out
    })
}

async fn fetch(range: &mut Range, path: &str) -> Value {
    let request = range.request("alice", "GET", path).await;
    match range.fire("a search", request).await {
        Some(answer) => serde_json::from_slice(&answer.body).unwrap_or_default(),
        None => Value::Null,
    }
}

on_both! {
    async fn equality_is_literal_whatever_the_text(range) {
        let mut made = Vec::new();
        for (index, text) in TRICKY.iter().enumerate() {
            let mut names = range.scene.names.clone();
            names.insert("N".to_owned(), index.to_string());
            range.scene.give("worksheet W of alice", &mut names).await.unwrap();
            let body = json!({"data": [{"type": "worksheets", "id": names["W"], "attributes": {"title": text}}]});
            range.scene.must("alice", "PATCH", "/worksheets", &body).await.unwrap();
            made.push((names["W"].clone(), *text));
        }
        for (uuid, text) in &made {
            let sheet = fetch(range, &format!("/worksheets/{uuid}")).await;
            if sheet["data"]["attributes"]["title"] != *text {
                range.note(format!("the title {text:?} came back as {}", sheet["data"]["attributes"]["title"]));
            }
            // A comma separates values and a percent sign is a pattern in this language; the rest means itself.
            if text.contains([',', '%']) {
                continue;
            }
            let found = fetch(range, &format!("/worksheets?keywords={}", percent(&format!("title={text}")))).await;
            let ids: Vec<&str> = found["data"].as_array().into_iter().flatten().filter_map(|row| row["id"].as_str()).collect();
            if ids != [uuid.as_str()] {
                let titles: Vec<&str> = ids.iter().filter_map(|id| made.iter().find(|(uuid, _)| uuid == id)).map(|(_, text)| *text).collect();
                range.note(format!("title={text:?} finds {titles:?}"));
            }
        }
    }

    async fn wildcards_of_like_mean_themselves_in_bare_words(range) {
        for (name, title) in [("plain", "axc"), ("under", "a_c"), ("quote", "a'c")] {
            let mut names = range.scene.names.clone();
            range.scene.give(&format!("worksheet W of alice named like-{name}"), &mut names).await.unwrap();
            let body = json!({"data": [{"type": "worksheets", "id": names["W"], "attributes": {"title": title}}]});
            range.scene.must("alice", "PATCH", "/worksheets", &body).await.unwrap();
        }
        for (word, expected) in [("a_c", "like-under"), ("a'c", "like-quote")] {
            let found = fetch(range, &format!("/worksheets?keywords={}", percent(word))).await;
            let names: Vec<String> = found["data"].as_array().into_iter().flatten()
                .map(|row| row["attributes"]["name"].as_str().unwrap_or_default().to_owned()).collect();
            if names != [expected] {
                range.note(format!("the word {word:?} finds {names:?}"));
            }
        }
    }

    async fn tricky_text_survives_in_every_field_that_takes_text(range) {
        for text in TRICKY {
            let body = json!({"data": {"type": "users", "attributes": {"first_name": text, "affiliation": text}}});
            match range.scene.must("alice", "PATCH", "/user", &body).await {
                Ok(answer) if answer["data"]["attributes"]["first_name"] == *text && answer["data"]["attributes"]["affiliation"] == *text => {}
                other => range.note(format!("the first name {text:?}: {other:?}")),
            }
            let mut names = range.scene.names.clone();
            names.insert("N".to_owned(), "lines".to_owned());
            let path = fill("/worksheets/$HIDDEN/add-items", &names);
            range.scene.must("alice", "POST", &path, &json!({"items": [text]})).await.unwrap();
            let items = fetch(range, &fill("/worksheets/$HIDDEN?include=items", &names)).await;
            let last = items["included"].as_array().and_then(|items| items.last()).cloned().unwrap_or_default();
            if last["attributes"]["value"] != *text {
                range.note(format!("the line {text:?} came back as {}", last["attributes"]["value"]));
            }
            for path in ["/users/", "/groups/"] {
                let request = range.request("alice", "GET", &format!("{path}{}", percent(text))).await;
                let answer = range.fire("a tricky name", request).await;
                if answer.is_some_and(|answer| !matches!(answer.status, 400 | 404)) {
                    range.note(format!("{path}{text:?} is found"));
                }
            }
            for parameter in ["specs", "keywords"] {
                for path in ["/bundles", "/worksheets"] {
                    let request = range.request("alice", "GET", &format!("{path}?{parameter}={}", percent(text))).await;
                    range.fire("a tricky value", request).await;
                }
            }
        }
    }

    async fn names_of_files_cannot_inject_headers(range) {
        for name in ["a\r\nSet-Cookie: x=y", "a\"; filename=\"b", "a\nb", "ä🧪", "a\\b", "\u{7f}\u{1}"] {
            let mut names = range.scene.names.clone();
            names.insert("N".to_owned(), "inject".to_owned());
            range.scene.give("uploading D of alice named safe", &mut names).await.unwrap();
            let uuid = names["D"].clone();
            let archive = crate::scene::archive(&[(name.to_owned(), "x".to_owned())]);
            let path = format!("/bundles/{uuid}/contents/blob/?filename=x.tar.gz");
            let request = range.request("alice", "PUT", &path).await.body(archive);
            if range.fire("a hostile name in an archive", request).await.is_none_or(|answer| answer.status != 200) {
                continue;
            }
            let path = format!("/bundles/{uuid}/contents/blob/{}", percent(name));
            let request = range.request("alice", "GET", &path).await;
            let Some(answer) = range.fire("a download of it", request).await else { continue };
            let disposition = answer.header("content-disposition").unwrap_or_default();
            let inner = disposition.split_once("filename=\"").map(|(_, rest)| rest);
            let quotes = inner.map_or(0, |rest| rest.replace("\\\\", "").replace("\\\"", "").matches('"').count());
            if answer.header("set-cookie").is_some() || answer.status != 200 || quotes != 1 || disposition.contains(['\r', '\n']) {
                range.note(format!("{name:?} gives {} {disposition:?}", answer.status));
            }
        }
        for name in ["a%0D%0ASet-Cookie:%20x=y", "%22%3Bx%3D%22", "..%2F..%2Fetc%2Fpasswd", "%00", "%FF"] {
            let mut names = range.scene.names.clone();
            names.insert("N".to_owned(), "upload".to_owned());
            range.scene.give("uploading D of alice named upload", &mut names).await.unwrap();
            let path = format!("/bundles/{}/contents/blob/?filename={name}", names["D"]);
            let request = range.request("alice", "PUT", &path).await.body("x");
            range.fire("a hostile file name", request).await;
            let request = range.request("alice", "GET", &format!("/bundles/{}/contents/blob/", names["D"])).await;
            let answer = range.fire("a download of it", request).await;
            if answer.is_some_and(|answer| answer.header("set-cookie").is_some()) {
                range.note(format!("{name:?} sets a cookie"));
            }
        }
    }

    async fn values_of_headers_are_harmless(range) {
        for (name, value) in [
            ("Range", "bytes=5-1"),
            ("Range", "bytes=99999999999999999999-99999999999999999999999"),
            ("Range", "bytes=0-18446744073709551615"),
            ("Range", "bytes=-"),
            ("Range", "bytes=0-1,3-4"),
            ("Accept-Encoding", "gzip;q=tea, , ;;;"),
            ("Authorization", "Bearer "),
            ("Authorization", "Bearer \u{e9}"),
            ("Authorization", "Basic //////"),
            ("Cookie", "codalab_session=\"\"; codalab_session=%%%; =;;;"),
            ("Cookie", "codalab_session=eyJ1c2VyX2lkIjoiMCJ9.x"),
            ("X-Forwarded-Host", "evil.example\\@x/ y"),
            ("X-Forwarded-Proto", "javascript"),
            ("X-Request-Id", "a b <c>"),
            ("Origin", "null"),
            ("Referer", "\u{1}"),
            ("If-None-Match", "\"\"\"\""),
            ("Expect", "100-continue"),
        ] {
            for path in ["/bundles/$DATA/contents/blob/train.py", "/user", "/bundles/$DATA"] {
                let path = fill(path, &range.scene.names);
                let request = crate::wire::Request::new("GET", format!("/rest{path}")).header(name, value);
                range.fire(name, request).await;
            }
        }
    }
}
