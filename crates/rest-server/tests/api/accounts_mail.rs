//! How mails leave: never in the way of a request.

use std::time::{Duration, Instant};

use domain::config::{MailSecurity, MailSettings, ServerConfig};
use rest_server::{MailOverride, Settings};

use crate::site::{Site, configured, mail_settings};
use crate::smtp::{Mood, SmtpServer};

/// Asks for a reset mail; gives the page it leads to.
async fn reset(site: &Site) -> String {
    let answer = site
        .browser()
        .post("/account/reset", &[("email", "alice@example.org")])
        .await;
    answer.location
}

const SENT: &str = "/account/reset/sent";

#[tokio::test]
async fn mails_name_their_sender_and_log_in_where_a_password_is_set() {
    let smtp = SmtpServer::start(Mood::Good).await;
    let port = smtp.port;
    let settings = |config: &mut ServerConfig, _: &mut Settings| {
        config.public_url = Some("https://lab.example.org".to_owned());
        config.mail = Some(MailSettings {
            username: "postman".to_owned(),
            password: Some("p w".to_owned()),
            sender_from: "The Lab <lab@example.org>".to_owned(),
            sender_email: "bounces@example.org".to_owned(),
            ..mail_settings(port)
        });
    };
    configured(settings, async |site| {
        assert_eq!(reset(site).await, SENT);
        let mail = smtp.next().await;
        assert_eq!(mail.login, Some(("postman".to_owned(), "p w".to_owned())));
        assert_eq!(
            (mail.from.as_str(), mail.to.as_str()),
            ("bounces@example.org", "alice@example.org")
        );
        assert_eq!(
            (mail.header("From"), mail.header("To")),
            ("\"The Lab\" <lab@example.org>", "alice@example.org")
        );
        assert!(
            mail.header("Content-Type").starts_with("text/plain"),
            "{}",
            mail.headers
        );
        assert!(
            !mail.header("Date").is_empty() && !mail.header("Message-ID").is_empty(),
            "{}",
            mail.headers
        );
        // Not the host that somebody claims in a request.
        assert_eq!(mail.link().0, "https://lab.example.org");
    })
    .await;
}

#[tokio::test]
async fn a_busy_mail_server_is_asked_again() {
    let smtp = SmtpServer::start(Mood::Busy(1)).await;
    let port = smtp.port;
    configured(
        |config, _| config.mail = Some(mail_settings(port)),
        async |site| {
            assert_eq!(reset(site).await, SENT);
            assert_eq!(smtp.next().await.to, "alice@example.org");
            assert_eq!(smtp.offers(), 2);
        },
    )
    .await;
}

#[tokio::test]
async fn a_refused_mail_is_not_offered_again_and_fails_no_request() {
    let smtp = SmtpServer::start(Mood::Refusing).await;
    let port = smtp.port;
    configured(
        |config, _| config.mail = Some(mail_settings(port)),
        async |site| {
            assert_eq!(reset(site).await, SENT);
            smtp.wait_for_offers(1).await;
            assert_eq!(reset(site).await, SENT);
            smtp.wait_for_offers(2).await;
            assert_eq!((smtp.offers(), smtp.waiting()), (2, 0));
        },
    )
    .await;
}

#[tokio::test]
async fn no_request_waits_for_a_mail_server_that_is_silent_or_absent_or_in_clear() {
    let silent = SmtpServer::start(Mood::Silent).await;
    let clear = SmtpServer::start(Mood::Good).await;
    let protected = |port: u16, security: MailSecurity| MailSettings {
        security,
        password: Some("secret".to_owned()),
        ..mail_settings(port)
    };
    for mail in [
        mail_settings(silent.port),
        mail_settings(9),
        MailSettings {
            host: "no-such-host.invalid".to_owned(),
            ..mail_settings(25)
        },
        MailSettings {
            sender_from: "nonsense".to_owned(),
            ..mail_settings(clear.port)
        },
        // A server that cannot do what is asked for gets neither the password nor the mail.
        protected(clear.port, MailSecurity::StartTls),
        protected(clear.port, MailSecurity::Tls),
    ] {
        let settings = mail.clone();
        configured(
            |config, _| config.mail = Some(settings),
            async |site| {
                let started = Instant::now();
                assert_eq!(reset(site).await, SENT, "{mail:?}");
                assert!(started.elapsed() < Duration::from_secs(10), "{mail:?}");
            },
        )
        .await;
    }
    assert_eq!((clear.offers(), clear.waiting()), (0, 0));
}

#[tokio::test]
async fn without_a_mail_server_requests_succeed_and_the_environment_names_one() {
    configured(
        |config, _| config.mail = None,
        async |site| assert_eq!(reset(site).await, SENT),
    )
    .await;
    let smtp = SmtpServer::start(Mood::Good).await;
    let port = smtp.port;
    let environment = |config: &mut ServerConfig, settings: &mut Settings| {
        config.mail = Some(MailSettings {
            host: "no-such-host.invalid".to_owned(),
            ..mail_settings(port)
        });
        settings.mail = MailOverride {
            host: Some("127.0.0.1".to_owned()),
            username: Some("me".to_owned()),
            password: Some("secret".to_owned()),
        };
    };
    configured(environment, async |site| {
        assert_eq!(reset(site).await, SENT);
        assert_eq!(smtp.next().await.login, Some(("me".to_owned(), "secret".to_owned())));
    })
    .await;
}

#[tokio::test]
async fn messages_for_the_support_are_mailed_with_their_sender() {
    let support = |config: &mut domain::config::ServerConfig, _: &mut Settings| {
        config.support_email = Some("support@example.org".to_owned());
    };
    configured(support, async |site| {
        let mut alice = site.logged_in("alice").await;
        let page = format!("http://{}/worksheets/0x1", site.address);
        let send = |alice: &crate::site::Browser, body: serde_json::Value| {
            alice
                .request(reqwest::Method::POST, "/help/")
                .header("referer", &page)
                .json(&body)
        };
        let request = send(&alice, serde_json::json!({"message": "my run\nhangs"}));
        assert_eq!(alice.send(request).await.status, 200);
        let mail = site.mails.next().await;
        assert_eq!(mail.to, "support@example.org");
        assert_eq!(mail.header("Subject"), "Message from alice@example.org");
        let body = mail.body.replace('\r', "");
        for part in ["my run\nhangs", "User: alice (", &format!("Page: {page}")] {
            assert!(body.contains(part), "{part}: {body}");
        }
        for body in [
            serde_json::json!({}),
            serde_json::json!({"message": " "}),
            serde_json::json!({"message": 1}),
        ] {
            let request = send(&alice, body);
            assert_eq!(alice.send(request).await.status, 400);
        }
        let mut nobody = site.browser();
        let request = send(&nobody, serde_json::json!({"message": "x"})).header("X-Requested-With", "XMLHttpRequest");
        assert_eq!(nobody.send(request).await.status, 401);
    })
    .await;
}
