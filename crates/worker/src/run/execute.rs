//! While the command runs: wait for its end, keep its limits, end it when somebody wants that. Nothing here polls for
//! the end; the runtime announces it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contents::SubPath;
use tokio::sync::watch;
use tokio::time::Instant;

use super::state::{Stage, disk_message, memory_message, time_message};
use super::{Backoff, Run, RunState, unix_now};
use crate::runtime::{Exit, Usage};
use crate::worker::Shared;

/// Attempts to ask the engine about a command before the bundle fails.
const WAIT_ATTEMPTS: u32 = 20;
/// The directory is measured at most this often, and never more than a tenth of the time.
const SCAN_PAUSE: Duration = Duration::from_secs(1);

pub async fn execute(run: &Arc<Run>, shared: &Arc<Shared>) -> (Stage, String) {
    let Some(handle) = run.read(|state| state.handle.clone()) else {
        run.update(|state| state.fail("Docker container not found"));
        return (Stage::CleaningUp, "it has no container".to_owned());
    };
    let exit = tokio::select! {
        exit = end(&handle, shared) => exit,
        never = watch_over(run, shared, &handle) => match never {},
    };
    run.update(|state| {
        state.ended(&exit, unix_now());
        "Uploading results.".clone_into(&mut state.run_status);
    });
    run.hold(None);
    (
        Stage::CleaningUp,
        format!("the command ended, exit code {:?}", exit.code),
    )
}

/// The end of the command, however often the engine has to be asked.
async fn end(handle: &str, shared: &Shared) -> Exit {
    let mut backoff = Backoff::new();
    loop {
        match shared.runtime.wait(handle).await {
            Ok(exit) => return exit,
            Err(error) if backoff.failures + 1 >= WAIT_ATTEMPTS => {
                return Exit {
                    failure: Some(error),
                    ..Exit::default()
                };
            }
            Err(error) => tracing::error!("{handle}: {error}"),
        }
        backoff.wait().await;
    }
}

/// Measures, compares with the limits and kills; goes on until dropped.
async fn watch_over(run: &Arc<Run>, shared: &Arc<Shared>, handle: &str) -> std::convert::Infallible {
    let (usage_sender, mut usage) = watch::channel(Usage::default());
    let (disk_sender, mut disk) = watch::channel(0);
    let measuring = shared.runtime.measure(handle, &usage_sender);
    let scanning = scan(run.clone(), disk_sender);
    let killing = kill_when_over(run, shared, handle);
    let deadline = deadline(run);
    tokio::pin!(measuring, scanning, killing, deadline);
    let limits = run.read(|state| state.resources.clone());
    let memory_limit = shared.memory_limit(limits.memory);
    let (mut gone, mut timed_out) = (false, false);
    loop {
        tokio::select! {
            () = &mut measuring, if !gone => gone = true,
            () = &mut deadline, if !timed_out => {
                timed_out = true;
                let uptime = run.read(|state| unix_now() - state.started_at.unwrap_or_default());
                over(run, &time_message(uptime, limits.time)).await;
            }
            Ok(()) = usage.changed() => {
                let now = *usage.borrow_and_update();
                run.update(|state| state.measured(now, memory_limit));
                if now.memory_max > memory_limit && !run.read(RunState::is_over) {
                    over(run, &memory_message(memory_limit as i64)).await;
                }
            }
            Ok(()) = disk.changed() => {
                let bytes = *disk.borrow_and_update();
                run.update(|state| state.disk_utilization = bytes);
                if limits.disk > 0 && bytes > limits.disk as u64 && !run.read(RunState::is_over) {
                    over(run, &disk_message(limits.disk)).await;
                }
            }
            never = &mut killing => return never,
            never = &mut scanning => return never,
        }
    }
}

/// The run goes over a limit.
async fn over(run: &Arc<Run>, message: &str) {
    run.update(|state| state.kill(message));
    run.save().await;
}

/// Returns when the time limit is reached; never without one.
async fn deadline(run: &Run) {
    let (limit, started) = run.read(|state| (state.resources.time, state.started_at));
    let Some(limit) = u64::try_from(limit).ok().filter(|limit| *limit > 0) else {
        return std::future::pending().await;
    };
    let passed = started.map_or(0.0, |start| (unix_now() - start).max(0.0));
    let left = Duration::from_secs(limit).saturating_sub(Duration::from_secs_f64(passed));
    // A limit beyond what timers can express is none.
    match Instant::now().checked_add(left) {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Once the run is killed or handed back, ends its command; `wait` of the runtime then sees the end.
async fn kill_when_over(run: &Run, shared: &Shared, handle: &str) -> std::convert::Infallible {
    run.until_over().await;
    let mut backoff = Backoff::new();
    loop {
        match shared.runtime.kill(handle).await {
            Ok(()) => return std::future::pending().await,
            Err(error) => tracing::error!("{}: cannot be killed: {error}", run.uuid),
        }
        backoff.wait().await;
    }
}

/// Measures the run directory again and again. Stops in the middle of a walk when dropped.
async fn scan(run: Arc<Run>, sizes: watch::Sender<u64>) -> std::convert::Infallible {
    let mut pause = SCAN_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let began = Instant::now();
        if let Some(bytes) = directory_size(&run).await {
            sizes.send_replace(bytes);
        }
        pause = (began.elapsed() * 10).max(SCAN_PAUSE);
    }
}

/// Bytes under the run directory, as the server counts them; `None` when it cannot be read.
pub async fn directory_size(run: &Run) -> Option<u64> {
    // The blocking walk outlives this future by what is left of it; that harms nobody.
    let wanted = StopFlag::default();
    let directory = run.directory.clone();
    let stopped = wanted.0.clone();
    let walked = tokio::task::spawn_blocking(move || {
        if stopped.load(Ordering::Relaxed) {
            return None;
        }
        contents::disk_usage(&directory, &SubPath::root())
            .ok()
            .map(|usage| usage.bytes)
    });
    walked.await.ok().flatten()
}

/// Set when dropped: a walk that has not begun yet does not begin any more.
#[derive(Default)]
struct StopFlag(Arc<AtomicBool>);

impl Drop for StopFlag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
