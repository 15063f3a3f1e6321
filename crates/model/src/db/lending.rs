//! Lends the connections of a pool. One that was in use a moment ago is lent again as it is: the pool alone would ask the
//! server whether it lives each time it is taken and each time it is given back, which costs more than the statement in
//! between.
//!
//! Invariant: there are as many turns as the pool has connections, and whoever has a turn holds at most one; so nobody
//! waits in the pool for a connection that rests here.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Database, Executor, MySql, Pool, Sqlite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection that rested longer is asked whether it lives before it is lent.
const FRESH: Duration = Duration::from_secs(5);
/// A connection that does not answer within this time after its statement was given up is closed.
const MENDING: Duration = Duration::from_secs(10);
/// A connection goes back to its pool, which looks at its age, this long after it was taken from there.
const RETURNED: Duration = Duration::from_secs(60);

/// A database whose connections can be lent.
pub(crate) trait Lendable: Database {
    /// Executes a statement without values and without a result.
    fn execute(connection: &mut Self::Connection, sql: &'static str) -> impl Future<Output = sqlx::Result<()>> + Send;
}

impl Lendable for Sqlite {
    async fn execute(connection: &mut Self::Connection, sql: &'static str) -> sqlx::Result<()> {
        Executor::execute(connection, sql).await.map(drop)
    }
}

impl Lendable for MySql {
    async fn execute(connection: &mut Self::Connection, sql: &'static str) -> sqlx::Result<()> {
        Executor::execute(connection, sql).await.map(drop)
    }
}

/// The connections of one pool. Cheap to clone.
pub(crate) struct Lender<DB: Lendable>(Arc<Shared<DB>>);

impl<DB: Lendable> Clone for Lender<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<DB: Lendable> {
    pool: Pool<DB>,
    turns: Arc<Semaphore>,
    resting: Mutex<Resting<DB>>,
}

struct Resting<DB: Lendable> {
    /// The one used last is at the end, and is lent first.
    connections: Vec<Rested<DB>>,
    is_closed: bool,
}

struct Rested<DB: Lendable> {
    connection: PoolConnection<DB>,
    taken: Instant,
    since: Instant,
}

impl<DB: Lendable> Lender<DB> {
    pub(crate) fn new(pool: Pool<DB>) -> Self {
        let turns = Arc::new(Semaphore::new(pool.options().get_max_connections() as usize));
        let resting = Mutex::new(Resting {
            connections: Vec::new(),
            is_closed: false,
        });
        Self(Arc::new(Shared { pool, turns, resting }))
    }

    pub(crate) fn pool(&self) -> &Pool<DB> {
        &self.0.pool
    }

    /// Connections that nobody uses.
    pub(crate) fn idle(&self) -> usize {
        self.0.pool.num_idle() + self.0.resting().connections.len()
    }

    /// A connection, when it is this caller's turn.
    pub(crate) async fn lend(&self) -> sqlx::Result<Lent<DB>> {
        let shared = Arc::clone(&self.0);
        let turn = Arc::clone(&shared.turns).acquire_owned();
        let turn = tokio::time::timeout(shared.pool.options().get_acquire_timeout(), turn).await;
        let turn = turn
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let rested = shared.resting().connections.pop();
        if let Some(rested) = rested {
            let mut lent = Lent::new(rested.connection, rested.taken, turn, shared);
            if rested.since.elapsed() < FRESH {
                return Ok(lent);
            }
            lent.is_busy = true;
            if lent.ping().await.is_ok() {
                lent.is_busy = false;
                return Ok(lent);
            }
            return lent.exchanged().await;
        }
        let connection = shared.pool.acquire().await?;
        Ok(Lent::new(connection, Instant::now(), turn, shared))
    }

    /// Waits for running statements and closes all connections.
    pub(crate) async fn close(&self) {
        let connections = {
            let mut resting = self.0.resting();
            resting.is_closed = true;
            std::mem::take(&mut resting.connections)
        };
        for rested in connections {
            give_back(rested.connection);
        }
        self.0.pool.close().await;
    }
}

impl<DB: Lendable> Shared<DB> {
    fn resting(&self) -> MutexGuard<'_, Resting<DB>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection rest here, or returns it to the pool when it is time for that.
    fn take_back(&self, connection: PoolConnection<DB>, taken: Instant) {
        let mut resting = self.resting();
        if resting.is_closed || taken.elapsed() > RETURNED {
            drop(resting);
            give_back(connection);
            return;
        }
        resting.connections.push(Rested {
            connection,
            taken,
            since: Instant::now(),
        });
        // What has not been needed for long goes to the pool, which closes what is idle.
        let unneeded = resting
            .connections
            .first()
            .is_some_and(|first| first.since.elapsed() > RETURNED)
            .then(|| resting.connections.remove(0));
        drop(resting);
        if let Some(rested) = unneeded {
            give_back(rested.connection);
        }
    }
}

/// Returns a connection to its pool, which takes a runtime; without one it is closed.
fn give_back<DB: Database>(connection: PoolConnection<DB>) {
    if tokio::runtime::Handle::try_current().is_err() {
        drop(connection.leak());
    }
}

impl<DB: Lendable> Drop for Shared<DB> {
    fn drop(&mut self) {
        // Nobody is left who could return them; a connection that is dropped would look for a runtime to do it.
        for rested in self.resting().connections.drain(..) {
            drop(rested.connection.leak());
        }
    }
}

/// A connection that is in use. Dropped, it is free again; a transaction that is open then is rolled back.
pub(crate) struct Lent<DB: Lendable> {
    connection: Option<PoolConnection<DB>>,
    taken: Instant,
    /// A transaction was begun.
    in_transaction: bool,
    /// A statement was begun and has not ended, or the connection has failed: it must be asked whether it lives.
    pub(crate) is_busy: bool,
    turn: Option<OwnedSemaphorePermit>,
    shared: Arc<Shared<DB>>,
}

impl<DB: Lendable> Lent<DB> {
    fn new(
        connection: PoolConnection<DB>,
        taken: Instant,
        turn: OwnedSemaphorePermit,
        shared: Arc<Shared<DB>>,
    ) -> Self {
        Self {
            connection: Some(connection),
            taken,
            in_transaction: false,
            is_busy: false,
            turn: Some(turn),
            shared,
        }
    }

    /// Another connection instead of this one, which is dead.
    async fn exchanged(mut self) -> sqlx::Result<Self> {
        // Closed here and now, so that the pool has room for the other one.
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
        self.connection = Some(self.shared.pool.acquire().await?);
        self.taken = Instant::now();
        self.is_busy = false;
        Ok(self)
    }

    /// Begins a transaction with this statement.
    pub(crate) async fn begin(&mut self, sql: &'static str) -> sqlx::Result<()> {
        self.in_transaction = true;
        self.execute(sql).await
    }

    /// Commits, if a transaction was begun. After an error the transaction counts as open.
    pub(crate) async fn commit(&mut self) -> sqlx::Result<()> {
        if self.in_transaction {
            self.execute("COMMIT").await?;
            self.in_transaction = false;
        }
        Ok(())
    }

    async fn execute(&mut self, sql: &'static str) -> sqlx::Result<()> {
        self.is_busy = true;
        DB::execute(self, sql).await?;
        self.is_busy = false;
        Ok(())
    }
}

impl<DB: Lendable> Deref for Lent<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.connection.as_ref().expect("there until it is dropped")
    }
}

impl<DB: Lendable> DerefMut for Lent<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.connection.as_mut().expect("there until it is dropped")
    }
}

impl<DB: Lendable> Drop for Lent<DB> {
    fn drop(&mut self) {
        let (Some(mut connection), turn) = (self.connection.take(), self.turn.take()) else {
            return;
        };
        let (taken, in_transaction) = (self.taken, self.in_transaction);
        if !in_transaction && !self.is_busy {
            self.shared.take_back(connection, taken);
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(connection.leak());
            return;
        };
        let shared = Arc::clone(&self.shared);
        runtime.spawn(async move {
            match tokio::time::timeout(MENDING, mend::<DB>(&mut connection, in_transaction)).await {
                Ok(true) => shared.take_back(connection, taken),
                // Closed as it is: it does not answer, or not as it should.
                _ => drop(connection.detach()),
            }
            drop(turn);
        });
    }
}

/// Ends what was going on on a connection; false if that cannot be done.
async fn mend<DB: Lendable>(connection: &mut DB::Connection, in_transaction: bool) -> bool {
    if !in_transaction {
        return connection.ping().await.is_ok();
    }
    // An error may only say that the transaction never began, or was rolled back already.
    DB::execute(connection, "ROLLBACK").await.is_ok()
        || (DB::execute(connection, "BEGIN").await.is_ok() && DB::execute(connection, "ROLLBACK").await.is_ok())
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

    use super::*;

    /// Lends one connection to a database in memory, which lives as long as that connection.
    async fn lender() -> Lender<Sqlite> {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None);
        let pool = pool.connect_with(SqliteConnectOptions::new()).await.unwrap();
        let lender = Lender::new(pool);
        let mut lent = lender.lend().await.unwrap();
        lent.execute("CREATE TABLE `t` (`x` INTEGER)").await.unwrap();
        drop(lent);
        lender
    }

    async fn rows(lender: &Lender<Sqlite>) -> i64 {
        let mut lent = lender.lend().await.unwrap();
        sqlx::query_scalar("SELECT COUNT(*) FROM `t`")
            .fetch_one(&mut *lent)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn one_connection_serves_one_after_the_other() {
        let lender = lender().await;
        let insert = async || {
            let mut lent = lender.lend().await.unwrap();
            lent.execute("INSERT INTO `t` VALUES (1)").await.unwrap();
        };
        futures::join!(insert(), insert(), insert());
        assert_eq!(rows(&lender).await, 3);
        assert_eq!((lender.idle(), lender.pool().size()), (1, 1));
        assert_eq!(lender.pool().num_idle(), 0, "it rests here and not in the pool");
    }

    #[tokio::test]
    async fn a_transaction_that_is_dropped_is_rolled_back_before_the_next_begins() {
        let lender = lender().await;
        for commit in [false, true, false] {
            let mut lent = lender.lend().await.unwrap();
            lent.begin("BEGIN IMMEDIATE").await.unwrap();
            lent.execute("INSERT INTO `t` VALUES (1)").await.unwrap();
            if commit {
                lent.commit().await.unwrap();
            }
        }
        assert_eq!(rows(&lender).await, 1);
        // Neither does a transaction that could not begin do any harm.
        let mut lent = lender.lend().await.unwrap();
        lent.begin("BEGIN NONSENSE").await.unwrap_err();
        drop(lent);
        assert_eq!(rows(&lender).await, 1);
    }

    #[tokio::test]
    async fn a_statement_that_was_given_up_does_no_harm() {
        let lender = lender().await;
        let mut lent = lender.lend().await.unwrap();
        lent.is_busy = true;
        drop(lent);
        let given_up = async {
            let mut lent = lender.lend().await.unwrap();
            lent.begin("BEGIN").await.unwrap();
            lent.execute("INSERT INTO `t` VALUES (1)").await.unwrap();
            pending::<()>().await;
        };
        assert!(tokio::time::timeout(Duration::from_millis(50), given_up).await.is_err());
        assert_eq!(rows(&lender).await, 0);
    }

    #[tokio::test]
    async fn closing_waits_for_what_is_lent_and_then_nothing_is() {
        let lender = lender().await;
        let lent = lender.lend().await.unwrap();
        let closing = tokio::spawn({
            let lender = lender.clone();
            async move { lender.close().await }
        });
        tokio::task::yield_now().await;
        assert!(!closing.is_finished());
        drop(lent);
        closing.await.unwrap();
        assert!(lender.lend().await.is_err());
        assert_eq!(lender.pool().size(), 0);
    }
}
