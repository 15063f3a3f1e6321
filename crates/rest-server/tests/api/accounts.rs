//! Logging in, one's own account, other accounts, groups.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, TestServer, text};

async fn token(server: &TestServer, form: &[(&str, &str)]) -> (u16, Value) {
    let request = server
        .anonymous()
        .post("/oauth2/token")
        .basic_auth("codalab_cli_client", Some(""))
        .form(form);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn tokens_are_granted_refreshed_and_refused_with_401() {
    let server = TestServer::start().await;
    let password = [
        ("grant_type", "password"),
        ("username", "alice@example.org"),
        ("password", PASSWORD),
    ];
    let (status, first) = token(&server, &password).await;
    assert_eq!(status, 200);
    assert_eq!(first["token_type"], "Bearer");
    assert_eq!(first["scope"], "default");
    assert_eq!(first["expires_in"], 3600);
    assert!(first.get("meta").is_none());

    let refresh = text(&first["refresh_token"]);
    let (status, second) = token(&server, &[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
    assert_eq!(status, 200);
    assert_ne!(first["access_token"], second["access_token"]);

    for (form, expected, error) in [
        (
            vec![("grant_type", "password"), ("username", "alice"), ("password", "wrong")],
            401,
            "invalid_grant",
        ),
        (
            vec![
                ("grant_type", "password"),
                ("username", "nobody"),
                ("password", PASSWORD),
            ],
            401,
            "invalid_grant",
        ),
        (
            vec![("grant_type", "refresh_token"), ("refresh_token", "wrong")],
            401,
            "invalid_grant",
        ),
        (
            vec![("grant_type", "password"), ("username", "alice")],
            400,
            "invalid_request",
        ),
        (vec![("grant_type", "magic")], 400, "unsupported_grant_type"),
        (vec![("grant_type", "client_credentials")], 401, "unauthorized_client"),
    ] {
        let (status, answer) = token(&server, &form).await;
        assert_eq!((status, answer["error"].as_str()), (expected, Some(error)), "{form:?}");
    }
    let answer = server
        .anonymous()
        .post("/oauth2/token")
        .form(&password)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_revoked_or_invented_token_is_nobody() {
    let server = TestServer::start().await;
    let client = server.login("alice").await;
    let form = [("token", client.token.clone().unwrap())];
    let answer = server
        .anonymous()
        .post("/oauth2/revoke")
        .basic_auth("codalab_cli_client", Some(""))
        .form(&form);
    assert_eq!(answer.send().await.unwrap().status(), 200);
    let (status, message) = client.send(Method::GET, "/user", None).await;
    assert_eq!((status.as_u16(), message), (401, json!("User is not authenticated.")));
}

#[tokio::test]
async fn the_browser_session_is_a_cookie_and_changes_need_our_origin() {
    let server = TestServer::start().await;
    let client = server.anonymous();
    let form = [
        ("username", "alice"),
        ("password", PASSWORD),
        ("success_uri", "/home"),
        ("error_uri", "/bad"),
    ];
    let answer = client.post("/account/login").form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()["location"], "/home");
    let cookie = answer.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();

    let (status, me) = crate::support::read(client.get("/user").header("cookie", &cookie).send().await.unwrap()).await;
    assert_eq!(
        (status.as_u16(), me["data"]["attributes"]["user_name"].as_str()),
        (200, Some("alice"))
    );
    let foreign = client
        .request(Method::PATCH, "/user")
        .header("cookie", &cookie)
        .header("origin", "http://evil.example");
    let body = json!({"data": {"type": "users", "attributes": {"first_name": "A"}}});
    assert_eq!(foreign.json(&body).send().await.unwrap().status(), 403);

    let wrong = [("username", "alice"), ("password", "x"), ("error_uri", "/bad")];
    let answer = client.post("/account/login").form(&wrong).send().await.unwrap();
    assert_eq!(
        answer.headers()["location"],
        "/bad?error=Login%2Fpassword+did+not+match.&next=%2F"
    );
    let away = [
        ("username", "alice"),
        ("password", PASSWORD),
        ("success_uri", "//evil.example"),
    ];
    assert_eq!(
        client.post("/account/login").form(&away).send().await.unwrap().status(),
        400
    );
}

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
