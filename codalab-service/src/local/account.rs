//! The root account of an instance and the tokens that need no password.

use domain::config::ServerConfig;
use domain::error::Error;
use domain::user::Quota;
use futures::future::BoxFuture;
use model::Model;
use tokio::sync::Mutex;

use super::home::{Home, remove_if_present};
use super::settings::LocalToken;
use super::{Result, RootLogin};

/// Length of generated passwords; 20 of 62 characters are about 119 bits.
const PASSWORD_LENGTH: usize = 20;
/// Tokens are renewed this many seconds before they expire.
const MARGIN: i64 = 600;

/// Name and password of the root account, as the environment gives them.
#[derive(Clone, Default)]
pub struct Given {
    pub username: Option<String>,
    pub password: Option<String>,
}

impl Given {
    pub fn from_environment() -> Given {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Given {
            username: read("CODALAB_USERNAME"),
            password: read("CODALAB_PASSWORD"),
        }
    }
}

/// Is the account still to be made, or was its password never shown because an earlier first start was interrupted?
pub async fn is_first_start(model: &Model, home: &Home) -> Result<bool> {
    Ok(home.first_start_marker().exists() || model.user(model.root_user_id()).await?.is_none())
}

/// Makes the root account. An interruption anywhere before [`first_start_is_over`] repeats this at the next start.
pub async fn make_root(model: &Model, home: &Home, config: &ServerConfig, given: &Given) -> Result<RootLogin> {
    let marker = home.first_start_marker();
    std::fs::write(&marker, "")
        .map_err(|error| Error::internal(format!("cannot write {}: {error}", marker.display())))?;
    let generated = given.password.is_none().then(random_password);
    let password = generated
        .as_ref()
        .or(given.password.as_ref())
        .cloned()
        .unwrap_or_default();
    model.ensure_root(&password, quota(config), now()).await?;
    Ok(RootLogin {
        username: model.root_user_name().to_owned(),
        generated_password: generated,
    })
}

/// The password was shown.
pub fn first_start_is_over(home: &Home) -> Result<()> {
    remove_if_present(&home.first_start_marker())
}

/// A token for the owner's command line, so that it needs no log-in.
pub async fn token_for_cl(model: &Model) -> Result<LocalToken> {
    let token = model
        .issue_token(client::CLI_CLIENT, model.root_user_id(), now())
        .await?;
    Ok(LocalToken {
        expires_at: now() + token.expires_in,
        access_token: token.access_token,
        refresh_token: Some(token.refresh_token),
        scope: token.scopes,
    })
}

/// Refuses a password that everybody knows, before others can reach the instance.
pub async fn refuse_default_password(model: &Model) -> Result<()> {
    for password in ["codalab", ""] {
        if model
            .check_credentials(model.root_user_name(), password, now())
            .await?
            .is_some()
        {
            return Err(Error::usage(
                "the root account has the default password; choose another before listening beyond this machine",
            ));
        }
    }
    Ok(())
}

fn quota(config: &ServerConfig) -> Quota {
    Quota {
        time_quota: config.default_user.time_quota,
        disk_quota: config.default_user.disk_quota as f64,
        parallel_run_quota: config.default_user.parallel_run_quota,
        ..Quota::default()
    }
}

fn random_password() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789";
    let mut password = String::new();
    while password.len() < PASSWORD_LENGTH {
        let byte = usize::from(rand::random::<u8>());
        // Only whole multiples of the alphabet, so that every character is equally likely.
        if byte < 256 - 256 % ALPHABET.len() {
            password.push(char::from(ALPHABET[byte % ALPHABET.len()]));
        }
    }
    password
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Tokens of the root account for the worker in this process, straight from the database.
pub struct OwnTokens {
    model: Model,
    current: Mutex<Option<(String, i64)>>,
}

impl OwnTokens {
    pub fn new(model: Model) -> OwnTokens {
        OwnTokens {
            model,
            current: Mutex::new(None),
        }
    }
}

impl client::TokenSource for OwnTokens {
    fn access_token<'a>(&'a self, _endpoint: &'a client::Endpoint) -> BoxFuture<'a, client::Result<String>> {
        Box::pin(async move {
            let mut current = self.current.lock().await;
            if let Some((token, expires)) = &*current
                && *expires - MARGIN > now()
            {
                return Ok(token.clone());
            }
            let issued = self
                .model
                .issue_token(client::WORKER_CLIENT, self.model.root_user_id(), now())
                .await;
            let issued = issued.map_err(|error| client::Error::Local(error.to_string()))?;
            *current = Some((issued.access_token.clone(), now() + issued.expires_in));
            Ok(issued.access_token)
        })
    }

    fn reject<'a>(&'a self, token: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let mut current = self.current.lock().await;
            if current.as_ref().is_some_and(|(known, _)| known == token) {
                *current = None;
            }
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (one, two) = (random_password(), random_password());
        assert_eq!(one.len(), PASSWORD_LENGTH);
        assert_ne!(one, two);
    }
}
