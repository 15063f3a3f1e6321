//! Whether a worker can take a run, how well it suits, and what is missing if none can.

use domain::{Uuid, size};

use super::Worker;
use crate::request::Request;

/// More shortfalls than this are not listed: nobody reads them, and the text goes into one metadata row.
const MOST_LISTED: usize = 50;

/// The part of a run that decides between workers.
pub struct Ticket<'a> {
    pub request: &'a Request,
    pub dependencies: &'a [(Uuid, String)],
}

/// A worker with what is free on it in this pass.
pub struct Candidate<'a> {
    pub worker: &'a Worker,
    cpus: i64,
    gpus: i64,
    memory: i64,
    disk: i64,
    runs_left: i64,
    runs: usize,
}

/// Sort key, smallest first.
pub type Rank = (bool, bool, i64, usize, i64, usize, u64);

impl<'a> Candidate<'a> {
    pub fn new(worker: &'a Worker) -> Self {
        let mut free = Self {
            worker,
            cpus: worker.cpus,
            gpus: worker.gpus,
            memory: worker.memory,
            disk: worker.free_disk,
            runs_left: worker.runs_left,
            runs: worker.runs.len(),
        };
        for run in &worker.runs {
            free.cpus -= run.held.cpus;
            free.gpus -= run.held.gpus;
            free.memory -= run.held.memory;
            // The free disk is measured: only what the run may still write is to be reserved.
            free.disk -= (run.held.disk - run.disk_used).max(0).min(run.held.disk);
        }
        free
    }

    /// All conditions of the filter.
    pub fn fits(&self, ticket: &Ticket<'_>) -> bool {
        let request = ticket.request;
        self.serves(&request.queue)
            && self.runs_left != 0
            && self.cpus >= request.cpus
            && self.gpus >= request.gpus
            && self.memory >= request.memory
            && self.disk.max(0) >= request.disk
    }

    /// Takes the request's resources away for the rest of the pass.
    pub fn take(&mut self, request: &Request) {
        self.cpus -= request.cpus;
        self.gpus -= request.gpus;
        self.memory -= request.memory;
        self.disk -= request.disk;
        self.runs_left -= i64::from(self.runs_left > 0);
        self.runs += 1;
    }

    /// Smaller is better. `behind` puts the worker after those that are not merely public.
    pub fn rank(&self, ticket: &Ticket<'_>, behind: bool, tie: u64) -> Rank {
        let free_gpus = if self.worker.gpus > 0 { self.gpus.max(1) } else { 0 };
        let cached = if self.worker.shared_file_system {
            ticket.dependencies.len()
        } else {
            ticket.dependencies.iter().filter(|dependency| self.worker.cached.contains(*dependency)).count()
        };
        let missing = ticket.dependencies.len() - cached;
        (!self.is_exclusive(), behind, free_gpus, missing, self.cpus, self.runs, tie)
    }

    fn is_exclusive(&self) -> bool {
        self.worker.tag_exclusive && self.worker.tag.is_some()
    }

    fn serves(&self, queue: &str) -> bool {
        match wanted_tag(queue) {
            Some(tag) => self.worker.tag.as_deref() == Some(tag),
            None => !self.is_exclusive(),
        }
    }

    /// Strictly more of everything than `other`, and at least as available.
    fn dominates(&self, other: &Self) -> bool {
        self.cpus > other.cpus
            && self.gpus > other.gpus
            && self.memory > other.memory
            && self.disk > other.disk
            && self.runs_left != 0
            && self.serves(other.worker.tag.as_deref().unwrap_or_default())
    }

    /// What is insufficient for the request, comma-separated in brackets.
    fn shortfall(&self, request: &Request) -> String {
        let mut missing = Vec::new();
        if !self.serves(&request.queue) {
            missing.push(if request.queue.is_empty() {
                "tag-exclusive worker".to_owned()
            } else {
                format!("{} queue ({} requested)", self.worker.tag.as_deref().unwrap_or("No"), request.queue)
            });
        }
        if self.runs_left == 0 {
            missing.push("no runs left".to_owned());
        }
        for (have, need, what) in [(self.cpus, request.cpus, "CPUs"), (self.gpus, request.gpus, "GPUs")] {
            if have < need {
                missing.push(format!("{} {what} ({need} requested)", have.max(0)));
            }
        }
        for (have, need, what) in [(self.memory, request.memory, "memory"), (self.disk, request.disk, "disk")] {
            if have.max(0) < need {
                let (have, need) = (size::format(have.max(0) as f64), size::format(need as f64));
                missing.push(format!("{have} {what} ({need} requested)"));
            }
        }
        format!("[{}]", missing.join(", "))
    }
}

/// The tag a request names: one `tag=` is stripped if something follows it; empty means none.
fn wanted_tag(queue: &str) -> Option<&str> {
    let tag = queue.strip_prefix("tag=").filter(|rest| !rest.is_empty()).unwrap_or(queue);
    (!tag.is_empty()).then_some(tag)
}

/// `Available resources: [...], [...]`: the shortfalls of workers that no other strictly dominates; empty without workers.
pub fn recommendation(workers: &[&Candidate<'_>], request: &Request) -> String {
    let best = workers.iter().filter(|worker| !workers.iter().any(|other| other.dominates(worker)));
    let texts: Vec<String> = best.take(MOST_LISTED).map(|worker| worker.shortfall(request)).collect();
    if texts.is_empty() { String::new() } else { format!("Available resources: {}", texts.join(", ")) }
}
