//! What people may see and do beside plain permission: anonymity, ownership, groups, repeated and bulk requests.

use domain::{BundleState, Uuid};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, TestServer, text};

async fn id_of(client: &Client) -> String {
    text(&client.fetch("/user").await["data"]["id"])
}

fn anonymous(kind: &str, id: &str) -> Value {
    json!({"data": [{"type": kind, "id": id, "attributes": {"is_anonymous": true}}]})
}

#[tokio::test]
async fn an_anonymous_bundle_shows_its_owner_and_host_only_to_those_who_may_do_everything() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    let root = server.login("codalab").await;
    let worksheet = alice.home_worksheet().await;
    let body = json!({"data": [{"type": "bundles", "attributes": {"bundle_type": "run", "command": "date",
        "metadata": {"name": "r", "description": "", "tags": [], "allow_failed_dependencies": false,
            "request_docker_image": "alice/image:1", "request_time": "", "request_memory": "1g", "request_disk": "",
            "request_cpus": 1, "request_gpus": 0, "request_queue": "alices", "request_priority": 0,
            "request_network": false, "exclude_patterns": []}}}]});
    let path = format!("/bundles?worksheet={worksheet}");
    let run = text(&alice.change(Method::POST, &path, body).await["data"][0]["id"]);
    let uuid = Uuid::parse(&run).unwrap();
    let mut told = domain::Metadata::new();
    told.set("remote", "alices-laptop");
    told.set("docker_image", "alice/image@sha256:1");
    server.state.model.set_metadata(uuid, &told).await.unwrap();
    let model = &server.state.model;
    let states = [BundleState::Created];
    assert!(
        model
            .fail(uuid, &states, "broken", Some("in /srv/secret.py"), 1)
            .await
            .unwrap()
    );
    alice
        .change(Method::PATCH, "/bundles", anonymous("bundles", &run))
        .await;

    let path = format!("/bundles/{run}?include=owner,group_permissions");
    for (client, knows, traceback) in [(&alice, true, false), (&bob, false, false), (&root, true, true)] {
        let seen = client.fetch(&path).await;
        let metadata = &seen["data"]["attributes"]["metadata"];
        let owner = &seen["data"]["relationships"]["owner"]["data"];
        assert_eq!(owner.is_null(), !knows, "{seen}");
        assert_eq!(metadata["request_queue"], if knows { "alices" } else { "" });
        assert_eq!(metadata["request_memory"], "1g");
        assert_eq!(metadata.get("remote").is_some(), knows);
        assert_eq!(metadata.get("docker_image").is_some(), knows);
        assert_eq!(metadata["failure_message"], "broken");
        assert_eq!(metadata.get("error_traceback").is_some(), traceback, "{seen}");
        let rows = seen["data"]["relationships"]["group_permissions"]["data"]
            .as_array()
            .unwrap();
        assert_eq!(rows.is_empty(), !knows);
        assert!(knows || !seen.to_string().contains("alice"), "{seen}");
        let page = client.fetch(&format!("/interpret/worksheet/{worksheet}")).await;
        let block = page["blocks"].to_string();
        assert!(
            block.contains(&run) && (knows || !block.contains("alices-laptop")),
            "{block}"
        );
    }
}

#[tokio::test]
async fn an_anonymous_worksheet_hides_its_owner_everywhere_but_from_the_owner() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    let new = json!({"data": [{"type": "worksheets", "attributes": {"name": "blind-review"}}]});
    let uuid = text(&alice.change(Method::POST, "/worksheets", new).await["data"][0]["id"]);
    alice
        .change(Method::PATCH, "/worksheets", anonymous("worksheets", &uuid))
        .await;
    let me = id_of(&alice).await;
    for path in [
        format!("/worksheets/{uuid}?include=owner,group_permissions"),
        format!("/worksheets?specs={uuid}&include=owner,group_permissions"),
        "/worksheets?keywords=blind-review&include=owner".to_owned(),
        format!("/interpret/worksheet/{uuid}"),
    ] {
        let seen = bob.fetch(&path).await.to_string();
        assert!(seen.contains("blind-review"), "{path}: {seen}");
        assert!(
            !seen.contains(&me) && !seen.contains("\"alice\"") && !seen.contains("public"),
            "{path}: {seen}"
        );
        assert!(alice.fetch(&path).await.to_string().contains(&me), "{path}");
    }
    // A bundle that is made there is anonymous, too.
    let body = json!({"data": [{"type": "bundles", "attributes": {"bundle_type": "dataset", "metadata":
        {"name": "d", "description": "", "tags": [], "license": "", "source_url": ""}}}]});
    let made = alice
        .change(Method::POST, &format!("/bundles?worksheet={uuid}"), body)
        .await;
    assert_eq!(made["data"][0]["attributes"]["is_anonymous"], true);
}

#[tokio::test]
async fn members_of_a_group_are_shown_to_members_and_deleted_ones_without_a_name() {
    let server = TestServer::start().await;
    let (alice, bob, root) = (
        server.login("alice").await,
        server.login("bob").await,
        server.login("codalab").await,
    );
    let new = json!({"data": [{"type": "groups", "attributes": {"name": "team"}}]});
    alice.change(Method::POST, "/groups", new.clone()).await;
    let (status, message) = bob.send(Method::POST, "/groups", Some(new)).await;
    assert_eq!(
        (status.as_u16(), message),
        (409, json!("Group with name team already exists"))
    );
    let cleo = model::NewUser {
        user_name: "cleo".to_owned(),
        email: "cleo@example.org".to_owned(),
        is_verified: true,
        ..model::NewUser::default()
    };
    let cleo = server
        .state
        .model
        .create_user(cleo, 1)
        .await
        .unwrap()
        .user_id
        .to_string();
    let add = json!({"data": [{"type": "users", "id": cleo}]});
    let members = "/groups/team/relationships/members";
    let (status, message) = bob.send(Method::POST, members, Some(add.clone())).await;
    assert_eq!(
        (status.as_u16(), message),
        (404, json!("Found no group with name 'team'"))
    );
    alice.change(Method::POST, members, add.clone()).await;
    assert_eq!(
        bob.fetch("/groups/team").await["data"]["relationships"]["members"]["data"],
        json!([])
    );
    let shown = alice.fetch("/groups/team").await;
    assert_eq!(
        shown["data"]["relationships"]["members"]["data"],
        json!([{"type": "users", "id": cleo}])
    );
    root.change(Method::DELETE, "/users", add).await;
    let shown = alice.fetch("/groups/team").await;
    assert_eq!(
        shown["data"]["relationships"]["members"]["data"],
        json!([{"type": "users", "id": cleo}])
    );
    let included = shown["included"].as_array().unwrap();
    assert!(included.iter().all(|user| user["id"] != json!(cleo)), "{shown}");

    let public = "/groups/public/relationships/members";
    let add = json!({"data": {"type": "users", "id": id_of(&bob).await}});
    for (client, expected) in [
        (&bob, "You are not the admin of group public."),
        (&root, "Cannot modify the public group public."),
    ] {
        let (status, message) = client.send(Method::POST, public, Some(add.clone())).await;
        assert_eq!((status.as_u16(), message), (403, json!(expected)));
    }
}

#[tokio::test]
async fn a_create_with_the_same_uuid_gives_the_same_bundle_again_or_a_conflict() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    let uuid = "0x00000000000000000000000000000abc";
    let body = |name: &str| {
        json!({"data": [{"type": "bundles", "id": uuid, "attributes": {"uuid": uuid, "bundle_type": "dataset", "metadata":
            {"name": name, "description": "", "tags": ["x"], "license": "", "source_url": ""}}}]})
    };
    let worksheet = alice.home_worksheet().await;
    let path = format!("/bundles?worksheet={worksheet}");
    let first = alice.change(Method::POST, &path, body("d")).await;
    let second = alice.change(Method::POST, &path, body("d")).await;
    assert_eq!(first, second);
    let items = alice.fetch(&format!("/worksheets/{worksheet}?include=items")).await;
    assert_eq!(
        items["data"]["relationships"]["items"]["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let taken = json!(format!("Bundle with uuid {uuid} already exists"));
    let (status, message) = alice.send(Method::POST, &path, Some(body("e"))).await;
    assert_eq!((status.as_u16(), &message), (409, &taken));
    let home = bob.home_worksheet().await;
    let (status, message) = bob
        .send(Method::POST, &format!("/bundles?worksheet={home}"), Some(body("d")))
        .await;
    assert_eq!((status.as_u16(), &message), (409, &taken));
}

#[tokio::test]
async fn a_thousand_bundles_are_created_fetched_and_deleted_in_one_request_each() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let worksheet = alice.home_worksheet().await;
    let bundles: Vec<Value> = (0..1000)
        .map(|n| {
            json!({"type": "bundles", "attributes": {"bundle_type": "dataset", "metadata":
                {"name": format!("d{n}"), "description": "", "tags": [], "license": "", "source_url": ""}}})
        })
        .collect();
    let made = alice
        .change(
            Method::POST,
            &format!("/bundles?worksheet={worksheet}"),
            json!({"data": bundles}),
        )
        .await;
    let ids: Vec<Value> = made["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bundle| bundle["id"].clone())
        .collect();
    assert_eq!(ids.len(), 1000);
    let page = format!("/worksheets/{worksheet}?include=items.bundle");
    assert_eq!(alice.fetch(&page).await["included"].as_array().unwrap().len(), 2000);
    let linkages: Vec<Value> = ids.iter().map(|id| json!({"type": "bundles", "id": id})).collect();
    let deleted = alice
        .change(Method::DELETE, "/bundles", json!({"data": linkages}))
        .await;
    assert_eq!(deleted["meta"]["ids"].as_array().unwrap(), &ids);
    assert!(server.state.model.leftovers(i64::MAX, 10).await.unwrap().is_empty());
    assert_eq!(alice.fetch(&format!("{page},items")).await["included"], json!([]));
}

#[tokio::test]
async fn writing_into_a_bundle_that_does_not_run_is_refused_and_kills_nothing() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let run = alice.new_run("cat", json!([])).await;
    let write = json!({"data": [{"type": "bundle-actions", "attributes":
        {"type": "write", "uuid": run, "subpath": "message", "string": "hello"}}]});
    let (status, message) = alice.send(Method::POST, "/bundle-actions", Some(write)).await;
    assert_eq!(
        (status.as_u16(), message),
        (400, json!("Cannot write to a bundle that is not running."))
    );
    let seen = alice.fetch(&format!("/bundles/{run}")).await;
    assert_eq!(seen["data"]["attributes"]["state"], "created");
}

#[tokio::test]
async fn a_reported_end_of_an_upload_is_measured_and_gives_the_bundle() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    for (query, state, message) in [
        ("success=1", "ready", None),
        ("success=0&error_msg=lost", "failed", Some("lost")),
        ("success=0&state_on_failure=killed", "killed", Some("Upload failed.")),
    ] {
        let uuid = alice.new_dataset("d").await;
        let increment = json!({"data": [{"type": "user/increment_disk_used",
            "attributes": {"disk_used_increment": 16384, "bundle_uuid": uuid}}]});
        alice
            .change(Method::PATCH, "/user/increment_disk_used", increment)
            .await;
        let path = format!("/bundles/{uuid}/state?{query}");
        let (status, answer) = alice.send(Method::POST, &path, None).await;
        assert_eq!(status, 200, "{answer}");
        let attributes = &answer["data"][0]["attributes"];
        assert_eq!(attributes["state"], state);
        assert_eq!(
            attributes["metadata"].get("failure_message"),
            message.map(Value::from).as_ref()
        );
    }
    let uuid = alice.new_dataset("d").await;
    let (status, message) = alice
        .send(
            Method::POST,
            &format!("/bundles/{uuid}/state?state_on_success=running"),
            None,
        )
        .await;
    assert_eq!(
        (status.as_u16(), message),
        (400, json!("state_on_success must be one of failed|ready|killed"))
    );
}

#[tokio::test]
async fn locations_belong_to_the_bundle_of_the_address() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let (one, other) = (alice.new_dataset("a").await, alice.new_dataset("b").await);
    let body = json!({"data": [{"type": "bundle_locations", "attributes":
        {"bundle_uuid": other, "bundle_store_uuid": null}}]});
    let (status, message) = alice
        .send(Method::POST, &format!("/bundles/{one}/locations/"), Some(body))
        .await;
    assert_eq!(status, 400, "{message}");
}

#[tokio::test]
async fn protected_mode_keeps_accounts_reachable_and_only_root_gives_access() {
    let settings = rest_server::Settings {
        protected_mode: true,
        ..rest_server::Settings::default()
    };
    let server = TestServer::start_with(settings).await;
    let (alice, root) = (server.login("alice").await, server.login("codalab").await);
    let me = alice.fetch("/user").await;
    let attributes = &me["data"]["attributes"];
    assert_eq!(
        (&attributes["protected_mode"], &attributes["has_access"]),
        (&json!(true), &json!(false))
    );
    let (status, message) = alice.send(Method::GET, "/worksheets?specs=%2F", None).await;
    assert_eq!(status, 401);
    assert!(
        text(&message).starts_with("User has not been given access"),
        "{message}"
    );
    let id = text(&me["data"]["id"]);
    let give = json!({"data": [{"type": "users", "id": id, "attributes": {"has_access": true}}]});
    let (status, _) = alice.send(Method::PATCH, "/users", Some(give.clone())).await;
    assert_eq!(status, 403);
    root.change(Method::PATCH, "/users", give).await;
    alice.home_worksheet().await;
    // A browser is led to the login page.
    let page = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = page
        .get(format!("{}/worksheets?keywords=x", alice.base))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_redirection());
    let target = answer.headers()["location"].to_str().unwrap();
    assert!(target.contains("/account/login?next="), "{target}");
}
