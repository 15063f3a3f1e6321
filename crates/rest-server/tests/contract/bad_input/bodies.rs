//! Bodies: JSON of the wrong shape at every level, bombs, numbers out of range, broken text; forms; generated documents.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::bad_input::{Range, on_both, targets};
use crate::pattern::fill;

/// A document that each route with a JSON body would take, to be spoiled piece by piece.
const DOCUMENTS: &[(&str, &str, &str)] = &[
    (
        "POST",
        "/bundles?worksheet=$WS",
        r#"{"data": [{"type": "bundles", "id": "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "attributes": {"bundle_type": "run", "command": "true", "frozen": null, "is_anonymous": false,
        "dependencies": [{"child_path": "a", "parent_uuid": "$DATA", "parent_path": ""}],
        "metadata": {"name": "n", "description": "", "tags": ["a"], "allow_failed_dependencies": false, "request_docker_image": "", "request_time": "1h", "request_memory": "1g", "request_disk": "1g", "request_cpus": 1, "request_gpus": 0, "request_queue": "", "request_priority": 0, "request_network": false, "exclude_patterns": ["x"]}}}]}"#,
    ),
    (
        "PATCH",
        "/bundles",
        r#"{"data": [{"type": "bundles", "id": "$SECRET", "attributes": {"is_anonymous": false, "frozen": null, "metadata": {"description": "x", "tags": ["a"], "name": "n"}}, "relationships": {"owner": {"data": {"type": "users", "id": "$ALICE"}}}}]}"#,
    ),
    (
        "DELETE",
        "/bundles",
        r#"{"data": [{"type": "bundles", "id": "$NONE"}]}"#,
    ),
    (
        "POST",
        "/bundle-actions",
        r#"{"data": [{"type": "bundle-actions", "attributes": {"type": "write", "uuid": "$RUN", "subpath": "a", "string": "b"}}]}"#,
    ),
    (
        "POST",
        "/bundle-permissions",
        r#"{"data": [{"type": "bundle-permissions", "attributes": {"permission": 1}, "relationships": {"group": {"data": {"type": "groups", "id": "$TEAM"}}, "bundle": {"data": {"type": "bundles", "id": "$SECRET"}}}}]}"#,
    ),
    (
        "POST",
        "/worksheet-permissions",
        r#"{"data": [{"type": "worksheet-permissions", "attributes": {"permission_spec": "read"}, "relationships": {"group": {"data": {"type": "groups", "id": "$TEAM"}}, "worksheet": {"data": {"type": "worksheets", "id": "$HIDDEN"}}}}]}"#,
    ),
    (
        "PATCH",
        "/user",
        r#"{"data": {"type": "users", "id": "x", "attributes": {"user_name": "alice", "first_name": "a", "last_name": "b", "affiliation": "c", "url": "http://x.example", "notifications": 1, "avatar_id": null}}}"#,
    ),
    (
        "PATCH",
        "/user/increment_disk_used",
        r#"{"data": [{"type": "user/increment_disk_used", "attributes": {"disk_used_increment": 1, "bundle_uuid": "$SECRET"}}]}"#,
    ),
    (
        "PATCH",
        "/users",
        r#"{"data": [{"type": "users", "id": "$BOB", "attributes": {"disk_quota": 1000, "time_quota": 1000, "parallel_run_quota": 1, "email": "bob@example.org", "is_verified": true, "user_name": "bob"}}]}"#,
    ),
    ("DELETE", "/users", r#"{"data": [{"type": "users", "id": "nobody"}]}"#),
    (
        "POST",
        "/groups",
        r#"{"data": [{"type": "groups", "attributes": {"name": "g"}}]}"#,
    ),
    ("DELETE", "/groups", r#"{"data": [{"type": "groups", "id": "$NONE"}]}"#),
    (
        "POST",
        "/groups/team/relationships/members",
        r#"{"data": [{"type": "users", "id": "$BOB"}]}"#,
    ),
    (
        "DELETE",
        "/groups/team/relationships/members",
        r#"{"data": [{"type": "users", "id": "$CAROL"}]}"#,
    ),
    (
        "POST",
        "/bundle_stores",
        r#"{"data": [{"type": "bundle_stores", "attributes": {"name": "s", "storage_type": "disk", "storage_format": "uncompressed", "url": null, "authentication": null}}]}"#,
    ),
    (
        "DELETE",
        "/bundle_stores",
        r#"{"data": [{"type": "bundle_stores", "id": "$NONE"}]}"#,
    ),
    (
        "POST",
        "/bundles/$DATA/locations/",
        r#"{"data": [{"type": "bundle_locations", "attributes": {"bundle_uuid": "$DATA", "bundle_store_uuid": "$STORE"}}]}"#,
    ),
    (
        "PATCH",
        "/bundles/$DATA/contents/filesize/",
        r#"{"data": [{"type": "x", "attributes": {"filesize": 12345}}]}"#,
    ),
    ("PUT", "/bundles/$DATA/netcat/8000/", r#"{"message": "text"}"#),
    (
        "POST",
        "/worksheets",
        r#"{"data": [{"type": "worksheets", "attributes": {"name": "w"}}]}"#,
    ),
    (
        "PATCH",
        "/worksheets",
        r#"{"data": [{"type": "worksheets", "id": "$HIDDEN", "attributes": {"title": "t", "tags": ["a"], "is_anonymous": false, "frozen": null, "name": "alice-private"}, "relationships": {"owner": {"data": {"type": "users", "id": "$ALICE"}}}}]}"#,
    ),
    (
        "DELETE",
        "/worksheets",
        r#"{"data": [{"type": "worksheets", "id": "$NONE"}]}"#,
    ),
    (
        "POST",
        "/worksheets/$HIDDEN/add-items",
        r#"{"items": ["a"], "item_type": "markup", "after_sort_key": 1, "ids": [1]}"#,
    ),
    (
        "POST",
        "/worksheet-items?uuid=$HIDDEN",
        r#"{"data": [{"type": "worksheet-items", "attributes": {"type": "markup", "value": "x", "sort_key": 1}, "relationships": {"worksheet": {"data": {"type": "worksheets", "id": "$HIDDEN"}}, "bundle": {"data": null}, "subworksheet": {"data": null}}}]}"#,
    ),
    ("POST", "/interpret/search", r#"{"keywords": ["a"]}"#),
    ("POST", "/interpret/wsearch", r#"{"keywords": ["a"]}"#),
    (
        "POST",
        "/interpret/file-genpaths",
        r#"{"queries": [{"bundle_uuid": "$DATA", "genpath": "/train.py:a/b", "post": "%.3f"}]}"#,
    ),
    (
        "POST",
        "/interpret/genpath-table-contents",
        r#"{"contents": [{"a": ["$DATA", "/train.py:a", null]}]}"#,
    ),
    (
        "POST",
        "/workers/w/checkin",
        r#"{"tag": "t", "group_name": "team", "cpus": 8, "gpus": 0, "memory_bytes": 1, "free_disk_bytes": 1, "dependencies": [["$DATA", ""]], "hostname": "n", "shared_file_system": false, "tag_exclusive": false, "exit_after_num_runs": 9, "is_terminating": false, "preemptible": false, "wait_seconds": 0,
        "runs": [{"uuid": "$RUN", "run_status": "x", "bundle_start_time": 1.5, "container_time_total": 1.5, "container_time_user": 1, "container_time_system": 1, "docker_image": "x", "state": "running", "remote": "w", "exitcode": 1, "failure_message": "x", "bundle_profile_stats": {"RUN_STAGE.RUNNING": {"start": 1.5, "end": null, "elapsed": null}}, "cpu_usage": 0.5, "memory_usage": 0.5, "disk_utilization": 5}]}"#,
    ),
    (
        "POST",
        "/workers/w/start_bundle/$RUN",
        r#"{"hostname": "x", "start_time": 1}"#,
    ),
    ("POST", "/workers/w/reply/1", r#"{"a": 1}"#),
    ("POST", "/help/", r#"{"message": "x"}"#),
    (
        "POST",
        "/cli/command",
        r#"{"worksheet_uuid": "$WS", "command": "ls", "autocomplete": false}"#,
    ),
];

/// What takes the place of a value.
fn replacements() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(""),
        json!("tea\u{0}time"),
        json!("'; DROP TABLE bundle; -- /* \\ % _"),
        json!("\u{202e}🧪\u{308}\r\nX: y"),
        json!([]),
        json!([[[]]]),
        json!({}),
        json!({"a": {"b": null}}),
        json!("x".repeat(10_000)),
    ]
}

/// Replacements that one value of a document gets; the next value gets the next ones, until all have been used.
const EACH: usize = 4;

/// Documents in which one value is another, or missing. `turn` counts the values seen so far.
fn spoiled(document: &Value, turn: &mut usize) -> Vec<Value> {
    let all = replacements();
    let mut out: Vec<Value> = (0..EACH)
        .map(|index| all[(*turn * EACH + index) % all.len()].clone())
        .collect();
    *turn += 1;
    let inner: Vec<(String, Vec<Value>)> = match document {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), spoiled(value, turn)))
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), spoiled(value, turn)))
            .collect(),
        _ => Vec::new(),
    };
    for (key, values) in inner {
        for value in values {
            let mut copy = document.clone();
            match &mut copy {
                Value::Object(map) => drop(map.insert(key.clone(), value)),
                Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
                _ => {}
            }
            out.push(copy);
        }
        let mut copy = document.clone();
        if let Value::Object(map) = &mut copy {
            map.remove(&key);
            out.push(copy);
        }
    }
    out
}

fn documents(range: &Range) -> Vec<(&'static str, String, Value)> {
    let known = rest_server::routes::index();
    DOCUMENTS
        .iter()
        .map(|(method, path, body)| {
            let body = fill(body, &range.scene.names);
            (
                *method,
                fill(path, &range.scene.names),
                serde_json::from_str(&body).unwrap(),
            )
        })
        // The table also has what is still being built.
        .filter(|(method, path, _)| {
            let path = format!("/rest{}", path.split('?').next().unwrap());
            known
                .iter()
                .any(|route| route.method.as_str() == *method && crate::is_at(&route.path, &path))
        })
        .collect()
}

async fn fire_json(range: &mut Range, name: &str, method: &str, path: &str, body: Vec<u8>) {
    let role = if method == "PATCH" && path == "/users" || path == "/bundle_stores" {
        "root"
    } else {
        "alice"
    };
    let request = range
        .request(role, method, path)
        .await
        .header("Content-Type", "application/json")
        .body(body);
    range.fire(name, request).await;
}

on_both! {
    async fn documents_with_any_value_spoiled(range) {
        let mut turn = 0;
        for (method, path, document) in documents(range) {
            if range.is_spent() {
                break;
            }
            for body in spoiled(&document, &mut turn) {
                // Long polls are for workers that are well.
                if path.ends_with("/checkin") && body["wait_seconds"] != json!(0) {
                    continue;
                }
                fire_json(range, "a spoiled document", method, &path, body.to_string().into_bytes()).await;
            }
        }
    }

    async fn text_that_is_hardly_json(range) {
        let nested = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000)).into_bytes();
        let bodies: Vec<(&str, Vec<u8>)> = vec![
            ("100,000 nested arrays", nested("[", "]")),
            ("100,000 nested objects", nested("{\"data\":", "}")),
            ("an unclosed depth", "[".repeat(1_000_000).into_bytes()),
            ("arrays within data", format!("{{\"data\": {}{}}}", "[".repeat(100), "]".repeat(100)).into_bytes()),
            ("duplicate keys", br#"{"data": [], "data": {"type": "x"}, "data": 5}"#.to_vec()),
            ("a number beyond all", br#"{"data": 1e400}"#.to_vec()),
            ("2^64", br#"{"data": [18446744073709551616]}"#.to_vec()),
            ("minus zero", br#"{"data": [-0, -0.0]}"#.to_vec()),
            ("NaN", br#"{"data": NaN}"#.to_vec()),
            ("infinity", br#"{"data": -Infinity}"#.to_vec()),
            ("a lone surrogate", br#"{"data": "\ud800"}"#.to_vec()),
            ("a wrong pair of surrogates", br#"{"data": "\udc00\ud800"}"#.to_vec()),
            ("a NUL", b"{\"data\": \"a\0b\"}".to_vec()),
            ("an escaped NUL", br#"{"data": "a\u0000b"}"#.to_vec()),
            ("a control character", b"{\"data\": \"a\x01b\"}".to_vec()),
            ("no UTF-8", b"{\"data\": \"\xff\xfe\"}".to_vec()),
            ("an overlong encoding", b"{\"data\": \"\xc0\xaf\"}".to_vec()),
            ("UTF-16", b"\xff\xfe{\0}\0".to_vec()),
            ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
            ("two documents", b"{} {}".to_vec()),
            ("nothing but space", b"   \n".to_vec()),
            ("a comment", b"{/* x */}".to_vec()),
            ("a long number", format!("{{\"data\": {}}}", "9".repeat(100_000)).into_bytes()),
        ];
        for (method, path, _) in documents(range) {
            if path.ends_with("/checkin") {
                continue;
            }
            if range.is_spent() {
                break;
            }
            for (name, body) in &bodies {
                fire_json(range, name, method, &path, body.clone()).await;
            }
        }
        // One route stands for all in what only the reader of bodies sees.
        let request = range
            .request("alice", "POST", "/worksheets")
            .await
            .header("Content-Type", "application/json")
            .body(format!("[{}]", "1,".repeat(5_000_000)));
        let answer = range.fire("more than 8 MiB", request).await;
        if answer.is_none_or(|answer| answer.status != 413 || answer.text() != "Request to large") {
            range.note("a body over 8 MiB must be a 413 `Request to large`".to_owned());
        }
        let wide = format!("{{{}}}", (0..300_000).map(|index| format!("\"k{index}\":1")).collect::<Vec<_>>().join(","));
        fire_json(range, "300,000 keys", "POST", "/worksheets", wide.into_bytes()).await;
    }

    async fn bodies_of_another_kind(range) {
        for (route, path) in targets(range) {
            if route.method.as_str() == "GET" || route.path.ends_with("/checkin") {
                continue;
            }
            for (name, kind, body) in [
                ("nothing", "application/json", &b""[..]),
                ("nothing at all", "", b""),
                ("a form", "application/x-www-form-urlencoded", b"a=b&c=%FF%00&=&&&%"),
                ("a broken multipart form", "multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb"),
                ("a multipart form without a boundary", "multipart/form-data", b"--x"),
                ("a JSON form", "text/plain", b"{\"data\": []}"),
                ("bytes", "application/octet-stream", b"\0\xff\xfe\x01"),
                ("a kind that is none", "\u{1}", b"{}"),
            ] {
                let mut request = range.request("alice", route.method.as_str(), &path).await.body(body);
                if !kind.is_empty() {
                    request = request.header("Content-Type", kind);
                }
                range.fire(name, request).await;
            }
        }
    }

    async fn forms_with_any_field_spoiled(range) {
        let forms = [
            ("/oauth2/token", "grant_type=password&username=nobody&password=x&client_id=codalab_cli_client&scope=default"),
            ("/oauth2/token", "grant_type=refresh_token&refresh_token=x&client_id=codalab_cli_client"),
            ("/oauth2/revoke", "token=x&token_type_hint=access_token&client_id=codalab_cli_client"),
            ("/account/login", "username=nobody&password=x&success_uri=/a&error_uri=/b"),
            ("/account/signup", "username=x&email=x&first_name=x&last_name=x&password=x&confirm_password=y&affiliation=x&token=x&success_uri=/a&error_uri=/b"),
            ("/account/reset", "email=nobody@example.org"),
            ("/account/reset/finalize", "code=x&password=x&confirm_password=x"),
            ("/account/changeemail", "email=x"),
        ];
        let huge = "x".repeat(1 << 20);
        let values = ["", "%00", "%FF%FE", "%", "a%0D%0ASet-Cookie:%20x=y", "'%20OR%201=1%20--%20/*", "%25_%5C", "%F0%9F%A7%AA", "a@b.c%0Ax", huge.as_str()];
        let known = rest_server::routes::index();
        for (path, form) in forms {
            if !known.iter().any(|route| route.path == format!("/rest{path}")) {
                continue;
            }
            let fields: Vec<&str> = form.split('&').collect();
            for index in 0..fields.len() {
                let name = fields[index].split('=').next().unwrap();
                for value in values {
                    let mut spoiled: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
                    spoiled[index] = format!("{name}={value}");
                    let request = range
                        .request("anonymous", "POST", path)
                        .await
                        .header("Content-Type", "application/x-www-form-urlencoded")
                        .body(spoiled.join("&"));
                    let answer = range.fire("a spoiled form", request).await;
                    if answer.is_some_and(|answer| answer.header("set-cookie").is_some_and(|cookie| cookie.contains("x=y"))) {
                        range.note(format!("{path}: {name} sets a header"));
                    }
                }
            }
        }
    }

    async fn generated_documents(range) {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|number| json!(number)),
            ".{0,20}".prop_map(Value::from),
            Just(json!("bundles")),
            Just(json!("worksheets")),
            Just(json!("0x00000000000000000000000000000bad")),
        ];
        let key = prop_oneof![
            Just("data".to_owned()), Just("type".to_owned()), Just("id".to_owned()), Just("attributes".to_owned()),
            Just("relationships".to_owned()), Just("metadata".to_owned()), Just("keywords".to_owned()), Just("items".to_owned()),
            "[a-z_]{1,8}",
        ];
        let value = leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..5)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        });
        let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(Config::default(), seed);
        for (method, path, _) in documents(range) {
            if path.ends_with("/checkin") {
                continue;
            }
            if range.is_spent() {
                break;
            }
            for _ in 0..12 {
                let body = value.new_tree(&mut runner).unwrap().current();
                fire_json(range, "a generated document", method, &path, body.to_string().into_bytes()).await;
                let body = json!({"data": body, "keywords": body, "items": body, "queries": body, "contents": body});
                fire_json(range, "a generated document", method, &path, body.to_string().into_bytes()).await;
            }
        }
    }
}
