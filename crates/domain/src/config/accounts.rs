//! The parts of `config.json` that concern accounts: mail, limits on attempts, sessions.

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::rate::Rate;

/// How to reach the mail server (service section 12.3).
#[derive(Clone, PartialEq, Eq)]
pub struct MailSettings {
    /// Name or address of the SMTP server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: MailSecurity,
    /// Login name; used only with a password.
    pub username: String,
    /// Login password. Never printed.
    pub password: Option<String>,
    /// `From` header: `Name <address>`.
    pub sender_from: String,
    /// Envelope sender.
    pub sender_email: String,
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSecurity {
    /// The connection must switch to TLS before anything is said.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// In clear.
    None,
}

impl MailSettings {
    /// The defaults for a server: port 587, STARTTLS, no login.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: 587,
            security: MailSecurity::StartTls,
            username: "noreply@codalab.org".to_owned(),
            password: None,
            sender_from: "CodaLab <noreply@codalab.org>".to_owned(),
            sender_email: "noreply@codalab.org".to_owned(),
        }
    }
}

impl std::fmt::Debug for MailSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}

/// How often things may be tried; `None` = without limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttemptLimits {
    /// Failed logins of one account from one address.
    pub login_account_from_address: Option<Rate>,
    /// Failed logins of one account from everywhere.
    pub login_account: Option<Rate>,
    /// Failed logins from one address.
    pub login_address: Option<Rate>,
    /// Sign-ups from one address, successful or not.
    pub signup_address: Option<Rate>,
    /// Mails (verification, reset) about one account.
    pub mail_account: Option<Rate>,
    /// Requests for mails from one address.
    pub mail_address: Option<Rate>,
}

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3600.0;

impl Default for AttemptLimits {
    fn default() -> Self {
        Self {
            login_account_from_address: Some(Rate::new(10, 10.0 * MINUTE)),
            login_account: Some(Rate::new(50, HOUR)),
            login_address: Some(Rate::new(100, 10.0 * MINUTE)),
            signup_address: Some(Rate::new(20, HOUR)),
            mail_account: Some(Rate::new(5, HOUR)),
            mail_address: Some(Rate::new(30, HOUR)),
        }
    }
}

/// `email` of the file, whose names these are.
#[allow(clippy::struct_field_names)]
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Email {
    host: Option<String>,
    port: Option<u16>,
    use_tls: Option<bool>,
    security: Option<String>,
    username: Option<Value>,
    password: Option<Value>,
    sender_from: Option<String>,
    sender_email: Option<String>,
    pub(super) log: Option<bool>,
}

impl Email {
    /// None without a host.
    pub(super) fn resolve(self) -> Result<Option<MailSettings>> {
        let Some(host) = self.host.filter(|host| !host.is_empty()) else {
            return Ok(None);
        };
        let security = match self.security.as_deref() {
            Some("starttls") => MailSecurity::StartTls,
            Some("tls") => MailSecurity::Tls,
            Some("none") => MailSecurity::None,
            Some(other) => {
                return Err(Error::usage(format!(
                    "config.json: unknown email/security '{other}', expected starttls, tls or none"
                )));
            }
            None if self.use_tls == Some(false) => MailSecurity::None,
            None if self.port == Some(465) => MailSecurity::Tls,
            None => MailSecurity::StartTls,
        };
        let default_port = if security == MailSecurity::Tls { 465 } else { 587 };
        let defaults = MailSettings::new(host);
        Ok(Some(MailSettings {
            port: self.port.unwrap_or(default_port),
            security,
            username: text(self.username).unwrap_or(defaults.username),
            password: text(self.password),
            sender_from: self.sender_from.unwrap_or(defaults.sender_from),
            sender_email: self.sender_email.unwrap_or(defaults.sender_email),
            ..MailSettings::new(defaults.host)
        }))
    }
}

/// A text that CodaLab 1.7 may have stored as a number because it looks like one; empty counts as absent.
fn text(value: Option<Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// `server/attempts` of the file.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Attempts {
    login_account_from_address: Option<String>,
    login_account: Option<String>,
    login_address: Option<String>,
    signup_address: Option<String>,
    mail_account: Option<String>,
    mail_address: Option<String>,
}

impl Attempts {
    pub(super) fn resolve(&self) -> Result<AttemptLimits> {
        let defaults = AttemptLimits::default();
        let limit = |text: &Option<String>, default| match text {
            Some(text) => Rate::parse(text).map_err(|error| error.context("config.json")),
            None => Ok(default),
        };
        Ok(AttemptLimits {
            login_account_from_address: limit(&self.login_account_from_address, defaults.login_account_from_address)?,
            login_account: limit(&self.login_account, defaults.login_account)?,
            login_address: limit(&self.login_address, defaults.login_address)?,
            signup_address: limit(&self.signup_address, defaults.signup_address)?,
            mail_account: limit(&self.mail_account, defaults.mail_account)?,
            mail_address: limit(&self.mail_address, defaults.mail_address)?,
        })
    }
}

/// The address under which browsers find the instance: `http(s)://host[:port]`, nothing behind it.
pub(super) fn public_url(text: &str) -> Result<String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .map(|rest| rest.trim_end_matches('/'));
    let plain = |c: char| c.is_ascii_graphic() && !"/?#@\\".contains(c);
    match host {
        Some(host) if !host.is_empty() && host.chars().all(plain) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(Error::usage(format!(
            "config.json: server/public_url '{text}' is not of the form https://host or https://host:port"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ServerConfig;
    use super::*;

    fn mail(email: &Value) -> Option<MailSettings> {
        ServerConfig::from_value(&json!({ "email": email })).unwrap().mail
    }

    #[test]
    fn mail_needs_a_host_and_is_protected_unless_told_otherwise() {
        for none in [json!(null), json!({}), json!({"host": ""}), json!({"username": "x"})] {
            assert_eq!(mail(&none), None, "{none}");
        }
        for (email, port, security) in [
            (json!({"host": "m"}), 587, MailSecurity::StartTls),
            (
                json!({"host": "m", "use_tls": false, "port": 25}),
                25,
                MailSecurity::None,
            ),
            (
                json!({"host": "m", "use_tls": true, "port": 465}),
                465,
                MailSecurity::Tls,
            ),
            (json!({"host": "m", "security": "tls"}), 465, MailSecurity::Tls),
            (
                json!({"host": "m", "security": "none", "use_tls": true}),
                587,
                MailSecurity::None,
            ),
        ] {
            let settings = mail(&email).unwrap();
            assert_eq!((settings.port, settings.security), (port, security), "{email}");
            assert_eq!(settings.sender_from, "CodaLab <noreply@codalab.org>");
        }
    }

    #[test]
    fn a_password_of_digits_is_a_text_and_never_printed() {
        let settings = mail(&json!({"host": "m", "password": 12345, "username": "me"})).unwrap();
        assert_eq!(settings.password.as_deref(), Some("12345"));
        assert!(!format!("{settings:?}").contains("12345"));
    }

    #[test]
    fn limits_are_read_and_mistakes_named() {
        let limits = |value: Value| {
            ServerConfig::from_value(&json!({"server": {"attempts": value}})).map(|config| config.attempts)
        };
        assert_eq!(limits(json!({})).unwrap(), AttemptLimits::default());
        let changed = limits(json!({"login_account": "3/1h", "mail_account": "off"})).unwrap();
        assert_eq!(changed.login_account, Some(Rate::new(3, 3600.0)));
        assert_eq!(changed.mail_account, None);
        assert_eq!(changed.login_address, AttemptLimits::default().login_address);
        for bad in [
            json!({"login_account": "often"}),
            json!({"logins": "3/1h"}),
            json!({"login_account": 3}),
        ] {
            assert!(limits(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_public_address_is_an_origin() {
        for (text, expected) in [
            ("https://lab.example.org", Some("https://lab.example.org")),
            ("http://lab:2900/", Some("http://lab:2900")),
            ("lab.example.org", None),
            ("https://lab/path", None),
            ("https://", None),
            ("https://a@b", None),
            ("ftp://lab", None),
        ] {
            assert_eq!(public_url(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn sign_up_is_open_where_1_7_had_it_open() {
        for (server, open) in [
            (json!({}), false),
            (json!({"engine_url": "sqlite:////x.db"}), false),
            (json!({"engine_url": "mysql://u@h/d"}), true),
            (json!({"engine_url": "mysql://u@h/d", "allow_signup": false}), false),
            (json!({"allow_signup": true}), true),
        ] {
            let config = ServerConfig::from_value(&json!({ "server": server })).unwrap();
            assert_eq!(config.allow_signup, open, "{server}");
        }
    }
}
