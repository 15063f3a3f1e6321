//! The loop: waits for events and timers, and does what they ask for.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::permission::Viewer;
use domain::{BundleState, BundleType, Permission, Result, Uuid};
use hub::{Event, Hub, next_event};
use model::{BundleRecord, Model, ObjectKind, WorkerKey};
use storage::Storage;
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::inbox::Inbox;
use crate::make::Makes;
use crate::nudge::Nudges;
use crate::queue::Queue;
use crate::snapshot::HeldRuns;
use crate::staging::{self, Parent, Staging};

/// A check-in of a worker that is already known asks for a pass at most this often: most of them bring nothing new.
const CHECKIN_INTERVAL: Duration = Duration::from_millis(500);
/// Several events at once are one piece of work; more than this are left for the next one.
const BATCH: usize = 1000;
/// Bundles staged before the scheduler gets its turn.
const STAGE_BATCH: usize = 200;
const LEASE: &str = "bundle-manager";
const LEASE_SECONDS: i64 = 10;
const LEASE_RENEWAL: Duration = Duration::from_secs(3);
/// How long make bundles may go on copying after a shutdown was asked for.
const MAKE_PATIENCE: Duration = Duration::from_secs(30);

/// The manager's connections and caches.
pub struct Manager {
    pub(crate) model: Model,
    pub(crate) storage: Storage,
    pub(crate) hub: Arc<dyn Hub>,
    pub(crate) config: Config,
    pub(crate) queue: Queue,
    pub(crate) held: HeldRuns,
    pub(crate) makes: Makes,
    pub(crate) nudges: Nudges,
    /// Status texts that are due, from the last pass.
    pub(crate) statuses: VecDeque<(Uuid, Arc<str>)>,
    /// Workers seen by the last pass.
    pub(crate) known_workers: HashSet<WorkerKey>,
    /// Created bundles that wait for a parent: an event will say when to look again.
    pub(crate) waiting: HashSet<Uuid>,
    /// Bundles staged by us, whose event will come back.
    own_staged: HashSet<Uuid>,
    /// Unix seconds.
    pub(crate) started_at: i64,
    pub(crate) sweeps: u64,
    last_pass: Instant,
    /// A check-in asked for a pass that has not been made yet.
    pass_is_due: bool,
    holder: String,
    is_leader: bool,
}

/// Unix seconds.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as i64)
}

impl Manager {
    pub fn new(model: Model, storage: Storage, hub: Arc<dyn Hub>, config: Config) -> Self {
        Self {
            makes: Makes::new(
                model.clone(),
                storage.clone(),
                Arc::clone(&hub),
                config.make_concurrency,
            ),
            storage,
            model,
            hub,
            queue: Queue::default(),
            held: HeldRuns::default(),
            nudges: Nudges::default(),
            statuses: VecDeque::new(),
            known_workers: HashSet::new(),
            waiting: HashSet::new(),
            own_staged: HashSet::new(),
            started_at: now(),
            sweeps: 0,
            last_pass: Instant::now(),
            pass_is_due: false,
            holder: format!("{:016x}", rand::random::<u64>()),
            is_leader: !config.use_lease,
            config,
        }
    }

    /// Works until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut events = self.hub.subscribe();
        let mut sweep = tokio::time::interval(self.config.sweep_interval.max(Duration::from_millis(10)));
        let mut lease = tokio::time::interval(LEASE_RENEWAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        lease.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tracing::info!(sweep = ?self.config.sweep_interval, "bundle manager runs");
        loop {
            let due = self.last_pass + CHECKIN_INTERVAL;
            let mut inbox = Inbox::default();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = lease.tick(), if self.config.use_lease => {
                    inbox.resync = self.renew_lease().await;
                }
                event = next_event(&mut events) => match event {
                    Some(event) => take_batch(&mut inbox, event, &mut events),
                    None => break,
                },
                () = tokio::time::sleep_until(due.into()), if self.pass_is_due => inbox.schedule = true,
                () = at(self.nudges.next()) => {
                    for WorkerKey { user_id, worker_id } in self.nudges.take_due(Instant::now()) {
                        self.hub.publish(Event::Nudge { user_id: user_id.into(), worker_id: worker_id.into() });
                    }
                }
                _ = sweep.tick() => inbox.sweep = true,
                () = self.makes.reap() => {}
                () = std::future::ready(()), if self.is_leader && !self.statuses.is_empty() => {
                    self.write_some_statuses().await;
                }
            }
            if self.is_leader {
                self.work(inbox).await;
            }
        }
        self.makes.finish(MAKE_PATIENCE).await;
        if self.config.use_lease {
            let _ = self.model.release_lease(LEASE, &self.holder).await;
        }
        tracing::info!("bundle manager ends");
    }

    /// Takes or keeps the lease; true when it has just been taken, so that everything is to be looked at.
    async fn renew_lease(&mut self) -> bool {
        let had = self.is_leader;
        self.is_leader = match self
            .model
            .acquire_lease(LEASE, &self.holder, LEASE_SECONDS, now())
            .await
        {
            Ok(has) => has,
            Err(error) => {
                tracing::warn!(%error, "cannot renew the manager's lease");
                false
            }
        };
        if self.is_leader != had {
            tracing::info!(leader = self.is_leader, "bundle manager lease");
        }
        self.is_leader && !had
    }

    /// Does what the inbox asks for. Every step stands alone: an error is logged and left to the next sweep.
    async fn work(&mut self, mut inbox: Inbox) {
        if inbox.resync {
            self.waiting.clear();
        }
        if inbox.sweep || inbox.resync {
            self.sweep().await;
            inbox.schedule = true;
        }
        inbox.unstaged.iter().for_each(|uuid| self.queue.remove(uuid));
        for uuid in &inbox.ended {
            self.makes.cancel(uuid);
            self.waiting.remove(uuid);
        }
        if inbox.policy {
            self.queue.forget_refusals();
            inbox.schedule = true;
        }
        let children = logged("find children", self.waiting_children(&inbox.ended).await).unwrap_or_default();
        inbox.created.extend(children);
        self.stage(&inbox.created).await;
        let reloaded = self.load_staged(inbox.staged).await;
        let new_worker = inbox.checked_in.iter().any(|key| !self.known_workers.contains(key));
        self.pass_is_due |= !inbox.checked_in.is_empty();
        let due = self.pass_is_due && self.last_pass.elapsed() >= CHECKIN_INTERVAL;
        if inbox.schedule || reloaded || new_worker || due {
            self.pass_is_due = false;
            logged("schedule", self.schedule().await);
            self.last_pass = Instant::now();
        }
    }

    /// Children in `created` of bundles that ended.
    async fn waiting_children(&self, ended: &HashSet<Uuid>) -> Result<Vec<Uuid>> {
        let ended: Vec<Uuid> = ended.iter().copied().collect();
        if ended.is_empty() {
            return Ok(vec![]);
        }
        let children: Vec<Uuid> = self.model.children(&ended).await?.into_values().flatten().collect();
        if children.is_empty() {
            return Ok(vec![]);
        }
        let states = self.model.bundle_states(&children).await?;
        Ok(children
            .into_iter()
            .filter(|uuid| states.get(uuid) == Some(&BundleState::Created))
            .collect())
    }

    /// Stages what may be staged, and assigns it after each batch: the first of many bundles need not wait for the last.
    pub(crate) async fn stage(&mut self, created: &[Uuid]) {
        let mut seen = HashSet::new();
        let created: Vec<Uuid> = created.iter().filter(|uuid| seen.insert(**uuid)).copied().collect();
        for batch in created.chunks(STAGE_BATCH) {
            let mut records = logged("read created bundles", self.model.bundles(batch).await).unwrap_or_default();
            records.sort_by_key(|record| record.id);
            let mut any_run = false;
            for record in records {
                let may_stage = matches!(record.bundle.bundle_type, BundleType::Run | BundleType::Make);
                if record.bundle.state == BundleState::Created && may_stage {
                    any_run |= logged("stage", self.stage_one(record).await).unwrap_or(false);
                }
            }
            if any_run {
                logged("schedule", self.schedule().await);
            }
        }
    }

    async fn stage_one(&mut self, mut record: BundleRecord) -> Result<bool> {
        let uuid = record.bundle.uuid;
        match self.staging_of(&record).await? {
            Staging::Wait => {
                self.waiting.insert(uuid);
            }
            Staging::Fail(message) => {
                self.waiting.remove(&uuid);
                if self
                    .model
                    .fail(uuid, &[BundleState::Created], &message, None, now())
                    .await?
                {
                    tracing::info!(bundle = %uuid, %message, "bundle cannot run");
                    self.publish_state(uuid, BundleState::Failed);
                }
            }
            Staging::Stage => {
                self.waiting.remove(&uuid);
                if self.model.stage(uuid, now()).await? {
                    self.publish_state(uuid, BundleState::Staged);
                    self.own_staged.insert(uuid);
                    record.bundle.state = BundleState::Staged;
                    return Ok(self.take_staged(&record));
                }
            }
        }
        Ok(false)
    }

    async fn staging_of(&self, record: &BundleRecord) -> Result<Staging> {
        let bundle = &record.bundle;
        let owner = bundle.owner_id.as_deref();
        let uuids: Vec<Uuid> = bundle
            .dependencies
            .iter()
            .map(|dependency| dependency.parent_uuid)
            .collect();
        if uuids.is_empty() {
            return Ok(Staging::Stage);
        }
        let permissions = match owner {
            Some(owner) => {
                self.model
                    .permissions_of(ObjectKind::Bundle, Some(owner), &uuids)
                    .await?
            }
            None => vec![Permission::None; uuids.len()],
        };
        let parents: Vec<Parent> = (uuids.iter().zip(&record.parents).zip(permissions))
            .map(|((&uuid, parent), permission)| Parent {
                uuid,
                state: parent.state,
                permission,
            })
            .collect();
        let allow_failed = bundle.metadata.bool("allow_failed_dependencies");
        let name = match owner {
            Some(owner) if parents.iter().any(|parent| parent.permission < Permission::Read) => {
                self.model.user(owner).await?.map(|user| user.user_name)
            }
            _ => None,
        };
        let viewer = match (&name, owner) {
            (Some(name), Some(id)) => Viewer::User { name, id },
            _ => Viewer::Vanished,
        };
        Ok(staging::decide(&parents, allow_failed, viewer))
    }

    /// Reads bundles that are said to be staged; true if a run came into the queue.
    pub(crate) async fn load_staged(&mut self, staged: HashSet<Uuid>) -> bool {
        let unknown: Vec<Uuid> = staged
            .into_iter()
            .filter(|uuid| !self.own_staged.remove(uuid))
            .collect();
        if unknown.is_empty() {
            return false;
        }
        let records = logged("read staged bundles", self.model.bundles(&unknown).await).unwrap_or_default();
        let mut any_run = false;
        for record in records
            .iter()
            .filter(|record| record.bundle.state == BundleState::Staged)
        {
            any_run |= self.take_staged(record);
        }
        any_run
    }

    /// Puts a staged run into the queue, or begins to make a staged make bundle; true for a run.
    fn take_staged(&mut self, record: &BundleRecord) -> bool {
        match record.bundle.bundle_type {
            BundleType::Run => self.queue.insert(record),
            BundleType::Make => self.makes.start(record.bundle.uuid),
            _ => {}
        }
        record.bundle.bundle_type == BundleType::Run
    }

    /// Forgets which events of our own are to come, because some were lost.
    pub(crate) fn expect_no_events(&mut self) {
        self.own_staged.clear();
    }

    pub(crate) fn publish_state(&self, uuid: Uuid, state: BundleState) {
        self.hub.publish(Event::bundle_changed(uuid, state));
    }
}

/// Waits until then, or for ever.
async fn at(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then.into()).await,
        None => std::future::pending().await,
    }
}

/// The first event and all others that are already there.
fn take_batch(inbox: &mut Inbox, first: Event, events: &mut broadcast::Receiver<Event>) {
    inbox.note(first);
    for _ in 0..BATCH {
        match events.try_recv() {
            Ok(event) => inbox.note(event),
            Err(broadcast::error::TryRecvError::Lagged(_)) => inbox.resync = true,
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => return,
        }
    }
}

/// The value, or `None` with the error in the log.
pub(crate) fn logged<T>(step: &str, result: Result<T>) -> Option<T> {
    result
        .inspect_err(|error| tracing::error!(step, %error, "bundle manager step failed; it will be tried again"))
        .ok()
}
