//! Choosing another password with a code from a mail.

use domain::Rate;
use reqwest::Method;

use crate::site::{Browser, Site, configured};
use crate::support::PASSWORD;

const NEW: &str = "brand-new-horse";

/// Asks for a mail; gives the code in it.
async fn code(site: &Site) -> String {
    let answer = site
        .browser()
        .post("/account/reset", &[("email", "alice@example.org")])
        .await;
    assert_eq!(answer.location, "/account/reset/sent");
    let (_, path) = site.mails.next().await.link();
    path.strip_prefix("/account/reset/verify/").unwrap().to_owned()
}

async fn finalize(site: &Site, code: &str, password: &str, again: &str) -> String {
    let form = [("code", code), ("password", password), ("confirm_password", again)];
    site.browser().post("/account/reset/finalize", &form).await.location
}

async fn log_in(site: &Site, password: &str) -> (Browser, bool) {
    let mut browser = site.browser();
    let answer = browser
        .post("/account/login", &[("username", "alice"), ("password", password)])
        .await;
    let accepted = answer.location == "/";
    (browser, accepted)
}

on_both! {
    async fn a_password_is_replaced_with_the_code_from_the_mail(site) {
        let (mut before, _) = log_in(site, PASSWORD).await;
        let id = site.user_id("alice").await;
        let token = site.state.model.issue_token("codalab_cli_client", &id, site.state.now()).await.unwrap();
        let answer = site.browser().post("/account/reset", &[("email", " ALICE@example.org ")]).await;
        assert_eq!((answer.status, answer.location.as_str()), (303, "/account/reset/sent"));
        let mail = site.mails.next().await;
        assert_eq!((mail.to.as_str(), mail.header("Subject")), ("alice@example.org", "CodaLab password reset link"));
        let (origin, path) = mail.link();
        assert_eq!(origin, site.browser().origin);
        let code = path.strip_prefix("/account/reset/verify/").unwrap();
        // The link uses nothing up, whoever looks at it.
        for _ in 0..2 {
            let answer = site.browser().get(&path).await;
            assert_eq!(answer.location, format!("/account/reset/verified?code_valid=True&code={code}"));
            assert_eq!((answer.header("referrer-policy"), answer.header("cache-control")), ("no-referrer", "no-store"));
        }
        assert_eq!(finalize(site, code, NEW, NEW).await, "/account/reset/complete");
        assert!(!log_in(site, PASSWORD).await.1);
        assert!(log_in(site, NEW).await.1);
        assert_eq!(before.who().await, None);
        assert!(site.state.model.authenticate(&token.access_token, site.state.now()).await.unwrap().is_none());
        // The code is used up.
        assert_eq!(finalize(site, code, PASSWORD, PASSWORD).await, "/account/reset/verified?code_valid=False");
        assert_eq!(site.browser().get(&path).await.location, "/account/reset/verified?code_valid=False");
    }

    async fn mistakes_are_told_and_keep_the_code(site) {
        let code = code(site).await;
        for (password, again, error) in [
            (NEW, "other", "Passwords do not match."),
            ("", NEW, "Passwords do not match."),
            ("", "", "Password must contain at least 8 characters."),
            ("short", "short", "Password must contain at least 8 characters."),
            ("with a blank", "with a blank", "Password must consist of only printable ASCII characters without white space."),
        ] {
            let location = finalize(site, &code, password, again).await;
            let query: String = url::form_urlencoded::byte_serialize(error.as_bytes()).collect();
            assert_eq!(location, format!("/account/reset/verified?code_valid=True&code={code}&error={query}"));
        }
        for bad in ["", "x", "0123456789abcdef0123456789abcdef", "'; DROP TABLE user; --"] {
            assert_eq!(finalize(site, bad, NEW, NEW).await, "/account/reset/verified?code_valid=False", "{bad}");
        }
        assert!(log_in(site, PASSWORD).await.1);
        assert_eq!(finalize(site, &code, NEW, NEW).await, "/account/reset/complete");
    }

    async fn only_the_newest_code_counts(site) {
        let (old, new) = (code(site).await, code(site).await);
        assert_eq!(finalize(site, &old, NEW, NEW).await, "/account/reset/verified?code_valid=False");
        assert_eq!(finalize(site, &new, NEW, NEW).await, "/account/reset/complete");
    }

    async fn unknown_addresses_and_missing_logins_are_told(site) {
        for (email, shown) in [("nobody@example.org", "nobody%40example.org"), ("alice", "alice"), ("", "")] {
            let answer = site.browser().post("/account/reset", &[("email", email)]).await;
            let error = format!("/account/reset?error=User+with+email+{shown}+not+found.");
            assert_eq!((answer.status, answer.location), (303, error));
        }
        assert_eq!(site.browser().get("/account/reset").await.page(), "/account/login");
        let mut alice = site.logged_in("alice").await;
        assert_eq!(alice.get("/account/reset").await.location, "/account/reset/sent");
        assert_eq!(site.mails.next().await.to, "alice@example.org");
        let root = site.logged_in("codalab").await.get("/account/reset").await;
        assert!(root.parameter("error").unwrap().contains("no e-mail address"));
        assert_eq!(site.mails.waiting(), 0);
    }
}

#[tokio::test]
async fn resets_are_limited_by_account_and_by_address_also_for_unknown_addresses() {
    let limits = |config: &mut domain::config::ServerConfig, _: &mut rest_server::Settings| {
        config.attempts.mail_account = Some(Rate::new(1, 3600.0));
        config.attempts.mail_address = Some(Rate::new(3, 3600.0));
    };
    configured(limits, async |site| {
        let reset = async |email: &str, from: &str| {
            let mut browser = site.browser().with_header("x-forwarded-for", from);
            let request = browser
                .request(Method::POST, "/account/reset")
                .form(&[("email", email)]);
            let answer = browser.send(request).await;
            answer.parameter("error").unwrap_or_default()
        };
        assert_eq!(reset("alice@example.org", "203.0.113.1").await, "");
        assert_eq!(reset("alice@example.org", "203.0.113.1").await, ""); // the same once more
        assert!(
            reset("alice@example.org", "203.0.113.2")
                .await
                .starts_with("Too many password resets.")
        );
        assert_eq!(
            reset("nobody@example.org", "203.0.113.1").await,
            "User with email nobody@example.org not found."
        );
        assert!(
            reset("NOBODY@example.org", "203.0.113.3")
                .await
                .starts_with("Too many password resets.")
        );
        assert_eq!(reset("bob@example.org", "203.0.113.1").await, "");
        assert!(
            reset("carol@example.org", "203.0.113.1")
                .await
                .starts_with("Too many password resets.")
        );
        assert_eq!(reset("carol@example.org", "203.0.113.4").await, "");
    })
    .await;
}
