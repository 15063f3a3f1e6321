//! The browser session: a signed cookie that holds the id of a session in the database and when it ends.
//!
//! Value: `base64url(JSON {"id", "expires"}) "." base64url(HMAC-SHA256)`. The signature turns forgeries away before the
//! database is asked; the row in the database is what logging out and a new password remove. The key is the secret key of
//! the home; sessions signed with a former key (`server/previous_secret_keys`) go on.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Name of the session cookie.
pub const COOKIE: &str = "codalab_session";
/// Lifetime from login in seconds (30 days); use does not renew it.
pub const MAX_AGE: i64 = 2_592_000;
/// The `Set-Cookie` value that ends a session in the browser.
pub const CLEAR: &str = "codalab_session=\"\"; Max-Age=-1; expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/";

/// What a session cookie says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Names the session.
    pub id: String,
    /// Unix seconds.
    pub expires: i64,
}

/// What a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// No session cookie.
    Nothing,
    /// Cookies that are forged, expired or not of this kind.
    Junk,
    /// A cookie that we signed and that has not expired.
    Session(Session),
}

/// Set in the course of a request that presents a session cookie which is no good.
#[derive(Clone, Debug, Default)]
pub struct BadCookie(Arc<AtomicBool>);

impl BadCookie {
    /// Notes that the cookie is no good.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was noted.
    pub fn was_seen(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Signs and checks session cookies.
#[derive(Clone)]
pub struct SessionSigner {
    /// The first one signs.
    keys: Vec<Hmac<Sha256>>,
    http_only: bool,
}

impl SessionSigner {
    /// A signer with the secret key of the home, and former ones. `http_only`: scripts cannot read the cookie. An empty
    /// key is replaced by a random one: then sessions end with the program.
    pub fn new(secret: &str, previous: &[String], http_only: bool) -> Self {
        let random: [u8; 32] = rand::random();
        let current = if secret.is_empty() {
            &random[..]
        } else {
            secret.as_bytes()
        };
        let former = previous.iter().filter(|key| !key.is_empty()).map(String::as_bytes);
        let keys = std::iter::once(current).chain(former);
        Self {
            keys: keys
                .map(|key| Hmac::new_from_slice(key).expect("HMAC takes keys of every length"))
                .collect(),
            http_only,
        }
    }

    /// The `Set-Cookie` value of a fresh session; `secure` when the browser came over HTTPS.
    pub fn set_cookie(&self, session: &Session, now: i64, secure: bool) -> String {
        let http_only = if self.http_only { "; HttpOnly" } else { "" };
        let secure = if secure { "; Secure" } else { "" };
        format!(
            "{COOKIE}=\"{}\"; Max-Age={}; Path=/{http_only}; SameSite=Lax{secure}",
            self.seal(session),
            session.expires - now
        )
    }

    /// The session of a request.
    pub fn presented(&self, headers: &HeaderMap, now: i64) -> Presented {
        let mut presented = Presented::Nothing;
        for value in cookie_values(headers) {
            match self.open(value) {
                Some(session) if session.expires > now => return Presented::Session(session),
                _ => presented = Presented::Junk,
            }
        }
        presented
    }

    /// A text that only holders of the key can make from `parts`: 32 hex digits.
    pub fn fingerprint(&self, parts: &[&str]) -> String {
        let mut mac = self.keys[0].clone().chain_update("fingerprint");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let bytes = mac.finalize().into_bytes();
        bytes.iter().take(16).fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    fn seal(&self, session: &Session) -> String {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::json!(session).to_string());
        let signature = self.keys[0].clone().chain_update(&payload).finalize().into_bytes();
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn open(&self, value: &str) -> Option<Session> {
        let (payload, signature) = value.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let signed = |key: &Hmac<Sha256>| key.clone().chain_update(payload).verify_slice(&signature).is_ok();
        if !self.keys.iter().any(signed) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

/// The session cookies of a request, quotes removed.
fn cookie_values(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, value)| *name == COOKIE && !value.is_empty())
        .map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
        headers
    }

    fn session() -> Session {
        Session {
            id: "s".to_owned(),
            expires: 1000 + MAX_AGE,
        }
    }

    fn pair(signer: &SessionSigner) -> String {
        let set = signer.set_cookie(&session(), 1000, false);
        set.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_session_survives_the_browser_and_ends_in_time() {
        let signer = SessionSigner::new("key", &[], true);
        let sent = headers(&format!("a=b; {}", pair(&signer)));
        assert_eq!(signer.presented(&sent, 1001), Presented::Session(session()));
        assert_eq!(signer.presented(&sent, 1000 + MAX_AGE), Presented::Junk);
    }

    #[test]
    fn attributes_follow_the_connection_and_the_settings() {
        for (http_only, secure, expected) in [
            (true, false, "; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax"),
            (true, true, "; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax; Secure"),
            (false, false, "; Max-Age=2592000; Path=/; SameSite=Lax"),
        ] {
            let set = SessionSigner::new("key", &[], http_only).set_cookie(&session(), 1000, secure);
            assert_eq!(&set[set.find(';').unwrap()..], expected);
        }
    }

    #[test]
    fn former_keys_are_accepted_and_forgeries_are_not() {
        let old = SessionSigner::new("old", &[], true);
        let rotated = SessionSigner::new("new", &["older".to_owned(), "old".to_owned()], true);
        let sent = headers(&pair(&old));
        assert!(matches!(rotated.presented(&sent, 1001), Presented::Session(_)));
        let new = SessionSigner::new("new", &[], true);
        assert_eq!(new.presented(&sent, 1001), Presented::Junk);
        assert!(matches!(
            new.presented(&headers(&pair(&rotated)), 1001),
            Presented::Session(_)
        ));
        for junk in ["codalab_session=a.b", "codalab_session=\"\"", "codalab_session=."] {
            assert_eq!(new.presented(&headers(junk), 1), Presented::Junk, "{junk}");
        }
        for nothing in ["x=y", "codalab_session=", "codalab_session"] {
            assert_eq!(new.presented(&headers(nothing), 1), Presented::Nothing, "{nothing}");
        }
    }

    #[test]
    fn of_several_cookies_the_good_one_counts() {
        let signer = SessionSigner::new("key", &[], true);
        let sent = headers(&format!("codalab_session=junk; {}", pair(&signer)));
        assert!(matches!(signer.presented(&sent, 1001), Presented::Session(_)));
    }

    #[test]
    fn an_empty_key_is_not_everybodys_key() {
        let sent = headers(&pair(&SessionSigner::new("", &[], true)));
        assert_eq!(
            SessionSigner::new("", &[String::new()], true).presented(&sent, 1001),
            Presented::Junk
        );
    }

    #[test]
    fn fingerprints_tell_the_parts_apart() {
        let signer = SessionSigner::new("key", &[], true);
        assert_eq!(signer.fingerprint(&["a", "b"]), signer.fingerprint(&["a", "b"]));
        assert_ne!(signer.fingerprint(&["a", "b"]), signer.fingerprint(&["ab", ""]));
        assert_ne!(
            signer.fingerprint(&["a"]),
            SessionSigner::new("k", &[], true).fingerprint(&["a"])
        );
        assert_eq!(signer.fingerprint(&[]).len(), 32);
    }
}
