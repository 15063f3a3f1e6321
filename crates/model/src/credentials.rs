//! Keys that verify an e-mail address and codes that allow a new password (data-model sections 11.2 and 11.3). Both are
//! stored as hashes; those that CodaLab 1.7 stored in clear keep working.

use domain::{Result, UserId, UtcTime};

use crate::Model;
use crate::db::{Tx, params};
use crate::password::{hex_digest, random_hex};
use crate::users::{change_address, set_password_hash};

/// Seconds a verification key is good for.
const KEY_LIFETIME: i64 = 7 * 24 * 3600;

/// Keys of one user that are good at the same time: somebody who asked for another mail may still find the first one.
const MOST_KEYS: usize = 5;

/// Seconds a reset code is good for.
const CODE_LIFETIME: i64 = 24 * 3600;

impl Model {
    /// A new key that verifies the user's address. Older ones stay good until they are a week old.
    pub async fn verification_key(&self, user_id: &str, now: i64) -> Result<String> {
        let mut tx = self.db.write().await?;
        let key = new_key(&mut tx, user_id, now).await?;
        tx.commit().await?;
        Ok(key)
    }

    /// Whether a verification key would be accepted.
    pub async fn verification_key_exists(&self, key: &str, now: i64) -> Result<bool> {
        Ok(key_owner(&mut self.db.once().await?, key, now).await?.is_some())
    }

    /// Uses up all verification keys of the key's user and marks him verified; false if the key is unknown or older than
    /// a week.
    pub async fn verify_user(&self, key: &str, now: i64) -> Result<bool> {
        let mut tx = self.db.write().await?;
        let Some(user_id) = key_owner(&mut tx, key, now).await? else {
            return Ok(false);
        };
        let used = tx
            .run("DELETE FROM `user_verification` WHERE `user_id` = ?", params![&user_id])
            .await?;
        if used == 0 {
            return Ok(false); // somebody else was faster
        }
        tx.run(
            "UPDATE `user` SET `is_verified` = 1 WHERE `user_id` = ?",
            params![&user_id],
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Stores a new address, which has yet to be verified; gives the key for that. Keys and codes that were sent to the
    /// old address are worthless from now on. 400 `User with this email already exists.`
    pub async fn change_email(&self, user_id: &str, email: &str, now: i64) -> Result<String> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                change_address(&mut tx, user_id, email).await?;
                let sql = "UPDATE `user` SET `is_verified` = 0 WHERE `user_id` = ?";
                tx.run(sql, params![user_id]).await?;
                let key = new_key(&mut tx, user_id, now).await?;
                tx.commit().await?;
                Ok(key)
            })
            .await
    }

    /// A new code that lets its holder set the user's password; older ones are worthless from now on.
    pub async fn reset_code(&self, user_id: &str, now: i64) -> Result<String> {
        let code = random_hex();
        let mut tx = self.db.write().await?;
        tx.run("DELETE FROM `user_reset_code` WHERE `user_id` = ?", params![user_id])
            .await?;
        tx.run(
            "INSERT INTO `user_reset_code` (`user_id`, `date_created`, `code`) VALUES (?, ?, ?)",
            params![user_id, UtcTime::from_unix(now), hex_digest(&code)],
        )
        .await?;
        tx.commit().await?;
        Ok(code)
    }

    /// Whether a reset code exists and is younger than a day.
    pub async fn reset_code_exists(&self, code: &str, now: i64) -> Result<bool> {
        Ok(code_owner(&mut self.db.once().await?, code, now).await?.is_some())
    }

    /// Uses up a reset code (and the user's other codes), sets the password, and ends all tokens and sessions. `None` if
    /// the code is unknown, used or older than a day; then nothing was hashed.
    pub async fn reset_password(&self, code: &str, password: &str, now: i64) -> Result<Option<UserId>> {
        if !self.reset_code_exists(code, now).await? {
            return Ok(None);
        }
        let hash = self.hash(password.to_owned()).await?;
        let mut tx = self.db.write().await?;
        let Some(user_id) = code_owner(&mut tx, code, now).await? else {
            return Ok(None);
        };
        let used = tx
            .run("DELETE FROM `user_reset_code` WHERE `user_id` = ?", params![&user_id])
            .await?;
        if used == 0 {
            return Ok(None); // somebody else was faster
        }
        set_password_hash(&mut tx, &user_id, &hash).await?;
        tx.commit().await?;
        Ok(Some(user_id))
    }
}

async fn new_key(tx: &mut Tx, user_id: &str, now: i64) -> Result<String> {
    let sql = "SELECT `id` FROM `user_verification` WHERE `user_id` = ? ORDER BY `id` DESC";
    let rows = tx.all(sql, params![user_id]).await?;
    for mut row in rows.into_iter().skip(MOST_KEYS - 1) {
        tx.run("DELETE FROM `user_verification` WHERE `id` = ?", params![row.int()?])
            .await?;
    }
    let key = random_hex();
    let sent = UtcTime::from_unix(now);
    tx.run(
        "INSERT INTO `user_verification` (`user_id`, `date_created`, `date_sent`, `key`) VALUES (?, ?, ?, ?)",
        params![user_id, sent, sent, hex_digest(&key)],
    )
    .await?;
    Ok(key)
}

async fn key_owner(tx: &mut Tx, key: &str, now: i64) -> Result<Option<UserId>> {
    let table = ("user_verification", "key");
    owner(tx, table, key, now - KEY_LIFETIME).await
}

async fn code_owner(tx: &mut Tx, code: &str, now: i64) -> Result<Option<UserId>> {
    let table = ("user_reset_code", "code");
    owner(tx, table, code, now - CODE_LIFETIME).await
}

/// The active user of a key or code that is younger than `since`.
async fn owner(tx: &mut Tx, (table, column): (&str, &str), secret: &str, since: i64) -> Result<Option<UserId>> {
    // Only the form that was sent: the stored hash of one, which is longer, opens nothing.
    if secret.len() != 32 || !secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let sql = format!(
        "SELECT `c`.`user_id` FROM `{table}` `c` JOIN `user` `u` ON `u`.`user_id` = `c`.`user_id` \
         WHERE `c`.`{column}` IN (?, ?) AND `c`.`date_created` > ? AND `u`.`is_active` = 1"
    );
    let values = params![hex_digest(secret), secret, UtcTime::from_unix(since)];
    tx.first(sql, values).await?.map(|mut row| row.user_id()).transpose()
}
