//! Where bearer tokens come from.

use futures::future::BoxFuture;
use tokio::sync::Mutex;

use crate::error::{Error, Result};
use crate::oauth::{Token, password_grant, refresh_grant, unix_now};
use crate::transport::Endpoint;

/// Gives a valid access token for an instance; logs in or refreshes as needed.
pub trait TokenSource: Send + Sync {
    /// The token to send with the next request.
    fn access_token<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<String>>;

    /// The server answered 401 to a request made with `token`. Returns whether [`Self::access_token`] may now give a
    /// different one, so that the request is worth repeating.
    fn reject<'a>(&'a self, token: &'a str) -> BoxFuture<'a, bool>;
}

/// For a server that knows the caller anyway: no token.
#[derive(Debug, Clone, Copy)]
pub struct NoLogin;

impl TokenSource for NoLogin {
    fn access_token<'a>(&'a self, _endpoint: &'a Endpoint) -> BoxFuture<'a, Result<String>> {
        Box::pin(std::future::ready(Ok(String::new())))
    }

    fn reject<'a>(&'a self, _token: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }
}

/// Logs in with a fixed user name and password and keeps the token in memory: the source of workers and services.
pub struct PasswordLogin {
    client_id: String,
    username: String,
    password: String,
    token: Mutex<Option<Token>>,
}

impl PasswordLogin {
    /// `client_id` is one of the ids the server knows, see [`crate::WORKER_CLIENT`].
    pub fn new(client_id: &str, username: &str, password: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
            token: Mutex::new(None),
        }
    }

    async fn renew(&self, endpoint: &Endpoint, old: Option<Token>) -> Result<Token> {
        if let Some(refresh_token) = old.and_then(|token| token.refresh_token) {
            match refresh_grant(endpoint, &self.client_id, &refresh_token).await {
                Err(Error::BadCredentials | Error::Status { status: 400..500, .. }) => {}
                other => return other,
            }
        }
        password_grant(endpoint, &self.client_id, &self.username, &self.password).await
    }
}

impl TokenSource for PasswordLogin {
    fn access_token<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let mut slot = self.token.lock().await;
            if let Some(token) = slot.as_ref().filter(|token| token.is_fresh(unix_now())) {
                return Ok(token.access_token.clone());
            }
            let old = slot.take();
            let token = self.renew(endpoint, old).await?;
            let access = token.access_token.clone();
            *slot = Some(token);
            Ok(access)
        })
    }

    fn reject<'a>(&'a self, token: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let mut slot = self.token.lock().await;
            if slot.as_ref().is_some_and(|current| current.access_token == token) {
                *slot = None;
            }
            true
        })
    }
}

impl std::fmt::Debug for PasswordLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordLogin")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
