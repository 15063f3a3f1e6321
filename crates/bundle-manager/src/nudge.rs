//! Old workers report only every few seconds. After an assignment they are asked to check in a few times, so that
//! clients soon see the run prepare, run and (if it is short) end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::WorkerKey;

/// Pauses before each nudge of a series.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(5),
];

/// One series per worker; a new assignment begins it anew.
#[derive(Debug, Default)]
pub struct Nudges {
    /// When the next nudge is due, and its number.
    series: HashMap<WorkerKey, (Instant, usize)>,
}

impl Nudges {
    /// Begins a series for a worker that has just been given a run.
    pub fn begin(&mut self, worker: &WorkerKey, now: Instant) {
        let first = now + PAUSES[0];
        let due = self.series.get(worker).map_or(first, |(due, _)| first.min(*due));
        self.series.insert(worker.clone(), (due, 0));
    }

    /// When to look again.
    pub fn next(&self) -> Option<Instant> {
        self.series.values().map(|(due, _)| *due).min()
    }

    /// The workers to nudge now.
    pub fn take_due(&mut self, now: Instant) -> Vec<WorkerKey> {
        let due: Vec<WorkerKey> = self
            .series
            .iter()
            .filter(|(_, (due, _))| *due <= now)
            .map(|(worker, _)| worker.clone())
            .collect();
        for worker in &due {
            let number = self.series.get(worker).map_or(0, |(_, number)| number + 1);
            match PAUSES.get(number) {
                Some(pause) => self.series.insert(worker.clone(), (now + *pause, number)),
                None => self.series.remove(worker),
            };
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_backs_off_and_ends_and_assignments_coalesce() {
        let worker = WorkerKey {
            user_id: "0".into(),
            worker_id: "w".into(),
        };
        let start = Instant::now();
        let mut nudges = Nudges::default();
        assert_eq!(nudges.next(), None);
        nudges.begin(&worker, start);
        nudges.begin(&worker, start + Duration::from_millis(500));
        let mut at = Vec::new();
        while let Some(next) = nudges.next() {
            assert_eq!(nudges.take_due(next.checked_sub(Duration::from_millis(1)).unwrap()), []);
            assert_eq!(nudges.take_due(next), std::slice::from_ref(&worker));
            at.push((next - start).as_secs());
        }
        assert_eq!(at, [1, 3, 7, 12]);
    }
}
