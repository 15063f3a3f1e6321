//! Very much of something in one request: it is done, or refused, in bounded time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bad_input::{Range, on_both};

async fn post(range: &mut Range, name: &str, method: &str, path: &str, body: &Value) -> u16 {
    let request = range
        .request("alice", method, path)
        .await
        .header("Content-Type", "application/json")
        .body(body.to_string());
    range.fire(name, request).await.map_or(0, |answer| answer.status)
}

on_both! {
    async fn ten_thousand_of_anything_in_one_request(range) {
        let names = range.scene.names.clone();
        let (data, hidden) = (names["DATA"].clone(), names["HIDDEN"].clone());
        let specs = vec!["specs=code"; 10_000].join("&");
        for path in ["/bundles", "/worksheets"] {
            let request = range.request("alice", "GET", &format!("{path}?{specs}")).await;
            range.fire("10,000 names", request).await;
        }
        let specs = vec![format!("specs={data}"); 10_000].join("&");
        let request = range.request("alice", "GET", &format!("/bundles?{specs}")).await;
        range.fire("10,000 uuids", request).await;
        let keywords = vec!["keywords=tea"; 10_000].join("&");
        for path in ["/bundles", "/worksheets", "/users"] {
            let request = range.request("alice", "GET", &format!("{path}?{keywords}")).await;
            range.fire("10,000 words", request).await;
        }
        let list = vec!["x"; 10_000].join(",");
        let request = range.request("alice", "GET", &format!("/bundles?keywords=name={list}")).await;
        range.fire("10,000 values of a word", request).await;
        post(range, "10,000 words", "POST", "/interpret/search", &json!({"keywords": vec!["tea"; 10_000]})).await;
        post(range, "10,000 words", "POST", "/interpret/wsearch", &json!({"keywords": vec!["tea"; 10_000]})).await;
        let query = json!({"bundle_uuid": data, "genpath": "/train.py:a", "post": null});
        post(range, "10,000 cells", "POST", "/interpret/file-genpaths", &json!({"queries": vec![query; 10_000]})).await;
        let linkage = json!({"type": "bundles", "id": names["NONE"]});
        post(range, "10,000 deletions", "DELETE", "/bundles", &json!({"data": vec![linkage; 10_000]})).await;
        let change = json!({"type": "bundles", "id": names["NONE"], "attributes": {}});
        post(range, "10,000 changes", "PATCH", "/bundles", &json!({"data": vec![change; 10_000]})).await;
        let bundle = json!({"type": "bundles", "attributes": {"bundle_type": "dataset", "metadata": {"name": "n"}}});
        post(range, "10,000 incomplete bundles", "POST", "/bundles?detached=1", &json!({"data": vec![bundle; 10_000]})).await;
        let dependency = json!({"child_path": "x", "parent_uuid": data});
        let run = json!({"type": "bundles", "attributes": {"bundle_type": "make", "dependencies": vec![dependency; 10_000],
            "metadata": {"name": "n", "description": "", "tags": [], "allow_failed_dependencies": false}}});
        post(range, "10,000 dependencies", "POST", "/bundles?detached=1", &json!({"data": [run]})).await;
        let tags: Vec<String> = (0..10_000).map(|index| format!("t{index}")).collect();
        post(range, "10,000 tags", "PATCH", "/worksheets",
            &json!({"data": [{"type": "worksheets", "id": hidden, "attributes": {"tags": tags}}]})).await;
        post(range, "10,000 removed items", "POST", &format!("/worksheets/{hidden}/add-items"),
            &json!({"ids": (1_000_000..1_010_000).collect::<Vec<i64>>()})).await;
    }

    async fn a_hundred_thousand_items(range) {
        range.longest = Duration::from_secs(60);
        let hidden = range.scene.names["HIDDEN"].clone();
        post(range, "100,000 lines", "POST", &format!("/worksheets/{hidden}/add-items"),
            &json!({"items": vec!["line"; 100_000]})).await;
        let request = range
            .request("alice", "PUT", &format!("/worksheets/{hidden}/raw"))
            .await
            .body("line\n".repeat(100_000));
        range.fire("100,000 lines of source", request).await;
        let request = range.request("alice", "GET", &format!("/worksheets/{hidden}?include=items")).await;
        range.fire("all of them", request).await;
    }

    async fn names_and_texts_that_are_too_long(range) {
        let names = range.scene.names.clone();
        let (long, huge) = ("n".repeat(10_000), "x".repeat(1 << 20));
        for text in [&long, &huge] {
            post(range, "a long name", "POST", "/worksheets",
                &json!({"data": [{"type": "worksheets", "attributes": {"name": text}}]})).await;
            post(range, "a long name", "POST", "/groups",
                &json!({"data": [{"type": "groups", "attributes": {"name": text}}]})).await;
            post(range, "a long title", "PATCH", "/worksheets",
                &json!({"data": [{"type": "worksheets", "id": names["HIDDEN"], "attributes": {"title": text}}]})).await;
            post(range, "a long tag", "PATCH", "/worksheets",
                &json!({"data": [{"type": "worksheets", "id": names["HIDDEN"], "attributes": {"tags": [text]}}]})).await;
            for field in ["user_name", "first_name", "last_name", "affiliation", "url", "avatar_id"] {
                post(range, "a long field of the record", "PATCH", "/user",
                    &json!({"data": {"type": "users", "attributes": {field: text}}})).await;
            }
            for (field, value) in [("name", json!(text)), ("description", json!(text)), ("tags", json!([text]))] {
                let mut metadata = json!({"name": "n", "description": "", "tags": [], "license": "", "source_url": ""});
                metadata[field] = value;
                post(range, "long metadata", "POST", "/bundles?detached=1",
                    &json!({"data": [{"type": "bundles", "attributes": {"bundle_type": "dataset", "metadata": metadata}}]})).await;
            }
            let run = |command: &str, child: &str, parent: &str| json!({"data": [{"type": "bundles", "attributes": {"bundle_type": "run",
                "command": command, "dependencies": [{"child_path": child, "parent_uuid": names["DATA"], "parent_path": parent}],
                "metadata": {"name": "n", "description": "", "tags": [], "allow_failed_dependencies": false, "request_docker_image": "",
                "request_time": "", "request_memory": "", "request_disk": "", "request_cpus": 1, "request_gpus": 0, "request_queue": "",
                "request_priority": 0, "request_network": false, "exclude_patterns": []}}}]});
            post(range, "a long command", "POST", "/bundles?detached=1", &run(text, "a", "")).await;
            post(range, "a long path of a dependency", "POST", "/bundles?detached=1", &run("true", text, "")).await;
            post(range, "a long path in a parent", "POST", "/bundles?detached=1", &run("true", "a", text)).await;
            post(range, "a long line", "POST", &format!("/worksheets/{}/add-items", names["HIDDEN"]), &json!({"items": [text]})).await;
            post(range, "a long word", "POST", "/interpret/search", &json!({"keywords": [text]})).await;
            post(range, "a long worker", "POST", "/workers/w/checkin",
                &json!({"dependencies": [[names["DATA"], text]], "runs": [], "tag": text, "hostname": text, "group_name": text, "wait_seconds": 0})).await;
            post(range, "a long message", "POST", "/help/", &json!({"message": text})).await;
        }
        let request = range.request("alice", "POST", &format!("/workers/{long}/checkin")).await
            .header("Content-Type", "application/json")
            .body(r#"{"dependencies": [], "runs": [], "wait_seconds": 0}"#);
        range.fire("a long name of a worker", request).await;
    }

    async fn names_are_not_normalised(range) {
        // Two spellings of one letter are two texts, and a name takes neither.
        for name in ["caf\u{e9}", "cafe\u{301}", "\u{ff41}bc", "a\u{200b}b"] {
            let status = post(range, "letters beyond ASCII", "POST", "/worksheets",
                &json!({"data": [{"type": "worksheets", "attributes": {"name": name}}]})).await;
            if status != 400 {
                range.note(format!("the name {name:?} gives {status}"));
            }
        }
        // Case counts in names, on both databases.
        for name in ["Case-Name", "case-name", "CASE-NAME"] {
            let status = post(range, "a name in another case", "POST", "/worksheets",
                &json!({"data": [{"type": "worksheets", "attributes": {"name": name}}]})).await;
            if status >= 500 || status == 0 {
                range.note(format!("the name {name:?} gives {status}"));
            }
        }
    }
}
