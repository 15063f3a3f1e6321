//! What a batch of events asks for. Pure: events in, a list of things to look at out.

use std::collections::HashSet;

use domain::{BundleState, Uuid};
use hub::Event;
use model::WorkerKey;

/// Things to look at, each once however often it was mentioned.
#[derive(Debug, Default, PartialEq)]
pub struct Inbox {
    /// Bundles that may be in `created`, in order of mention, which is that of their creation.
    pub created: Vec<Uuid>,
    /// Bundles that became final or went away: their children may go on, their resources are free.
    pub ended: HashSet<Uuid>,
    /// Bundles that became `staged`, or were changed while staged.
    pub staged: HashSet<Uuid>,
    /// Bundles that are no longer `staged`.
    pub unstaged: HashSet<Uuid>,
    /// Workers that checked in.
    pub checked_in: HashSet<WorkerKey>,
    /// Quotas, groups or permissions changed.
    pub policy: bool,
    /// Something else changed that decides what may run.
    pub schedule: bool,
    /// Look at everything that no event would announce.
    pub sweep: bool,
    /// Events were lost: look at everything.
    pub resync: bool,
}

impl Inbox {
    /// Notes what `event` is about. What cannot be understood is ignored: the sweep will find it.
    pub fn note(&mut self, event: Event) {
        match event {
            Event::BundleCreated { uuid } => {
                self.created.extend(Uuid::parse(&uuid).ok());
            }
            Event::BundleChanged { uuid, state } => {
                if let (Ok(uuid), Ok(state)) = (Uuid::parse(&uuid), state.parse()) {
                    self.changed(uuid, state);
                }
            }
            Event::BundleDeleted { uuid } => {
                if let Ok(uuid) = Uuid::parse(&uuid) {
                    self.left_the_queue(uuid);
                    self.ended.insert(uuid);
                    self.schedule = true;
                }
            }
            Event::WorkerCheckedIn { user_id, worker_id } => {
                self.checked_in.insert(WorkerKey {
                    user_id: user_id.into(),
                    worker_id: worker_id.into(),
                });
            }
            Event::WorkerGone { .. } => self.schedule = true,
            Event::PolicyChanged => self.policy = true,
            Event::Resync => self.resync = true,
            Event::MessageQueued { .. }
            | Event::Nudge { .. }
            | Event::PollParked { .. }
            | Event::PollEnded { .. }
            | Event::Unknown => {}
        }
    }

    fn changed(&mut self, uuid: Uuid, state: BundleState) {
        if state == BundleState::Staged {
            self.unstaged.remove(&uuid);
            self.staged.insert(uuid);
            return;
        }
        self.left_the_queue(uuid);
        if state == BundleState::Created {
            self.created.push(uuid);
        } else if state.is_final() {
            self.ended.insert(uuid);
            self.schedule = true;
        }
    }

    fn left_the_queue(&mut self, uuid: Uuid) {
        self.staged.remove(&uuid);
        self.unstaged.insert(uuid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_a_bundle_counts() {
        let uuid = Uuid::from_random([1; 16]);
        let changed = |state: BundleState| Event::bundle_changed(uuid, state);
        let cases: [(&[Event], bool, bool, bool, bool); 6] = [
            // events, created, ended, staged, unstaged
            (&[Event::bundle_created(uuid)], true, false, false, false),
            (&[changed(BundleState::Staged)], false, false, true, false),
            (
                &[changed(BundleState::Staged), changed(BundleState::Starting)],
                false,
                false,
                false,
                true,
            ),
            (
                &[changed(BundleState::Starting), changed(BundleState::Staged)],
                false,
                false,
                true,
                false,
            ),
            (&[changed(BundleState::Killed)], false, true, false, true),
            (
                &[Event::BundleDeleted { uuid: uuid.to_string() }],
                false,
                true,
                false,
                true,
            ),
        ];
        for (events, created, ended, staged, unstaged) in cases {
            let mut inbox = Inbox::default();
            events.iter().cloned().for_each(|event| inbox.note(event));
            let found = [&inbox.ended, &inbox.staged, &inbox.unstaged].map(|set| set.contains(&uuid));
            assert_eq!(
                (inbox.created.contains(&uuid), found),
                (created, [ended, staged, unstaged]),
                "{events:?}"
            );
            assert_eq!(inbox.schedule, ended, "an end frees resources: {events:?}");
        }
    }

    #[test]
    fn nonsense_is_ignored() {
        let mut inbox = Inbox::default();
        for event in [
            Event::Unknown,
            Event::bundle_created("0x1"),
            Event::bundle_changed(Uuid::from_random([1; 16]), "dancing"),
            Event::message_queued("0", "w"),
        ] {
            inbox.note(event);
        }
        assert_eq!(inbox, Inbox::default());
    }
}
