//! One's own account, other accounts, groups.

use reqwest::Method;
use serde_json::json;

use crate::support::{TestServer, text};

#[tokio::test]
async fn users_see_and_change_what_is_theirs() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let me = alice.fetch("/user").await;
    assert_eq!(me["data"]["attributes"]["is_root_user"], false);
    let change = json!({"data": {"type": "users", "attributes": {"first_name": "Alice", "affiliation": null}}});
    let changed = alice.change(Method::PATCH, "/user", change).await;
    assert_eq!(changed["data"]["attributes"]["first_name"], "Alice");
    let quota = json!({"data": {"type": "users", "attributes": {"disk_quota": 1}}});
    let (status, message) = alice.send(Method::PATCH, "/user", Some(quota)).await;
    assert_eq!(status, 403);
    assert!(
        message
            .as_str()
            .unwrap()
            .starts_with("These fields are read-only: email, has_access")
    );
    let taken = json!({"data": {"type": "users", "attributes": {"user_name": "bob"}}});
    let (status, message) = alice.send(Method::PATCH, "/user", Some(taken)).await;
    assert_eq!(
        (status.as_u16(), message),
        (400, json!("User name bob is already taken."))
    );

    let bob = alice.fetch("/users/bob").await;
    assert!(bob["data"]["attributes"].get("email").is_none());
    let root = server.login("codalab").await;
    let id = text(&bob["data"]["id"]);
    let body = json!({"data": [{"type": "users", "id": id, "attributes": {"disk_quota": 5, "parallel_run_quota": 7}}]});
    let changed = root.change(Method::PATCH, "/users", body.clone()).await;
    assert_eq!(changed["data"][0]["attributes"]["disk_quota"], 5);
    assert_eq!(changed["data"][0]["attributes"]["parallel_run_quota"], 7);
    let (status, _) = alice.send(Method::PATCH, "/users", Some(body)).await;
    assert_eq!(status, 403);
    let all = alice.fetch("/users?keywords=").await;
    assert_eq!(all["data"].as_array().unwrap().len(), 3);
    let (status, message) = alice.send(Method::GET, "/users/nobody", None).await;
    assert_eq!((status.as_u16(), message), (404, json!("User nobody not found")));
}

#[tokio::test]
async fn groups_have_admins_and_members() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let body = json!({"data": [{"type": "groups", "attributes": {"name": "team"}}]});
    let created = alice.change(Method::POST, "/groups", body.clone()).await;
    assert_eq!(
        created["data"][0]["attributes"],
        json!({"name": "team", "user_defined": true})
    );
    let (status, _) = alice.send(Method::POST, "/groups", Some(body)).await;
    assert_eq!(status, 409);
    let bob_id = text(&alice.fetch("/users/bob").await["data"]["id"]);
    let member = json!({"data": {"type": "users", "id": bob_id}});
    alice
        .change(Method::POST, "/groups/team/relationships/members", member.clone())
        .await;
    let group = alice.fetch("/groups/team").await;
    assert_eq!(
        group["data"]["relationships"]["members"]["data"][0]["id"],
        bob_id.as_str()
    );
    assert!(
        group["included"]
            .as_array()
            .unwrap()
            .iter()
            .any(|user| user["attributes"]["user_name"] == "bob")
    );
    let bob = server.login("bob").await;
    let (status, message) = bob
        .send(Method::DELETE, "/groups/team/relationships/members", Some(member))
        .await;
    assert_eq!(
        (status.as_u16(), message),
        (403, json!("You are not the admin of group team."))
    );
    let group_id = text(&created["data"][0]["id"]);
    let (status, _) = alice
        .send(
            Method::DELETE,
            "/groups",
            Some(json!({"data": [{"type": "groups", "id": group_id}]})),
        )
        .await;
    assert_eq!(status, 204);
}
