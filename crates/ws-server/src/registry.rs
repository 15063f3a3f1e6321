//! Which workers are connected, and how to wake one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hub::{Event, next_event};
use percent_encoding::percent_decode_str;
use tokio::sync::{Notify, broadcast};

/// A long poll lasts five seconds at most; a park that is older lost its end.
const PARK_LIMIT: Duration = Duration::from_secs(6);

/// Connected workers by id. The newest connection of an id gets the pings; an older one stays open but silent.
#[derive(Default)]
pub struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    connections: HashMap<String, Connection>,
    /// (user, worker) → since when its check-in waits in a long poll; such a worker needs no ping.
    parked: HashMap<(String, String), Instant>,
}

#[derive(Clone)]
struct Connection {
    notify: Arc<Notify>,
    /// Reports on a timer only, so that it is worth asking for news.
    wants_nudges: bool,
}

/// Takes its connection out of the registry when dropped, unless a newer one has replaced it.
pub struct Registration {
    registry: Arc<Registry>,
    names: Vec<String>,
    notify: Arc<Notify>,
}

impl Registration {
    /// Waits for the next wake-up. Several wake-ups in the meantime are one.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut inner = self.registry.lock();
        for name in &self.names {
            if inner
                .connections
                .get(name)
                .is_some_and(|current| Arc::ptr_eq(&current.notify, &self.notify))
            {
                inner.connections.remove(name);
            }
        }
    }
}

impl Registry {
    /// Registers a connection under its id as written and, where that differs, percent-decoded.
    pub fn register(self: &Arc<Self>, id: &str, wants_nudges: bool) -> Registration {
        let mut names = vec![id.to_owned()];
        if let Ok(decoded) = percent_decode_str(id).decode_utf8()
            && decoded != id
        {
            names.push(decoded.into_owned());
        }
        let notify = Arc::new(Notify::new());
        let mut inner = self.lock();
        for name in &names {
            let connection = Connection {
                notify: Arc::clone(&notify),
                wants_nudges,
            };
            inner.connections.insert(name.clone(), connection);
        }
        drop(inner);
        Registration {
            registry: Arc::clone(self),
            names,
            notify,
        }
    }

    /// Wakes the worker; false when it is not connected.
    pub fn wake(&self, id: &str) -> bool {
        let connection = self.lock().connections.get(id).cloned();
        connection
            .inspect(|connection| connection.notify.notify_one())
            .is_some()
    }

    fn handle(&self, event: Event) {
        match event {
            Event::MessageQueued { user_id, worker_id } => self.wake_unless_parked(&(user_id, worker_id)),
            Event::Nudge { user_id, worker_id } => {
                let wanted = self
                    .lock()
                    .connections
                    .get(&worker_id)
                    .is_some_and(|connection| connection.wants_nudges);
                if wanted {
                    self.wake_unless_parked(&(user_id, worker_id));
                }
            }

            Event::PollParked { user_id, worker_id } => {
                self.lock().parked.insert((user_id, worker_id), Instant::now());
            }
            Event::PollEnded { user_id, worker_id } | Event::WorkerGone { user_id, worker_id } => {
                self.lock().parked.remove(&(user_id, worker_id));
            }
            // Whatever was missed may concern anybody: one early check-in of each is cheap.
            Event::Resync => {
                let mut inner = self.lock();
                inner.parked.clear();
                inner
                    .connections
                    .values()
                    .for_each(|connection| connection.notify.notify_one());
            }
            _ => {}
        }
    }

    fn wake_unless_parked(&self, worker: &(String, String)) {
        let parked = self
            .lock()
            .parked
            .get(worker)
            .is_some_and(|since| since.elapsed() < PARK_LIMIT);
        if !parked {
            self.wake(&worker.1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is a single insert or remove: a panic elsewhere cannot leave the maps half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns hub events into wake-ups until the hub or the registry is gone.
pub async fn wake_on_events(registry: Weak<Registry>, mut events: broadcast::Receiver<Event>) {
    while let Some(event) = next_event(&mut events).await {
        match registry.upgrade() {
            Some(registry) => registry.handle(event),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_woken(registration: &Registration) -> bool {
        futures::FutureExt::now_or_never(registration.woken()).is_some()
    }

    fn parked(user: &str, worker: &str) -> Event {
        Event::PollParked {
            user_id: user.into(),
            worker_id: worker.into(),
        }
    }

    #[test]
    fn the_newest_connection_of_an_id_is_woken_and_an_old_one_leaving_does_not_disturb_it() {
        let registry = Arc::new(Registry::default());
        let old = registry.register("w", false);
        let new = registry.register("w", false);
        assert!(registry.wake("w"));
        assert!(!is_woken(&old) && is_woken(&new));
        drop(old);
        assert!(registry.wake("w"));
        drop(new);
        assert!(!registry.wake("w"));
    }

    #[test]
    fn an_escaped_id_is_found_under_both_spellings() {
        let registry = Arc::new(Registry::default());
        let connection = registry.register("lab%20(7)", false);
        for id in ["lab%20(7)", "lab (7)"] {
            assert!(registry.wake(id) && is_woken(&connection), "{id}");
        }
        assert!(!registry.wake("lab"));
    }

    #[test]
    fn wake_ups_coalesce() {
        let registry = Arc::new(Registry::default());
        let connection = registry.register("w", false);
        registry.wake("w");
        registry.wake("w");
        assert!(is_woken(&connection));
        assert!(!is_woken(&connection));
    }

    #[test]
    fn only_workers_that_report_on_a_timer_are_nudged() {
        let registry = Arc::new(Registry::default());
        let nudge = Event::Nudge {
            user_id: "1".into(),
            worker_id: "w".into(),
        };
        for wants_nudges in [false, true] {
            let connection = registry.register("w", wants_nudges);
            registry.handle(nudge.clone());
            assert_eq!(is_woken(&connection), wants_nudges);
        }
        registry.handle(nudge);
        assert!(!registry.wake("w"), "it has left");
    }

    #[test]
    fn a_worker_whose_poll_is_parked_is_not_pinged_but_its_namesake_is() {
        let registry = Arc::new(Registry::default());
        let connection = registry.register("w", false);
        registry.handle(parked("1", "w"));
        registry.handle(Event::message_queued("1", "w"));
        assert!(!is_woken(&connection));
        registry.handle(Event::message_queued("2", "w"));
        assert!(is_woken(&connection));
        registry.handle(Event::PollEnded {
            user_id: "1".into(),
            worker_id: "w".into(),
        });
        registry.handle(Event::message_queued("1", "w"));
        assert!(is_woken(&connection));
        registry.handle(parked("1", "w"));
        registry.handle(Event::Resync);
        assert!(is_woken(&connection));
    }
}
