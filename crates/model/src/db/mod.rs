//! Connections and transactions over SQLite and MySQL with one way to run SQL: text with `?` placeholders, bound
//! [`Value`]s, and [`Row`]s that decode what either database sends.
//!
//! SQLite has one writer connection (`BEGIN IMMEDIATE`) and a pool of readers (WAL). MySQL has a pool for writes
//! (READ COMMITTED, so that a conditional update sees what others committed) and one for reads (REPEATABLE READ, so
//! that the statements of one read agree with each other).

mod lending;
mod row;
mod statements;
mod value;

use std::sync::Arc;
use std::time::Duration;

use domain::{Error, Result};
use futures::TryStreamExt;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, Executor, MySql, SqlSafeStr, Sqlite};

use lending::{Lender, Lent};
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
    Sqlite {
        write: Lender<Sqlite>,
        read: Lender<Sqlite>,
    },
    MySql {
        write: Lender<MySql>,
        read: Lender<MySql>,
    },
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

    /// A connection for writing, or one for reading.
    async fn lend(&self, writing: bool) -> sqlx::Result<Connected> {
        Ok(match &self.pools {
            Pools::Sqlite { write, read } => Connected::Sqlite(if writing { write } else { read }.lend().await?),
            Pools::MySql { write, read } => Connected::MySql(if writing { write } else { read }.lend().await?),
        })
    }

    async fn begin(&self, writing: bool, sqlite: &'static str, mysql: &'static str) -> Result<Tx> {
        let begin = async {
            let mut connection = self.lend(writing).await?;
            match &mut connection {
                Connected::Sqlite(connection) => connection.begin(sqlite).await?,
                Connected::MySql(connection) => connection.begin(mysql).await?,
            }
            Ok(connection)
        };
        Ok(Tx {
            connection: begin
                .await
                .map_err(|error: sqlx::Error| database_error(&error, "BEGIN"))?,
            statements: self.statements.clone(),
        })
    }

    /// A transaction that may write. Dropping it rolls back.
    pub(crate) async fn write(&self) -> Result<Tx> {
        self.begin(true, "BEGIN IMMEDIATE", "BEGIN").await
    }

    /// The same that nobody else may read beside (SQLite).
    pub(crate) async fn write_alone(&self) -> Result<Tx> {
        self.begin(true, "BEGIN EXCLUSIVE", "BEGIN").await
    }

    /// A snapshot to read from. Never ask for one while holding a transaction: an in-memory database has one connection.
    pub(crate) async fn read(&self) -> Result<Tx> {
        self.begin(false, "BEGIN", "START TRANSACTION READ ONLY").await
    }

    /// A connection for one reading statement, which agrees with itself without a transaction: two round trips less.
    pub(crate) async fn once(&self) -> Result<Tx> {
        self.without_transaction(false).await
    }

    /// The same for one writing statement.
    pub(crate) async fn write_once(&self) -> Result<Tx> {
        self.without_transaction(true).await
    }

    async fn without_transaction(&self, writing: bool) -> Result<Tx> {
        let connection = self.lend(writing).await;
        Ok(Tx {
            connection: connection.map_err(|error| database_error(&error, "connecting"))?,
            statements: self.statements.clone(),
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
        fn state<DB: lending::Lendable>(name: &'static str, lender: &Lender<DB>) -> PoolState {
            PoolState {
                name,
                open: lender.pool().size(),
                idle: lender.idle() as u32,
                most: lender.pool().options().get_max_connections(),
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
            .test_before_acquire(false);
        let write = writer
            .connect_with(options.clone())
            .await
            .map(Lender::new)
            .map_err(|error| cannot_open(url, &error))?;
        let read = if in_memory {
            write.clone()
        } else {
            let reader = SqlitePoolOptions::new()
                .max_connections(max_connections.max(1))
                .acquire_timeout(Duration::from_secs(60))
                .idle_timeout(Duration::from_secs(300))
                .test_before_acquire(false);
            Lender::new(reader.connect_lazy_with(options))
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
        .map(Lender::new)
        .map_err(|error| cannot_open("MySQL", &error))?;
        let read = pool(
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            max_connections,
        )
        .connect_lazy_with(options);
        let read = Lender::new(read);
        Ok(Self::MySql { write, read })
    }
}

/// A transaction on either database, or a connection on which each statement is on its own.
pub(crate) struct Tx {
    connection: Connected,
    statements: Arc<Statements>,
}

enum Connected {
    Sqlite(Lent<Sqlite>),
    MySql(Lent<MySql>),
}

impl Tx {
    pub(crate) fn engine(&self) -> Engine {
        match &self.connection {
            Connected::Sqlite(_) => Engine::Sqlite,
            Connected::MySql(_) => Engine::MySql,
        }
    }

    /// Runs a statement; gives the number of rows it matched.
    pub(crate) async fn run(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<u64> {
        Ok(self.run_for_id(sql, values, true).await?.0)
    }

    /// The same for a statement that hardly comes again: the connection does not keep it prepared.
    pub(crate) async fn run_unprepared(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<u64> {
        Ok(self.run_for_id(sql, values, false).await?.0)
    }

    /// Runs an INSERT; gives the id of the (first) new row.
    pub(crate) async fn insert(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<i64> {
        Ok(self.run_for_id(sql, values, true).await?.1)
    }

    async fn run_for_id(
        &mut self,
        sql: impl Into<String>,
        values: Vec<Value>,
        keep_prepared: bool,
    ) -> Result<(u64, i64)> {
        let sql = AssertSqlSafe(sql.into()).into_sql_str();
        let timing = self.statements.note(sql.as_str(), &values);
        let done = match &mut self.connection {
            Connected::Sqlite(connection) => {
                let query = sqlx::query_with(sql.clone(), value::arguments::<SqliteArguments>(values)?);
                connection.is_busy = true;
                let done = query.persistent(keep_prepared).execute(&mut **connection).await;
                connection.is_busy = is_unsound(&done);
                done.map(|done| (done.rows_affected(), done.last_insert_rowid()))
            }
            Connected::MySql(connection) => {
                let query = sqlx::query_with(sql.clone(), value::arguments::<MySqlArguments>(values)?);
                connection.is_busy = true;
                let done = query.persistent(keep_prepared).execute(&mut **connection).await;
                connection.is_busy = is_unsound(&done);
                match done {
                    Err(error) if equals_nothing(&error) => Ok((0, 0)),
                    done => done.map(|done| (done.rows_affected(), done.last_insert_id() as i64)),
                }
            }
        };
        timing.end(&done);
        done.map_err(|error| database_error(&error, sql.as_str()))
    }

    /// All rows of a query.
    pub(crate) async fn all(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.each(sql, values, &mut |row| {
            rows.push(row);
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// Gives every row of a query to `take`, as it arrives.
    pub(crate) async fn each(
        &mut self,
        sql: impl Into<String>,
        values: Vec<Value>,
        take: &mut (dyn FnMut(Row) -> Result<()> + Send),
    ) -> Result<()> {
        let sql = AssertSqlSafe(sql.into()).into_sql_str();
        let timing = self.statements.note(sql.as_str(), &values);
        let mut taken = Ok(());
        let done = match &mut self.connection {
            Connected::Sqlite(connection) => {
                let query = sqlx::query_with(sql.clone(), value::arguments::<SqliteArguments>(values)?);
                connection.is_busy = true;
                let done = async {
                    let mut stream = query.fetch(&mut **connection);
                    while let Some(row) = stream.try_next().await? {
                        if taken.is_ok() {
                            taken = Row::from_sqlite(&row).and_then(&mut *take);
                        }
                    }
                    Ok(())
                }
                .await;
                connection.is_busy = is_unsound(&done);
                done
            }
            Connected::MySql(connection) => {
                let query = sqlx::query_with(sql.clone(), value::arguments::<MySqlArguments>(values)?);
                connection.is_busy = true;
                let done = async {
                    let mut stream = query.fetch(&mut **connection);
                    while let Some(row) = stream.try_next().await? {
                        if taken.is_ok() {
                            taken = Row::from_mysql(&row).and_then(&mut *take);
                        }
                    }
                    Ok(())
                }
                .await;
                connection.is_busy = is_unsound(&done);
                match done {
                    Err(error) if equals_nothing(&error) => Ok(()),
                    done => done,
                }
            }
        };
        timing.end(&done);
        done.map_err(|error| database_error(&error, sql.as_str()))?;
        taken
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
        let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match &mut self.connection {
            Connected::Sqlite(connection) => Executor::execute(&mut **connection, script).await.map(drop),
            Connected::MySql(connection) => Executor::execute(&mut **connection, script).await.map(drop),
        }
    }

    /// Makes it happen.
    pub(crate) async fn commit(mut self) -> Result<()> {
        match &mut self.connection {
            Connected::Sqlite(connection) => connection.commit().await,
            Connected::MySql(connection) => connection.commit().await,
        }
        .map_err(|error| database_error(&error, "COMMIT"))
    }
}

/// Whether what happened says that the connection may be of no use: anything but an answer of the database.
fn is_unsound<T>(outcome: &sqlx::Result<T>) -> bool {
    matches!(outcome, Err(error) if error.as_database_error().is_none())
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
