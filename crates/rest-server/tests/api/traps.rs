//! The traps that have bitten other servers of this API, each by its name, with the bytes of the clients that fall in.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, PASSWORD, TestServer, text};
use crate::workers::{check_in, check_in_body, report, running};

/// Sends bytes as they are; the whole answer until the connection ends.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
        .await
        .expect("an answer and the end of the connection")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn create_body(name: &str) -> Value {
    json!({"data": [{"type": "bundles", "attributes": {"bundle_type": "run", "command": "date", "dependencies": [],
        "metadata": {"name": name, "description": "", "tags": [], "allow_failed_dependencies": false, "request_docker_image": "",
            "request_time": "", "request_memory": "", "request_disk": "", "request_cpus": 1, "request_gpus": 0,
            "request_queue": "", "request_priority": 0, "request_network": false, "exclude_patterns": []}}}]})
}

async fn count(client: &Client, name: &str) -> Value {
    client
        .fetch(&format!("/bundles?keywords=name={name}&keywords=.count"))
        .await["meta"]["result"]
        .clone()
}

/// Every JSON answer of these, also to a client that offers gzip.
#[tokio::test]
async fn json_is_labelled_exactly_and_never_compressed() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let data = alice.dataset_with("data", b"x").await;
    let worksheet = alice.home_worksheet().await;
    for path in [
        "/user".to_owned(),
        format!("/bundles/{data}"),
        format!("/bundles?specs={data}&worksheet={worksheet}"),
        format!("/bundles/{data}/contents/info/?depth=5"),
        format!("/bundles/{data}/locations/"),
        format!("/worksheets/{worksheet}"),
        format!("/interpret/worksheet/{worksheet}"),
        "/worksheets?keywords=.mine".to_owned(),
        "/groups".to_owned(),
        "/users/alice".to_owned(),
        "/bundle_stores".to_owned(),
        "/workers/info".to_owned(),
    ] {
        let answer = alice
            .get(&path)
            .header("Accept-Encoding", "gzip, deflate")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
        assert!(answer.headers().get("content-encoding").is_none(), "{path}");
        let value: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert!(value.is_object(), "{path}");
    }
}

#[tokio::test]
async fn the_version_is_digits_and_dots() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let worksheet = alice.home_worksheet().await;
    for path in [
        "/user",
        "/bundles?keywords=.count",
        "/groups",
        "/workers/info",
        &format!("/worksheets/{worksheet}"),
    ] {
        let version = text(&alice.fetch(path).await["meta"]["version"]);
        assert!(
            version.split('.').all(|part| part.parse::<u32>().is_ok()),
            "{path}: {version}"
        );
    }
}

#[tokio::test]
async fn aggregates_have_no_data() {
    let server = TestServer::start().await;
    let root = server.login("codalab").await;
    root.dataset_with("five", b"12345").await;
    for (path, key) in [
        ("/bundles?keywords=.count", "result"),
        ("/bundles?keywords=data_size=.sum", "result"),
        ("/users?keywords=.count", "results"),
    ] {
        let answer = root.fetch(path).await;
        assert!(answer.get("data").is_none(), "{path}: {answer}");
        assert!(answer["meta"][key].is_number(), "{path}: {answer}");
    }
    let uuid = root.dataset_with("gone", b"x").await;
    let body = json!({"data": [{"type": "bundles", "id": uuid}]});
    let answer = root.change(Method::DELETE, "/bundles", body).await;
    assert!(answer.get("data").is_none(), "{answer}");
    assert_eq!(answer["meta"]["ids"], json!([uuid]));
}

#[tokio::test]
async fn wrong_passwords_and_refresh_tokens_are_401() {
    let server = TestServer::start().await;
    let anonymous = server.anonymous();
    for form in [
        &[("grant_type", "password"), ("username", "alice"), ("password", "wrong")][..],
        &[
            ("grant_type", "password"),
            ("username", "nobody"),
            ("password", PASSWORD),
        ],
        &[("grant_type", "refresh_token"), ("refresh_token", "invented")],
    ] {
        let ask = || {
            anonymous
                .post("/oauth2/token")
                .basic_auth("codalab_cli_client", Some(""))
                .form(form)
                .send()
        };
        // As everything that fails, it arrives twice.
        for _ in 0..2 {
            let answer = ask().await.unwrap();
            assert_eq!(answer.status(), 401, "{form:?}");
            let value: Value = answer.json().await.unwrap();
            assert_eq!(value["error"], "invalid_grant", "{form:?}");
        }
    }
    let form = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", PASSWORD),
    ];
    let answer = anonymous
        .post("/oauth2/token")
        .basic_auth("codalab_cli_client", Some(""))
        .form(&form)
        .send()
        .await;
    let value: Value = answer.unwrap().json().await.unwrap();
    for key in ["access_token", "expires_in", "token_type", "scope", "refresh_token"] {
        assert!(!value[key].is_null(), "{key}: {value}");
    }
    assert_eq!(value["token_type"], "Bearer");
}

/// The chunked uploader of 1.7: absolute request target, a content type that lies, NUL bytes while it waits.
#[tokio::test]
async fn uploads_of_the_old_client_get_exactly_200() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let token = alice.token.clone().unwrap();
    for kind in [
        "",
        "application/x-www-form-urlencoded",
        "application/json",
        "multipart/form-data; boundary=x",
    ] {
        let uuid = alice.new_dataset("odd").await;
        let kind = if kind.is_empty() {
            String::new()
        } else {
            format!("Content-Type: {kind}\r\n")
        };
        let request = format!(
            "PUT http://{0}/rest/bundles/{uuid}/contents/blob/?filename=a.txt&unpack=1 HTTP/1.1\r\nHost: {0}\r\n{kind}\
             Transfer-Encoding: chunked\r\nX-Requested-With: XMLHttpRequest\r\nAuthorization: Bearer {token}\r\n\r\n\
             7\r\na=1&{{no\r\n0\r\n\r\n\0\0\0",
            server.address
        );
        let answer = raw(server.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{kind}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "nothing in the body: {answer}");
        let blob = alice
            .get(&format!("/bundles/{uuid}/contents/blob/"))
            .send()
            .await
            .unwrap();
        assert_eq!(blob.text().await.unwrap(), "a=1&{no", "{kind}");
    }
}

/// The same uploader, answering a read for a worker.
#[tokio::test]
async fn replies_of_the_old_worker_get_exactly_200() {
    let server = TestServer::start().await;
    let worker = server.login_as("codalab", "codalab_worker_client").await;
    let alice = server.login("alice").await;
    let run = running(&server, &worker, &alice, json!([])).await;
    let reading = tokio::spawn({
        let (alice, run) = (alice.clone(), run.clone());
        async move {
            let path = format!("/bundles/{run}/netcat/5005/");
            alice
                .put(&path)
                .json(&json!({"message": "x"}))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap()
        }
    });
    let socket = loop {
        let messages = check_in(&worker, check_in_body(json!([report(&run, "running")]))).await;
        if messages[0]["type"] == "netcat" {
            break messages[0]["socket_id"].clone();
        }
    };
    let request = format!(
        "POST http://{0}/rest/workers/node7%2812%29/reply_data/{socket}?header_message=%7B%7D HTTP/1.1\r\nHost: {0}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\nX-Requested-With: XMLHttpRequest\r\n\
         Authorization: Bearer {1}\r\n\r\n6\r\nanswer\r\n0\r\n\r\n\0\0",
        server.address,
        worker.token.clone().unwrap()
    );
    let answer = raw(server.address, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(reading.await.unwrap(), "answer");
}

#[tokio::test]
async fn ranges_are_200_and_empty_past_the_end_for_programs_and_standard_for_browsers() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.dataset_with("digits.txt", b"0123456789").await;
    let path = format!("/bundles/{uuid}/contents/blob/");
    for (range, expected) in [
        ("bytes=0-3", "0123"),
        ("bytes=8-99", "89"),
        ("bytes=10-20", ""),
        ("bytes=99-100", ""),
    ] {
        let answer = alice.get(&path).header("Range", range).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{range}");
        assert!(answer.headers().get("content-range").is_none(), "{range}");
        assert_eq!(answer.text().await.unwrap(), expected, "{range}");
    }
    let browser = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = |headers: &'static [(&str, &str)]| {
        let mut request = browser
            .get(format!("{}{path}", alice.base))
            .bearer_auth(alice.token.clone().unwrap());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send()
    };
    let whole = get(&[]).await.unwrap();
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let tag = whole.headers()["etag"].to_str().unwrap().to_owned();
    for (headers, status, range, expected) in [
        (&[("range", "bytes=2-4")][..], 206, Some("bytes 2-4/10"), "234"),
        (&[("range", "bytes=7-")], 206, Some("bytes 7-9/10"), "789"),
        (
            &[("range", "bytes=-2"), ("accept-encoding", "gzip")],
            206,
            Some("bytes 8-9/10"),
            "89",
        ),
        (&[("range", "bytes=0-1,4-5")], 200, None, "0123456789"),
        (
            &[("range", "bytes=1-2"), ("if-range", "\"other\"")],
            200,
            None,
            "0123456789",
        ),
    ] {
        let answer = get(headers).await.unwrap();
        assert_eq!(answer.status(), status, "{headers:?}");
        let found = answer
            .headers()
            .get("content-range")
            .map(|value| value.to_str().unwrap());
        assert_eq!(found, range, "{headers:?}");
        assert_eq!(answer.headers()["content-encoding"], "identity");
        assert_eq!(answer.text().await.unwrap(), expected, "{headers:?}");
    }
    let beyond = get(&[("range", "bytes=10-")]).await.unwrap();
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.headers()["content-range"], "bytes */10");
    assert_eq!(get(&[("range", "bytes=x")]).await.unwrap().status(), 400);

    let url = format!("{}{path}", alice.base);
    let ask = || browser.get(&url).bearer_auth(alice.token.clone().unwrap());
    let known = ask().header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(
        (known.status().as_u16(), known.headers()["etag"].to_str().unwrap()),
        (304, tag.as_str())
    );
    let part = ask()
        .header("if-range", &tag)
        .header("range", "bytes=1-1")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (part.status().as_u16(), part.text().await.unwrap().as_str()),
        (206, "1")
    );
    let head = browser
        .head(&url)
        .bearer_auth(alice.token.clone().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            head.status().as_u16(),
            head.headers()["content-length"].to_str().unwrap()
        ),
        (200, "10")
    );
}

#[tokio::test]
async fn errors_for_browsers_hold_the_message_in_their_first_pre() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.dataset_with("data", b"x").await;
    let browser = reqwest::Client::builder().no_proxy().build().unwrap();
    for (path, status, message) in [
        ("/nowhere".to_owned(), 404, "Not found: '/rest/nowhere'".to_owned()),
        (
            format!("/bundles/{uuid}/contents/info/<b>&"),
            404,
            format!("Path '&lt;b&gt;&amp;' in bundle {uuid} not found"),
        ),
        (
            format!("/bundles/{uuid}/contents/info/?depth=x"),
            400,
            "Invalid int 'x'".to_owned(),
        ),
    ] {
        let request = browser
            .get(format!("{}{path}", alice.base))
            .bearer_auth(alice.token.clone().unwrap());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert!(
            answer.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/html"),
            "{path}"
        );
        let page = answer.text().await.unwrap();
        let (_, rest) = page.split_once("<pre>").expect("a <pre>");
        let (shown, _) = rest.split_once("</pre>").unwrap();
        assert_eq!(shown, message, "{path}");
        // The command line gets the bare text.
        let plain = alice.get(&path).send().await.unwrap().text().await.unwrap();
        assert_eq!(
            plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
            message,
            "{path}"
        );
    }
}

#[tokio::test]
async fn unknown_and_read_only_attributes_are_ignored() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let worksheet = alice.home_worksheet().await;
    let mut body = create_body("copy");
    let attributes = &mut body["data"][0]["attributes"];
    // What a client reads from one server and sends to another.
    for (key, value) in [
        ("state_details", json!("x")),
        ("permission", json!(2)),
        ("permission_spec", json!("all")),
        ("args", json!("run date")),
        ("flavour", json!({"new": [1]})),
    ] {
        attributes[key] = value;
    }
    let uuid = "0x0123456789abcdef0123456789abcdef";
    attributes["uuid"] = json!(uuid);
    let created = alice
        .change(Method::POST, &format!("/bundles?worksheet={worksheet}"), body)
        .await;
    assert_eq!(created["data"][0]["id"], uuid, "the uuid of the client is honoured");
    let change = json!({"data": [{"type": "bundles", "id": uuid, "attributes": {
        "state_details": "y", "flavour": 1, "metadata": {"description": "kept"}}}]});
    let changed = alice.change(Method::PATCH, "/bundles", change).await;
    assert_eq!(changed["data"][0]["attributes"]["metadata"]["description"], "kept");
    assert_ne!(changed["data"][0]["attributes"]["state_details"], "y");
    let change = json!({"data": {"type": "users", "attributes": {"flavour": 1, "affiliation": "lab"}}});
    let me = alice.change(Method::PATCH, "/user", change).await;
    assert_eq!(me["data"]["attributes"]["affiliation"], "lab");
}

#[tokio::test]
async fn unreadable_bundles_are_placeholders_with_masked_owners() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    let secret = alice.dataset_with("secret", b"x").await;
    alice.hide(&secret).await;
    for path in [
        format!("/bundles/{secret}?include=owner"),
        format!("/bundles?specs={secret}&include=owner"),
    ] {
        let answer = bob.fetch(&path).await;
        let bundle = if answer["data"].is_array() {
            &answer["data"][0]
        } else {
            &answer["data"]
        };
        assert_eq!(bundle["id"], secret.as_str(), "{path}");
        assert_eq!(bundle["attributes"]["bundle_type"], "private", "{path}");
        assert_eq!(bundle["attributes"]["metadata"], json!({"name": "<private>"}), "{path}");
        assert!(!answer.to_string().contains("alice"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn failing_requests_that_arrive_twice_leave_nothing() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let worksheet = alice.home_worksheet().await;
    let mut half = create_body("half");
    let mut bad = half["data"][0].clone();
    bad["attributes"]["metadata"]["name"] = json!("not a name!");
    half["data"].as_array_mut().unwrap().push(bad);
    let missing = "0x00000000000000000000000000000000";
    for (method, path, body) in [
        (Method::POST, format!("/bundles?worksheet={worksheet}"), half),
        (
            Method::POST,
            format!("/bundles?worksheet={missing}"),
            create_body("half"),
        ),
        (
            Method::DELETE,
            "/bundles".to_owned(),
            json!({"data": [{"type": "bundles", "id": missing}]}),
        ),
        (
            Method::POST,
            "/worksheets".to_owned(),
            json!({"data": [{"type": "worksheets", "attributes": {"name": "a b"}}]}),
        ),
        (
            Method::POST,
            "/groups".to_owned(),
            json!({"data": [{"type": "groups", "attributes": {"name": "a b"}}]}),
        ),
    ] {
        let first = alice.send(method.clone(), &path, Some(body.clone())).await;
        assert!(first.0.is_client_error(), "{path}: {first:?}");
        assert_eq!(alice.send(method, &path, Some(body)).await, first, "{path}");
    }
    assert_eq!(count(&alice, "half").await, 0);
    let items = alice.fetch(&format!("/worksheets/{worksheet}?include=items")).await;
    assert!(!items.to_string().contains("half"));
}

/// Sends a create and hangs up before the answer.
async fn create_and_hang_up(server: &TestServer, client: &Client, target: &str, body: &str) -> bool {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "POST /rest{target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         X-Requested-With: XMLHttpRequest\r\nAuthorization: Bearer {}\r\n\r\n{body}",
        body.len(),
        client.token.clone().unwrap()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer.is_empty()
}

/// The body, of those that `bodies` makes of a number, whose answer the client did not wait for. A server may be quicker
/// than the client, so several tries.
async fn create_unheard<T: ToString>(
    server: &TestServer,
    client: &Client,
    target: &str,
    bodies: impl Fn(usize) -> T,
) -> (usize, T) {
    for number in 0..50 {
        let body = bodies(number);
        if create_and_hang_up(server, client, target, &body.to_string()).await {
            return (number, body);
        }
    }
    panic!("the server always answered before its client had gone");
}

/// A client of 1.7 repeats a request whose answer it never got; the first may have had its effect.
#[tokio::test]
async fn a_create_whose_answer_was_lost_is_not_made_twice() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let target = format!("/bundles?worksheet={}", alice.home_worksheet().await);
    let name = |number: usize| format!("once-{number}");
    let (number, body) = create_unheard(&server, &alice, &target, |number| create_body(&name(number))).await;
    let name = name(number);
    let repeated = alice.change(Method::POST, &target, body.clone()).await;
    assert_eq!(count(&alice, &name).await, 1);
    let found = alice.fetch(&format!("/bundles?keywords=name={name}")).await;
    assert_eq!(
        found["data"][0]["id"], repeated["data"][0]["id"],
        "the answer is that of the first"
    );

    // Now the client knows; the next equal request is a new wish.
    alice.change(Method::POST, &target, body).await;
    assert_eq!(count(&alice, &name).await, 2);

    // Somebody else's equal request is his own.
    let bob = server.login("bob").await;
    let group =
        |number: usize| json!({"data": [{"type": "groups", "attributes": {"name": format!("friends-{number}")}}]});
    let (_, group) = create_unheard(&server, &alice, "/groups", group).await;
    alice.change(Method::POST, "/groups", group.clone()).await;
    let (status, _) = bob.send(Method::POST, "/groups", Some(group)).await;
    assert_ne!(status, 500);
}

#[tokio::test]
async fn equal_creates_on_purpose_make_as_many() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let target = format!("/bundles?worksheet={}", alice.home_worksheet().await);
    let create = || alice.change(Method::POST, &target, create_body("many"));
    let one = create().await;
    let two = create().await;
    assert_ne!(one["data"][0]["id"], two["data"][0]["id"]);
    // Also at the same time, from a script with `&`.
    let made = futures::future::join_all((0..4).map(|_| create())).await;
    let ids: std::collections::BTreeSet<String> = made.iter().map(|answer| text(&answer["data"][0]["id"])).collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(count(&alice, "many").await, 6);
}

#[tokio::test]
async fn names_of_files_cannot_add_headers() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.new_dataset("evil").await;
    let name = "a\r\nSet-Cookie: x=y\r\n\"\\é.txt";
    let archive = crate::contents::gzip(&crate::contents::tar(&[(name, "text")]));
    assert_eq!(alice.upload(&uuid, "evil.tar.gz", archive).await.0, 200);
    let path: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let path = format!("/bundles/{uuid}/contents/blob/{}", path.replace('+', "%20"));
    let answer = alice.get(&path).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().get("set-cookie").is_none());
    assert_eq!(
        answer.headers()["content-disposition"],
        "inline; filename=\"aSet-Cookie: x=y\\\"\\\\_.txt\"; filename*=UTF-8''aSet-Cookie%3A%20x%3Dy%22%5C%C3%A9.txt"
    );
    assert_eq!(answer.text().await.unwrap(), "text");
}
