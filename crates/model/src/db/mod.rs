//! Connections and transactions over SQLite and MySQL with one way to run SQL: text with `?` placeholders, bound
//! [`Value`]s, and [`Row`]s that decode what either database sends.
//!
//! SQLite has one writer connection (`BEGIN IMMEDIATE`) and a pool of readers (WAL). MySQL has a pool for writes
//! (READ COMMITTED, so that a conditional update sees what others committed) and one for reads (REPEATABLE READ, so
//! that the statements of one read agree with each other).

mod row;
mod statements;
mod value;

use std::sync::Arc;
use std::time::Duration;

use domain::{Error, Result};
use futures::TryStreamExt;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection, Executor, MySql, MySqlConnection, Sqlite, SqliteConnection, Transaction};

pub(crate) use row::Row;
pub use statements::{Statement, Statements};
pub(crate) use value::{Value, params};

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    MySql,
}

/// One database, and what was asked of it.
#[derive(Clone)]
pub(crate) struct Db {
    pub(crate) pools: Pools,
    statements: Arc<Statements>,
}

/// Pools of one database.
#[derive(Clone)]
pub(crate) enum Pools {
    Sqlite { write: SqlitePool, read: SqlitePool },
    MySql { write: MySqlPool, read: MySqlPool },
}

/// The connections of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// What the pool is for.
    pub name: &'static str,
    /// Connections, busy or not.
    pub open: u32,
    /// Connections that nobody uses.
    pub idle: u32,
    /// More are not opened.
    pub most: u32,
}

/// How often a transaction that met a deadlock is tried.
const ATTEMPTS: u32 = 8;

impl Db {
    pub(crate) async fn connect(url: &str, max_connections: u32) -> Result<Self> {
        let pools = if url.starts_with("sqlite:") {
            Pools::connect_sqlite(url, max_connections).await?
        } else if url.starts_with("mysql:") || url.starts_with("mariadb:") || url.starts_with("mysql+") {
            Pools::connect_mysql(url, max_connections).await?
        } else {
            let scheme = url.split(':').next().unwrap_or_default();
            return Err(Error::usage(format!(
                "Unknown database '{scheme}': use sqlite:///path or mysql://user:password@host/name"
            )));
        };
        Ok(Self {
            pools,
            statements: Arc::default(),
        })
    }

    pub(crate) fn engine(&self) -> Engine {
        match &self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::MySql { .. } => Engine::MySql,
        }
    }

    pub(crate) fn statements(&self) -> &Statements {
        &self.statements
    }

    fn observed(&self, transaction: sqlx::Result<AnyTransaction>) -> Result<Tx> {
        let transaction = transaction.map_err(|error| database_error(&error, "BEGIN"))?;
        Ok(Tx {
            transaction,
            statements: self.statements.clone(),
        })
    }

    /// A transaction that may write. Dropping it rolls back.
    pub(crate) async fn write(&self) -> Result<Tx> {
        self.observed(match &self.pools {
            Pools::Sqlite { write, .. } => write.begin_with("BEGIN IMMEDIATE").await.map(AnyTransaction::Sqlite),
            Pools::MySql { write, .. } => write.begin().await.map(AnyTransaction::MySql),
        })
    }

    /// A snapshot to read from. Never ask for one while holding a transaction: an in-memory database has one connection.
    pub(crate) async fn read(&self) -> Result<Tx> {
        self.observed(match &self.pools {
            Pools::Sqlite { read, .. } => read.begin().await.map(AnyTransaction::Sqlite),
            Pools::MySql { read, .. } => {
                let transaction = read.begin_with("START TRANSACTION READ ONLY").await;
                transaction.map(AnyTransaction::MySql)
            }
        })
    }

    /// A connection for one reading statement, which agrees with itself without a transaction: two round trips less.
    pub(crate) async fn once(&self) -> Result<Tx> {
        self.observed(match &self.pools {
            Pools::Sqlite { read, .. } => read.acquire().await.map(AnyTransaction::SqliteOnce),
            Pools::MySql { read, .. } => read.acquire().await.map(AnyTransaction::MySqlOnce),
        })
    }

    /// Runs a whole transaction again if it met a deadlock or a lock time-out.
    pub(crate) async fn retrying<T, F, Fut>(&self, mut transaction: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let mut attempt = 1;
        loop {
            match transaction().await {
                Err(error) if error.kind == domain::ErrorKind::Unavailable && attempt < ATTEMPTS => {
                    tracing::debug!(attempt, %error, "transaction is tried again");
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt * attempt) * 5)).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// The pools with their state.
    pub(crate) fn pools(&self) -> [PoolState; 2] {
        fn state<DB: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<DB>) -> PoolState {
            PoolState {
                name,
                open: pool.size(),
                idle: pool.num_idle() as u32,
                most: pool.options().get_max_connections(),
            }
        }
        match &self.pools {
            Pools::Sqlite { write, read } => [state("write", write), state("read", read)],
            Pools::MySql { write, read } => [state("write", write), state("read", read)],
        }
    }

    pub(crate) async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Pools::MySql { write, read } => {
                read.close().await;
                write.close().await;
            }
        }
    }
}

impl Pools {
    async fn connect_sqlite(url: &str, max_connections: u32) -> Result<Self> {
        let options = url
            .parse::<SqliteConnectOptions>()
            .map_err(|error| Error::usage(format!("Malformed database address {url}: {error}")))?
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(15))
            .statement_cache_capacity(200)
            // Rows cross a thread; with a small buffer the two threads wake each other for every few of them.
            .row_buffer_size(2048)
            .optimize_on_close(true, 400);
        let in_memory = url.contains(":memory:") || url.contains("mode=memory");
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(60))
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            // A COMMIT that met a full disk leaves a connection that takes itself for one in a transaction for ever.
            .before_acquire(|connection, _| {
                let is_usable = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_usable) })
            });
        let write = writer
            .connect_with(options.clone())
            .await
            .map_err(|error| cannot_open(url, &error))?;
        let read = if in_memory {
            write.clone()
        } else {
            SqlitePoolOptions::new()
                .max_connections(max_connections.max(1))
                .acquire_timeout(Duration::from_secs(60))
                .idle_timeout(Duration::from_secs(300))
                .test_before_acquire(false)
                .connect_lazy_with(options)
        };
        Ok(Self::Sqlite { write, read })
    }

    async fn connect_mysql(url: &str, max_connections: u32) -> Result<Self> {
        // The Python server's addresses name a driver (`mysql+mysqldb://…?charset=utf8mb4`).
        let address = match url.split_once("://") {
            Some((_, rest)) => format!("mysql://{}", rest.split('?').next().unwrap_or(rest)),
            None => url.to_owned(),
        };
        let options = address
            .parse::<MySqlConnectOptions>()
            .map_err(|error| Error::usage(format!("Malformed MySQL database address: {error}")))?
            .charset("utf8mb4")
            .statement_cache_capacity(200);
        let pool = |isolation: &'static str, connections: u32| {
            MySqlPoolOptions::new()
                .max_connections(connections.max(2))
                .acquire_timeout(Duration::from_secs(60))
                .max_lifetime(Duration::from_secs(3600))
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        connection.execute(isolation).await?;
                        Ok(())
                    })
                })
        };
        let write = pool(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            max_connections,
        )
        .connect_with(options.clone())
        .await
        .map_err(|error| cannot_open("MySQL", &error))?;
        let read = pool(
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            max_connections,
        )
        .connect_lazy_with(options);
        Ok(Self::MySql { write, read })
    }
}

/// A transaction on either database.
pub(crate) struct Tx {
    transaction: AnyTransaction,
    statements: Arc<Statements>,
}

pub(crate) enum AnyTransaction {
    Sqlite(Transaction<'static, Sqlite>),
    MySql(Transaction<'static, MySql>),
    /// Each statement on its own.
    SqliteOnce(PoolConnection<Sqlite>),
    MySqlOnce(PoolConnection<MySql>),
}

enum AnyConnection<'a> {
    Sqlite(&'a mut SqliteConnection),
    MySql(&'a mut MySqlConnection),
}

impl AnyTransaction {
    fn connection(&mut self) -> AnyConnection<'_> {
        match self {
            Self::Sqlite(tx) => AnyConnection::Sqlite(tx),
            Self::SqliteOnce(connection) => AnyConnection::Sqlite(connection),
            Self::MySql(tx) => AnyConnection::MySql(tx),
            Self::MySqlOnce(connection) => AnyConnection::MySql(connection),
        }
    }
}

impl From<Transaction<'static, Sqlite>> for Tx {
    /// A transaction whose statements nobody counts.
    fn from(transaction: Transaction<'static, Sqlite>) -> Self {
        Self {
            transaction: AnyTransaction::Sqlite(transaction),
            statements: Arc::default(),
        }
    }
}

impl Tx {
    pub(crate) fn engine(&self) -> Engine {
        match &self.transaction {
            AnyTransaction::Sqlite(_) | AnyTransaction::SqliteOnce(_) => Engine::Sqlite,
            AnyTransaction::MySql(_) | AnyTransaction::MySqlOnce(_) => Engine::MySql,
        }
    }

    /// Runs a statement; gives the number of rows it matched.
    pub(crate) async fn run(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<u64> {
        Ok(self.run_for_id(sql, values).await?.0)
    }

    /// Runs an INSERT; gives the id of the (first) new row.
    pub(crate) async fn insert(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<i64> {
        Ok(self.run_for_id(sql, values).await?.1)
    }

    async fn run_for_id(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<(u64, i64)> {
        let sql = sql.into();
        self.statements.note(&sql, &values);
        match self.transaction.connection() {
            AnyConnection::Sqlite(connection) => {
                let query = sqlx::query_with(AssertSqlSafe(sql.clone()), value::arguments::<SqliteArguments>(values)?);
                let done = query
                    .execute(&mut *connection)
                    .await
                    .map_err(|error| database_error(&error, &sql))?;
                Ok((done.rows_affected(), done.last_insert_rowid()))
            }
            AnyConnection::MySql(connection) => {
                let query = sqlx::query_with(AssertSqlSafe(sql.clone()), value::arguments::<MySqlArguments>(values)?);
                match query.execute(&mut *connection).await {
                    Ok(done) => Ok((done.rows_affected(), done.last_insert_id() as i64)),
                    Err(error) if equals_nothing(&error) => Ok((0, 0)),
                    Err(error) => Err(database_error(&error, &sql)),
                }
            }
        }
    }

    /// All rows of a query.
    pub(crate) async fn all(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<Vec<Row>> {
        let sql = sql.into();
        self.statements.note(&sql, &values);
        let mut rows = Vec::new();
        match self.transaction.connection() {
            AnyConnection::Sqlite(connection) => {
                let query = sqlx::query_with(AssertSqlSafe(sql.clone()), value::arguments::<SqliteArguments>(values)?);
                let mut stream = query.fetch(&mut *connection);
                while let Some(row) = stream.try_next().await.map_err(|error| database_error(&error, &sql))? {
                    rows.push(Row::from_sqlite(&row)?);
                }
            }
            AnyConnection::MySql(connection) => {
                let query = sqlx::query_with(AssertSqlSafe(sql.clone()), value::arguments::<MySqlArguments>(values)?);
                let mut stream = query.fetch(&mut *connection);
                loop {
                    match stream.try_next().await {
                        Ok(Some(row)) => rows.push(Row::from_mysql(&row)?),
                        Ok(None) => break,
                        Err(error) if equals_nothing(&error) => break,
                        Err(error) => return Err(database_error(&error, &sql)),
                    }
                }
            }
        }
        Ok(rows)
    }

    /// The first row of a query.
    pub(crate) async fn first(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<Option<Row>> {
        Ok(self.all(sql, values).await?.into_iter().next())
    }

    /// The first column of the first row as a whole number; 0 without a row or for NULL.
    pub(crate) async fn count(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<i64> {
        match self.first(sql, values).await? {
            Some(mut row) => Ok(row.opt_int()?.unwrap_or(0)),
            None => Ok(0),
        }
    }

    /// Runs statements as they are, without placeholders: schema changes.
    pub(crate) async fn script(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        match self.transaction.connection() {
            AnyConnection::Sqlite(connection) => connection
                .execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
                .await
                .map(drop),
            AnyConnection::MySql(connection) => connection
                .execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
                .await
                .map(drop),
        }
    }

    /// Makes it happen.
    pub(crate) async fn commit(self) -> Result<()> {
        match self.transaction {
            AnyTransaction::Sqlite(tx) => tx.commit().await,
            AnyTransaction::MySql(tx) => tx.commit().await,
            AnyTransaction::SqliteOnce(_) | AnyTransaction::MySqlOnce(_) => Ok(()),
        }
        .map_err(|error| database_error(&error, "COMMIT"))
    }
}

fn cannot_open(what: &str, error: &sqlx::Error) -> Error {
    Error::unavailable(format!("Cannot open the database {what}: {error}"))
}

/// MySQL error numbers that say "another transaction was in the way": deadlock, lock wait time-out.
const MYSQL_TRY_AGAIN: [u16; 2] = [1213, 1205];
/// MySQL error numbers of a value that does not fit its column.
const MYSQL_TOO_LONG: [u16; 2] = [1406, 1264];
/// What the databases say when their disk is full.
const MYSQL_DISK_FULL: u16 = 1021;
const SQLITE_DISK_FULL: &str = "13";
/// MySQL error number of a text with characters that its column cannot hold.
const MYSQL_WRONG_CHARACTERS: u16 = 1366;
/// MySQL error numbers of a comparison of a column with characters that it cannot hold.
const MYSQL_MIXED_CHARACTERS: [u16; 3] = [1267, 1270, 1271];

/// Columns of 1.7 hold characters of at most three bytes. MySQL refuses to compare them with others, such as emoji; what is
/// meant is that nothing equals them.
fn equals_nothing(error: &sqlx::Error) -> bool {
    mysql_number(error).is_some_and(|number| MYSQL_MIXED_CHARACTERS.contains(&number))
}

fn mysql_number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    error
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .map(sqlx::mysql::MySqlDatabaseError::number)
}

/// The error a user may see, with the statement in the log only.
pub(crate) fn database_error(error: &sqlx::Error, sql: &str) -> Error {
    let Some(database) = error.as_database_error() else {
        tracing::error!(%error, sql, "database statement failed");
        return match error {
            sqlx::Error::PoolTimedOut => Error::unavailable("The database is busy; try again later."),
            _ => Error::internal(format!("Database error: {error}")),
        };
    };
    let number = mysql_number(error);
    let busy = number.is_some_and(|number| MYSQL_TRY_AGAIN.contains(&number))
        || (number.is_none() && matches!(database.code().as_deref(), Some("5" | "6" | "261" | "262" | "517")));
    if busy {
        return Error::unavailable(format!("The database is busy ({error}); try again."));
    }
    if number.is_some_and(|number| MYSQL_TOO_LONG.contains(&number)) {
        return Error::usage(format!("A value is too long for the database: {}", database.message()));
    }
    let sqlite_code = database.code().filter(|_| number.is_none());
    if number == Some(MYSQL_DISK_FULL) || sqlite_code.as_deref() == Some(SQLITE_DISK_FULL) {
        tracing::error!(%error, sql, "the disk of the database is full");
        return Error::unavailable("The database's disk is full; nothing was changed. Free some space on the server.");
    }
    if number == Some(MYSQL_WRONG_CHARACTERS) {
        return Error::usage(
            "A text has characters that the database cannot hold there (such as emoji); leave them out.",
        );
    }
    if database.is_unique_violation() {
        return Error::conflict(format!("Already exists: {}", database.message()));
    }
    tracing::error!(%error, sql, "database statement failed");
    Error::internal(format!("Database error: {error}"))
}

/// Keeps a connection outside the pools for as long as the migration lock is held.
pub(crate) async fn single_mysql_connection(pool: &MySqlPool) -> Result<sqlx::MySqlConnection> {
    let connection = sqlx::MySqlConnection::connect_with(&pool.connect_options()).await;
    connection.map_err(|error| cannot_open("MySQL", &error))
}
