//! Tokens of the command line: cached in `state.json`, refreshed, or got with credentials from the environment or the
//! terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use client::{CLI_CLIENT, Endpoint, Token, TokenSource, password_grant, refresh_grant};
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use crate::config::{Session, StateFile};
use crate::environment::Environment;

/// Source of tokens for one instance.
pub struct CachedLogin {
    state: StateFile,
    environment: Environment,
    session: (String, Session),
    /// A token the server has refused although it looked good.
    refused: Mutex<Option<String>>,
    current: Mutex<Option<Token>>,
}

impl CachedLogin {
    /// `session` is stored along with the first token if the state file does not have it yet.
    pub fn new(state: StateFile, environment: Environment, session: (String, Session)) -> Self {
        Self {
            state,
            environment,
            session,
            refused: Mutex::default(),
            current: Mutex::default(),
        }
    }

    async fn obtain(&self, endpoint: &Endpoint) -> client::Result<Token> {
        let address = endpoint.address();
        let local = |error: crate::error::Error| client::Error::Local(error.to_string());
        let refused = self.refused.lock().await.clone();
        if let Some((token, username)) = self.state.login(address).map_err(local)? {
            if token.is_fresh(now()) && refused.as_deref() != Some(token.access_token.as_str()) {
                return Ok(token);
            }
            if let Some(refresh_token) = &token.refresh_token {
                match refresh_grant(endpoint, CLI_CLIENT, refresh_token).await {
                    Ok(token) => return self.keep(address, token, username.as_deref()),
                    Err(client::Error::BadCredentials) => {}
                    Err(error) => return Err(error),
                }
            }
            self.state.forget_login(address).map_err(local)?;
        }
        let (username, password) = self.credentials(address).await?;
        let token = password_grant(endpoint, CLI_CLIENT, &username, &password).await?;
        self.keep(address, token, Some(&username))
    }

    fn keep(&self, address: &str, token: Token, username: Option<&str>) -> client::Result<Token> {
        let session = (self.session.0.as_str(), &self.session.1);
        self.state
            .set_login(address, &token, username, session)
            .map_err(|error| client::Error::Local(error.to_string()))?;
        Ok(token)
    }

    async fn credentials(&self, address: &str) -> client::Result<(String, String)> {
        let (username, password) = (
            self.environment.text("CODALAB_USERNAME"),
            self.environment.text("CODALAB_PASSWORD"),
        );
        if let (Some(username), Some(password)) = (&username, &password) {
            return Ok((username.clone(), password.clone()));
        }
        if !self.environment.may_prompt() {
            return Err(client::Error::Local(
                "log in first, or set CODALAB_USERNAME and CODALAB_PASSWORD".to_owned(),
            ));
        }
        let address = address.to_owned();
        let asked = tokio::task::spawn_blocking(move || ask(&address, username, password)).await;
        asked
            .map_err(io::Error::other)
            .and_then(|asked| asked)
            .map_err(|error| {
                client::Error::Local(format!(
                    "cannot ask for the password ({error}); set CODALAB_USERNAME and CODALAB_PASSWORD"
                ))
            })
    }
}

impl TokenSource for CachedLogin {
    fn access_token<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, client::Result<String>> {
        Box::pin(async move {
            let mut current = self.current.lock().await;
            if let Some(token) = current.as_ref().filter(|token| token.is_fresh(now())) {
                return Ok(token.access_token.clone());
            }
            let token = self.obtain(endpoint).await?;
            let access = token.access_token.clone();
            *current = Some(token);
            Ok(access)
        })
    }

    fn reject<'a>(&'a self, token: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let mut refused = self.refused.lock().await;
            // A second refusal is not about the token: the account may not do this.
            if refused.is_some() {
                return false;
            }
            *refused = Some(token.to_owned());
            *self.current.lock().await = None;
            true
        })
    }
}

fn ask(address: &str, username: Option<String>, password: Option<String>) -> io::Result<(String, String)> {
    let mut err = io::stderr();
    writeln!(err, "Requesting access at {address}")?;
    let username = if let Some(username) = username {
        username
    } else {
        write!(err, "Username: ")?;
        err.flush()?;
        next_line()?
    };
    let password = match password {
        Some(password) => password,
        None if io::stdin().is_terminal() => rpassword::prompt_password("Password: ")?,
        // Without any terminal, the next line of the input.
        None => rpassword::prompt_password("Password: ").or_else(|_| next_line())?,
    };
    Ok((username, password))
}

fn next_line() -> io::Result<String> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no input"));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
