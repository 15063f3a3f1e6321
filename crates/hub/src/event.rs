//! What can be said on the hub, and its JSON form on the wire between processes.

use serde::{Deserialize, Serialize};

/// One hint. On the wire: a JSON object with `type` and the fields below.
///
/// Ids are plain text: the hub transports them and never interprets them. `state` is the name of a bundle state
/// (`ready`, `staged`, …).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A bundle row appeared (in any state).
    BundleCreated { uuid: String },
    /// A bundle entered `state`; published after the transaction that did it.
    BundleChanged { uuid: String, state: String },
    /// A bundle row (or its contents) went away.
    BundleDeleted { uuid: String },
    /// A worker's check-in has been stored.
    WorkerCheckedIn { user_id: String, worker_id: String },
    /// A worker's row has been removed.
    WorkerGone { user_id: String, worker_id: String },
    /// A row for this worker is in the outbox: complete its parked check-in or ping its websocket.
    MessageQueued { user_id: String, worker_id: String },
    /// There is no message, but an old worker that reports only on a timer should check in now, so that news come soon.
    Nudge { user_id: String, worker_id: String },
    /// A check-in of this worker now waits in a long poll, so that `MessageQueued` reaches it without a websocket ping.
    PollParked { user_id: String, worker_id: String },
    /// The long poll is over. Published BEFORE the last look into the outbox, so that no message falls between.
    PollEnded { user_id: String, worker_id: String },
    /// Something that decides what may run changed: a user's quota, a group, a permission, the configuration.
    PolicyChanged,
    /// Events may have been lost: look at everything once.
    Resync,
    /// An event of a newer version of the program; ignore it.
    #[serde(other)]
    Unknown,
}

// By value, so that callers pass ids and references alike.
#[allow(clippy::needless_pass_by_value)]
impl Event {
    /// [`Event::BundleCreated`] from anything that prints as the id.
    pub fn bundle_created(uuid: impl ToString) -> Self {
        Self::BundleCreated { uuid: uuid.to_string() }
    }

    /// [`Event::BundleChanged`] from anything that prints as the id and the state's name.
    pub fn bundle_changed(uuid: impl ToString, state: impl ToString) -> Self {
        Self::BundleChanged {
            uuid: uuid.to_string(),
            state: state.to_string(),
        }
    }

    /// [`Event::WorkerCheckedIn`] from anything that prints as the two ids.
    pub fn worker_checked_in(user_id: impl ToString, worker_id: impl ToString) -> Self {
        Self::WorkerCheckedIn {
            user_id: user_id.to_string(),
            worker_id: worker_id.to_string(),
        }
    }

    /// [`Event::MessageQueued`] from anything that prints as the two ids.
    pub fn message_queued(user_id: impl ToString, worker_id: impl ToString) -> Self {
        Self::MessageQueued {
            user_id: user_id.to_string(),
            worker_id: worker_id.to_string(),
        }
    }

    /// The JSON text of one websocket frame.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| r#"{"type":"resync"}"#.to_owned())
    }

    /// Reads a frame. `None` for anything that is not an event.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_the_wire_and_unknown_ones_are_named_so() {
        let cases = [
            (
                Event::bundle_created("0x1"),
                r#"{"type":"bundle_created","uuid":"0x1"}"#,
            ),
            (
                Event::bundle_changed("0x1", "ready"),
                r#"{"type":"bundle_changed","uuid":"0x1","state":"ready"}"#,
            ),
            (
                Event::message_queued("0", "w(7)"),
                r#"{"type":"message_queued","user_id":"0","worker_id":"w(7)"}"#,
            ),
            (Event::Resync, r#"{"type":"resync"}"#),
        ];
        for (event, json) in cases {
            assert_eq!(event.to_json(), json);
            assert_eq!(Event::from_json(json), Some(event));
        }
        assert_eq!(Event::from_json(r#"{"type":"from_the_future"}"#), Some(Event::Unknown));
        for bad in ["", "a", "{}", "[]", r#"{"type":"bundle_created"}"#] {
            assert_eq!(Event::from_json(bad), None, "{bad}");
        }
    }
}
