//! Keys that verify an e-mail address and codes that allow a new password (data-model sections 11.2 and 11.3).

use domain::{Result, UserId, UtcTime};

use crate::Model;
use crate::db::params;
use crate::password::{digest, random_hex};
use crate::users::set_password_hash;

/// Seconds a verification key is good for.
const KEY_LIFETIME: i64 = 7 * 24 * 3600;

/// Seconds a reset code is good for.
const CODE_LIFETIME: i64 = 24 * 3600;

impl Model {
    /// The verification key to send to a user: the one that exists, or a new one. It is stored in clear because it must
    /// be sent again on request; it only verifies an address.
    pub async fn verification_key(&self, user_id: &str, now: i64) -> Result<String> {
        let mut tx = self.db.write().await?;
        let sent = UtcTime::from_unix(now);
        let sql = "SELECT `key` FROM `user_verification` WHERE `user_id` = ? AND `date_created` > ? ORDER BY `id` DESC LIMIT 1";
        let known = tx
            .first(sql, params![user_id, UtcTime::from_unix(now - KEY_LIFETIME)])
            .await?;
        let key = if let Some(mut row) = known {
            let sql = "UPDATE `user_verification` SET `date_sent` = ? WHERE `user_id` = ?";
            tx.run(sql, params![sent, user_id]).await?;
            row.text()?
        } else {
            let key = random_hex();
            tx.run("DELETE FROM `user_verification` WHERE `user_id` = ?", params![user_id])
                .await?;
            tx.run(
                "INSERT INTO `user_verification` (`user_id`, `date_created`, `date_sent`, `key`) VALUES (?, ?, ?, ?)",
                params![user_id, sent, sent, &key],
            )
            .await?;
            key
        };
        tx.commit().await?;
        Ok(key)
    }

    /// Uses up a verification key and marks its user verified; false if the key is unknown or older than a week.
    pub async fn verify_user(&self, key: &str, now: i64) -> Result<bool> {
        let mut tx = self.db.write().await?;
        let sql = "SELECT `user_id` FROM `user_verification` WHERE `key` = ? AND `date_created` > ?";
        let Some(mut row) = tx
            .first(sql, params![key, UtcTime::from_unix(now - KEY_LIFETIME)])
            .await?
        else {
            return Ok(false);
        };
        let user_id = row.user_id()?;
        tx.run("DELETE FROM `user_verification` WHERE `user_id` = ?", params![&user_id])
            .await?;
        tx.run(
            "UPDATE `user` SET `is_verified` = 1 WHERE `user_id` = ?",
            params![&user_id],
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// A new code that lets its holder set the user's password.
    pub async fn reset_code(&self, user_id: &str, now: i64) -> Result<String> {
        let code = random_hex();
        let mut tx = self.db.write().await?;
        tx.run(
            "INSERT INTO `user_reset_code` (`user_id`, `date_created`, `code`) VALUES (?, ?, ?)",
            params![user_id, UtcTime::from_unix(now), stored(&code)],
        )
        .await?;
        tx.commit().await?;
        Ok(code)
    }

    /// Whether a reset code exists and is younger than a day.
    pub async fn reset_code_exists(&self, code: &str, now: i64) -> Result<bool> {
        let sql = "SELECT COUNT(*) FROM `user_reset_code` WHERE `code` = ? AND `date_created` > ?";
        let values = params![stored(code), UtcTime::from_unix(now - CODE_LIFETIME)];
        Ok(self.db.read().await?.count(sql, values).await? > 0)
    }

    /// Uses up a reset code (and the user's other codes), sets the password and revokes all tokens. `None` if unknown.
    pub async fn reset_password(&self, code: &str, password: &str, now: i64) -> Result<Option<UserId>> {
        let hash = self.hash(password.to_owned()).await?;
        let mut tx = self.db.write().await?;
        let sql = format!(
            "SELECT `user_id` FROM `user_reset_code` WHERE `code` = ? AND `date_created` > ?{}",
            tx.engine().for_update()
        );
        let values = params![stored(code), UtcTime::from_unix(now - CODE_LIFETIME)];
        let Some(mut row) = tx.first(sql, values).await? else {
            return Ok(None);
        };
        let user_id = row.user_id()?;
        tx.run("DELETE FROM `user_reset_code` WHERE `user_id` = ?", params![&user_id])
            .await?;
        set_password_hash(&mut tx, &user_id, &hash).await?;
        tx.commit().await?;
        Ok(Some(user_id))
    }
}

/// The hash of a code, cut to the column's 64 characters.
fn stored(code: &str) -> String {
    digest(code).trim_start_matches("sha256:").to_owned()
}
