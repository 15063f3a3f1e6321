//! Counts for monitors and readiness pages (data-model section 19).

use domain::Result;

use crate::Model;
use crate::db::params;

/// Size of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub bundles: i64,
    pub worksheets: i64,
    pub users: i64,
    pub groups: i64,
    pub workers: i64,
    /// Bundles by state name.
    pub bundles_by_state: Vec<(String, i64)>,
    /// Sum of all `data_size` of bundles that have an owner.
    pub disk_used: i64,
    /// Messages that wait for a worker.
    pub pending_messages: i64,
}

impl Model {
    /// Counts everything.
    pub async fn stats(&self) -> Result<Stats> {
        let mut tx = self.db.read().await?;
        let mut stats = Stats::default();
        let counts: [(&str, &mut i64); 5] = [
            ("`worksheet`", &mut stats.worksheets),
            ("`user`", &mut stats.users),
            ("`group`", &mut stats.groups),
            ("`worker`", &mut stats.workers),
            (
                "`worker_message` WHERE `delivered_at` IS NULL",
                &mut stats.pending_messages,
            ),
        ];
        for (table, count) in counts {
            *count = tx.count(format!("SELECT COUNT(*) FROM {table}"), params![]).await?;
        }
        let sql = "SELECT `state`, COUNT(*) FROM `bundle` GROUP BY `state` ORDER BY `state`";
        for mut row in tx.all(sql, params![]).await? {
            stats.bundles_by_state.push((row.text()?, row.int()?));
        }
        stats.bundles = stats.bundles_by_state.iter().map(|(_, count)| count).sum();
        stats.disk_used = tx.count("SELECT SUM(`disk_used`) FROM `user`", params![]).await?;
        Ok(stats)
    }
}
