//! A count of the statements a model executes, their time and errors, and their text while somebody records: what an
//! operation costs, and whether the database has an index for it, can then be tested on the statements themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Value;

/// One statement that was executed.
#[derive(Clone, Debug)]
pub struct Statement {
    /// With `?` for each value.
    pub sql: String,
    pub(crate) values: Vec<Value>,
}

/// Counts statements; `BEGIN` and `COMMIT` are not among them.
#[derive(Debug, Default)]
pub struct Statements {
    count: AtomicU64,
    errors: AtomicU64,
    nanoseconds: AtomicU64,
    recorded: Mutex<Option<Vec<Statement>>>,
}

impl Statements {
    /// How many there have been since the database was opened.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How many of them failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// How long they took together, rows included.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// Begins to keep statements; what was kept before is forgotten. For tests: they are kept in memory.
    pub fn record(&self) {
        if let Ok(mut recorded) = self.recorded.lock() {
            *recorded = Some(Vec::new());
        }
    }

    /// Stops keeping them, and gives those since [`Statements::record`] in order.
    pub fn take(&self) -> Vec<Statement> {
        let recorded = self.recorded.lock().ok().and_then(|mut recorded| recorded.take());
        recorded.unwrap_or_default()
    }

    /// Counts a statement that begins now.
    pub(super) fn note(self: &Arc<Self>, sql: &str, values: &[Value]) -> Timing {
        self.count.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut recorded) = self.recorded.lock()
            && let Some(list) = recorded.as_mut()
        {
            list.push(Statement {
                sql: sql.to_owned(),
                values: values.to_vec(),
            });
        }
        Timing {
            statements: Arc::clone(self),
            begun: Instant::now(),
        }
    }
}

/// A statement that is being executed.
pub(super) struct Timing {
    statements: Arc<Statements>,
    begun: Instant,
}

impl Timing {
    /// It has ended so.
    pub(super) fn end<T>(self, outcome: &sqlx::Result<T>) {
        let nanoseconds = self.begun.elapsed().as_nanos() as u64;
        self.statements.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        if outcome.is_err() {
            self.statements.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}
