//! What protects the server from its clients and counts what they do: admission of requests, watched bodies, security
//! headers, metrics.

mod admission;
mod body;
mod connections;
mod exchange;
mod headers;
mod metrics;
mod stalling;

use std::sync::Arc;

use domain::limits::Limits;

pub(crate) use admission::{Admission, Class, Permit, Room};
pub(crate) use body::{Received, ReceivedBody};
pub(crate) use connections::Connections;
pub(crate) use exchange::Exchange;
pub(crate) use headers::{check_framing, cors, secure};
pub(crate) use metrics::{Metrics, sample};
pub(crate) use stalling::Stalling;

/// Bounds and counters of one server.
#[derive(Debug)]
pub struct Traffic {
    pub(crate) limits: Limits,
    pub(crate) admission: Admission,
    pub(crate) metrics: Metrics,
    pub(crate) connections: Arc<Connections>,
}

impl Traffic {
    /// Nothing is going on yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            admission: Admission::new(&limits),
            metrics: Metrics::new(),
            connections: Arc::new(Connections::new(&limits)),
        }
    }

    /// The bounds.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> u64 {
        self.connections.open()
    }

    /// Requests whose answers are not finished.
    pub fn requests_in_flight(&self) -> i64 {
        self.metrics.in_flight.get()
    }
}
