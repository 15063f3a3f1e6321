//! reCAPTCHA on the sign-up form: only where a secret is configured.

use std::time::Duration;

use serde::Deserialize;

/// Where answers are verified.
const VERIFY_URL: &str = "https://www.recaptcha.net/recaptcha/api/siteverify";
/// Google's public test secret accepts every answer, so nobody needs to be asked.
const TEST_SECRET: &str = "6LeIxAcTAAAAAGG-vFI1TnRWxMZNFuojJ4WifJWe";
const PATIENCE: Duration = Duration::from_secs(10);
const NO_ANSWER: &str = "Google reCAPTCHA failed.";

/// Verifies what the widget in the form produced.
#[derive(Clone)]
pub struct Captcha {
    secret: String,
    url: String,
}

#[derive(Deserialize)]
struct Verdict {
    #[serde(default)]
    success: bool,
}

impl Captcha {
    /// None for an empty secret, and for the public test secret. `url` replaces Google's address.
    pub fn new(secret: &str, url: Option<&str>) -> Option<Self> {
        if secret.is_empty() || (secret == TEST_SECRET && url.is_none()) {
            return None;
        }
        Some(Self {
            secret: secret.to_owned(),
            url: url.unwrap_or(VERIFY_URL).to_owned(),
        })
    }

    /// Why the form cannot be accepted, in the words of the form.
    pub async fn problem(&self, token: &str) -> Option<&'static str> {
        if token.is_empty() {
            return Some("Google reCAPTCHA token is missing.");
        }
        match self.verdict(token).await {
            Ok(true) => None,
            Ok(false) => Some(NO_ANSWER),
            Err(error) => {
                tracing::warn!(%error, url = self.url, "the reCAPTCHA service cannot be asked");
                Some(NO_ANSWER)
            }
        }
    }

    async fn verdict(&self, token: &str) -> reqwest::Result<bool> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let form = [("secret", self.secret.as_str()), ("response", token)];
        let answer = client.post(&self.url).form(&form).send().await?.error_for_status()?;
        Ok(answer.json::<Verdict>().await?.success)
    }
}

impl std::fmt::Debug for Captcha {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Captcha")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
