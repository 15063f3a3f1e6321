//! Which staged run goes to which worker: a pure function of a snapshot.
//!
//! Cost: O(queue) + O(distinct unsatisfied requests × workers) + O(assignments × workers). A request that did not fit is
//! remembered for the rest of the pass, because free resources only shrink in it.

mod fit;
mod order;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::config::WorkerLimits;
use domain::run::RunResources;
use domain::{UserId, Uuid};
use model::WorkerKey;

use crate::request::{Held, QuotaLeft, RequestFields, resolve};
use fit::Candidate;

/// What begins `staged_status` of a run that finds no worker.
const NO_WORKER: &str = "No worker can meet this request: none is large enough and free.";

/// Follows where the only workers are such that may not take the run.
const OWN_BUNDLES_ONLY: &str = "Workers that run plain processes take only bundles of their own account; start one of your \
    own, or one with Docker.";

/// A run that occupies a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldRun {
    pub owner: UserId,
    pub held: Held,
    /// Bytes it has written so far.
    pub disk_used: i64,
}

/// A live worker with its totals. Bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    pub key: WorkerKey,
    pub group: Option<Uuid>,
    /// Never empty.
    pub tag: Option<String>,
    pub tag_exclusive: bool,
    pub cpus: i64,
    pub gpus: i64,
    pub memory: i64,
    pub free_disk: i64,
    /// How many more runs it accepts.
    pub runs_left: i64,
    pub is_terminating: bool,
    pub shared_file_system: bool,
    /// Takes runs of its owner only.
    pub own_bundles_only: bool,
    pub runs: Vec<HeldRun>,
    /// Dependencies in its cache: parent and path in it.
    pub cached: HashSet<(Uuid, String)>,
}

/// The owner of staged runs.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub left: QuotaLeft,
    pub parallel_run_quota: i64,
    /// Groups with workers that this user may use.
    pub groups: HashSet<Uuid>,
}

/// A run in the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct StagedRun {
    /// Database id: the global order.
    pub id: i64,
    pub uuid: Uuid,
    pub owner: UserId,
    pub fields: RequestFields,
    /// Parents and paths in them.
    pub dependencies: Vec<(Uuid, String)>,
    /// Owners of workers who may not run this bundle or not read all of its parents.
    pub refused_owners: HashSet<UserId>,
}

/// Everything a decision depends on.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// Staged runs in id order.
    pub queue: Vec<&'a StagedRun>,
    pub workers: &'a [Worker],
    pub users: &'a HashMap<UserId, User>,
    pub limits: &'a WorkerLimits,
    /// The workers of this user are public.
    pub root: &'a UserId,
    /// Rank workers of the owner and of the owner's groups before public ones.
    pub prefer_private: bool,
    /// Breaks ties between equal workers.
    pub seed: u64,
}

/// What to do with one staged run.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Assign {
        uuid: Uuid,
        worker: WorkerKey,
        request: RunResources,
    },
    /// It can never run; the failure message.
    Fail { uuid: Uuid, message: String },
    /// No worker now; the text for `staged_status`.
    Wait { uuid: Uuid, status: Arc<str> },
}

/// Decides for every run of the queue whose owner is known, in the order in which they are to be carried out.
pub fn schedule(snapshot: &Snapshot<'_>) -> Vec<Decision> {
    let mut pass = Pass::new(snapshot);
    let queue = order::start_order(&snapshot.queue);
    queue.into_iter().filter_map(|run| pass.decide(run)).collect()
}

/// The state of one pass: free resources and remaining quotas, both only shrinking.
struct Pass<'a> {
    snapshot: &'a Snapshot<'a>,
    candidates: Vec<Candidate<'a>>,
    owners: HashMap<&'a UserId, Owner<'a>>,
    /// Requests that found no worker in this pass, with the text that says so.
    unmet: HashMap<UnmetKey<'a>, Arc<str>>,
}

struct Owner<'a> {
    user: &'a User,
    /// Runs it may still start on public workers.
    parallel_left: i64,
    /// Indexes of its own and its groups' workers, and of public workers that are neither.
    private: Vec<usize>,
    public: Vec<usize>,
}

type UnmetKey<'a> = (&'a UserId, bool, &'a str, [i64; 4], Vec<&'a UserId>);

impl<'a> Pass<'a> {
    fn new(snapshot: &'a Snapshot<'a>) -> Self {
        let live = snapshot.workers.iter().filter(|worker| !worker.is_terminating);
        Self {
            snapshot,
            candidates: live.map(Candidate::new).collect(),
            owners: HashMap::new(),
            unmet: HashMap::new(),
        }
    }

    fn decide(&mut self, run: &'a StagedRun) -> Option<Decision> {
        let user = self.snapshot.users.get(&run.owner)?;
        let request = match resolve(&run.fields, user.left, self.snapshot.limits) {
            Ok(request) => request,
            Err(message) => {
                return Some(Decision::Fail {
                    uuid: run.uuid,
                    message,
                });
            }
        };
        let public_too = self.owner(&run.owner, user).parallel_left > 0;
        let key = unmet_key(run, &request, public_too);
        if let Some(status) = self.unmet.get(&key) {
            return Some(Decision::Wait {
                uuid: run.uuid,
                status: Arc::clone(status),
            });
        }
        let owner = &self.owners[&run.owner];
        let usable = usable(owner, public_too, &self.candidates, run);
        let best = usable
            .iter()
            .filter(|(index, _)| self.candidates[*index].fits(&request))
            .min_by_key(|(index, public)| {
                let tie = mix(self.snapshot.seed ^ run.id as u64 ^ ((*index as u64) << 32));
                self.candidates[*index].rank(&run.dependencies, *public && self.snapshot.prefer_private, tie)
            });
        let Some(&(chosen, _)) = best else {
            let workers: Vec<&Candidate<'_>> = usable.iter().map(|(index, _)| &self.candidates[*index]).collect();
            let mut status = format!("{NO_WORKER} {}", fit::recommendation(&workers, &request));
            if workers.is_empty()
                && self
                    .candidates
                    .iter()
                    .any(|candidate| candidate.worker.own_bundles_only)
            {
                status.push_str(OWN_BUNDLES_ONLY);
            }
            let status: Arc<str> = status.into();
            self.unmet.insert(key, Arc::clone(&status));
            return Some(Decision::Wait { uuid: run.uuid, status });
        };
        Some(self.assign(run, chosen, request))
    }

    fn assign(&mut self, run: &'a StagedRun, chosen: usize, request: RunResources) -> Decision {
        let candidate = &mut self.candidates[chosen];
        candidate.take(&request);
        let worker = candidate.worker.key.clone();
        if is_counted(&run.owner, &worker.user_id, self.snapshot.root)
            && let Some(owner) = self.owners.get_mut(&run.owner)
        {
            owner.parallel_left -= 1;
        }
        Decision::Assign {
            uuid: run.uuid,
            worker,
            request,
        }
    }

    /// The owner's workers and quota, computed at its first run in the pass.
    fn owner(&mut self, id: &'a UserId, user: &'a User) -> &Owner<'a> {
        let (candidates, root) = (&self.candidates, self.snapshot.root);
        self.owners.entry(id).or_insert_with(|| {
            let mut owner = Owner {
                user,
                parallel_left: user.parallel_run_quota,
                private: vec![],
                public: vec![],
            };
            for (index, candidate) in candidates.iter().enumerate() {
                let worker = candidate.worker;
                let is_own = worker.key.user_id == *id;
                let is_shared = worker.group.is_some_and(|group| owner.user.groups.contains(&group));
                if is_own || (is_shared && !worker.own_bundles_only) {
                    owner.private.push(index);
                } else if worker.key.user_id == *root && !worker.own_bundles_only {
                    owner.public.push(index);
                }
                if is_counted(id, &worker.key.user_id, root) {
                    owner.parallel_left -= worker.runs.iter().filter(|run| run.owner == *id).count() as i64;
                }
            }
            owner
        })
    }
}

/// Whether a run of `owner` on a worker of `worker_owner` counts against the parallel-run quota.
fn is_counted(owner: &UserId, worker_owner: &UserId, root: &UserId) -> bool {
    worker_owner == root && owner != root
}

/// Candidate indexes that the run may use at all, each with whether it is merely public.
fn usable(owner: &Owner<'_>, public_too: bool, candidates: &[Candidate<'_>], run: &StagedRun) -> Vec<(usize, bool)> {
    let private = owner.private.iter().map(|&index| (index, false));
    let public = owner.public.iter().map(|&index| (index, true)).filter(|_| public_too);
    private
        .chain(public)
        .filter(|(index, _)| !run.refused_owners.contains(&candidates[*index].worker.key.user_id))
        .collect()
}

fn unmet_key<'a>(run: &'a StagedRun, request: &RunResources, public_too: bool) -> UnmetKey<'a> {
    let mut refused: Vec<&UserId> = run.refused_owners.iter().collect();
    refused.sort_unstable();
    let amounts = [request.cpus, request.gpus, request.memory, request.disk];
    (&run.owner, public_too, run.fields.queue.as_str(), amounts, refused)
}

/// SplitMix64: spreads ties evenly and repeatably.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
