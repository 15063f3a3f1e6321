//! Sending mail in the background: a request never waits for the mail server and never fails because of it.
//!
//! A mail that the server does not take for a passing reason is tried again a few times, for about half an hour. Without
//! a mail server mails are written to the log, so that the owner of a small instance can follow the links in them.

use std::sync::Arc;
use std::time::Duration;

use domain::config::{MailSecurity, MailSettings};
use lettre::address::Envelope;
use lettre::message::header::ContentTransferEncoding;
use lettre::message::{Body, Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pauses before each attempt.
const PAUSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(25 * 60),
];
/// One attempt may take this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Mails that wait; more are dropped.
const MOST_WAITING: usize = 1000;
/// Connections to the mail server at the same time.
const MOST_CONNECTIONS: usize = 4;

/// A plain text to one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// An e-mail address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// The text; may hold links that nobody else should see.
    pub body: String,
}

/// Sends mails. Cheap to clone.
#[derive(Clone)]
pub struct Mailer(Arc<Shared>);

struct Shared {
    way: Way,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    places: Arc<Semaphore>,
    connections: Semaphore,
}

enum Way {
    Smtp(Box<Smtp>),
    /// The settings are of no use; why.
    Broken(String),
    Log,
    Nowhere,
}

struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    envelope_from: Address,
}

/// Why an attempt failed, and whether another one makes sense.
struct Failure {
    reason: String,
    passing: bool,
}

impl Mailer {
    /// `to_log`: without a mail server, mails go to the log. Work under way is in `tasks`; `shutdown` ends the pauses.
    pub fn new(settings: Option<&MailSettings>, to_log: bool, tasks: TaskTracker, shutdown: CancellationToken) -> Self {
        let way = match settings {
            Some(settings) => match Smtp::new(settings) {
                Ok(smtp) => Way::Smtp(Box::new(smtp)),
                Err(reason) => {
                    tracing::error!(reason, "the mail settings are of no use; no mail will be sent");
                    Way::Broken(reason)
                }
            },
            None if to_log => Way::Log,
            None => Way::Nowhere,
        };
        Self(Arc::new(Shared {
            way,
            tasks,
            shutdown,
            places: Arc::new(Semaphore::new(MOST_WAITING)),
            connections: Semaphore::new(MOST_CONNECTIONS),
        }))
    }

    /// Sends a mail at some time; returns at once. What becomes of it is in the log.
    pub fn send(&self, mail: Mail) {
        let Mail { to, subject, body } = &mail;
        match &self.0.way {
            Way::Smtp(_) => {}
            Way::Broken(reason) => {
                tracing::error!(
                    to,
                    subject,
                    reason,
                    "cannot send a mail: the mail settings are of no use"
                );
                return;
            }
            Way::Log => {
                tracing::info!(to, subject, body, "no mail server is configured, so here is the mail");
                return;
            }
            Way::Nowhere => {
                tracing::warn!(to, subject, "no mail server is configured; a mail is dropped");
                return;
            }
        }
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            tracing::error!(
                to,
                subject,
                "too many mails wait for the mail server; a mail is dropped"
            );
            return;
        };
        let shared = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            shared.deliver(&mail).await;
            drop(place);
        });
    }
}

impl Shared {
    async fn deliver(&self, mail: &Mail) {
        let Way::Smtp(smtp) = &self.way else { return };
        let (to, subject) = (&mail.to, &mail.subject);
        for pause in PAUSES {
            let waited = tokio::select! {
                () = tokio::time::sleep(pause) => true,
                () = self.shutdown.cancelled() => pause.is_zero(),
            };
            if !waited {
                tracing::error!(to, subject, "the server ends before a mail could be sent");
                return;
            }
            let Ok(connection) = self.connections.acquire().await else {
                return;
            };
            let outcome = smtp.send(mail).await;
            drop(connection);
            match outcome {
                Ok(()) => {
                    tracing::info!(to, subject, "mail sent");
                    return;
                }
                Err(failure) if failure.passing => {
                    tracing::warn!(to, subject, reason = failure.reason, "cannot send a mail now");
                }
                Err(failure) => {
                    tracing::error!(to, subject, reason = failure.reason, "cannot send a mail");
                    return;
                }
            }
        }
        tracing::error!(to, subject, "giving up on a mail");
    }
}

impl Smtp {
    fn new(settings: &MailSettings) -> Result<Self, String> {
        let parameters = || TlsParameters::new(settings.host.clone()).map_err(|error| error.to_string());
        let tls = match settings.security {
            MailSecurity::StartTls => Tls::Required(parameters()?),
            MailSecurity::Tls => Tls::Wrapper(parameters()?),
            MailSecurity::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls)
            .timeout(Some(PATIENCE / 2));
        if let Some(password) = &settings.password {
            builder = builder.credentials(Credentials::new(settings.username.clone(), password.clone()));
        }
        let bad = |name: &str, text: &str, error: &dyn std::fmt::Display| format!("email/{name} '{text}': {error}");
        Ok(Self {
            transport: builder.build(),
            from: settings
                .sender_from
                .parse()
                .map_err(|error| bad("sender_from", &settings.sender_from, &error))?,
            envelope_from: settings
                .sender_email
                .parse()
                .map_err(|error| bad("sender_email", &settings.sender_email, &error))?,
        })
    }

    async fn send(&self, mail: &Mail) -> Result<(), Failure> {
        let permanent = |error: &dyn std::fmt::Display| Failure {
            reason: error.to_string(),
            passing: false,
        };
        let to: Address = mail.to.parse().map_err(|error| permanent(&error))?;
        let envelope = Envelope::new(Some(self.envelope_from.clone()), vec![to.clone()]).map_err(|e| permanent(&e))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&mail.subject)
            .message_id(None)
            .header(header::ContentType::TEXT_PLAIN)
            .body(body(&mail.body))
            .map_err(|error| permanent(&error))?;
        let bytes = message.formatted();
        match tokio::time::timeout(PATIENCE, self.transport.send_raw(&envelope, &bytes)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Failure {
                reason: causes(&error),
                passing: !error.is_permanent(),
            }),
            Err(_) => Err(Failure {
                reason: "the mail server does not answer".to_owned(),
                passing: true,
            }),
        }
    }
}

/// Plain texts travel as they are, so that a link is in one piece whatever reads it; others are encoded.
fn body(text: &str) -> Body {
    let plain = text.is_ascii() && !text.contains(['\0', '\r']) && text.lines().all(|line| line.len() < 900);
    if plain {
        Body::dangerous_pre_encoded(
            text.replace('\n', "\r\n").into_bytes(),
            ContentTransferEncoding::SevenBit,
        )
    } else {
        Body::new(text.to_owned())
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_in_one_piece() {
        let link = format!("https://lab.example.org/{}", "x".repeat(200));
        let plain = body(&format!("Hello,\n\n{link}\n"));
        assert_eq!(plain.encoding(), ContentTransferEncoding::SevenBit);
        let text = String::from_utf8(plain.into_vec()).unwrap();
        assert_eq!(text, format!("Hello,\r\n\r\n{link}\r\n"));
        assert_ne!(body("Grüße").encoding(), ContentTransferEncoding::SevenBit);
    }

    #[test]
    fn unusable_senders_are_named() {
        for (from, email, part) in [
            ("CodaLab <noreply@codalab.org>", "noreply@codalab.org", None),
            ("CodaLab", "noreply@codalab.org", Some("email/sender_from 'CodaLab'")),
            (
                "CodaLab <noreply@codalab.org>",
                "no\r\nreply",
                Some("email/sender_email"),
            ),
        ] {
            let settings = MailSettings {
                sender_from: from.to_owned(),
                sender_email: email.to_owned(),
                security: MailSecurity::None,
                ..MailSettings::new("localhost")
            };
            match (Smtp::new(&settings), part) {
                (Ok(_), None) => {}
                (Err(reason), Some(part)) => assert!(reason.starts_with(part), "{reason}"),
                (outcome, _) => panic!("{from} {email}: {:?}", outcome.err()),
            }
        }
    }
}
