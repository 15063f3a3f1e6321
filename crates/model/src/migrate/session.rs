//! The one connection that migrates while it holds the lock, and refinery's view of it.

use std::fmt;
use std::time::Duration;

use domain::{Error, Result};
use refinery_core::Migration;
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};

use super::statements;
use crate::db::{Db, Engine, Pools, Row, Tx, database_error, single_mysql_connection};

/// How long a server waits for another one that migrates.
const LOCK_SECONDS: i64 = 600;

/// MySQL errors that say that a statement was done before: table, column or index exists, nothing to drop.
const DONE_BEFORE: [u16; 4] = [1050, 1060, 1061, 1091];

/// A connection with the migration lock. SQLite: one exclusive transaction. MySQL (where schema changes cannot be
/// rolled back): a named lock that the server takes back when the connection ends.
pub(super) enum Session {
    Sqlite(Tx),
    MySql(MySqlConnection),
}

impl Session {
    pub(super) async fn lock(db: &Db) -> Result<Self> {
        match &db.pools {
            Pools::Sqlite { .. } => Ok(Self::Sqlite(db.write_alone().await?)),
            Pools::MySql { write, .. } => {
                let mut session = Self::MySql(single_mysql_connection(write.pool()).await?);
                let sql = format!("SELECT GET_LOCK(CONCAT('codalab.', LEFT(MD5(DATABASE()), 32)), {LOCK_SECONDS})");
                if session.count(&sql).await? != 1 {
                    let wait = Duration::from_secs(LOCK_SECONDS as u64);
                    return Err(Error::unavailable(format!(
                        "Another server has been migrating the database for {wait:?}."
                    )));
                }
                Ok(session)
            }
        }
    }

    /// Gives the lock back; in SQLite this also makes everything happen, or nothing.
    pub(super) async fn unlock(self, succeeded: bool) -> Result<()> {
        match self {
            Self::Sqlite(tx) if succeeded => tx.commit().await,
            Self::Sqlite(_) => Ok(()),
            Self::MySql(connection) => {
                let _ = connection.close().await;
                Ok(())
            }
        }
    }

    pub(super) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::MySql(_) => Engine::MySql,
        }
    }

    /// Names of all tables.
    pub(super) async fn tables(&mut self) -> Result<Vec<String>> {
        let sql = match self.engine() {
            Engine::Sqlite => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
            }
            Engine::MySql => {
                "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() \
                 AND table_type = 'BASE TABLE' ORDER BY table_name"
            }
        };
        let rows = self.rows(sql).await?;
        rows.into_iter().map(|mut row| row.text()).collect()
    }

    /// The first column of the first row as a number; 0 for NULL or no row.
    pub(super) async fn count(&mut self, sql: &str) -> Result<i64> {
        match self.rows(sql).await?.into_iter().next() {
            Some(mut row) => Ok(row.opt_int()?.unwrap_or(0)),
            None => Ok(0),
        }
    }

    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<Row>> {
        match self {
            Self::Sqlite(tx) => tx.all(sql, Vec::new()).await,
            Self::MySql(connection) => {
                let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(connection).await;
                let rows = rows.map_err(|error| database_error(&error, sql))?;
                rows.iter().map(Row::from_mysql).collect()
            }
        }
    }

    /// Runs one statement that must succeed.
    pub(super) async fn execute_one(&mut self, sql: &str) -> Result<()> {
        self.script(sql).await.map_err(|error| database_error(&error.0, sql))
    }

    /// Runs one statement with text parameters.
    pub(super) async fn execute_with(&mut self, sql: &str, texts: &[&str]) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx
                .run(sql, texts.iter().map(|text| (*text).into()).collect())
                .await
                .map(drop),
            Self::MySql(connection) => {
                let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
                for text in texts {
                    query = query.bind((*text).to_owned());
                }
                query
                    .execute(connection)
                    .await
                    .map(drop)
                    .map_err(|error| database_error(&error, sql))
            }
        }
    }

    async fn script(&mut self, script: &str) -> Result<(), Failure> {
        match self {
            Self::Sqlite(tx) => tx.script(script).await.map_err(Failure),
            Self::MySql(connection) => {
                for statement in statements(script) {
                    let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await;
                    if let Err(error) = done
                        && !was_done_before(&error)
                    {
                        return Err(Failure(error));
                    }
                }
                Ok(())
            }
        }
    }
}

fn was_done_before(error: &sqlx::Error) -> bool {
    let number = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>())
        .map(sqlx::mysql::MySqlDatabaseError::number);
    number.is_some_and(|number| DONE_BEFORE.contains(&number))
}

/// An error in the shape refinery wants.
#[derive(Debug)]
pub(super) struct Failure(sqlx::Error);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl AsyncTransaction for Session {
    type Error = Failure;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(&'a mut self, queries: T) -> Result<usize, Failure> {
        let mut count = 0;
        for query in queries {
            self.script(query).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Session {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, Failure> {
        let rows = self.rows(query.trim_end_matches(';')).await.map_err(protocol)?;
        rows.into_iter().map(|row| applied(row).map_err(protocol)).collect()
    }
}

impl AsyncMigrate for Session {}

fn applied(mut row: Row) -> Result<Migration> {
    let version = row.int()?;
    let name = row.text()?;
    let _applied_on = row.text()?;
    let checksum = row
        .text()?
        .parse()
        .map_err(|_| Error::internal("the migration history has a malformed checksum"))?;
    // When it was applied decides nothing, but refinery wants a time.
    let mut placeholder = Migration::unapplied("V0__x", "").map_err(|error| Error::internal(error.to_string()))?;
    placeholder.set_applied();
    let time = placeholder
        .applied_on()
        .ok_or_else(|| Error::internal("a migration has no time"))?;
    Ok(Migration::applied(version as _, name, *time, checksum))
}

fn protocol(error: Error) -> Failure {
    Failure(sqlx::Error::Protocol(error.message))
}
