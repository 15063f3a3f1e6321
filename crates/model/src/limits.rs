//! Limits on attempts: logins, sign-ups, mails. They live in the database, so that several servers share them and a
//! restart does not forget them.
//!
//! Each limit is one row with the time at which nothing counts any more (`free_at`); an attempt moves it forward by
//! period / count, and is refused when it would be more than the period ahead. A row that has been reached by the clock
//! says nothing and is removed, so the table holds what was tried during one period at most.

use std::sync::atomic::Ordering;

use domain::{Rate, Result};

use crate::Model;
use crate::db::{Tx, params};
use crate::password::hex_digest;

/// The Python client of CodaLab 1.7 sends everything that failed a second time after 1 s. An identical attempt within
/// this many milliseconds is not counted again.
const REPEAT: i64 = 2_000;

/// Seconds between two removals of rows that say nothing.
const SWEEP_INTERVAL: i64 = 60;

/// How often one thing may happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    name: String,
    rate: Rate,
}

impl Limit {
    /// A limit on `what` (a short word) for one subject: an account, an address. The subject is stored as a hash.
    pub fn new(what: &str, subject: &str, rate: Rate) -> Self {
        Self {
            name: format!("{what}/{}", &hex_digest(&subject.to_lowercase())[..32]),
            rate,
        }
    }

    fn period(&self) -> i64 {
        (self.rate.seconds * 1000.0) as i64
    }

    fn step(&self) -> i64 {
        (self.period() / i64::from(self.rate.count.max(1))).max(1)
    }
}

impl Model {
    /// Counts an attempt against all limits, or against none if one of them is exceeded; then gives the seconds after
    /// which trying again makes sense. `attempt` tells identical attempts from others (at most 64 characters).
    pub async fn take(&self, limits: &[Limit], attempt: &str, now: i64) -> Result<Option<i64>> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                count(&mut tx, limits, attempt, now).await?;
                let mut wait = None;
                for limit in limits {
                    let sql = "SELECT `free_at` FROM `rate_limit` WHERE `name` = ?";
                    let free_at = tx.count(sql, params![&limit.name]).await?;
                    wait = wait.max(excess(free_at, limit, now));
                }
                if wait.is_none() {
                    self.sweep_limits(&mut tx, now).await?;
                    tx.commit().await?;
                }
                Ok(wait)
            })
            .await
    }

    /// Removes rows that say nothing, once in a while.
    pub(crate) async fn sweep_limits(&self, tx: &mut Tx, now: i64) -> Result<()> {
        let last = &self.identity.limits_swept;
        if now - last.load(Ordering::Relaxed) >= SWEEP_INTERVAL {
            last.store(now, Ordering::Relaxed);
            tx.run("DELETE FROM `rate_limit` WHERE `free_at` <= ?", params![now * 1000])
                .await?;
        }
        Ok(())
    }
}

/// Whether one more attempt would exceed a limit: the seconds to wait.
pub(crate) async fn blocked(tx: &mut Tx, limits: &[Limit], attempt: &str, now: i64) -> Result<Option<i64>> {
    let mut wait = None;
    for limit in limits {
        let sql = "SELECT `free_at`, `attempt`, `attempt_at` FROM `rate_limit` WHERE `name` = ?";
        let Some(mut row) = tx.first(sql, params![&limit.name]).await? else {
            continue;
        };
        let (free_at, last, last_at) = (row.int()?, row.text()?, row.int()?);
        if last != attempt || last_at < now * 1000 - REPEAT {
            wait = wait.max(excess(free_at.max(now * 1000) + limit.step(), limit, now));
        }
    }
    Ok(wait)
}

/// Counts an attempt, whether or not a limit is exceeded.
pub(crate) async fn count(tx: &mut Tx, limits: &[Limit], attempt: &str, now: i64) -> Result<()> {
    let now = now * 1000;
    let mut sorted: Vec<&Limit> = limits.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name)); // two attempts lock their rows in the same order
    for limit in sorted {
        // MySQL assigns from left to right and sees what it assigned, so the condition's columns come last.
        let sql = format!(
            "INSERT INTO `rate_limit` (`name`, `free_at`, `attempt`, `attempt_at`) VALUES (?, ?, ?, ?){} \
             `free_at` = CASE WHEN `attempt` = ? AND `attempt_at` >= ? THEN `free_at` WHEN `free_at` > ? THEN `free_at` + ? ELSE ? END, \
             `attempt_at` = CASE WHEN `attempt` = ? AND `attempt_at` >= ? THEN `attempt_at` ELSE ? END, `attempt` = ?",
            tx.engine().on_conflict("name")
        );
        let (fresh, repeated) = (now + limit.step(), now - REPEAT);
        let values = params![
            &limit.name,
            fresh,
            attempt,
            now,
            attempt,
            repeated,
            now,
            limit.step(),
            fresh,
            attempt,
            repeated,
            now,
            attempt
        ];
        tx.run(sql, values).await?;
    }
    Ok(())
}

/// Forgets what was counted.
pub(crate) async fn clear(tx: &mut Tx, limit: &Limit) -> Result<()> {
    tx.run("DELETE FROM `rate_limit` WHERE `name` = ?", params![&limit.name])
        .await
        .map(drop)
}

fn excess(free_at: i64, limit: &Limit, now: i64) -> Option<i64> {
    let over = free_at - now * 1000 - limit.period();
    (over > 0).then(|| (over + 999) / 1000)
}
