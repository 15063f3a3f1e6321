//! Check-ins: when they happen, what they say, and what is done with the messages that come back.
//!
//! A check-in follows at once when a run changes its stage or the server asks for one through the websocket; the timer
//! is only a heartbeat. An upstream server holds every check-in for up to five seconds; news does not wait for that but
//! goes out with a second one.

use std::sync::Arc;
use std::time::Duration;

use domain::run::{CHECK_IN_HOLD_SECONDS, CheckInRequest, NETCAT_BYTES, WorkerMessage};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use tokio::time::Instant;

use crate::answers;
use crate::error::Result;
use crate::machine::free_disk;
use crate::run::state::RunState;
use crate::run::unix_now;
use crate::worker::Shared;

/// An answer may take this long on top of the server's wait.
const PATIENCE: Duration = Duration::from_secs(60);
/// Minor news is gathered for this long.
const GATHER: Duration = Duration::from_secs(1);
/// A check-in that has not been answered after this time is one that the server holds.
const HELD: Duration = Duration::from_millis(500);
/// Pauses after failures.
const FIRST_FAILURE: Duration = Duration::from_secs(1);
const LATER_FAILURES: Duration = Duration::from_secs(5);

type Answer = std::result::Result<Vec<Value>, client::Error>;

/// Checks in until one of the worker's exit conditions holds.
pub async fn keep_checking_in(shared: &Arc<Shared>) -> Result<()> {
    let mut pending: FuturesUnordered<BoxFuture<'_, Answer>> = FuturesUnordered::new();
    let mut rhythm = Rhythm::new(shared);
    let mut idle_since = Instant::now();
    loop {
        if rhythm.due_now(pending.len()) {
            rhythm.sent();
            pending.push(Box::pin(check_in(shared)));
        }
        let count = pending.len();
        tokio::select! {
            Some(answer) = pending.next(), if count > 0 => {
                let succeeded = answer.is_ok();
                rhythm.answered(shared, succeeded);
                match answer {
                    Ok(messages) => {
                        shared.forget_restaged();
                        obey(shared, messages);
                    }
                    Err(error) => tracing::warn!("Disconnected from server! Failed check in: {error}"),
                }
                if !shared.runs().is_empty() {
                    idle_since = Instant::now();
                }
                if succeeded && finished(shared, idle_since) {
                    return Ok(());
                }
            }
            () = rhythm.wait(shared, count) => {}
        }
    }
}

/// When the next check-in is due.
struct Rhythm {
    /// No check-in before this, after failures.
    not_before: Instant,
    due: Instant,
    last_sent: Option<Instant>,
    failures: u32,
    connected: bool,
}

impl Rhythm {
    fn new(_shared: &Shared) -> Self {
        let now = Instant::now();
        Self {
            not_before: now,
            due: now,
            last_sent: None,
            failures: 0,
            connected: false,
        }
    }

    /// At most two at a time: one that the server may hold, and one with news.
    fn due_now(&self, pending: usize) -> bool {
        pending < 2 && Instant::now() >= self.earliest(pending)
    }

    fn earliest(&self, pending: usize) -> Instant {
        let held = self
            .last_sent
            .filter(|_| pending > 0)
            .map_or(self.not_before, |sent| sent + HELD);
        self.due.max(self.not_before).max(held)
    }

    fn sent(&mut self) {
        let now = Instant::now();
        self.last_sent = Some(now);
        // A heartbeat is counted from the answer; until then nothing is due but news.
        self.due = now + Duration::from_secs(3600);
    }

    fn answered(&mut self, shared: &Shared, succeeded: bool) {
        let now = Instant::now();
        if succeeded {
            if self.failures > 0 || !self.connected {
                tracing::info!("Connected! Successful check in!");
            }
            self.failures = 0;
            self.connected = true;
            // Without a websocket the held check-in is what brings messages, so the next one follows at once.
            let pause = if shared.wake_ups.connected() {
                shared.config.checkin_interval
            } else {
                GATHER
            };
            self.due = self.due.min(now + pause);
        } else {
            let pause = if self.failures == 0 && self.connected {
                FIRST_FAILURE
            } else {
                LATER_FAILURES
            };
            self.failures += 1;
            self.not_before = now + pause.min(shared.config.checkin_interval.max(FIRST_FAILURE));
            self.due = self.not_before;
        }
    }

    /// Returns when something may have become due.
    async fn wait(&mut self, shared: &Shared, pending: usize) {
        let now = Instant::now();
        let earliest = self.earliest(pending);
        if pending >= 2 {
            return std::future::pending().await;
        }
        tokio::select! {
            () = tokio::time::sleep_until(earliest) => {}
            () = shared.changes.urgent.notified(), if self.due > now => self.due = Instant::now(),
            () = shared.wake_ups.wanted.notified(), if self.due > now => self.due = Instant::now(),
            () = shared.changes.minor.notified(), if self.due > now + GATHER => self.due = now + GATHER,
        }
    }
}

/// Whether the worker has done what it was started for.
fn finished(shared: &Shared, idle_since: Instant) -> bool {
    if !shared.runs().is_empty() || shared.is_terminating() {
        return false;
    }
    if shared.runs_left() == 0 {
        tracing::info!(
            "The permitted number of runs, {}, has been reached",
            shared.config.exit_after_num_runs
        );
        return true;
    }
    let idle = idle_since.elapsed();
    if shared.config.exit_when_idle && idle > shared.config.idle_time {
        tracing::info!("Worker was idle for {:.0} seconds. Exiting...", idle.as_secs_f64());
        return true;
    }
    false
}

/// The last check-in before the exit; its messages are not obeyed.
pub async fn last_words(shared: &Arc<Shared>) -> std::result::Result<(), client::Error> {
    check_in(shared).await.map(drop)
}

async fn check_in(shared: &Arc<Shared>) -> Answer {
    let hold = if shared.is_terminating() || (shared.wake_ups.connected() && !shared.config.exit_when_idle) {
        0
    } else {
        CHECK_IN_HOLD_SECONDS
    };
    let mut report = serde_json::to_value(request(shared, hold)).unwrap_or_default();
    report["version"] = env!("CARGO_PKG_VERSION").into();
    shared.client.check_in(&shared.id, &report, PATIENCE).await
}

/// The complete current state of the worker.
fn request(shared: &Shared, hold: u64) -> CheckInRequest {
    let config = &shared.config;
    let integer = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let now = unix_now();
    CheckInRequest {
        tag: config.tag.clone(),
        group_name: config.group.clone(),
        cpus: shared.machine.cpus.len() as i64,
        gpus: shared.machine.gpus.len() as i64,
        memory_bytes: integer(shared.machine.memory),
        free_disk_bytes: Some(integer(free_disk(&shared.work.path))),
        dependencies: shared.cache.keys(),
        hostname: Some(shared.machine.hostname.clone()),
        runs: shared
            .runs()
            .iter()
            .filter_map(|run| run.read(|state| state.confirmed.then(|| state.report(&shared.id, now).into())))
            .collect(),
        shared_file_system: false,
        tag_exclusive: config.tag_exclusive && config.tag.is_some(),
        exit_after_num_runs: integer(shared.runs_left()),
        is_terminating: shared.is_terminating(),
        preemptible: config.preemptible,
        own_bundles_only: !shared.runtime.isolates(),
        wait_seconds: Some(integer(hold)),
        capabilities: vec![NETCAT_BYTES.to_owned()],
    }
}

/// Does what the server says. A message that cannot be understood does not affect the others.
fn obey(shared: &Arc<Shared>, messages: Vec<Value>) {
    if shared.is_terminating() {
        return;
    }
    for message in messages {
        match serde_json::from_value::<WorkerMessage>(message) {
            Ok(message) => obey_one(shared, message),
            Err(error) => tracing::warn!("Unrecognized message from server: {error}"),
        }
    }
}

fn obey_one(shared: &Arc<Shared>, message: WorkerMessage) {
    let Some(uuid) = message.uuid() else {
        tracing::warn!("Unrecognized action type from server");
        return;
    };
    tracing::debug!("{}: {uuid}", message.type_name());
    let run = shared.run(uuid);
    match (message, run) {
        (WorkerMessage::Run(message), _) => shared.accept(*message),
        (WorkerMessage::Kill { kill_message, .. }, Some(run)) => {
            let text = kill_message.unwrap_or_else(|| domain::run::KILL_REQUESTED.to_owned());
            change(shared, run, move |state| state.kill(&text));
        }
        (WorkerMessage::MarkFinalized { .. }, Some(run)) => change(shared, run, |state| state.finalized = true),
        (message, run) => answers::answer(shared.clone(), run, message),
    }
}

/// Changes a run's state in memory at once and on disk a little later.
fn change(shared: &Shared, run: Arc<crate::run::Run>, change: impl FnOnce(&mut RunState)) {
    run.update(change);
    shared.spawn(async move { run.save().await });
}
