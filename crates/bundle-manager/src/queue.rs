//! Staged runs as far as the manager knows them: a cache of the database, in id order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Uuid;
use model::BundleRecord;

use crate::request::RequestFields;
use crate::schedule::StagedRun;

/// A changed `staged_status` is written at most this often per run.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// A staged run and what has been done about it.
pub struct Entry {
    pub run: StagedRun,
    loaded: Instant,
    /// The `staged_status` written last, and when.
    status: Option<(Arc<str>, Instant)>,
}

/// The queue. Runs keep their database id as place.
#[derive(Default)]
pub struct Queue {
    entries: BTreeMap<i64, Entry>,
    ids: HashMap<Uuid, i64>,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn contains(&self, uuid: &Uuid) -> bool {
        self.ids.contains_key(uuid)
    }

    /// Puts a run in, or replaces what was known about it. A bundle without owner cannot be scheduled and stays out.
    pub fn insert(&mut self, record: &BundleRecord) {
        let Some(run) = staged_run(record) else {
            tracing::warn!(bundle = %record.bundle.uuid, "staged run without owner");
            return;
        };
        let status = self.entries.remove(&record.id).and_then(|old| old.status);
        self.ids.insert(run.uuid, run.id);
        self.entries.insert(
            run.id,
            Entry {
                run,
                loaded: Instant::now(),
                status,
            },
        );
    }

    pub fn remove(&mut self, uuid: &Uuid) {
        if let Some(id) = self.ids.remove(uuid) {
            self.entries.remove(&id);
        }
    }

    pub fn get(&self, uuid: &Uuid) -> Option<&StagedRun> {
        self.entries.get(self.ids.get(uuid)?).map(|entry| &entry.run)
    }

    pub fn get_mut(&mut self, uuid: &Uuid) -> Option<&mut StagedRun> {
        self.entries.get_mut(self.ids.get(uuid)?).map(|entry| &mut entry.run)
    }

    /// Forgets which workers' owners may not run what: permissions have changed.
    pub fn forget_refusals(&mut self) {
        self.entries
            .values_mut()
            .for_each(|entry| entry.run.refused_owners.clear());
    }

    /// All runs in id order.
    pub fn runs(&self) -> impl Iterator<Item = &StagedRun> {
        self.entries.values().map(|entry| &entry.run)
    }

    /// Drops runs that are not in `staged`; gives those of `staged` to load: the unknown, and up to `refresh` known ones
    /// that were loaded longest ago.
    pub fn reconcile(&mut self, staged: &[Uuid], refresh: usize) -> Vec<Uuid> {
        let wanted: HashSet<&Uuid> = staged.iter().collect();
        let gone: Vec<Uuid> = self.ids.keys().filter(|uuid| !wanted.contains(uuid)).copied().collect();
        for uuid in &gone {
            self.remove(uuid);
        }
        let mut known: Vec<(Instant, Uuid)> = self
            .entries
            .values()
            .map(|entry| (entry.loaded, entry.run.uuid))
            .collect();
        known.sort_unstable();
        let unknown = staged.iter().filter(|uuid| !self.contains(uuid)).copied();
        unknown
            .chain(known.into_iter().take(refresh).map(|(_, uuid)| uuid))
            .collect()
    }

    /// Whether this text should be written as the run's `staged_status` now.
    pub fn status_is_due(&self, uuid: &Uuid, text: &Arc<str>) -> bool {
        let Some(entry) = self.ids.get(uuid).and_then(|id| self.entries.get(id)) else {
            return false;
        };
        match &entry.status {
            None => true,
            Some((written, at)) => written != text && at.elapsed() >= STATUS_INTERVAL,
        }
    }

    /// Notes that it was.
    pub fn status_is_written(&mut self, uuid: &Uuid, text: &Arc<str>) {
        if let Some(entry) = self.ids.get(uuid).and_then(|id| self.entries.get_mut(id)) {
            entry.status = Some((Arc::clone(text), Instant::now()));
        }
    }
}

fn staged_run(record: &BundleRecord) -> Option<StagedRun> {
    let bundle = &record.bundle;
    Some(StagedRun {
        id: record.id,
        uuid: bundle.uuid,
        owner: bundle.owner_id.clone()?,
        fields: RequestFields::from_metadata(&bundle.metadata),
        dependencies: bundle
            .dependencies
            .iter()
            .map(|d| (d.parent_uuid, d.parent_path.clone()))
            .collect(),
        refused_owners: HashSet::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Bundle, BundleState, BundleType, Metadata};

    fn uuid(n: u8) -> Uuid {
        Uuid::from_random([n; 16])
    }

    fn record(n: u8) -> BundleRecord {
        let bundle = Bundle {
            uuid: uuid(n),
            bundle_type: BundleType::Run,
            command: Some("true".into()),
            state: BundleState::Staged,
            owner_id: Some("7".into()),
            frozen: None,
            is_anonymous: false,
            storage_type: None,
            is_dir: None,
            metadata: Metadata::new(),
            dependencies: vec![],
        };
        BundleRecord {
            id: i64::from(n),
            bundle,
            parents: vec![],
        }
    }

    #[test]
    fn the_queue_follows_the_database() {
        let mut queue = Queue::default();
        for n in [3, 1, 2] {
            queue.insert(&record(n));
        }
        let order = |queue: &Queue| queue.runs().map(|run| run.id).collect::<Vec<_>>();
        assert_eq!(order(&queue), [1, 2, 3]);
        assert_eq!(queue.reconcile(&[uuid(2), uuid(3), uuid(4)], 0), [uuid(4)]);
        assert_eq!(order(&queue), [2, 3]);
        assert_eq!(queue.reconcile(&[uuid(2), uuid(3)], 1), [uuid(3)], "3 was loaded first");
        queue.remove(&uuid(2));
        queue.remove(&uuid(2));
        assert_eq!(
            (queue.len(), queue.contains(&uuid(3)), queue.is_empty()),
            (1, true, false)
        );
        queue.insert(&BundleRecord {
            bundle: Bundle {
                owner_id: None,
                ..record(5).bundle
            },
            ..record(5)
        });
        assert!(queue.get(&uuid(5)).is_none());
    }

    #[test]
    fn a_status_is_written_when_it_is_new_and_not_too_often() {
        let mut queue = Queue::default();
        queue.insert(&record(1));
        let (first, second): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert!(queue.status_is_due(&uuid(1), &first));
        queue.status_is_written(&uuid(1), &first);
        assert!(!queue.status_is_due(&uuid(1), &first));
        assert!(!queue.status_is_due(&uuid(1), &second), "too soon");
        queue.insert(&record(1));
        assert!(!queue.status_is_due(&uuid(1), &first), "reloading does not forget it");
        assert!(!queue.status_is_due(&uuid(9), &first));
    }
}
