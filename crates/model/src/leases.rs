//! Leases: who is the one scheduler (scheduler section 12.1), and which servers there are.

use domain::Result;

use crate::Model;
use crate::db::params;

impl Model {
    /// Takes or renews the lease `name` for `holder` until `now + seconds`; false while somebody else has it.
    pub async fn acquire_lease(&self, name: &str, holder: &str, seconds: i64, now: i64) -> Result<bool> {
        let mut tx = self.db.write().await?;
        let expires = now + seconds;
        let taken = tx
            .run(
                "UPDATE `scheduler_lease` SET `holder` = ?, `expires_at` = ? \
                 WHERE `name` = ? AND (`holder` = ? OR `expires_at` <= ?)",
                params![holder, expires, name, holder, now],
            )
            .await?;
        let mut got = taken > 0;
        if !got {
            let insert = tx.engine().insert_ignore();
            let sql = format!("{insert} `scheduler_lease` (`name`, `holder`, `expires_at`) VALUES (?, ?, ?)");
            got = tx.run(sql, params![name, holder, expires]).await? > 0;
        }
        tx.commit().await?;
        Ok(got)
    }

    /// Who has the lease, if anybody has.
    pub async fn lease_holder(&self, name: &str, now: i64) -> Result<Option<String>> {
        let sql = "SELECT `holder` FROM `scheduler_lease` WHERE `name` = ? AND `expires_at` > ?";
        let row = self.db.read().await?.first(sql, params![name, now]).await?;
        row.map(|mut row| row.text()).transpose()
    }

    /// Gives the lease back, if `holder` has it.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<()> {
        let mut tx = self.db.write().await?;
        let sql = "DELETE FROM `scheduler_lease` WHERE `name` = ? AND `holder` = ?";
        tx.run(sql, params![name, holder]).await?;
        tx.commit().await
    }
}
