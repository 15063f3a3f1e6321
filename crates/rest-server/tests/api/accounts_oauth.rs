//! The OAuth2 endpoints (REST section 7): every row of their table, and what tokens are good for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Rate;
use model::OauthClient;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::site::{Answer, Site, configured};
use crate::support::PASSWORD;

type Form<'a> = Vec<(&'a str, &'a str)>;
/// What is wrong, path, client, fields, status and body of the answer.
type Row<'a> = (&'a str, &'a str, Option<&'a str>, Form<'a>, u16, Value);

const CLI: &str = "codalab_cli_client";

async fn ask(site: &Site, client: Option<&str>, path: &str, form: &[(&str, &str)]) -> Answer {
    let mut browser = site.browser();
    let mut request = browser.request(Method::POST, path).form(form);
    if let Some(client) = client {
        request = request.basic_auth(client, Some(""));
    }
    browser.send(request).await
}

async fn token(site: &Site, form: &[(&str, &str)]) -> Value {
    let answer = ask(site, Some(CLI), "/oauth2/token", form).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

async fn password_token(site: &Site, name: &str) -> Value {
    let form = [("grant_type", "password"), ("username", name), ("password", PASSWORD)];
    token(site, &form).await
}

async fn works(site: &Site, token: &Value) -> bool {
    let browser = site.browser();
    let request = browser
        .request(Method::GET, "/user")
        .header("X-Requested-With", "XMLHttpRequest")
        .bearer_auth(token.as_str().unwrap());
    request.send().await.unwrap().status() == 200
}

on_both! {
    async fn every_refusal_has_its_status_and_its_body(site) {
        let bad_password = [("grant_type", "password"), ("username", "alice"), ("password", "wrong")];
        let bad_user = [("grant_type", "password"), ("username", "nobody"), ("password", PASSWORD)];
        let good = [("grant_type", "password"), ("username", "alice"), ("password", PASSWORD)];
        let credentials = json!({"error": "invalid_grant", "error_description": "Invalid credentials given."});
        let missing = |text: &str| json!({"error": "invalid_request", "error_description": text});
        let error = |text: &str| json!({ "error": text });
        let token = "/oauth2/token";
        let revoke = "/oauth2/revoke";
        let rows: Vec<Row> = vec![
            ("wrong password", token, Some(CLI), bad_password.to_vec(), 401, credentials.clone()),
            ("unknown user", token, Some(CLI), bad_user.to_vec(), 401, credentials.clone()),
            ("empty user", token, Some(CLI), vec![("grant_type", "password"), ("username", ""), ("password", "")], 401, credentials),
            ("unknown refresh token", token, Some(CLI), vec![("grant_type", "refresh_token"), ("refresh_token", "x")], 401, error("invalid_grant")),
            ("empty refresh token", token, Some(CLI), vec![("grant_type", "refresh_token"), ("refresh_token", "")], 401, error("invalid_grant")),
            ("unknown client", token, Some("nobody"), good.to_vec(), 401, error("invalid_client")),
            ("missing client", token, None, good.to_vec(), 401, error("invalid_client")),
            ("unknown grant type", token, Some(CLI), vec![("grant_type", "magic")], 400, error("unsupported_grant_type")),
            ("missing grant type", token, Some(CLI), vec![("username", "alice")], 400, error("unsupported_grant_type")),
            ("client_credentials", token, Some(CLI), vec![("grant_type", "client_credentials")], 401, error("unauthorized_client")),
            ("authorization_code", token, Some(CLI), vec![("grant_type", "authorization_code"), ("code", "x")], 401, error("unauthorized_client")),
            ("missing password", token, Some(CLI), good[..2].to_vec(), 400, missing("Request is missing password parameter.")),
            ("missing username", token, Some(CLI), vec![good[0], good[2]], 400, missing("Request is missing username parameter.")),
            ("missing refresh token", token, Some(CLI), vec![("grant_type", "refresh_token")], 400, missing("Missing refresh token parameter.")),
            ("repeated field", token, Some(CLI), [&good[..], &[("username", "bob")]].concat(), 400, missing("Duplicate username parameter.")),
            ("bad scope", token, Some(CLI), [&good[..], &[("scope", "all")]].concat(), 401, error("invalid_scope")),
            ("bad scope of a refresh", token, Some(CLI), vec![("grant_type", "refresh_token"), ("refresh_token", "x"), ("scope", "all")], 401, error("invalid_scope")),
            ("revoke: unknown client", revoke, Some("nobody"), vec![("token", "x")], 401, error("invalid_client")),
            ("revoke: missing client", revoke, None, vec![("token", "x")], 401, error("invalid_client")),
            ("revoke: missing token", revoke, Some(CLI), vec![], 400, missing("Missing token parameter.")),
            ("revoke: odd hint", revoke, Some(CLI), vec![("token", "x"), ("token_type_hint", "y")], 400, error("unsupported_token_type")),
        ];
        for (what, path, client, form, status, body) in rows {
            let answer = ask(site, client, path, &form).await;
            assert_eq!((answer.status, answer.json()), (status, body), "{what}");
            assert_eq!(answer.header("content-type"), "application/json", "{what}");
            assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"), "{what}");
        }
    }

    async fn a_grant_has_all_five_keys_and_names_the_client_either_way(site) {
        let form = [("grant_type", "password"), ("username", "alice@example.org"), ("password", PASSWORD), ("scope", "default")];
        let by_header = ask(site, Some("codalab_worker_client"), "/oauth2/token", &form).await;
        let by_field = ask(site, None, "/oauth2/token", &[&form[..], &[("client_id", CLI)]].concat()).await;
        let mut browser = site.browser();
        let parts = "--X\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\npassword\r\n\
            --X\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nalice\r\n\
            --X\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\ncorrect-horse\r\n--X--\r\n";
        let request = browser.request(Method::POST, "/oauth2/token").basic_auth(CLI, Some(""));
        let request = request.header("content-type", "multipart/form-data; boundary=X").body(parts);
        let multipart = browser.send(request).await;
        for answer in [by_header, by_field, multipart] {
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(answer.header("content-type"), "application/json");
            let token = answer.json();
            let keys: Vec<&String> = token.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["access_token", "expires_in", "token_type", "scope", "refresh_token"]);
            assert_eq!((&token["expires_in"], &token["token_type"], &token["scope"]), (&json!(3600), &json!("Bearer"), &json!("default")));
            assert!(works(site, &token["access_token"]).await);
            assert!(!works(site, &token["refresh_token"]).await);
        }
    }

    async fn a_refresh_gives_a_new_pair_and_the_old_one_stays(site) {
        let first = password_token(site, "alice").await;
        let refresh = first["refresh_token"].as_str().unwrap();
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
        // A client of 1.7 that lost the answer sends it again.
        let (second, third) = (token(site, &form).await, token(site, &form).await);
        for pair in [&first, &second, &third] {
            assert!(works(site, &pair["access_token"]).await);
        }
        assert_ne!(first["refresh_token"], second["refresh_token"]);
        let other = ask(site, Some("codalab_worker_client"), "/oauth2/token", &form).await;
        assert_eq!((other.status, other.json()), (401, json!({"error": "invalid_grant"})));
    }

    async fn revoking_ends_the_pair_and_only_the_pair(site) {
        for key in ["access_token", "refresh_token"] {
            let (pair, other) = (password_token(site, "alice").await, password_token(site, "alice").await);
            let (one, hint) = (pair[key].as_str().unwrap(), ("token_type_hint", key));
            // Not with the name of another client.
            assert_eq!(ask(site, Some("codalab_worker_client"), "/oauth2/revoke", &[("token", one), hint]).await.status, 200);
            assert!(works(site, &pair["access_token"]).await);
            for _ in 0..2 {
                let answer = ask(site, Some(CLI), "/oauth2/revoke", &[("token", one), hint]).await;
                assert_eq!((answer.status, answer.body.as_str()), (200, ""));
            }
            assert!(!works(site, &pair["access_token"]).await);
            let refresh = [("grant_type", "refresh_token"), ("refresh_token", pair["refresh_token"].as_str().unwrap())];
            assert_eq!(ask(site, Some(CLI), "/oauth2/token", &refresh).await.status, 401);
            assert!(works(site, &other["access_token"]).await);
        }
        assert_eq!(ask(site, Some(CLI), "/oauth2/revoke", &[("token", "unknown")]).await.status, 200);
    }

    async fn authorization_codes_are_for_registered_clients_and_their_addresses(site) {
        let home = "https://app.example/back?x=1";
        site.state.model.add_oauth_client(&OauthClient {
            client_id: "app".to_owned(),
            name: Some("An <app>".to_owned()),
            grant_type: "authorization_code".to_owned(),
            response_type: "code".to_owned(),
            scopes: vec!["default".to_owned()],
            redirect_uris: vec![home.to_owned()],
        }).await.unwrap();
        let query = |pairs: &[(&str, &str)]| {
            let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            format!("/oauth2/authorize?{query}")
        };
        let anonymous = site.browser().get(&query(&[("client_id", "app")])).await;
        assert_eq!((anonymous.status, anonymous.page()), (303, "/account/login"));
        let mut alice = site.logged_in("alice").await;
        let full = [("client_id", "app"), ("redirect_uri", home), ("response_type", "code"), ("state", "s&t")];
        let errors = "/rest/oauth2/errors?";
        for (pairs, target) in [
            (vec![], format!("{errors}error=invalid_request&error_description=Missing+client_id+parameter.")),
            (vec![("client_id", "nobody")], format!("{errors}error=invalid_client&error_description=Invalid+client_id+parameter+value.")),
            (vec![("client_id", CLI)], format!("{errors}error=unauthorized_client&error_description=This+client+may+not+use+authorization+codes.")),
            (vec![("client_id", "app")], format!("{errors}error=invalid_request&error_description=Missing+redirect+URI.")),
            (vec![("client_id", "app"), ("redirect_uri", "https://evil.example")], format!("{errors}error=invalid_request&error_description=Mismatching+redirect+URI.")),
            (full[..2].to_vec(), format!("{home}&error=invalid_request&error_description=Missing+response_type+parameter.")),
            ([&full[..2], &[("response_type", "token")]].concat(), format!("{home}&error=unsupported_response_type&error_description=Only+codes+are+given.")),
            ([&full[..], &[("scope", "all")]].concat(), format!("{home}&error=invalid_scope&error_description=The+only+scope+is+default.&state=s%26t")),
            ([&full[..], &[("code_challenge", "x"), ("code_challenge_method", "plain")]].concat(),
                format!("{home}&error=invalid_request&error_description=The+code+challenge+must+be+of+the+method+S256.&state=s%26t")),
        ] {
            let answer = alice.get(&query(&pairs)).await;
            assert_eq!((answer.status, answer.location), (303, target));
        }
        let shown = alice.get("/oauth2/errors?error=%3Cscript%3E&error_description=d").await;
        assert_eq!(shown.status, 200);
        assert!(shown.body.contains("<pre>&lt;script&gt;\nd</pre>"), "{}", shown.body);

        let verifier = "a verifier that nobody guesses, of forty-three or more";
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        let asked = [&full[..], &[("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]].concat();
        let page = alice.get(&query(&asked)).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("An &lt;app&gt;") && page.body.contains("name=\"confirm\" value=\"yes\""), "{}", page.body);
        assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
        let refused = alice.post("/oauth2/authorize", &[&asked[..], &[("confirm", "no")]].concat()).await;
        assert_eq!(refused.location, format!("{home}&error=access_denied&error_description=The+user+refused.&state=s%26t"));
        let allowed = alice.post("/oauth2/authorize", &[&asked[..], &[("confirm", "yes")]].concat()).await;
        let code = allowed.parameter("code").unwrap();
        assert_eq!(allowed.location, format!("{home}&code={code}&state=s%26t"));
        let grant = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", home), ("code_verifier", verifier)];
        let granted = ask(site, Some("app"), "/oauth2/token", &grant).await;
        assert_eq!(granted.status, 200, "{}", granted.body);
        assert!(works(site, &granted.json()["access_token"]).await);
        assert_eq!(ask(site, Some("app"), "/oauth2/token", &grant).await.json(), json!({"error": "invalid_grant"}));
        let allowed = alice.post("/oauth2/authorize", &[&asked[..], &[("confirm", "yes")]].concat()).await;
        let code = allowed.parameter("code").unwrap();
        let unproved = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", home)];
        assert_eq!(ask(site, Some("app"), "/oauth2/token", &unproved).await.status, 401);
        let password = [("grant_type", "password"), ("username", "alice"), ("password", PASSWORD)];
        assert_eq!(ask(site, Some("app"), "/oauth2/token", &password).await.json(), json!({"error": "unauthorized_client"}));
    }
}

#[tokio::test]
async fn too_many_failures_are_told_to_wait_and_sending_twice_counts_once() {
    let limit = |config: &mut domain::config::ServerConfig, _: &mut rest_server::Settings| {
        config.attempts.login_account_from_address = Some(Rate::new(3, 600.0));
    };
    configured(limit, async |site| {
        let wrong = |password: &'static str| {
            [
                ("grant_type", "password"),
                ("username", "alice"),
                ("password", password),
            ]
        };
        for password in ["one", "two", "three"] {
            // The client of 1.7 sends whatever failed a second time.
            for _ in 0..2 {
                assert_eq!(
                    ask(site, Some(CLI), "/oauth2/token", &wrong(password)).await.status,
                    401
                );
            }
        }
        for password in ["four", PASSWORD] {
            let answer = ask(site, Some(CLI), "/oauth2/token", &wrong(password)).await;
            assert_eq!((answer.status, &answer.json()["error"]), (429, &json!("slow_down")));
            let wait: i64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=200).contains(&wait), "{wait}");
            let text = answer.json()["error_description"].as_str().unwrap().to_owned();
            assert!(text.starts_with("Too many failed logins. Try again in "), "{text}");
        }
        // Another client behind the same proxy, and another account, are not concerned.
        let elsewhere = site.browser().with_header("x-forwarded-for", "203.0.113.9");
        let form = [("username", "alice"), ("password", PASSWORD)];
        assert_eq!(elsewhere.clone().post("/account/login", &form).await.location, "/");
        assert_eq!(password_token(site, "bob").await["token_type"], "Bearer");
        let blocked = site.browser().post("/account/login", &form).await;
        assert_eq!(blocked.page(), "/account/login");
        assert!(
            blocked
                .parameter("error")
                .unwrap()
                .starts_with("Too many failed logins.")
        );
        // A restart does not forget.
        let config = site.config.clone();
        site.restart(config).await;
        assert_eq!(
            ask(site, Some(CLI), "/oauth2/token", &wrong(PASSWORD)).await.status,
            429
        );
    })
    .await;
}
