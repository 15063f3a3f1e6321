//! What all parts of a running worker share, and the worker's life from log-in to exit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::{Client, Endpoint, Options, PasswordLogin, Query, TokenSource, WORKER_CLIENT};
use domain::Uuid;
use domain::run::RunMessage;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::{DependencyCache, HttpFetch};
use crate::checkin;
use crate::config::{Config, Credentials};
use crate::error::{Error, Result};
use crate::machine::{self, Machine};
use crate::run::state::{RunState, Stage};
use crate::run::store::Store;
use crate::run::{self, Run, unix_now};
use crate::runtime::{self, Runtime};
use crate::slots::Slots;
use crate::websocket::{self, WakeUps};
use crate::workdir::WorkDir;

/// Handing runs back may take this long after their commands have ended.
const LAST_REPORT_PATIENCE: Duration = Duration::from_secs(30);
/// Answers to reads at the same time.
const ANSWERS: usize = 64;
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);

/// What all parts of a running worker share.
pub struct Shared {
    pub config: Config,
    pub client: Client,
    pub id: String,
    pub machine: Machine,
    pub work: WorkDir,
    /// The account's id on the server.
    pub own_user: Option<String>,
    pub runtime: Arc<dyn Runtime>,
    pub cache: DependencyCache,
    pub slots: Arc<Slots>,
    pub changes: Changes,
    pub wake_ups: Arc<WakeUps>,
    store: Store,
    runs: Mutex<BTreeMap<Uuid, Arc<Run>>>,
    accepted: AtomicU64,
    terminating: AtomicBool,
    /// Answers being given; many slow readers must not use up the threads that everything else needs.
    pub answering: Semaphore,
    tasks: TaskTracker,
    /// Ends all tasks. They can be cut off anywhere: the next worker goes on from the states on disk.
    stop: CancellationToken,
}

/// News for the server.
#[derive(Default)]
pub struct Changes {
    pub urgent: Notify,
    pub minor: Notify,
}

impl Changes {
    /// A run changed its stage: check in at once.
    pub fn now(&self) {
        self.urgent.notify_one();
    }

    /// A status text changed: check in within about a second.
    pub fn soon(&self) {
        self.minor.notify_one();
    }
}

impl Shared {
    /// Runs a task until it ends or the worker does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
    }

    pub fn runs(&self) -> Vec<Arc<Run>> {
        self.runs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    pub fn run(&self, uuid: Uuid) -> Option<Arc<Run>> {
        self.runs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&uuid)
            .cloned()
    }

    /// Forgets a finished run.
    pub fn drop_run(&self, uuid: Uuid) {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).remove(&uuid);
    }

    /// After a check-in: runs that were handed back just before a crash are reported now and can be forgotten.
    pub fn forget_restaged(&self) {
        if self.is_terminating() {
            return;
        }
        for run in self.runs() {
            if run.read(|state| state.stage == Stage::Restaged) {
                self.store.forget(run.uuid);
                self.drop_run(run.uuid);
            }
        }
    }

    /// Bytes a run may use when it asks for `wanted`; 0 means all that this worker offers.
    pub fn memory_limit(&self, wanted: i64) -> u64 {
        u64::try_from(wanted)
            .ok()
            .filter(|bytes| *bytes > 0)
            .unwrap_or(self.machine.memory)
    }

    /// One more run was accepted.
    pub fn count_run(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs that will still be accepted.
    pub fn runs_left(&self) -> u64 {
        self.config
            .exit_after_num_runs
            .saturating_sub(self.accepted.load(Ordering::Relaxed))
    }

    pub fn is_terminating(&self) -> bool {
        self.terminating.load(Ordering::Relaxed)
    }

    /// Takes a run that the server wants executed, unless it is here already.
    pub fn accept(self: &Arc<Self>, message: RunMessage) {
        let uuid = message.bundle.uuid;
        if self.is_terminating() {
            return;
        }
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.contains_key(&uuid) {
            tracing::debug!("{uuid} is here already");
            return;
        }
        // Runs that the server has not confirmed yet are not counted as accepted, but they will be.
        let unconfirmed = runs.values().filter(|run| run.read(|state| !state.confirmed)).count() as u64;
        if self.runs_left() <= unconfirmed {
            let limit = self.config.exit_after_num_runs;
            tracing::warn!("The permitted number of runs, {limit}, has been reached; {uuid} is not started");
            return;
        }
        let attempt = format!("{:08x}", rand::random::<u32>());
        let state = RunState::accept(message, attempt, unix_now());
        let run = Arc::new(Run::new(state, self.work.run(uuid.as_str()), self.store.clone()));
        runs.insert(uuid, run.clone());
        drop(runs);
        self.spawn(run::drive(run, self.clone()));
    }

    /// Marks every unfinished run as handed back.
    async fn restage_all(&self) {
        self.terminating.store(true, Ordering::Relaxed);
        for run in self.runs() {
            run.update(|state| state.is_restaged = true);
            run.save().await;
        }
        self.changes.now();
    }
}

/// See [`crate::run`].
pub async fn live(config: Config, shutdown: CancellationToken) -> Result<()> {
    let client = connect(&config)?;
    let Some(own_user) = log_in(&config, &client, &shutdown).await? else {
        return Ok(());
    };
    let shared = Arc::new(set_up(config, client, own_user).await?);
    tracing::info!("Worker started!");
    tracing::info!("my id is: {}", shared.id);
    let address = format!(
        "{}/worker/{}",
        shared.config.websocket_base(),
        websocket_name(&shared.id)
    );
    shared.spawn(websocket::listen(address, shared.wake_ups.clone()));
    resume(&shared);
    let ended = tokio::select! {
        () = shutdown.cancelled() => None,
        outcome = checkin::keep_checking_in(&shared) => Some(outcome),
    };
    if ended.is_none() && shared.config.pass_down_termination {
        hand_back(&shared).await;
    }
    leave(&shared).await;
    shared.stop.cancel();
    shared.tasks.close();
    shared.tasks.wait().await;
    shared.runtime.close().await;
    if shared.config.delete_work_dir_on_exit && shared.runs().is_empty() {
        let path = shared.work.path.clone();
        let removed = tokio::task::spawn_blocking(move || contents::remove_tree(&path)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!("the work directory cannot be removed: {error}");
        }
    }
    tracing::info!("Stopped Worker. Exiting");
    ended.unwrap_or(Ok(()))
}

fn connect(config: &Config) -> Result<Client> {
    let seconds = std::env::var("CODALAB_URLOPEN_TIMEOUT_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let options = Options {
        timeout: Duration::from_secs(seconds.unwrap_or(300)),
        user_agent: concat!("cl-worker/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..Options::default()
    };
    let endpoint = Endpoint::new(&config.server, options).map_err(|error| Error::Usage(error.to_string()))?;
    let tokens: Arc<dyn TokenSource> = match &config.credentials {
        Credentials::Password { username, password } => {
            Arc::new(PasswordLogin::new(WORKER_CLIENT, username, password.expose()))
        }
        Credentials::Tokens(tokens) => tokens.clone(),
    };
    Ok(Client::new(endpoint, tokens))
}

/// The account's id. A server that cannot be reached is asked again until `shutdown` (then `None`).
async fn log_in(config: &Config, client: &Client, shutdown: &CancellationToken) -> Result<Option<Option<String>>> {
    let mut pause = Duration::from_millis(500);
    loop {
        tracing::info!("Connecting to {}", config.server);
        match client.get_json("user", Query::new()).await {
            Ok(user) => {
                let id = user.pointer("/data/id");
                return Ok(Some(id.and_then(|id| {
                    id.as_str().map(str::to_owned).or(id.as_i64().map(|n| n.to_string()))
                })));
            }
            Err(error) if !error.is_retryable() => {
                tracing::error!("{error}");
                let username = match &config.credentials {
                    Credentials::Password { username, .. } => username.clone(),
                    Credentials::Tokens(_) => String::new(),
                };
                return Err(Error::Login {
                    username,
                    server: config.server.clone(),
                });
            }
            Err(error) => tracing::warn!("{error}; trying again in {:.1} s", pause.as_secs_f64()),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(60)),
            () = shutdown.cancelled() => return Ok(None),
        }
    }
}

async fn set_up(config: Config, client: Client, own_user: Option<String>) -> Result<Shared> {
    let hostname = machine::hostname();
    let (path, wanted, host) = (config.work_dir.clone(), config.id.clone(), hostname.clone());
    let work = tokio::task::spawn_blocking(move || WorkDir::open(&path, wanted.as_deref(), &host))
        .await
        .map_err(|error| Error::Internal(error.to_string()))??;
    let chosen = runtime::choose(&config, &work.path).await?;
    let offered = config.max_memory.unwrap_or(u64::MAX).min(machine::physical_memory());
    let machine = Machine {
        cpus: machine::choose_cpus(config.cpuset.as_deref(), &machine::affinity())?,
        gpus: machine::choose_gpus(&config.gpuset, &chosen.gpus)?,
        memory: offered,
        hostname,
    };
    let fetch = Arc::new(HttpFetch(client.clone()));
    let (path, limit, attempts) = (work.path.clone(), config.max_work_dir_size, config.download_attempts);
    let unusable = |error: &dyn std::fmt::Display| Error::WorkDir {
        path: work.path.display().to_string(),
        reason: error.to_string(),
    };
    let cache = tokio::task::spawn_blocking(move || DependencyCache::open(&path, fetch, limit, attempts))
        .await
        .map_err(|error| Error::Internal(error.to_string()))?
        .map_err(|error| unusable(&error))?;
    let store = Store::open(work.states()).map_err(|error| unusable(&error))?;
    Ok(Shared {
        id: work.id.clone(),
        slots: Slots::new(&machine),
        machine,
        own_user,
        runtime: chosen.runtime,
        cache,
        changes: Changes::default(),
        wake_ups: Arc::default(),
        store,
        runs: Mutex::default(),
        accepted: AtomicU64::new(0),
        terminating: AtomicBool::new(false),
        answering: Semaphore::new(ANSWERS),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
        config,
        client,
        work,
    })
}

/// Goes on with the runs that the last worker with this id left.
fn resume(shared: &Arc<Shared>) {
    let found = shared.store.load();
    let mut runs = shared.runs.lock().unwrap_or_else(PoisonError::into_inner);
    for mut state in found {
        let uuid = state.uuid();
        // A run that was being handed back and is not over yet may as well go on.
        state.is_restaged = state.stage == Stage::Restaged;
        tracing::info!("Bundle {uuid} is resumed in {}", state.stage.name());
        runs.insert(
            uuid,
            Arc::new(Run::new(state, shared.work.run(uuid.as_str()), shared.store.clone())),
        );
    }
    let resumed: Vec<_> = runs.values().cloned().collect();
    drop(runs);
    for run in resumed {
        shared.spawn(run::drive(run, shared.clone()));
    }
}

/// Waits until every run is handed back or finished, reporting meanwhile.
async fn hand_back(shared: &Arc<Shared>) {
    shared.restage_all().await;
    let done = || {
        shared
            .runs()
            .iter()
            .all(|run| run.read(|state| state.stage == Stage::Restaged))
    };
    let reporting = checkin::keep_checking_in(shared);
    tokio::pin!(reporting);
    while !done() {
        let changed = tokio::time::sleep(Duration::from_millis(50));
        tokio::select! {
            _ = &mut reporting => return,
            () = changed => {}
        }
    }
}

/// The last check-in, when the server has something to learn from it.
async fn leave(shared: &Arc<Shared>) {
    shared.terminating.store(true, Ordering::Relaxed);
    let (restaged, others): (Vec<_>, Vec<_>) = shared
        .runs()
        .into_iter()
        .partition(|run| run.read(|state| state.stage == Stage::Restaged));
    if !restaged.is_empty() {
        report_restaged(shared, restaged).await;
    } else if others.is_empty() {
        // Lets the server forget this worker at once instead of after a time-out; not worth waiting for.
        let farewell = tokio::time::timeout(FAREWELL_PATIENCE, checkin::last_words(shared));
        if !matches!(farewell.await, Ok(Ok(()))) {
            tracing::debug!("the server does not hear of the exit");
        }
    }
    // Otherwise runs go on without us, and the next worker reports them.
}

/// Without this report the server would wait for the runs in vain.
async fn report_restaged(shared: &Arc<Shared>, restaged: Vec<Arc<Run>>) {
    let report = async {
        while let Err(error) = checkin::last_words(shared).await {
            tracing::warn!("Disconnected from server! Failed check in: {error}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    if tokio::time::timeout(LAST_REPORT_PATIENCE, report).await.is_err() {
        tracing::error!("The server does not know that its runs are handed back; the next start will tell it");
        return;
    }
    for run in restaged {
        shared.store.forget(run.uuid);
        shared.drop_run(run.uuid);
    }
}

/// The id as the last part of the websocket's address: parentheses stay as they are.
fn websocket_name(id: &str) -> String {
    const KEEP: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'(')
        .remove(b')')
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    percent_encoding::utf8_percent_encode(id, KEEP).to_string()
}
