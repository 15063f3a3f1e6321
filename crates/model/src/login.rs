//! Checking a password: the same time for every refusal, limits on failures, old hashes replaced.

use domain::{Rate, Result, UtcTime};
use tokio::time::Instant;

use crate::db::{Tx, params};
use crate::limits::{self, Limit};
use crate::password::{Hashing, hash_password, needs_rehash, verify_password};
use crate::users::user_by_name;
use crate::{Model, User};

/// How many failed logins are borne; `None` = any number. The failures of one account are counted twice: from one
/// address, where few are enough to stop guessing without locking the owner out elsewhere, and from everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoginLimits {
    /// For one account from one address.
    pub account_from_address: Option<Rate>,
    /// For one account from everywhere.
    pub account: Option<Rate>,
    /// From one address, over all accounts.
    pub address: Option<Rate>,
}

/// Somebody says who he is.
#[derive(Clone)]
pub struct LoginAttempt {
    /// User name or e-mail.
    pub name: String,
    /// In clear.
    pub password: String,
    /// Where it comes from: an address, or the network that counts as one.
    pub address: String,
    /// Tells identical attempts from others, at most 64 characters. Must not help to guess the password.
    pub fingerprint: String,
}

/// What became of a [`LoginAttempt`].
#[derive(Clone, Debug, PartialEq)]
pub enum Login {
    /// Name and password match.
    Accepted(Box<User>),
    /// They do not, or there is no such account.
    Refused,
    /// Too many failures; trying makes sense again after this many seconds. The password was not looked at.
    Throttled(i64),
}

struct Checked {
    user: Option<User>,
    /// The hash that was verified, and the one to put in its place.
    rehashed: Option<(String, String)>,
}

impl Model {
    /// Checks name (or e-mail) and password within the limits. Notes the login and replaces an old hash.
    ///
    /// It ends even if nobody waits for it any more, so that hanging up does not keep a failure from being counted.
    pub async fn login(&self, attempt: LoginAttempt, limits: LoginLimits, now: i64) -> Result<Login> {
        let model = self.clone();
        let login = tokio::spawn(async move { model.login_to_the_end(attempt, limits, now).await });
        login
            .await
            .map_err(|error| domain::Error::internal(format!("A login broke off: {error}")))?
    }

    async fn login_to_the_end(&self, attempt: LoginAttempt, limits: LoginLimits, now: i64) -> Result<Login> {
        let started = Instant::now();
        let (user, stored) = self.stored_password(&attempt.name).await?;
        let account = user
            .as_ref()
            .map_or(attempt.name.as_str(), |user| user.user_id.as_str());
        let limit = |what: &str, subject: &str, rate: Option<Rate>| rate.map(|rate| Limit::new(what, subject, rate));
        let here = format!("{} {account}", attempt.address);
        let here = limit("login-here", &here, limits.account_from_address);
        let mut all: Vec<Limit> = here.iter().cloned().collect();
        all.extend(limit("login-account", account, limits.account));
        all.extend(limit("login-address", &attempt.address, limits.address));

        // Looked at once before waiting for a turn, so that who is blocked costs next to nothing, and again afterwards:
        // then no more attempts than there are turns can be under way between the look and the count.
        if let Some(wait) = self.blocked(&all, &attempt.fingerprint, now).await? {
            return Ok(Login::Throttled(wait));
        }
        let turn = self.hashing().turn().await?;
        if let Some(wait) = self.blocked(&all, &attempt.fingerprint, now).await? {
            return Ok(Login::Throttled(wait));
        }
        let (checked, turn) = self.check(turn, user, stored, attempt.password).await?;
        let mut tx = self.db.write().await?;
        let Some(user) = checked.user else {
            limits::count(&mut tx, &all, &attempt.fingerprint, now).await?;
            self.sweep_limits(&mut tx, now).await?;
            tx.commit().await?;
            drop(turn);
            tokio::time::sleep_until(started + self.hashing().cost.refusal).await;
            return Ok(Login::Refused);
        };
        drop(turn);
        if let Some(here) = &here {
            limits::clear(&mut tx, here).await?;
        }
        let user = note_login(&mut tx, user, checked.rehashed, now).await?;
        tx.commit().await?;
        Ok(Login::Accepted(Box::new(user)))
    }

    /// The active account if name (or e-mail) and password match, without limits. Replaces an old hash and notes the
    /// login.
    pub async fn check_credentials(&self, name_or_email: &str, password: &str, now: i64) -> Result<Option<User>> {
        let (user, stored) = self.stored_password(name_or_email).await?;
        let turn = self.hashing().turn().await?;
        let (checked, _turn) = self.check(turn, user, stored, password.to_owned()).await?;
        let Some(user) = checked.user else { return Ok(None) };
        let mut tx = self.db.write().await?;
        let user = note_login(&mut tx, user, checked.rehashed, now).await?;
        tx.commit().await?;
        Ok(Some(user))
    }

    async fn blocked(&self, limits: &[Limit], attempt: &str, now: i64) -> Result<Option<i64>> {
        limits::blocked(&mut self.db.read().await?, limits, attempt, now).await
    }

    async fn stored_password(&self, name_or_email: &str) -> Result<(Option<User>, Option<String>)> {
        let mut tx = self.db.read().await?;
        let Some(user) = user_by_name(&mut tx, name_or_email).await? else {
            return Ok((None, None));
        };
        let sql = "SELECT `password` FROM `user` WHERE `user_id` = ?";
        let stored = tx.first(sql, params![&user.user_id]).await?;
        let stored = stored.map(|mut row| row.text()).transpose()?;
        Ok((Some(user), stored))
    }

    async fn check(
        &self,
        turn: tokio::sync::OwnedSemaphorePermit,
        user: Option<User>,
        stored: Option<String>,
        password: String,
    ) -> Result<(Checked, tokio::sync::OwnedSemaphorePermit)> {
        let cost = self.hashing().cost;
        // An unknown name takes as long as a wrong password, so that names cannot be probed.
        let hash = stored.unwrap_or_else(|| self.hashing().nobody.clone());
        let (outcome, turn) = Hashing::work(turn, move || {
            let matches = verify_password(&password, &hash);
            let rehash = matches && needs_rehash(&hash, cost);
            let fresh = rehash.then(|| hash_password(&password, cost)).transpose()?;
            Ok::<_, domain::Error>((matches, fresh.map(|fresh| (hash, fresh))))
        })
        .await?;
        let (matches, rehashed) = outcome?;
        let checked = Checked {
            user: user.filter(|_| matches),
            rehashed,
        };
        Ok((checked, turn))
    }
}

/// Writes the time of the login, and the better hash unless the password was changed meanwhile.
async fn note_login(tx: &mut Tx, user: User, rehashed: Option<(String, String)>, now: i64) -> Result<User> {
    let last_login = UtcTime::from_unix(now);
    tx.run(
        "UPDATE `user` SET `last_login` = ? WHERE `user_id` = ?",
        params![last_login, &user.user_id],
    )
    .await?;
    if let Some((old, new)) = rehashed {
        let sql = "UPDATE `user` SET `password` = ? WHERE `user_id` = ? AND `password` = ?";
        tx.run(sql, params![new, &user.user_id, old]).await?;
    }
    Ok(User {
        last_login: Some(last_login),
        ..user
    })
}
