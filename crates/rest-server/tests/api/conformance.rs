//! The conformance checklist of the API (18 items), and where each is tested:
//!
//! | item | test |
//! |---|---|
//! | 1 JSON content type, no compression | `traps::json_is_labelled_exactly_and_never_compressed` |
//! | 2 `meta.version` | `traps::the_version_is_digits_and_dots` |
//! | 3 aggregates | `traps::aggregates_have_no_data` |
//! | 4 arrays and objects | [`item_04_bulk_answers_are_arrays_and_single_ones_objects`] |
//! | 5 error bodies | `traps::errors_for_browsers_hold_the_message_in_their_first_pre` |
//! | 6 tokens and 401 | `traps::wrong_passwords_and_refresh_tokens_are_401` |
//! | 7 raw bodies, odd HTTP, exact 200 | `traps::uploads_of_the_old_client_get_exactly_200`, `traps::replies_of_the_old_worker_get_exactly_200` |
//! | 8 ranges, directory encoding | `traps::ranges_are_200_and_empty_past_the_end_for_programs_and_standard_for_browsers`, `contents::a_directory_is_unpacked_listed_and_packed_again` |
//! | 9 dependencies in paths | `contents::paths_lead_through_dependencies` |
//! | 10 null connection strings | `contents::the_way_before_an_upload_says_to_use_the_server` |
//! | 11 attributes, uuids | `traps::unknown_and_read_only_attributes_are_ignored` |
//! | 12 placeholders | `traps::unreadable_bundles_are_placeholders_with_masked_owners` |
//! | 13 sort keys | [`item_13_sort_keys_are_consecutive_also_for_readers`] |
//! | 14 home worksheet | `worksheets::the_home_worksheet_is_made_on_demand` |
//! | 15 check-in | [`item_15_a_check_in_answers_an_array_in_five_seconds`], `workers::a_check_in_waits_for_a_message_and_ends_with_it`, `workers::reads_of_a_running_bundle_are_answered_by_its_worker` |
//! | 16 failing twice | `traps::failing_requests_that_arrive_twice_leave_nothing` |
//! | 17 ten results | [`item_17_searches_give_ten_results_unless_told`] |
//! | 18 protected mode | [`item_18_protected_mode_refuses_with_401`] |

use std::time::{Duration, Instant};

use reqwest::Method;
use rest_server::Settings;
use serde_json::{Value, json};

use crate::support::{TestServer, text};
use crate::traps::create_body;
use crate::workers::check_in_body;

fn runs(count: usize) -> Value {
    let run = create_body("run-it")["data"][0].clone();
    json!({"data": vec![run; count]})
}

#[tokio::test]
async fn item_04_bulk_answers_are_arrays_and_single_ones_objects() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let worksheet = alice.home_worksheet().await;
    let created = alice
        .change(Method::POST, &format!("/bundles?worksheet={worksheet}"), runs(1))
        .await;
    assert!(created["data"].is_array());
    let uuid = text(&created["data"][0]["id"]);
    alice.hide(&uuid).await;
    let change = json!({"data": [{"type": "bundles", "id": uuid, "attributes": {"metadata": {"description": "x"}}}]});
    assert!(alice.change(Method::PATCH, "/bundles", change).await["data"].is_array());
    let change = json!({"data": {"type": "users", "attributes": {"affiliation": "lab"}}});
    assert!(alice.change(Method::PATCH, "/user", change).await["data"].is_object());
    for path in [
        "/user",
        "/users/alice",
        &format!("/bundles/{uuid}"),
        &format!("/worksheets/{worksheet}"),
    ] {
        assert!(alice.fetch(path).await["data"].is_object(), "{path}");
    }
    for path in [
        &format!("/bundles?specs={uuid}"),
        "/worksheets?specs=%2F",
        "/groups",
        "/bundle_stores",
    ] {
        assert!(alice.fetch(path).await["data"].is_array(), "{path}");
    }
    let size = json!({"data": [{"type": "bundles", "attributes": {"filesize": 12345}}]});
    let path = format!("/bundles/{uuid}/contents/filesize/");
    assert!(alice.change(Method::PATCH, &path, size.clone()).await["data"].is_array());
    // Nobody else may (the old server asked nobody), and only sizes are sizes.
    let bob = server.login("bob").await;
    assert_eq!(bob.send(Method::PATCH, &path, Some(size.clone())).await.0, 403);
    assert_eq!(server.anonymous().send(Method::PATCH, &path, Some(size)).await.0, 401);
    for wrong in [json!(-1), json!("x"), Value::Null] {
        let body = json!({"data": [{"type": "anything", "attributes": {"filesize": wrong}}]});
        assert_eq!(alice.send(Method::PATCH, &path, Some(body)).await.0, 400);
    }
    let path = format!("/bundles/{uuid}/state?success=0&error_msg=broken");
    assert_eq!(bob.send(Method::POST, &path, None).await.0, 403);
    let failed = alice.send(Method::POST, &path, None).await.1;
    assert_eq!(failed["data"][0]["id"], uuid.as_str(), "{failed}");
}

#[tokio::test]
async fn item_13_sort_keys_are_consecutive_also_for_readers() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let worksheet = alice.home_worksheet().await;
    alice
        .change(Method::POST, &format!("/bundles?worksheet={worksheet}"), runs(3))
        .await;
    let public = alice.fetch("/groups/public").await["data"]["id"].clone();
    let grant = json!({"data": [{"type": "worksheet-permissions", "attributes": {"permission": 1}, "relationships": {
        "group": {"data": {"type": "groups", "id": public}},
        "worksheet": {"data": {"type": "worksheets", "id": worksheet}}}}]});
    alice.change(Method::POST, "/worksheet-permissions", grant).await;
    let bob = server.login("bob").await;
    for client in [bob, server.anonymous(), alice] {
        let answer = client.fetch(&format!("/worksheets/{worksheet}?include=items")).await;
        let keys: Vec<i64> = answer["included"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|resource| resource["type"] == "worksheet-items")
            .map(|item| item["attributes"]["sort_key"].as_i64().expect("a sort key"))
            .collect();
        assert_eq!(keys.len(), 3);
        assert!(keys.windows(2).all(|pair| pair[1] == pair[0] + 1), "{keys:?}");
    }
}

#[tokio::test]
async fn item_15_a_check_in_answers_an_array_in_five_seconds() {
    let server = TestServer::start().await;
    let worker = server.login_as("codalab", "codalab_worker_client").await;
    let started = Instant::now();
    let answer = worker
        .change(Method::POST, "/workers/w/checkin", check_in_body(json!([])))
        .await;
    assert_eq!(answer, json!([null]));
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn item_17_searches_give_ten_results_unless_told() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let worksheet = alice.home_worksheet().await;
    alice
        .change(Method::POST, &format!("/bundles?worksheet={worksheet}"), runs(12))
        .await;
    for (keywords, expected) in [("keywords=.mine", 10), ("keywords=.mine&keywords=.limit=11", 11)] {
        let found = alice.fetch(&format!("/bundles?{keywords}")).await;
        assert_eq!(found["data"].as_array().unwrap().len(), expected, "{keywords}");
    }
}

#[tokio::test]
async fn item_18_protected_mode_refuses_with_401() {
    let settings = Settings {
        protected_mode: true,
        ..Settings::default()
    };
    let server = TestServer::start_with(settings).await;
    let root = server.login("codalab").await;
    let alice = server.login("alice").await;
    let id = alice.fetch("/user").await["data"]["id"].clone();
    let access = json!({"data": [{"type": "users", "id": root.fetch("/user").await["data"]["id"],
        "attributes": {"has_access": true}}]});
    root.change(Method::PATCH, "/users", access).await;
    let data = root.dataset_with("data", b"x").await;
    let worksheet = root.home_worksheet().await;
    let guarded = [
        (Method::GET, format!("/bundles/{data}")),
        (Method::GET, format!("/bundles?specs={data}")),
        (Method::POST, format!("/bundles?worksheet={worksheet}")),
        (Method::GET, format!("/bundles/{data}/contents/info/")),
        (Method::GET, format!("/bundles/{data}/contents/blob/")),
        (Method::PUT, format!("/bundles/{data}/contents/blob/?filename=x")),
        (Method::PUT, format!("/bundles/{data}/netcat/80/")),
        (Method::GET, format!("/bundles/{data}/netcurl/80/")),
        (Method::GET, format!("/bundles/{data}/locations/")),
        (Method::POST, "/bundle-actions".to_owned()),
        (Method::GET, "/worksheets?specs=%2F".to_owned()),
        (Method::GET, format!("/worksheets/{worksheet}")),
        (Method::GET, format!("/interpret/worksheet/{worksheet}")),
        (Method::POST, "/cli/command".to_owned()),
        (Method::GET, "/groups".to_owned()),
        (Method::GET, "/workers/info".to_owned()),
        (Method::POST, "/workers/w/checkin".to_owned()),
    ];
    for client in [&alice, &server.anonymous()] {
        for (method, path) in &guarded {
            let (status, message) = client.send(method.clone(), path, None).await;
            assert_eq!(status, 401, "{method} {path}: {message}");
        }
    }
    alice.fetch("/user").await;
    alice.fetch("/users/alice").await;
    let access = json!({"data": [{"type": "users", "id": id, "attributes": {"has_access": true}}]});
    root.change(Method::PATCH, "/users", access).await;
    alice.home_worksheet().await;
}

#[tokio::test]
async fn the_terminal_executes_and_completes_commands_as_the_user() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let send = |body: Value| alice.send(Method::POST, "/cli/command", Some(body));
    let (status, text) = send(json!({"worksheet_uuid": null, "command": "cl ls -u"})).await;
    assert_eq!((status.as_u16(), &text["output"]), (200, &json!("")));
    let (status, text) = send(json!({"worksheet_uuid": null, "command": "uinfo -f user_name"})).await;
    assert_eq!((status.as_u16(), &text["output"]), (200, &json!("alice\n")));
    let (status, answer) = send(json!({"worksheet_uuid": null, "command": "w", "autocomplete": true})).await;
    assert_eq!(status, 200);
    assert!(
        answer["completions"].as_array().unwrap().contains(&json!("work")),
        "{answer}"
    );
    assert_eq!(
        send(json!({"command": "ls"})).await.1,
        json!("Missing `workhseet_uuid`")
    );
}

#[tokio::test]
async fn static_files_come_from_one_directory_only() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("logo.svg"), "<svg/>").unwrap();
    std::fs::create_dir(directory.path().join("sub")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.path().join("sub/link")).unwrap();
    let settings = Settings {
        static_dir: Some(directory.path().to_owned()),
        ..Settings::default()
    };
    let server = TestServer::start_with(settings).await;
    let anonymous = server.anonymous();
    let logo = anonymous.get("/static/logo.svg").send().await.unwrap();
    assert_eq!(logo.headers()["content-type"], "image/svg+xml");
    assert_eq!(logo.text().await.unwrap(), "<svg/>");
    for path in [
        "/static/none",
        "/static/sub",
        "/static/sub/link",
        "/static/%2e%2e/x",
        "/static/..%2fx",
        "/static//etc/passwd",
    ] {
        assert_eq!(anonymous.get(path).send().await.unwrap().status(), 404, "{path}");
    }
    let none = TestServer::start().await;
    assert_eq!(
        none.anonymous().get("/static/logo.svg").send().await.unwrap().status(),
        404
    );
}
