//! Browser sessions. The cookie holds a random id; here is its hash, the user and the end. A session ends by logging out,
//! when the password changes, and after its time.

use domain::Result;

use crate::db::params;
use crate::password::{hex_digest, random_text};
use crate::users::{USER_COLUMNS, read_user};
use crate::{Model, User};

impl Model {
    /// Begins a session that ends at `expires_at` (Unix seconds); gives its id, which only the caller ever sees.
    pub async fn start_session(&self, user_id: &str, expires_at: i64, now: i64) -> Result<String> {
        let id = random_text(30);
        let mut tx = self.db.write().await?;
        tx.run("DELETE FROM `user_session` WHERE `expires_at` <= ?", params![now])
            .await?;
        tx.run(
            "INSERT INTO `user_session` (`id`, `user_id`, `created_at`, `expires_at`) VALUES (?, ?, ?, ?)",
            params![hex_digest(&id), user_id, now, expires_at],
        )
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// The active account whose session this is; `None` if it has ended.
    pub async fn session_user(&self, id: &str, now: i64) -> Result<Option<User>> {
        let sql = format!(
            "SELECT {USER_COLUMNS} FROM `user_session` `s` JOIN `user` `u` ON `u`.`user_id` = `s`.`user_id` \
             WHERE `s`.`id` = ? AND `s`.`expires_at` > ? AND `u`.`is_active` = 1"
        );
        let row = self.db.once().await?.first(sql, params![hex_digest(id), now]).await?;
        row.map(|mut row| read_user(&mut row)).transpose()
    }

    /// Ends a session; false if there was none.
    pub async fn end_session(&self, id: &str) -> Result<bool> {
        let mut tx = self.db.write().await?;
        let sql = "DELETE FROM `user_session` WHERE `id` = ?";
        let ended = tx.run(sql, params![hex_digest(id)]).await? > 0;
        tx.commit().await?;
        Ok(ended)
    }
}
