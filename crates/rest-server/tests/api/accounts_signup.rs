//! Sign-up, verification and change of e-mail: every message, the mails, the limits.

use domain::Rate;
use domain::config::ServerConfig;
use reqwest::Method;
use rest_server::{Captcha, Settings};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::site::{Site, configured};

const DORA: [(&str, &str); 8] = [
    ("username", "dora"),
    ("email", "dora@example.edu"),
    ("first_name", "Dora"),
    ("last_name", "D & Co"),
    ("password", "long-enough"),
    ("confirm_password", "long-enough"),
    ("affiliation", "Example University"),
    ("token", ""),
];

/// The form of `dora` with some fields changed.
fn form<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut form: Vec<(&str, &str)> = DORA.to_vec();
    for (name, value) in changes {
        form.retain(|(key, _)| key != name);
        form.push((name, value));
    }
    form
}

const NAME: &str = "Username must only contain letters, digits, '_', '.' and '-', and begin with a letter or '_'.";
const NAME_AGAIN: &str =
    "Username characters must be letters, digits, '_', '.' and '-', and begin with a letter or '_'.";
const PRINTABLE: &str = "Password must consist of only printable ASCII characters without white space.";
const TAKEN: &str = "User with this username or email already exists.";

on_both! {
    async fn every_mistake_in_the_form_is_told(site) {
        let long = "x".repeat(300);
        let long_email = format!("{}@example.org", "x".repeat(250));
        for (changes, messages) in [
            (vec![("confirm_password", "other")], vec!["Passwords do not match."]),
            (vec![("username", "a b")], vec![NAME, NAME_AGAIN]),
            (vec![("username", "")], vec![NAME, NAME_AGAIN]),
            (vec![("username", "1abc")], vec![NAME, NAME_AGAIN]),
            (vec![("username", "dora\n")], vec![NAME, NAME_AGAIN]),
            (vec![("password", "with blank"), ("confirm_password", "with blank")], vec![PRINTABLE]),
            (vec![("password", "pässword"), ("confirm_password", "pässword")], vec![PRINTABLE]),
            (vec![("password", "seven77"), ("confirm_password", "seven77")], vec!["Password must contain at least 8 characters."]),
            (vec![("email", "dora")], vec!["Email address is invalid."]),
            (vec![("email", "a@b@c.d")], vec!["Email address is invalid."]),
            (vec![("email", "a@b.c\r\nBcc: x@y.z")], vec!["Email address is invalid."]),
            (vec![("email", &long_email)], vec!["Email address is invalid."]),
            (vec![("username", "Alice")], vec![TAKEN]),
            (vec![("email", "ALICE@example.org")], vec![TAKEN]),
            (vec![("username", &long)], vec!["Username must have at most 63 characters."]),
            (vec![("first_name", &long)], vec!["First name must have at most 30 characters."]),
            (vec![("last_name", &long)], vec!["Last name must have at most 30 characters."]),
            (vec![("affiliation", &long)], vec!["Affiliation must have at most 255 characters."]),
            (
                vec![("username", "a b"), ("email", "alice@example.org"), ("password", "short"), ("confirm_password", "")],
                vec!["Passwords do not match.", NAME, "Password must contain at least 8 characters.", TAKEN, NAME_AGAIN],
            ),
        ] {
            let form = form(&[&changes[..], &[("error_uri", "/account/signup?again=1"), ("success_uri", "/done")]].concat());
            let answer = site.browser().post("/account/signup", &form).await;
            assert_eq!((answer.status, answer.page()), (303, "/account/signup"), "{changes:?}");
            assert_eq!(answer.parameter("error").unwrap(), messages.join(" "), "{changes:?}");
            assert_eq!(answer.parameter("next").unwrap(), "/done");
            for field in ["email", "username", "first_name", "last_name", "affiliation"] {
                let sent = form.iter().find(|(name, _)| *name == field).unwrap().1;
                assert_eq!(answer.parameter(field).unwrap(), sent, "{field}");
            }
            assert_eq!(answer.parameter("password"), None);
        }
        let logged_in = site.logged_in("alice").await.post("/account/signup", &form(&[])).await;
        assert_eq!(logged_in.parameter("error").unwrap(),
            "You are already logged in as alice, please log out before creating a new account.");
        assert_eq!(site.mails.waiting(), 0);
        assert!(site.state.model.user_by_name("dora").await.unwrap().is_none());
    }

    async fn a_new_account_is_verified_by_the_link_in_the_mail(site) {
        let answer = site.browser().post("/account/signup", &form(&[("success_uri", "/account/signup/success")])).await;
        assert_eq!((answer.status, answer.location.as_str()), (303, "/account/signup/success?email=dora%40example.edu"));
        let user = site.state.model.user_by_name("dora").await.unwrap().unwrap();
        assert!(!user.is_verified && !user.has_access && user.is_active && user.last_login.is_none());
        assert_eq!((user.last_name.as_deref(), user.notifications), (Some("D & Co"), 2));
        assert!((user.quota.time_quota - site.config.default_user.edu_time_quota).abs() < 1.0);
        let mail = site.mails.next().await;
        assert_eq!((mail.to.as_str(), mail.header("Subject")), ("dora@example.edu", "Verify your CodaLab account"));
        let (origin, path) = mail.link();
        assert_eq!(origin, site.browser().origin);
        let key = path.strip_prefix("/account/verify/").unwrap();
        assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        // A program that looks at links uses nothing up.
        for _ in 0..2 {
            assert_eq!(site.browser().head(&path).await.location, "/account/verify/success");
        }
        assert!(!site.state.model.user_by_name("dora").await.unwrap().unwrap().is_verified);
        assert_eq!(site.browser().get(&path).await.location, "/account/verify/success");
        assert!(site.state.model.user_by_name("dora").await.unwrap().unwrap().is_verified);
        for bad in [path.as_str(), "/account/verify/0123456789abcdef0123456789abcdef", "/account/verify/x%27--"] {
            assert_eq!(site.browser().get(bad).await.location, "/account/verify/error");
            assert_eq!(site.browser().head(bad).await.location, "/account/verify/error");
        }
    }

    async fn a_key_is_sent_again_on_request(site) {
        for browser in [site.browser(), site.logged_in("alice").await] {
            assert_eq!(browser.clone().get("/account/resend").await.location, "/account/verify/success");
        }
        assert_eq!(site.mails.waiting(), 0);
        let mut carol = site.logged_in("carol").await;
        let mut paths = Vec::new();
        for _ in 0..2 {
            assert_eq!(carol.get("/account/resend").await.location, "/account/signup/success?email=carol%40example.org");
            let mail = site.mails.next().await;
            assert_eq!((mail.to.as_str(), mail.header("Subject")), ("carol@example.org", "Verify your CodaLab account"));
            paths.push(mail.link().1);
        }
        // The first mail may be the one that is opened; afterwards the other one says nothing new.
        assert_eq!(carol.get(&paths[0]).await.location, "/account/verify/success");
        assert_eq!(carol.get(&paths[1]).await.location, "/account/verify/error");
        assert_eq!(carol.get("/account/resend").await.location, "/account/verify/success");
    }

    async fn an_address_is_changed_after_checks_and_verified_again(site) {
        let anonymous = site.browser().post("/account/changeemail", &[("email", "x@y.zz")]).await;
        assert_eq!((anonymous.status, anonymous.page()), (303, "/account/login"));
        let mut alice = site.logged_in("alice").await;
        for (email, error) in [
            ("alice@example.org", "Your email address is already alice@example.org."),
            ("  alice@example.org ", "Your email address is already alice@example.org."),
            ("nonsense", "Invalid email address."),
            ("", "Invalid email address."),
            ("bob@example.org", "User with this email already exists."),
            ("BOB@example.org", "User with this email already exists."),
        ] {
            let answer = alice.post("/account/changeemail", &[("email", email)]).await;
            assert_eq!((answer.status, answer.page()), (303, "/account/changeemail"), "{email}");
            assert_eq!(answer.parameter("error").as_deref(), Some(error), "{email}");
        }
        assert_eq!(site.mails.waiting(), 0);
        let answer = alice.post("/account/changeemail", &[("email", " new@example.org ")]).await;
        assert_eq!((answer.status, answer.location.as_str()), (303, "/account/changeemail/sent"));
        let user = site.state.model.user_by_name("alice").await.unwrap().unwrap();
        assert_eq!((user.email.as_str(), user.is_verified), ("new@example.org", false));
        let mail = site.mails.next().await;
        assert_eq!((mail.to.as_str(), mail.header("Subject")), ("new@example.org", "Verify your CodaLab account"));
        // Not verified now, so only some things are allowed; changing the address again is.
        assert_eq!(alice.get("/account/reset").await.location, "/rest/account/resend");
        assert_eq!(alice.post("/account/changeemail", &[("email", "newer@example.org")]).await.page(), "/account/changeemail/sent");
        let newer = site.mails.next().await;
        assert_eq!(alice.get(&mail.link().1).await.location, "/account/verify/error");
        assert_eq!(alice.get(&newer.link().1).await.location, "/account/verify/success");
    }

    async fn own_profiles_have_an_avatar_and_bounds(site) {
        let alice = site.logged_in("alice").await.with_header("x-requested-with", "XMLHttpRequest");
        let uuid = "0x0123456789abcdef0123456789abcdef";
        let long = "x".repeat(300);
        for (attributes, status) in [
            (json!({"avatar_id": uuid}), 200),
            (json!({"avatar_id": null}), 200),
            (json!({"avatar_id": uuid, "notifications": 1}), 200),
            (json!({"avatar_id": long}), 400),
            (json!({"first_name": long}), 400),
            (json!({"last_name": long}), 400),
            (json!({"affiliation": long}), 400),
            (json!({"url": format!("https://example.org/{long}")}), 400),
            (json!({"user_name": "x".repeat(64)}), 400),
            (json!({"avatar_id": 7}), 400),
        ] {
            let body = json!({"data": {"type": "users", "attributes": attributes}});
            let answer = alice.request(Method::PATCH, "/user").json(&body).send().await.unwrap();
            assert_eq!(answer.status(), status, "{body}");
        }
        let me: serde_json::Value = alice.request(Method::GET, "/user").send().await.unwrap().json().await.unwrap();
        assert_eq!(me["data"]["attributes"]["avatar_id"], uuid);
    }
}

/// Answers every verification with this text.
async fn captcha_service(answer: &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/verify", listener.local_addr().unwrap());
    let (heard, questions) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            while !text.contains("response=") {
                let mut bytes = [0; 4096];
                let count = stream.read(&mut bytes).await.unwrap_or(0);
                if count == 0 {
                    break;
                }
                text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            let _ = heard.send(text);
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{answer}", answer.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, questions)
}

async fn captcha_outcome(answer: &'static str, token: &str) -> (Option<String>, Option<String>) {
    let (url, mut questions) = captcha_service(answer).await;
    let mut error = None;
    let captcha = |_: &mut ServerConfig, settings: &mut Settings| settings.captcha = Captcha::new("s3cret", Some(&url));
    configured(captcha, async |site| {
        let answer = site.browser().post("/account/signup", &form(&[("token", token)])).await;
        error = answer.parameter("error");
    })
    .await;
    (error, questions.try_recv().ok())
}

#[tokio::test]
async fn the_captcha_is_asked_where_one_is_configured() {
    let missing = "Google reCAPTCHA token is missing.".to_owned();
    let failed = "Google reCAPTCHA failed.".to_owned();
    let (error, asked) = captcha_outcome("{\"success\": true}", "").await;
    assert_eq!((error, asked), (Some(missing), None));
    let (error, asked) = captcha_outcome("{\"success\": true}", "t0ken").await;
    assert_eq!(error, None);
    assert!(asked.unwrap().contains("secret=s3cret&response=t0ken"));
    for broken in ["{\"success\": false}", "{}", "nonsense", ""] {
        let (error, _) = captcha_outcome(broken, "t0ken").await;
        assert_eq!(error.as_deref(), Some(failed.as_str()), "{broken}");
    }
    let nobody = |_: &mut ServerConfig, settings: &mut Settings| {
        settings.captcha = Captcha::new("s3cret", Some("http://127.0.0.1:9/"));
    };
    configured(nobody, async |site| {
        let answer = site.browser().post("/account/signup", &form(&[("token", "x")])).await;
        assert_eq!(answer.parameter("error"), Some(failed));
    })
    .await;
    // Without a secret, and with Google's public test secret, nobody is asked.
    assert!(Captcha::new("", None).is_none());
    assert!(Captcha::new("6LeIxAcTAAAAAGG-vFI1TnRWxMZNFuojJ4WifJWe", None).is_none());
}

#[tokio::test]
async fn accounts_are_not_made_where_the_operator_does_not_want_it() {
    configured(
        |config, _| config.allow_signup = false,
        async |site| {
            let answer = site.browser().post("/account/signup", &form(&[])).await;
            assert_eq!(answer.page(), "/account/signup");
            assert!(
                answer
                    .parameter("error")
                    .unwrap()
                    .starts_with("Accounts cannot be made here by oneself")
            );
            assert!(site.state.model.user_by_name("dora").await.unwrap().is_none());
        },
    )
    .await;
}

async fn sign_up(site: &Site, name: &str, from: &str) -> Option<String> {
    let email = format!("{name}@example.org");
    let mut browser = site.browser().with_header("x-forwarded-for", from);
    let answer = browser
        .post("/account/signup", &form(&[("username", name), ("email", &email)]))
        .await;
    answer.parameter("error")
}

#[tokio::test]
async fn sign_ups_and_mails_are_limited_by_address_and_by_account() {
    let limits = |config: &mut ServerConfig, _: &mut Settings| {
        config.attempts.signup_address = Some(Rate::new(2, 3600.0));
        config.attempts.mail_account = Some(Rate::new(2, 3600.0));
    };
    configured(limits, async |site| {
        assert_eq!(sign_up(site, "u1", "203.0.113.1").await, None);
        assert_eq!(sign_up(site, "alice", "203.0.113.1").await.as_deref(), Some(TAKEN));
        // The same form once more, as a browser that lost the answer sends it.
        assert_eq!(sign_up(site, "alice", "203.0.113.1").await.as_deref(), Some(TAKEN));
        let third = sign_up(site, "u3", "203.0.113.1").await.unwrap();
        assert!(third.starts_with("Too many sign-ups. Try again in "), "{third}");
        assert_eq!(sign_up(site, "u4", "203.0.113.2").await, None);
        // IPv6 clients own a whole network.
        assert_eq!(sign_up(site, "u5", "2001:db8::1").await, None);
        assert_eq!(sign_up(site, "u6", "2001:db8::2").await, None);
        assert!(sign_up(site, "u7", "2001:db8::3").await.is_some());

        let mut carol = site.logged_in("carol").await;
        assert_eq!(carol.get("/account/resend").await.parameter("error"), None);
        let mut alice = site.logged_in("alice").await;
        for email in ["a1@example.org", "a2@example.org"] {
            assert_eq!(
                alice.post("/account/changeemail", &[("email", email)]).await.page(),
                "/account/changeemail/sent"
            );
        }
        let answer = alice.post("/account/changeemail", &[("email", "a3@example.org")]).await;
        assert!(
            answer
                .parameter("error")
                .unwrap()
                .starts_with("Too many verification mails.")
        );
        assert_eq!(alice.get("/account/resend").await.page(), "/account/signup/success");
        assert!(
            alice
                .get("/account/resend")
                .await
                .parameter("error")
                .unwrap()
                .starts_with("Too many")
        );
        assert_eq!(
            site.state.model.user_by_name("alice").await.unwrap().unwrap().email,
            "a2@example.org"
        );
    })
    .await;
}
