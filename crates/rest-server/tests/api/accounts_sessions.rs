//! Logging in and out with a browser, what the session survives and what ends it, and requests of other sites.

use reqwest::Method;
use serde_json::json;

use crate::site::{Browser, configured};
use crate::support::PASSWORD;

on_both! {
    async fn login_answers_with_redirects(site) {
        let (alice, right, wrong) = (("username", "alice"), ("password", PASSWORD), ("password", "wrong-horse"));
        let failure = "error=Login%2Fpassword+did+not+match.";
        for (form, target) in [
            (vec![alice, right], "/".to_owned()),
            (vec![("username", "ALICE@example.org"), right], "/".to_owned()),
            (vec![alice, right, ("success_uri", "/users?x=1#top")], "/users?x=1#top".to_owned()),
            (vec![alice, right, ("success_uri", "")], "/".to_owned()),
            (vec![alice, wrong], format!("/account/login?{failure}&next=%2F")),
            (vec![("username", "nobody"), right], format!("/account/login?{failure}&next=%2F")),
            (vec![alice], format!("/account/login?{failure}&next=%2F")),
            (vec![], format!("/account/login?{failure}&next=%2F")),
            (vec![alice, wrong, ("error_uri", "/bad?a=b"), ("success_uri", "/users")], format!("/bad?a=b&{failure}&next=%2Fusers")),
        ] {
            let answer = site.browser().post("/account/login", &form).await;
            assert_eq!((answer.status, &answer.location), (303, &target), "{form:?}");
            assert!(answer.header("location").starts_with("http://"), "absolute");
            assert_eq!(answer.set_cookie.is_empty(), target.contains("error"), "{form:?}");
        }
        let before = site.state.model.find_user("bob").await.unwrap().last_login;
        site.logged_in("bob").await;
        assert!(before.is_none() && site.state.model.find_user("bob").await.unwrap().last_login.is_some());
    }

    async fn a_session_survives_a_restart_and_ends_at_logout(site) {
        let mut alice = site.logged_in("alice").await;
        let mut other = site.logged_in("alice").await;
        assert_eq!(alice.who().await.as_deref(), Some("alice"));
        let config = site.config.clone();
        site.restart(config).await;
        for browser in [&mut alice, &mut other] {
            browser.origin = format!("http://{}", site.address);
            assert_eq!(browser.who().await.as_deref(), Some("alice"));
        }
        let stolen = alice.clone();
        let answer = alice.get("/account/logout?redirect_uri=/bye").await;
        assert_eq!((answer.status, answer.location.as_str()), (303, "/bye"));
        assert_eq!(answer.set_cookie, ["codalab_session=\"\"; Max-Age=-1; expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/"]);
        assert_eq!(alice.cookie, None);
        // The cookie that somebody kept is worth nothing, and the browser is told to forget it.
        let mut stolen = stolen;
        let request = stolen.request(Method::GET, "/user").header("X-Requested-With", "XMLHttpRequest");
        let answer = stolen.send(request).await;
        assert_eq!((answer.status, answer.body.as_str()), (401, "User is not authenticated."));
        assert!(answer.set_cookie[0].contains("Max-Age=-1"));
        assert_eq!(other.who().await.as_deref(), Some("alice"));
        assert_eq!(site.browser().get("/account/logout").await.location, "/");
    }

    async fn a_new_password_ends_all_sessions_and_tokens(site) {
        let mut alice = site.logged_in("alice").await;
        let mut bob = site.logged_in("bob").await;
        let id = site.user_id("alice").await;
        site.state.model.set_password(&id, "another-horse").await.unwrap();
        assert_eq!(alice.who().await, None);
        assert_eq!(bob.who().await.as_deref(), Some("bob"));
    }
}

#[tokio::test]
async fn the_cookie_is_for_us_alone() {
    configured(
        |_, _| {},
        async |site| {
            let form = [("username", "alice"), ("password", PASSWORD)];
            let plain = site.browser().post("/account/login", &form).await;
            let value = plain.set_cookie[0].strip_prefix("codalab_session=\"").unwrap();
            let attributes = value.split_once('"').unwrap().1;
            assert_eq!(attributes, "; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax");
            let https = site.browser().with_header("x-forwarded-proto", "https");
            let secure = https.clone().post("/account/login", &form).await;
            assert!(
                secure.set_cookie[0].ends_with("; SameSite=Lax; Secure"),
                "{:?}",
                secure.set_cookie
            );
            assert!(secure.header("location").starts_with("https://"));
            // Anonymous requests without a cookie get none removed; broken ones do.
            assert!(site.browser().get("/account/css").await.set_cookie.is_empty());
            let mut broken = site.browser();
            broken.cookie = Some("codalab_session=junk".to_owned());
            assert!(broken.get("/account/css").await.set_cookie[0].contains("Max-Age=-1"));
        },
    )
    .await;
}

#[tokio::test]
async fn sessions_go_on_under_a_new_key_as_long_as_the_old_one_is_listed() {
    configured(
        |_, _| {},
        async |site| {
            let mut alice = site.logged_in("alice").await;
            let mut config = site.config.clone();
            config.previous_secret_keys = vec![std::mem::replace(&mut config.secret_key, "a new secret".to_owned())];
            site.restart(config.clone()).await;
            alice.origin = format!("http://{}", site.address);
            assert_eq!(alice.who().await.as_deref(), Some("alice"));
            config.previous_secret_keys.clear();
            site.restart(config).await;
            alice.origin = format!("http://{}", site.address);
            assert_eq!(alice.who().await, None);
        },
    )
    .await;
}

#[tokio::test]
async fn the_old_web_front_end_may_read_the_cookie_if_the_operator_wants_it() {
    configured(
        |config, _| config.session_http_only = false,
        async |site| {
            let form = [("username", "alice"), ("password", PASSWORD)];
            let answer = site.browser().post("/account/login", &form).await;
            assert!(!answer.set_cookie[0].contains("HttpOnly"));
        },
    )
    .await;
}

#[tokio::test]
async fn redirects_never_leave_the_site() {
    configured(
        |_, _| {},
        async |site| {
            for away in [
                "//evil.example",
                "https://evil.example",
                "/\\evil.example",
                "javascript:alert(1)",
                "/\t/evil.example",
            ] {
                let encoded: String = url::form_urlencoded::byte_serialize(away.as_bytes()).collect();
                let logout = site
                    .browser()
                    .get(&format!("/account/logout?redirect_uri={encoded}"))
                    .await;
                let mut refused = vec![logout];
                for (path, field) in [
                    ("/account/login", "success_uri"),
                    ("/account/login", "error_uri"),
                    ("/account/signup", "success_uri"),
                    ("/account/signup", "error_uri"),
                ] {
                    let form = [("username", "alice"), ("password", PASSWORD), (field, away)];
                    refused.push(site.browser().post(path, &form).await);
                }
                for answer in refused {
                    assert_eq!(answer.status, 400, "{away}");
                    assert!(
                        answer.body.contains("<pre>Only relative URIs are allowed!</pre>"),
                        "{}",
                        answer.body
                    );
                    assert!(answer.set_cookie.is_empty());
                }
            }
            // A path without a slash is relative to the request.
            let form = [("username", "alice"), ("password", PASSWORD), ("success_uri", "css")];
            assert_eq!(
                site.browser().post("/account/login", &form).await.location,
                "/rest/account/css"
            );
        },
    )
    .await;
}

/// The status of a change that another page started.
async fn change(browser: &Browser, header: Option<(&str, &str)>) -> u16 {
    let body = json!({"data": {"type": "users", "attributes": {"first_name": "A"}}});
    let mut request = browser.request(Method::PATCH, "/user").json(&body);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn changes_by_cookie_and_forms_need_our_own_pages() {
    let public = |config: &mut domain::config::ServerConfig, _: &mut rest_server::Settings| {
        config.public_url = Some("https://lab.example.org".to_owned());
    };
    configured(public, async |site| {
        let alice = site.logged_in("alice").await;
        let own = alice.origin.clone();
        let page = format!("{own}/account/profile?x=1");
        let evil = "http://evil.example";
        for (header, status) in [
            (None, 200),
            (Some(("origin", own.as_str())), 200),
            (Some(("referer", page.as_str())), 200),
            (Some(("origin", "https://lab.example.org")), 200),
            (Some(("origin", evil)), 403),
            (Some(("origin", "null")), 403),
            (Some(("origin", "http://lab.example.org")), 403),
            (Some(("referer", "http://evil.example/page")), 403),
        ] {
            assert_eq!(change(&alice, header).await, status, "{header:?}");
        }
        // Reading is free, and a token is never sent by a browser on its own.
        assert_eq!(alice.with_header("origin", evil).who().await.as_deref(), Some("alice"));
        let id = site.user_id("alice").await;
        let token = site
            .state
            .model
            .issue_token("codalab_cli_client", &id, site.state.now())
            .await
            .unwrap();
        let bearer = format!("Bearer {}", token.access_token);
        let script = site.browser().with_header("authorization", &bearer);
        assert_eq!(change(&script, Some(("origin", evil))).await, 200);
        for path in [
            "/account/login",
            "/account/signup",
            "/account/reset",
            "/account/reset/finalize",
        ] {
            let form = [("username", "alice"), ("password", PASSWORD)];
            let answer = site.browser().with_header("origin", evil).post(path, &form).await;
            assert_eq!(answer.status, 403, "{path}");
            assert!(answer.set_cookie.is_empty(), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn missing_authentication_is_answered_by_kind_of_client() {
    configured(
        |_, _| {},
        async |site| {
            let login = format!("/account/login?next={}", "http%3A%2F%2F");
            for (name, ajax, status, text) in [
                (None, true, 401, "User is not authenticated."),
                (None, false, 303, login.as_str()),
                (Some("carol"), true, 401, "User is not verified."),
                (Some("carol"), false, 303, "/rest/account/resend"),
            ] {
                let mut browser = match name {
                    Some(name) => site.logged_in(name).await,
                    None => site.browser(),
                };
                if ajax {
                    browser = browser.with_header("x-requested-with", "XMLHttpRequest");
                }
                let answer = browser.get("/account/reset").await;
                assert_eq!(answer.status, status, "{name:?} {ajax}");
                let told = if ajax { &answer.body } else { &answer.location };
                assert!(told.starts_with(text), "{told}");
            }
            // What the unverified may do.
            let mut carol = site.logged_in("carol").await;
            assert_eq!(carol.who().await.as_deref(), Some("carol"));
            assert_eq!(change(&carol, None).await, 200);
            assert_eq!(carol.get("/account/css").await.status, 200);
            assert_eq!(carol.get("/account/verify/x").await.page(), "/account/verify/error");
            assert_eq!(carol.get("/account/resend").await.page(), "/account/signup/success");
            assert_eq!(carol.get("/account/logout").await.location, "/");
        },
    )
    .await;
}

#[tokio::test]
async fn the_style_sheet_knows_who_is_logged_in() {
    configured(
        |_, _| {},
        async |site| {
            let anonymous = site.browser().get("/account/css").await;
            assert_eq!(anonymous.header("content-type"), "text/css");
            assert!(anonymous.body.contains(".user-authenticated {"), "{}", anonymous.body);
            for name in ["alice", "carol"] {
                let known = site.logged_in(name).await.get("/account/css").await;
                let text = format!(".user-name:before {{ content: \"{name}\"; }}");
                assert!(
                    known.body.contains(".user-not-authenticated {") && known.body.contains(&text),
                    "{}",
                    known.body
                );
            }
        },
    )
    .await;
}
