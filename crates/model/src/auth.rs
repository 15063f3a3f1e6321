//! OAuth clients, tokens and authorization codes (data-model section 11.4). Tokens are stored as hashes; tokens that a
//! CodaLab 1.7 server stored in clear keep working.

use domain::{Result, UserId, UtcTime};

use crate::db::{Tx, params};
use crate::password::{digest, random_text};
use crate::users::active_user;
use crate::{Model, User};

/// Seconds an access token lives.
pub const ACCESS_LIFETIME: i64 = 3600;

/// Seconds an authorization code lives.
const CODE_LIFETIME: i64 = 100;

/// Seconds a refresh token lives.
pub const REFRESH_LIFETIME: i64 = 30 * 24 * 3600;

/// A pair of tokens, in clear; only the caller ever sees them.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub access_token: String,
    pub refresh_token: String,
    /// Seconds the access token lives from now on.
    pub expires_in: i64,
    /// Blank-separated for the wire: `default`.
    pub scopes: String,
    pub user_id: UserId,
}

/// An application that may ask for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthClient {
    pub client_id: String,
    pub name: Option<String>,
    /// `password` or `authorization_code`; `refresh_token` is always allowed too, see [`Self::allows`].
    pub grant_type: String,
    /// `token` or `code`.
    pub response_type: String,
    pub scopes: Vec<String>,
    pub redirect_uris: Vec<String>,
}

impl OauthClient {
    /// Whether it may use a grant.
    pub fn allows(&self, grant_type: &str) -> bool {
        grant_type == "refresh_token" || self.grant_type == grant_type
    }
}

impl Model {
    /// The client application with this id.
    pub async fn oauth_client(&self, client_id: &str) -> Result<Option<OauthClient>> {
        let sql = "SELECT `client_id`, `name`, `grant_type`, `response_type`, `scopes`, `redirect_uris` \
            FROM `oauth2_client` WHERE `client_id` = ?";
        let row = self.db.once().await?.first(sql, params![client_id]).await?;
        row.map(|mut row| {
            Ok(OauthClient {
                client_id: row.text()?,
                name: row.opt_text()?,
                grant_type: row.text()?,
                response_type: row.text()?,
                scopes: split(&row.text()?),
                redirect_uris: split(&row.text()?),
            })
        })
        .transpose()
    }

    /// Registers a client application. 409 if there is one with this id.
    pub async fn add_oauth_client(&self, client: &OauthClient) -> Result<()> {
        let mut tx = self.db.write().await?;
        tx.run(
            "INSERT INTO `oauth2_client` (`client_id`, `name`, `secret`, `user_id`, `grant_type`, `response_type`, `scopes`, \
             `redirect_uris`) VALUES (?, ?, NULL, NULL, ?, ?, ?, ?)",
            params![
                &client.client_id,
                client.name.clone(),
                &client.grant_type,
                &client.response_type,
                client.scopes.join(","),
                client.redirect_uris.join(","),
            ],
        )
        .await?;
        tx.commit().await
    }

    /// A new pair of tokens for a user who has proved who he is.
    pub async fn issue_token(&self, client_id: &str, user_id: &str, now: i64) -> Result<Token> {
        let mut tx = self.db.write().await?;
        let token = issue(&mut tx, client_id, user_id, now).await?;
        tx.commit().await?;
        Ok(token)
    }

    /// A new pair for a refresh token of this client; `None` if it is unknown or expired, or if the account is gone. The
    /// old pair stays good until its own end: clients of 1.7 send what they think has failed a second time, and several
    /// programs share one stored token.
    pub async fn refresh_token(&self, client_id: &str, refresh_token: &str, now: i64) -> Result<Option<Token>> {
        let Some(secrets) = stored_forms(refresh_token) else {
            return Ok(None);
        };
        let mut tx = self.db.write().await?;
        // Rows of CodaLab 1.7 have no expiry of their own for the refresh token; there it never expired.
        let sql = "SELECT `user_id`, `refresh_token` FROM `oauth2_token` WHERE `client_id` = ? AND `refresh_token` IN (?, ?) \
            AND (`refresh_expires` IS NULL OR `refresh_expires` > ?)";
        let [hashed, clear] = secrets.clone();
        let rows = tx
            .all(sql, params![client_id, hashed, clear, UtcTime::from_unix(now)])
            .await?;
        for mut row in rows {
            let (user_id, stored) = (row.user_id()?, row.text()?);
            if !secrets.contains(&stored) {
                continue; // the column compares without regard to case
            }
            if active_user(&mut tx, "`u`.`user_id` = ?", params![&user_id])
                .await?
                .is_some()
            {
                let token = issue(&mut tx, client_id, &user_id, now).await?;
                tx.commit().await?;
                return Ok(Some(token));
            }
        }
        Ok(None)
    }

    /// The active account an access token belongs to; `None` if it is unknown or expired.
    pub async fn authenticate(&self, access_token: &str, now: i64) -> Result<Option<User>> {
        let Some(secrets) = stored_forms(access_token) else {
            return Ok(None);
        };
        let [hashed, clear] = secrets.clone();
        let sql = format!(
            "SELECT `t`.`access_token`, {} FROM `oauth2_token` `t` JOIN `user` `u` ON `u`.`user_id` = `t`.`user_id` \
             WHERE `t`.`access_token` IN (?, ?) AND `t`.`expires` > ? AND `u`.`is_active` = 1",
            crate::users::USER_COLUMNS
        );
        let rows = self
            .db
            .once()
            .await?
            .all(sql, params![hashed, clear, UtcTime::from_unix(now)])
            .await?;
        for mut row in rows {
            if secrets.contains(&row.text()?) {
                return crate::users::read_user(&mut row).map(Some);
            }
        }
        Ok(None)
    }

    /// Makes a token (access or refresh) of this client and its partner unusable. Unknown tokens are ignored.
    pub async fn revoke_token(&self, client_id: &str, token: &str) -> Result<()> {
        let Some(secrets) = stored_forms(token) else {
            return Ok(());
        };
        let mut tx = self.db.write().await?;
        for column in ["access_token", "refresh_token"] {
            let sql =
                format!("SELECT `id`, `{column}` FROM `oauth2_token` WHERE `client_id` = ? AND `{column}` IN (?, ?)");
            for mut row in tx.all(sql, params![client_id, &secrets[0], &secrets[1]]).await? {
                let (id, stored) = (row.int()?, row.text()?);
                if secrets.contains(&stored) {
                    tx.run("DELETE FROM `oauth2_token` WHERE `id` = ?", params![id]).await?;
                }
            }
        }
        tx.commit().await
    }

    /// Makes all tokens of a user unusable.
    pub async fn revoke_tokens_of(&self, user_id: &str) -> Result<()> {
        let mut tx = self.db.write().await?;
        tx.run("DELETE FROM `oauth2_token` WHERE `user_id` = ?", params![user_id])
            .await?;
        tx.commit().await
    }

    /// A code, valid for 100 s, that the client can change into a token. `challenge` is the PKCE challenge, if it sent one.
    pub async fn issue_auth_code(
        &self,
        client_id: &str,
        user_id: &str,
        redirect_uri: &str,
        challenge: Option<&str>,
        now: i64,
    ) -> Result<String> {
        let code = random_text(30);
        let mut tx = self.db.write().await?;
        let expires = UtcTime::from_unix(now + CODE_LIFETIME);
        tx.run(
            "DELETE FROM `oauth2_auth_code` WHERE `expires` <= ?",
            params![UtcTime::from_unix(now)],
        )
        .await?;
        tx.run(
            "INSERT INTO `oauth2_auth_code` (`client_id`, `user_id`, `scopes`, `code`, `expires`, `redirect_uri`, \
             `code_challenge`) VALUES (?, ?, 'default', ?, ?, ?, ?)",
            params![client_id, user_id, digest(&code), expires, redirect_uri, challenge],
        )
        .await?;
        tx.commit().await?;
        Ok(code)
    }

    /// The user of a code for this client and address, and the PKCE challenge it was asked for with; the code is used up.
    /// `None` if unknown or expired.
    pub async fn take_auth_code(
        &self,
        client_id: &str,
        code: &str,
        redirect_uri: &str,
        now: i64,
    ) -> Result<Option<(UserId, Option<String>)>> {
        let mut tx = self.db.write().await?;
        let sql = "SELECT `id`, `user_id`, `code_challenge` FROM `oauth2_auth_code` \
            WHERE `client_id` = ? AND `code` = ? AND `redirect_uri` = ? AND `expires` > ?";
        let values = params![client_id, digest(code), redirect_uri, UtcTime::from_unix(now)];
        let Some(mut row) = tx.first(sql, values).await? else {
            return Ok(None);
        };
        let (id, user_id, challenge) = (row.int()?, row.user_id()?, row.opt_text()?);
        let taken = tx
            .run("DELETE FROM `oauth2_auth_code` WHERE `id` = ?", params![id])
            .await?
            == 1;
        tx.commit().await?;
        Ok(taken.then_some((user_id, challenge)))
    }
}

/// Inserts a new pair and forgets pairs of this client and user of which neither token is of use any more.
async fn issue(tx: &mut Tx, client_id: &str, user_id: &str, now: i64) -> Result<Token> {
    let token = Token {
        access_token: random_text(30),
        refresh_token: random_text(30),
        expires_in: ACCESS_LIFETIME,
        scopes: "default".to_owned(),
        user_id: UserId::from(user_id),
    };
    tx.run(
        "DELETE FROM `oauth2_token` WHERE `client_id` = ? AND `user_id` = ? AND `expires` <= ? AND `refresh_expires` <= ?",
        params![client_id, user_id, UtcTime::from_unix(now), UtcTime::from_unix(now)],
    )
    .await?;
    tx.run(
        "INSERT INTO `oauth2_token` (`client_id`, `user_id`, `scopes`, `access_token`, `refresh_token`, `expires`, \
         `refresh_expires`) VALUES (?, ?, 'default', ?, ?, ?, ?)",
        params![
            client_id,
            user_id,
            digest(&token.access_token),
            digest(&token.refresh_token),
            UtcTime::from_unix(now + ACCESS_LIFETIME),
            UtcTime::from_unix(now + REFRESH_LIFETIME),
        ],
    )
    .await?;
    Ok(token)
}

/// The two forms in which a token may be stored: hashed (ours), in clear (CodaLab 1.7). A text that looks like a stored
/// hash is no token, else somebody who read the database could present it.
fn stored_forms(token: &str) -> Option<[String; 2]> {
    let plausible = !token.is_empty() && token.len() <= 255 && !token.to_ascii_lowercase().starts_with("sha256:");
    plausible.then(|| [digest(token), token.to_owned()])
}

fn split(list: &str) -> Vec<String> {
    list.split(',')
        .filter(|part| !part.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}
