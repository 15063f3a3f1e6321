//! Worksheets, their items, and what they look like.

use reqwest::Method;
use serde_json::json;

use crate::support::{TestServer, text};

#[tokio::test]
async fn the_home_worksheet_is_made_on_demand() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let first = alice.home_worksheet().await;
    assert_eq!(alice.home_worksheet().await, first);
    let sheet = alice
        .fetch(&format!("/worksheets/{first}?include=owner,group_permissions,items"))
        .await;
    assert_eq!(sheet["data"]["attributes"]["name"], "home-alice");
    assert_eq!(sheet["data"]["attributes"]["permission_spec"], "all");
    assert_eq!(sheet["data"]["attributes"]["last_item_id"], -1);
    assert_eq!(sheet["meta"]["version"], "1.7.3");
    let (status, _) = server
        .anonymous()
        .send(Method::GET, "/worksheets?specs=%2F", None)
        .await;
    assert_eq!(status, 403);
    let (status, _) = alice.send(Method::GET, "/worksheets?specs=nowhere", None).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn worksheets_are_created_found_changed_and_deleted() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let body = json!({"data": [{"type": "worksheets", "attributes": {"name": "lab"}}]});
    let created = alice.change(Method::POST, "/worksheets", body.clone()).await;
    let uuid = text(&created["data"][0]["id"]);
    let odd = json!([{"type": "worksheet-items", "id": "('name', 'lab')"},
        {"type": "worksheet-items", "id": format!("('uuid', '{uuid}')")}]);
    assert_eq!(created["data"][0]["relationships"]["items"]["data"], odd);
    assert_eq!(created["data"][0]["attributes"], json!({"uuid": uuid, "name": "lab"}));
    let (status, message) = alice.send(Method::POST, "/worksheets", Some(body)).await;
    assert_eq!(
        (status.as_u16(), message),
        (400, json!("Worksheet with name lab already exists"))
    );

    let change =
        json!({"data": [{"type": "worksheets", "id": uuid, "attributes": {"title": "Läb 🧪", "tags": ["demo"]}}]});
    alice.change(Method::PATCH, "/worksheets", change).await;
    let listed = alice
        .fetch("/worksheets?keywords=.mine&include=owner,group_permissions")
        .await;
    let row = &listed["data"][0];
    assert_eq!(row["attributes"]["title"], "Läb 🧪");
    assert_eq!(row["relationships"]["owner"]["data"]["type"], "users");
    assert!(
        listed["included"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["attributes"]["permission"] == 1)
    );

    let bob = server.login("bob").await;
    let steal = json!({"data": [{"type": "worksheets", "id": uuid, "attributes": {"title": "mine"}}]});
    let (status, _) = bob.send(Method::PATCH, "/worksheets", Some(steal)).await;
    assert_eq!(status, 403);
    let gone = json!({"data": [{"type": "worksheets", "id": uuid}]});
    let (status, _) = alice.send(Method::DELETE, "/worksheets", Some(gone)).await;
    assert_eq!(status, 200);
    let (status, message) = alice.send(Method::GET, &format!("/worksheets/{uuid}"), None).await;
    assert_eq!(
        (status.as_u16(), message),
        (404, json!(format!("Could not find worksheet with uuid {uuid}")))
    );
}

#[tokio::test]
async fn source_text_becomes_items_and_comes_back() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let sheet = alice.home_worksheet().await;
    let data = alice.dataset_with("corpus", b"one\ntwo\n").await;
    let source =
        format!("# Title\n// note\n\n{{corpus}}\n% display contents / maxlines=1\n[whatever]{{{data}}}\n{{{{/}}}}");
    let answer = alice
        .post(&format!("/worksheets/{sheet}/raw"))
        .body(source)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 204);
    let fetched = alice
        .fetch(&format!(
            "/worksheets/{sheet}?include=items,items.bundle,items.bundle.owner"
        ))
        .await;
    let items: Vec<_> = fetched["included"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["type"] == "worksheet-items")
        .collect();
    let kinds: Vec<&str> = items
        .iter()
        .map(|item| item["attributes"]["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "markup",
            "directive",
            "markup",
            "bundle",
            "directive",
            "bundle",
            "worksheet"
        ]
    );
    let keys: Vec<i64> = items
        .iter()
        .map(|item| item["attributes"]["sort_key"].as_i64().unwrap())
        .collect();
    assert!(keys.windows(2).all(|pair| pair[1] == pair[0] + 1), "{keys:?}");

    let page = alice.fetch(&format!("/interpret/worksheet/{sheet}")).await;
    assert_eq!(page["source"][0], "# Title");
    assert_eq!(page["source"][3], format!("[dataset corpus]{{{data}}}"));
    let modes: Vec<&str> = page["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["mode"].as_str().unwrap())
        .collect();
    assert!(
        modes.contains(&"markup_block") && modes.contains(&"table_block") && modes.contains(&"contents_block"),
        "{modes:?}"
    );
    let contents = page["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|block| block["mode"] == "contents_block")
        .unwrap();
    assert_eq!(contents["lines"], json!(["one\n"]));
    assert_eq!(page["edit_permission"], true);
    assert_eq!(page["raw_to_block"].as_array().unwrap().len(), 7);

    let answer = alice
        .post(&format!("/worksheets/{sheet}/raw"))
        .body("{nothing-here}")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
    let again = alice.fetch(&format!("/interpret/worksheet/{sheet}?brief=1")).await;
    assert_eq!(again["source"], page["source"]);
    let bob = server.login("bob").await;
    assert_eq!(
        bob.post(&format!("/worksheets/{sheet}/raw"))
            .body("x")
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
}

#[tokio::test]
async fn items_are_appended_inserted_and_removed() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let sheet = alice.home_worksheet().await;
    let data = alice.new_dataset("d").await;
    let item = json!({"data": [{"type": "worksheet-items", "attributes": {"type": "bundle"}, "relationships": {
        "worksheet": {"data": {"type": "worksheets", "id": sheet}}, "bundle": {"data": {"type": "bundles", "id": data}},
        "subworksheet": {"data": null}}}]});
    alice
        .change(Method::POST, &format!("/worksheet-items?uuid={sheet}"), item)
        .await;
    let add = json!({"items": ["top", "second"], "after_sort_key": -1});
    let (status, _) = alice
        .send(Method::POST, &format!("/worksheets/{sheet}/add-items"), Some(add))
        .await;
    assert_eq!(status, 200);
    let page = alice.fetch(&format!("/interpret/worksheet/{sheet}?brief=1")).await;
    let expected = json!([
        "top",
        "second",
        format!("[dataset d]{{{data}}}"),
        format!("[dataset d]{{{data}}}")
    ]);
    assert_eq!(page["source"], expected);
    let replaced = json!({"data": [{"type": "worksheet-items", "attributes": {"type": "markup", "value": "only 🙂"},
        "relationships": {"worksheet": {"data": {"type": "worksheets", "id": sheet}}}}]});
    alice
        .change(
            Method::POST,
            &format!("/worksheet-items?uuid={sheet}&replace=1"),
            replaced,
        )
        .await;
    assert_eq!(
        alice.fetch(&format!("/interpret/worksheet/{sheet}")).await["source"],
        json!(["only 🙂"])
    );
}

#[tokio::test]
async fn values_are_read_from_files_of_bundles() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let data = alice.dataset_with("stats", br#"{"train": {"error": 0.125}}"#).await;
    let query = json!({"queries": [{"bundle_uuid": data, "genpath": "/:train/error", "post": "%.2f"},
        {"bundle_uuid": data, "genpath": "/nope", "post": null}]});
    let answer = alice.change(Method::POST, "/interpret/file-genpaths", query).await;
    assert_eq!(answer["data"], json!(["0.12", null]));
    let search = alice
        .change(
            Method::POST,
            "/interpret/search",
            json!({"keywords": [".mine", ".count"]}),
        )
        .await;
    assert_eq!(search["response"], json!({"result": 1, "is_aggregate": true}));
    let (status, message) = alice.send(Method::POST, "/interpret/wsearch", Some(json!({}))).await;
    assert_eq!((status.as_u16(), message), (400, json!("Missing `keywords`")));
}
