//! The wake-up bus between the services: who changed what, so that nobody has to poll.
//!
//! Events are hints, never facts: the database is the truth, an event only says where to look. A lost event delays
//! work until the next safety sweep, a duplicate costs one look. Every receiver must therefore be idempotent.

#![forbid(unsafe_code)]

mod event;
mod local;
mod remote;

use tokio::sync::broadcast;

pub use event::Event;
pub use local::LocalHub;
pub use remote::{RemoteHub, RemoteHubConfig};

/// How many events a slow subscriber may lag behind before it is told to [`Event::Resync`].
pub const CAPACITY: usize = 4096;

/// Publish and subscribe. Implementations never block and never fail: what cannot be delivered is dropped.
pub trait Hub: Send + Sync + 'static {
    /// Tells every subscriber, in this process and (for [`RemoteHub`]) in the others, about `event`.
    fn publish(&self, event: Event);

    /// All events published from now on. Prefer [`next_event`] over calling `recv` yourself.
    fn subscribe(&self) -> broadcast::Receiver<Event>;
}

/// The next event of a subscription, or `None` when the hub is gone.
///
/// A subscriber that was too slow gets one [`Event::Resync`] in place of what it missed. Cancel safe.
pub async fn next_event(receiver: &mut broadcast::Receiver<Event>) -> Option<Event> {
    match receiver.recv().await {
        Ok(event) => Some(event),
        Err(broadcast::error::RecvError::Lagged(missed)) => {
            tracing::debug!(missed, "hub subscriber lagged");
            Some(Event::Resync)
        }
        Err(broadcast::error::RecvError::Closed) => None,
    }
}
