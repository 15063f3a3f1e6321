//! The browser session: a signed cookie that names the user and when it ends.
//!
//! Value: `base64url(JSON {"user_id", "expires"}) "." base64url(HMAC-SHA256)`. The key is the secret key of the home, so
//! losing it logs every browser out and nothing else.

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
    /// Who is logged in.
    pub user_id: String,
    /// Unix seconds.
    pub expires: i64,
}

/// Signs and checks session cookies.
#[derive(Clone)]
pub struct SessionSigner(Hmac<Sha256>);

impl SessionSigner {
    /// A signer with the secret key of the home.
    pub fn new(secret: &str) -> Self {
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length"))
    }

    /// The `Set-Cookie` value of a fresh session; `secure` when the browser came over HTTPS.
    pub fn set_cookie(&self, user_id: &str, now: i64, secure: bool) -> String {
        let session = Session {
            user_id: user_id.to_owned(),
            expires: now + MAX_AGE,
        };
        let secure = if secure { "; Secure" } else { "" };
        format!(
            "{COOKIE}=\"{}\"; Max-Age={MAX_AGE}; Path=/; HttpOnly; SameSite=Lax{secure}",
            self.seal(&session)
        )
    }

    /// The session of a request, or `None` for a missing, forged or expired cookie.
    pub fn session(&self, headers: &HeaderMap, now: i64) -> Option<Session> {
        let value = cookie_value(headers)?;
        let session = self.open(&value)?;
        (session.expires > now).then_some(session)
    }

    fn seal(&self, session: &Session) -> String {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::json!(session).to_string());
        let signature = self.0.clone().chain_update(&payload).finalize().into_bytes();
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn open(&self, value: &str) -> Option<Session> {
        let (payload, signature) = value.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        self.0.clone().chain_update(payload).verify_slice(&signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

/// The raw session cookie of a request, quotes removed.
pub fn cookie_value(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value.trim_matches('"').to_owned())
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

    #[test]
    fn a_session_survives_the_browser_and_ends_in_time() {
        let signer = SessionSigner::new("key");
        let set = signer.set_cookie("0x12", 1000, false);
        let pair = set.split(';').next().unwrap();
        let sent = headers(&format!("a=b; {pair}"));
        assert_eq!(signer.session(&sent, 1001).unwrap().user_id, "0x12");
        assert_eq!(signer.session(&sent, 1000 + MAX_AGE), None);
    }

    #[test]
    fn forged_cookies_count_as_absent() {
        let signer = SessionSigner::new("key");
        let other = SessionSigner::new("other");
        let set = other.set_cookie("0", 1000, true);
        assert_eq!(signer.session(&headers(set.split(';').next().unwrap()), 1001), None);
        for junk in ["codalab_session=", "codalab_session=a.b", "codalab_session=\"\"", "x=y"] {
            assert_eq!(signer.session(&headers(junk), 1), None, "{junk}");
        }
    }
}
