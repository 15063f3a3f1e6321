//! Records of bundles: creation, reading, change, deletion.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestServer, text};

fn names(document: &Value) -> Vec<&str> {
    let list = document["data"].as_array().unwrap().iter();
    list.map(|bundle| bundle["attributes"]["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_new_run_comes_back_with_everything_clients_read() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let data = alice.dataset_with("corpus", b"x").await;
    let run = alice
        .new_run(
            "wc data",
            json!([{"child_path": "data", "parent_uuid": data, "parent_path": ""}]),
        )
        .await;
    let bundle = alice
        .fetch(&format!(
            "/bundles/{run}?include=owner,host_worksheets,group_permissions&include_display_metadata=1"
        ))
        .await;
    let attributes = &bundle["data"]["attributes"];
    assert_eq!(attributes["state"], "created");
    assert_eq!(attributes["command"], "wc data");
    assert_eq!(attributes["permission_spec"], "all");
    assert_eq!(attributes["dependencies"][0]["parent_name"], "corpus");
    assert_eq!(attributes["dependencies"][0]["child_uuid"], run.as_str());
    assert_eq!(
        attributes["args"],
        format!("run data:{data} \"wc data\" --request-cpus 1")
    );
    assert!(attributes["state_details"].is_string());
    assert_eq!(attributes["metadata"]["actions"], json!([]));
    assert_eq!(bundle["data"]["meta"]["metadata_type"]["request_cpus"], "int");
    let included = bundle["included"].as_array().unwrap();
    assert!(
        included
            .iter()
            .any(|one| one["type"] == "users" && one["attributes"]["user_name"] == "alice")
    );
    assert!(
        included
            .iter()
            .any(|one| one["type"] == "worksheets" && one["attributes"]["name"] == "home-alice")
    );
    assert!(
        included
            .iter()
            .any(|one| one["type"] == "bundle-permissions" && one["attributes"]["group_name"] == "public")
    );
    let parent = alice.fetch(&format!("/bundles/{data}?include=children")).await;
    assert_eq!(
        parent["data"]["relationships"]["children"]["data"][0]["id"],
        run.as_str()
    );
}

#[tokio::test]
async fn bad_creations_are_refused_and_leave_nothing() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let worksheet = alice.home_worksheet().await;
    let metadata = json!({"name": "x", "description": "", "tags": [], "license": "", "source_url": ""});
    let mut wrong = metadata.clone();
    wrong["surprise"] = json!(1);
    let cases = [
        (
            json!({"bundle_type": "dataset", "metadata": wrong}),
            "Unexpected metadata key: surprise",
        ),
        (
            json!({"bundle_type": "dataset", "metadata": {"name": "x"}}),
            "Missing metadata key: description",
        ),
        (
            json!({"bundle_type": "planet", "metadata": metadata}),
            "Not a valid choice.",
        ),
        (json!({"metadata": metadata}), "Missing data for required field."),
    ];
    for (attributes, expected) in cases {
        let body = json!({"data": [
            {"type": "bundles", "attributes": {"bundle_type": "dataset", "metadata": metadata}},
            {"type": "bundles", "attributes": attributes}]});
        let (status, message) = alice
            .send(Method::POST, &format!("/bundles?worksheet={worksheet}"), Some(body))
            .await;
        assert_eq!(status, 400, "{message}");
        assert!(message.as_str().unwrap().starts_with(expected), "{message}");
    }
    let (status, _) = alice.send(Method::POST, "/bundles", Some(json!({"data": []}))).await;
    assert_eq!(status, 400);
    assert!(names(&alice.fetch("/bundles?keywords=.mine").await).is_empty());
}

#[tokio::test]
async fn specs_and_keywords_find_bundles_in_order() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let (a, b) = (alice.new_dataset("a").await, alice.new_dataset("b").await);
    let worksheet = alice.home_worksheet().await;
    let found = alice
        .fetch(&format!(
            "/bundles?worksheet={worksheet}&specs=b&specs=a&specs=b&specs=%5E2"
        ))
        .await;
    assert_eq!(names(&found), ["b", "a", "b", "a"]);
    let prefix = alice.fetch(&format!("/bundles?specs={}", &a[..20])).await;
    assert_eq!(prefix["data"][0]["id"], a.as_str());
    let counted = alice.fetch("/bundles?keywords=.mine&keywords=.count").await;
    assert_eq!(counted["meta"]["result"], 2);
    assert!(counted.get("data").is_none());
    // A sum of nothing is null, and a format that does not apply leaves the value; else all post-functions work.
    for (format, expected) in [
        ("", serde_json::json!(2)),
        ("&keywords=.format%3D%25.2f", serde_json::json!("2.00")),
        (
            "&keywords=.format%3Dduration%20%7C%20%5B0%3A1%5D",
            serde_json::json!("2"),
        ),
        ("&keywords=.format%3Dadd%20x", serde_json::json!(2)),
    ] {
        let counted = alice
            .fetch(&format!("/bundles?keywords=.mine&keywords=.count{format}"))
            .await;
        assert_eq!(counted["meta"]["result"], expected, "{format}");
    }
    assert_eq!(names(&alice.fetch("/bundles?keywords=name%3Db").await), ["b"]);
    assert_eq!(
        names(&alice.fetch("/bundles?keywords=NAME%3DB&keywords=.last").await),
        ["b"]
    );
    for (query, status) in [
        ("specs=nothing", 404),
        ("specs=0x0123456789abcdef0123456789abcdef", 404),
        ("specs=", 400),
        ("include=moon&specs=a", 400),
        ("", 400),
    ] {
        let (found, text) = alice
            .send(Method::GET, &format!("/bundles?worksheet={worksheet}&{query}"), None)
            .await;
        assert_eq!(found, status, "{query}: {text}");
    }
    let (status, message) = alice
        .send(Method::GET, "/bundles/0x0123456789abcdef0123456789abcdef", None)
        .await;
    assert_eq!(status, 404);
    assert_eq!(message, "Bundle 0x0123456789abcdef0123456789abcdef not found");
    drop(b);
}

#[tokio::test]
async fn what_somebody_may_not_read_is_a_placeholder_and_may_not_be_changed() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.dataset_with("secret", b"hidden").await;
    let groups = alice.fetch("/groups").await;
    let public = text(
        &groups["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|g| g["attributes"]["name"] == "public")
            .unwrap()["id"],
    );
    let none = json!({"data": [{"type": "bundle-permissions", "attributes": {"permission": 0}, "relationships": {
        "group": {"data": {"type": "groups", "id": public}}, "bundle": {"data": {"type": "bundles", "id": uuid}}}}]});
    alice.change(Method::POST, "/bundle-permissions", none).await;

    let bob = server.login("bob").await;
    for client in [&bob, &server.anonymous()] {
        let hidden = client.fetch(&format!("/bundles/{uuid}?include=owner")).await;
        assert_eq!(hidden["data"]["attributes"]["bundle_type"], "private");
        assert_eq!(hidden["data"]["attributes"]["metadata"], json!({"name": "<private>"}));
        assert_eq!(hidden["data"]["relationships"]["owner"]["data"], Value::Null);
        let (status, _) = client
            .send(Method::GET, &format!("/bundles/{uuid}/contents/info/"), None)
            .await;
        assert_eq!(status, 403);
        let (status, _) = client
            .send(Method::GET, &format!("/bundles/{uuid}/contents/blob/"), None)
            .await;
        assert_eq!(status, 403);
    }
    let change = json!({"data": [{"type": "bundles", "id": uuid, "attributes": {"metadata": {"name": "mine"}}}]});
    let (status, message) = bob.send(Method::PATCH, "/bundles", Some(change)).await;
    assert_eq!(status, 403);
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("does not have sufficient permissions on bundle"),
        "{message}"
    );
    let (status, _) = bob.upload(&uuid, "x", "x").await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn changes_go_to_the_bundle_with_the_id() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let (a, b) = (alice.new_dataset("a").await, alice.new_dataset("b").await);
    let change = json!({"data": [
        {"type": "bundles", "id": b, "attributes": {"metadata": {"description": "second"}, "state": "ready"}},
        {"type": "bundles", "id": a, "attributes": {"metadata": {"description": "first", "tags": ["x"]}}}]});
    let changed = alice.change(Method::PATCH, "/bundles", change).await;
    assert_eq!(changed["data"][0]["attributes"]["metadata"]["description"], "second");
    assert_eq!(changed["data"][1]["attributes"]["metadata"]["tags"], json!(["x"]));
    assert_eq!(changed["data"][0]["attributes"]["state"], "uploading");
    let chinese = json!({"data": [{"type": "bundles", "id": a, "attributes": {"metadata": {"description": "你好"}}}]});
    let (status, message) = alice.send(Method::PATCH, "/bundles", Some(chinese)).await;
    assert_eq!(status, 400, "{message}");
}

#[tokio::test]
async fn deletion_respects_dependants_and_gives_the_space_back() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let used = |me: &Value| me["data"]["attributes"]["disk_used"].as_i64().unwrap();
    let before = used(&alice.fetch("/user").await);
    let data = alice.dataset_with("data", b"some bytes").await;
    assert_eq!(used(&alice.fetch("/user").await), before + 10);
    let run = alice
        .new_run("cat d", json!([{"child_path": "d", "parent_uuid": data}]))
        .await;
    let body = json!({"data": [{"type": "bundles", "id": data}]});
    let (status, message) = alice.send(Method::DELETE, "/bundles", Some(body.clone())).await;
    assert_eq!(status, 400);
    let expected =
        format!("Can't delete bundles {data} because the following bundles depend on them:\n  run-it({run})");
    assert_eq!(message, expected);
    let dry = alice
        .change(Method::DELETE, "/bundles?dry-run=1&recursive=1", body.clone())
        .await;
    assert_eq!(dry["meta"]["ids"], json!([data, run]));
    let gone = alice.change(Method::DELETE, "/bundles?recursive=1", body).await;
    assert_eq!(gone["meta"]["ids"], json!([data, run]));
    assert!(gone.get("data").is_none());
    assert_eq!(used(&alice.fetch("/user").await), before);
    let (status, _) = alice.send(Method::GET, &format!("/bundles/{data}"), None).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_bundle_without_a_worker_is_killed_at_once() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let run = alice.new_run("sleep 1", json!([])).await;
    let kill = json!({"data": [{"type": "bundle-actions", "attributes": {"type": "kill", "uuid": run}}]});
    let answer = alice.change(Method::POST, "/bundle-actions", kill.clone()).await;
    assert_eq!(answer["data"][0]["id"], Value::Null);
    let bundle = alice.fetch(&format!("/bundles/{run}")).await;
    assert_eq!(bundle["data"]["attributes"]["state"], "killed");
    assert_eq!(bundle["data"]["attributes"]["metadata"]["actions"], json!(["kill"]));
    let (status, _) = alice.send(Method::POST, "/bundle-actions", Some(kill)).await;
    assert_eq!(status, 400);
    let slash = json!({"data": [{"type": "bundle-actions", "attributes":
        {"type": "write", "uuid": run, "subpath": "a/b", "string": ""}}]});
    let (status, message) = alice.send(Method::POST, "/bundle-actions", Some(slash)).await;
    assert_eq!(
        (status.as_u16(), message),
        (400, json!("Child path must match ^[a-zA-Z0-9_\\-.]*\\Z, was a/b"))
    );
}
