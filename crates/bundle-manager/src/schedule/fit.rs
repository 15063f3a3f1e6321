//! Whether a worker can take a run, how well it suits, and what is missing if none can.

use domain::Uuid;
use domain::run::{RunResources, UNLIMITED_RUNS};

use super::Worker;

/// More shortfalls than this are not listed: nobody reads them, and the text goes into one metadata row.
const MOST_LISTED: usize = 50;

/// A worker with what is free on it in this pass.
pub struct Candidate<'a> {
    pub worker: &'a Worker,
    free: RunResources,
    runs: usize,
}

/// Sort key, smallest first.
pub type Rank = (bool, bool, i64, usize, i64, usize, u64);

impl<'a> Candidate<'a> {
    pub fn new(worker: &'a Worker) -> Self {
        let mut free = RunResources {
            cpus: worker.cpus,
            gpus: worker.gpus,
            memory: worker.memory,
            disk: worker.free_disk,
            tag: worker.tag.clone().unwrap_or_default(),
            tag_exclusive: worker.tag_exclusive,
            runs_left: (worker.runs_left < UNLIMITED_RUNS).then_some(worker.runs_left),
            ..RunResources::default()
        };
        for run in &worker.runs {
            free.cpus -= run.held.cpus;
            free.gpus -= run.held.gpus;
            free.memory -= run.held.memory;
            // The free disk is measured: only what the run may still write is to be reserved.
            free.disk -= (run.held.disk - run.disk_used).clamp(0, run.held.disk.max(0));
        }
        free.disk = free.disk.max(0);
        Self {
            worker,
            free,
            runs: worker.runs.len(),
        }
    }

    /// All conditions of the filter.
    pub fn fits(&self, request: &RunResources) -> bool {
        self.free.dominates(request)
    }

    /// Takes the request's resources away for the rest of the pass.
    pub fn take(&mut self, request: &RunResources) {
        self.free.cpus -= request.cpus;
        self.free.gpus -= request.gpus;
        self.free.memory -= request.memory;
        self.free.disk = (self.free.disk - request.disk).max(0);
        self.free.runs_left = self.free.runs_left.map(|left| (left - 1).max(0));
        self.runs += 1;
    }

    /// Smaller is better. `behind` puts the worker after those that are not merely public.
    pub fn rank(&self, dependencies: &[(Uuid, String)], behind: bool, tie: u64) -> Rank {
        let exclusive = self.free.tag_exclusive && !self.free.tag.is_empty();
        let gpus = if self.worker.gpus > 0 { self.free.gpus.max(1) } else { 0 };
        let is_missing = |dependency: &&(Uuid, String)| !self.worker.cached.contains(*dependency);
        let missing = if self.worker.shared_file_system {
            0
        } else {
            dependencies.iter().filter(is_missing).count()
        };
        (!exclusive, behind, gpus, missing, self.free.cpus, self.runs, tie)
    }
}

/// `Available resources: [...], [...]`: the shortfalls of workers that no other strictly dominates; empty without workers.
pub fn recommendation(workers: &[&Candidate<'_>], request: &RunResources) -> String {
    let is_best = |worker: &&&Candidate<'_>| !workers.iter().any(|other| other.free.strictly_dominates(&worker.free));
    let best = workers.iter().filter(is_best);
    let texts: Vec<String> = best
        .take(MOST_LISTED)
        .map(|worker| worker.free.shortfall(request))
        .collect();
    if texts.is_empty() {
        String::new()
    } else {
        format!("Available resources: {}", texts.join(", "))
    }
}
