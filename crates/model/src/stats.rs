//! Counts for monitors and readiness pages (data-model section 19).

use domain::Result;

use crate::Model;
use crate::db::{Tx, params};

/// A worker that has not checked in for so many seconds is silent: the bundle manager gives it up by default.
const SILENT: i64 = 60;

/// What a monitor watches, from kept totals and small tables: cheap with any number of bundles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Bundles by state name; states without bundles are absent.
    pub bundles_by_state: Vec<(String, i64)>,
    pub workers: WorkerCounts,
    /// Runs that are assigned to a worker.
    pub assigned_runs: i64,
    /// Messages that wait for a worker.
    pub pending_messages: i64,
    /// How long the oldest of them waits, in seconds.
    pub oldest_message: i64,
}

/// Workers, each in one of the first three, and what the online ones have together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    pub online: i64,
    pub terminating: i64,
    /// Without a check-in for a minute.
    pub silent: i64,
    pub cpus: i64,
    pub gpus: i64,
    pub memory_bytes: i64,
    pub free_disk_bytes: i64,
}

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
    /// Counts what is kept counted.
    pub async fn census(&self, now: i64) -> Result<Census> {
        let mut tx = self.db.read().await?;
        let mut census = Census {
            workers: worker_counts(&mut tx, now).await?,
            assigned_runs: tx.count("SELECT COUNT(*) FROM `worker_run`", params![]).await?,
            ..Census::default()
        };
        let sql = "SELECT `state`, SUM(`bundles`) FROM `bundle_total` GROUP BY `state` HAVING SUM(`bundles`) <> 0 \
            ORDER BY `state`";
        for mut row in tx.all(sql, params![]).await? {
            census.bundles_by_state.push((row.text()?, row.int()?));
        }
        let sql = "SELECT COUNT(*), MIN(`created_at`) FROM `worker_message` WHERE `delivered_at` IS NULL";
        if let Some(mut row) = tx.first(sql, params![]).await? {
            census.pending_messages = row.int()?;
            census.oldest_message = row.opt_int()?.map_or(0, |created| (now - created).max(0));
        }
        Ok(census)
    }

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

async fn worker_counts(tx: &mut Tx, now: i64) -> Result<WorkerCounts> {
    let sql = "SELECT CAST(`checkin_time` AS CHAR), `is_terminating`, `cpus`, `gpus`, `memory_bytes`, `free_disk_bytes` \
        FROM `worker`";
    let mut counts = WorkerCounts::default();
    for mut row in tx.all(sql, params![]).await? {
        if row.time()?.unix() < now - SILENT {
            counts.silent += 1;
        } else if row.flag()? {
            counts.terminating += 1;
        } else {
            counts.online += 1;
            counts.cpus += row.int()?;
            counts.gpus += row.int()?;
            counts.memory_bytes += row.int()?;
            counts.free_disk_bytes += row.opt_int()?.unwrap_or(0);
        }
    }
    Ok(counts)
}
