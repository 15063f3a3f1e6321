//! What answers carry for browsers: the headers that protect them, the rules for other sites, the page of the API.

use domain::config::ServerConfig;
use reqwest::Method;
use rest_server::{Settings, listener::ListenerOptions};
use serde_json::Value;

use crate::support::{TestServer, test_config};

#[tokio::test]
async fn every_answer_protects_browsers_and_contents_are_in_a_sandbox() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.dataset_with("page", b"<script>alert(1)</script>").await;
    for (path, policy) in [
        ("/user".to_owned(), "default-src 'none'; frame-ancestors 'self'"),
        ("/nowhere".to_owned(), "default-src 'none'; frame-ancestors 'self'"),
        (format!("/bundles/{uuid}"), "default-src 'none'; frame-ancestors 'self'"),
        (format!("/bundles/{uuid}/contents/blob/"), "sandbox"),
        (format!("/bundles/{uuid}/contents/blob/none"), "sandbox"),
    ] {
        let answer = alice.get(&path).send().await.unwrap();
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header("content-security-policy").as_deref(), Some(policy), "{path}");
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
        assert_eq!(header("x-frame-options").as_deref(), Some("SAMEORIGIN"), "{path}");
        assert_eq!(header("referrer-policy").as_deref(), Some("same-origin"), "{path}");
        assert!(header("x-request-id").is_some(), "{path}");
        // Contents are open to scripts of other sites (without cookies), as they always were.
        if !path.ends_with("/blob/") {
            assert!(header("access-control-allow-origin").is_none(), "{path}");
        }
    }
}

#[tokio::test]
async fn other_sites_are_let_in_by_name_only_and_never_with_cookies() {
    let start = async |origins: &[&str]| {
        let config = ServerConfig {
            cors_origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            ..test_config()
        };
        TestServer::start_configured(Settings::default(), ListenerOptions::default(), config).await
    };
    let ask = async |server: &TestServer, method: Method, origin: &str| {
        let request = server
            .anonymous()
            .request(method, "/worksheets")
            .header("Origin", origin);
        let request = request.header("Access-Control-Request-Method", "POST");
        let answer = request
            .header("Access-Control-Request-Headers", "authorization")
            .send()
            .await
            .unwrap();
        assert!(answer.headers().get("access-control-allow-credentials").is_none());
        let allowed = answer.headers().get("access-control-allow-origin");
        (
            answer.status().as_u16(),
            allowed.map(|value| value.to_str().unwrap().to_owned()),
        )
    };
    let closed = start(&[]).await;
    assert_eq!(ask(&closed, Method::OPTIONS, "https://lab.example").await, (405, None));
    assert_eq!(ask(&closed, Method::GET, "https://lab.example").await, (200, None));

    let named = start(&["https://lab.example/"]).await;
    let lab = Some("https://lab.example".to_owned());
    assert_eq!(
        ask(&named, Method::OPTIONS, "https://lab.example").await,
        (200, lab.clone())
    );
    assert_eq!(ask(&named, Method::GET, "https://lab.example").await, (200, lab));
    assert_eq!(ask(&named, Method::GET, "https://evil.example").await, (200, None));

    let open = start(&["*"]).await;
    assert_eq!(
        ask(&open, Method::GET, "https://any.example").await,
        (200, Some("*".to_owned()))
    );
}

#[tokio::test]
async fn the_description_and_its_page_come_from_the_server_alone() {
    let server = TestServer::start().await;
    let client = server.anonymous();
    let answer = client.get("/openapi.json").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let description: Value = answer.json().await.unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(description["paths"]["/bundles/{uuid}"]["get"].is_object());

    let answer = client.get("/docs").send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let location = answer.headers()["location"].to_str().unwrap();
    assert!(location.ends_with("/rest/docs/index.html"), "{location}");
    let answer = client.get("/docs/index.html").send().await.unwrap();
    assert!(
        answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'self';"), "{policy}");
    let page = answer.text().await.unwrap();
    for (before, _) in page.match_indices("src=\"").chain(page.match_indices("href=\"")) {
        let target = &page[before..(before + 40).min(page.len())];
        assert!(!target.contains("//"), "loads {target}");
    }
    for script in page.split("<script").skip(1) {
        let body = script.split_once('>').unwrap().1.split("</script>").next().unwrap();
        assert!(body.trim().is_empty(), "an inline script does not run: {body}");
    }
    let answer = client.get("/docs/swagger-initializer.js").send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("/rest/openapi.json"));
    assert_eq!(client.get("/docs/none.js").send().await.unwrap().status(), 404);
}
