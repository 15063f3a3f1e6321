//! Time-outs: what happens to an assigned run whose worker has not said anything for too long. Pure.

use std::time::Duration;

use domain::BundleState;

/// How long to wait for news before acting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeouts {
    /// A worker without check-in for longer is dead; a run without update for longer is offline.
    pub worker: Duration,
    /// A run that no worker began within this time goes back to the queue.
    pub starting: Duration,
    /// A delivered `run` message without effect is sent once more after this time.
    pub redeliver: Duration,
    /// A bundle without any news for longer waits for something that never comes, and fails.
    pub unresponsive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            worker: Duration::from_secs(60),
            starting: Duration::from_secs(300),
            redeliver: Duration::from_secs(30),
            unresponsive: Duration::from_secs(60 * 24 * 3600),
        }
    }
}

/// A run that is, or should be, with a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watched {
    pub state: BundleState,
    /// There is an assignment to a worker whose row exists.
    pub has_worker: bool,
    /// Metadata `last_updated`, Unix seconds.
    pub last_updated: Option<i64>,
    /// Metadata `created`, Unix seconds.
    pub created: i64,
}

/// What a time-out does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Back to `staged`: the start did not happen.
    Restage,
    /// To `worker_offline`, or to `staged` for a preemptible run. The reason is for the log.
    Offline(&'static str),
    /// The worker has reported the end: give it its final state and tell the worker.
    Finish,
}

/// The repair a bundle needs at `now` (Unix seconds), if any.
pub fn repair(bundle: Watched, now: i64, timeouts: &Timeouts) -> Option<Repair> {
    use BundleState::{Finalizing, Preparing, Running, Starting};
    let since = bundle.last_updated.unwrap_or(bundle.created);
    let silent_for = |limit: Duration| now.saturating_sub(since) > limit.as_secs() as i64;
    match bundle.state {
        Starting if !bundle.has_worker || silent_for(timeouts.starting) => Some(Repair::Restage),
        Running | Preparing | Finalizing if !bundle.has_worker => Some(Repair::Offline("No worker claims bundle.")),
        Running | Preparing if silent_for(timeouts.worker) => Some(Repair::Offline("Worker offline.")),
        Finalizing => Some(Repair::Finish),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BundleState::{Finalizing, Making, Preparing, Ready, Running, Staged, Starting, WorkerOffline};

    #[test]
    fn repairs_depend_on_state_worker_and_silence() {
        const NOW: i64 = 1_700_000_000;
        const DAY: i64 = 86_400;
        let unclaimed = Some(Repair::Offline("No worker claims bundle."));
        let offline = Some(Repair::Offline("Worker offline."));
        let cases = [
            (Starting, false, Some(0), 0, Some(Repair::Restage)),
            (Starting, true, Some(300), 300, None),
            (Starting, true, Some(301), 301, Some(Repair::Restage)),
            (Running, false, Some(0), 0, unclaimed),
            (Preparing, true, Some(61), 99, offline),
            (Running, true, Some(60), 61 * DAY, None),
            (Running, true, None, 61, offline),
            (Finalizing, false, Some(0), 0, unclaimed),
            (Finalizing, true, Some(0), 0, Some(Repair::Finish)),
            (Staged, false, None, 99 * DAY, None),
            (WorkerOffline, false, None, 99 * DAY, None),
            (Ready, false, None, 99 * DAY, None),
            (Making, false, None, 99 * DAY, None),
        ];
        for (state, has_worker, quiet, age, expected) in cases {
            let bundle = Watched {
                state,
                has_worker,
                last_updated: quiet.map(|seconds| NOW - seconds),
                created: NOW - age,
            };
            assert_eq!(repair(bundle, NOW, &Timeouts::default()), expected, "{bundle:?}");
        }
    }
}
