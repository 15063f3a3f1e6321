//! First stage: the server's consent, processors, dependencies, image, directory, and the start of the command.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use domain::run::DependencyKey;
use futures::future::try_join_all;
use tokio::sync::watch;

use super::links::{self, Plan};
use super::state::Stage;
use super::{Backoff, Run, unix_now};
use crate::runtime::{Image, Job, StartError};
use crate::slots::Lease;
use crate::worker::Shared;

/// Attempts to start a command when the machine is at fault, before the bundle fails.
const START_ATTEMPTS: u32 = 10;

pub async fn prepare(run: &Arc<Run>, shared: &Arc<Shared>) -> (Stage, String) {
    if !run.read(|state| state.confirmed) {
        // The state reaches the disk before the server is asked, so that a crash cannot lose a confirmed run.
        run.save().await;
        let confirmed = tokio::select! {
            confirmed = confirm(run, shared) => confirmed,
            // The server has not heard of its start and will give it to somebody else.
            () = run.until_restaged() => false,
        };
        if !confirmed {
            return (Stage::Finished, "no longer assigned to this worker".to_owned());
        }
    }
    let outcome = tokio::select! {
        biased;
        () = run.until_over() => Ok(()),
        outcome = get_going(run, shared) => outcome,
    };
    if run.read(|state| state.handle.is_none()) {
        // Whatever was started before a crash or a kill must not stay behind.
        run.hold(None);
    }
    match outcome {
        _ if run.read(super::RunState::is_over) => (Stage::CleaningUp, "the run is killed or handed back".to_owned()),
        Ok(()) => (Stage::Running, "the command was started".to_owned()),
        Err(message) => {
            run.update(|state| state.fail(&message));
            (Stage::CleaningUp, message)
        }
    }
}

/// Asks the server whether the run is still ours. Counts the run when it is.
async fn confirm(run: &Arc<Run>, shared: &Arc<Shared>) -> bool {
    let mut backoff = Backoff::new();
    let uuid = run.uuid.to_string();
    loop {
        let started = run.read(|state| state.accepted_at) as i64;
        let asked = shared
            .client
            .start_bundle(&shared.id, &uuid, &shared.machine.hostname, started);
        match asked.await {
            Ok(true) => {
                shared.count_run();
                run.update(|state| state.confirmed = true);
                run.save().await;
                return true;
            }
            Ok(false) => {
                tracing::info!("Bundle {} no longer assigned to this worker", run.uuid);
                return false;
            }
            Err(error) if !error.is_retryable() => {
                tracing::warn!("{}: Unable to start bundle in bundle service: {error}", run.uuid);
                return false;
            }
            Err(error) => tracing::warn!("{}: Unable to start bundle in bundle service: {error}", run.uuid),
        }
        backoff.wait().await;
    }
}

/// Everything that takes time. An error is the bundle's failure message.
async fn get_going(run: &Arc<Run>, shared: &Arc<Shared>) -> Result<(), String> {
    check_owner(run, shared)?;
    let lease = processors(run, shared).await;
    let notes = Notes::new(run, shared);
    let image_name = run.read(|state| state.resources.docker_image.clone());
    let (image, dependencies) =
        tokio::try_join!(image(&image_name, shared, &notes), dependencies(run, shared, &notes))?;
    let plan = {
        let (run, shared) = (run.clone(), shared.clone());
        tokio::task::spawn_blocking(move || set_out(&run, &shared, &dependencies))
            .await
            .map_err(|error| error.to_string())??
    };
    let job = job(run, shared, &lease, plan);
    let handle = start(run, shared, &job).await?;
    run.hold(Some(lease));
    let running = if shared.runtime.isolates() {
        "Running job in container."
    } else {
        "Running job."
    };
    run.update(|state| {
        running.clone_into(&mut state.run_status);
        state.handle = Some(handle);
        state.started_at.get_or_insert_with(unix_now);
        state.docker_image = image.digest;
        state.cpuset = job.cpus.iter().copied().collect();
        state.gpuset = job.gpus.iter().cloned().collect();
        state.has_contents = true;
    });
    Ok(())
}

/// Without isolation only the worker's own bundles may run.
fn check_owner(run: &Run, shared: &Shared) -> Result<(), String> {
    if shared.runtime.isolates() {
        return Ok(());
    }
    let owner = run.read(|state| state.bundle.owner_id.clone());
    if owner.is_some() && owner == shared.own_user {
        return Ok(());
    }
    Err("This worker runs bundles as plain processes, without a container, and therefore accepts only bundles of its own \
         account. Ask for another worker (--request-queue), or start one with Docker."
        .to_owned())
}

async fn processors(run: &Run, shared: &Shared) -> Lease {
    let (cpus, gpus) = run.read(|state| (state.resources.cpus, state.resources.gpus));
    let count = |number: i64| usize::try_from(number).unwrap_or(0);
    loop {
        let returned = shared.slots.returned.notified();
        tokio::pin!(returned);
        returned.as_mut().enable();
        match shared.slots.lend(run.uuid.as_str(), count(cpus), count(gpus)) {
            Ok(lease) => return lease,
            Err(why) => {
                run.status(&why);
                shared.changes.soon();
                returned.await;
            }
        }
    }
}

async fn image(name: &str, shared: &Shared, notes: &Notes<'_>) -> Result<Image, String> {
    let note = notes.add();
    let (sender, mut progress) = watch::channel(String::new());
    let pulled = shared.runtime.image(name, &sender);
    tokio::pin!(pulled);
    let outcome = loop {
        tokio::select! {
            outcome = &mut pulled => break outcome,
            Ok(()) = progress.changed() => {
                let text = progress.borrow_and_update().clone();
                notes.set(note, Some(format!("Pulling docker image {name}. {text}")));
            }
        }
    };
    notes.set(note, None);
    outcome.map_err(|error| format!("Failed to download Docker image: {error}"))
}

/// All dependencies: child path and place on this machine.
async fn dependencies(run: &Run, shared: &Shared, notes: &Notes<'_>) -> Result<Vec<(String, PathBuf)>, String> {
    let wanted: Vec<(String, DependencyKey)> = run.read(|state| {
        let parents = state.bundle.dependencies.iter();
        parents
            .map(|d| (d.child_path.clone(), (d.parent_uuid.to_string(), d.parent_path.clone())))
            .collect()
    });
    try_join_all(wanted.into_iter().map(async |(child_path, key)| {
        let note = notes.add();
        let found = shared.cache.get(&key, |bytes| {
            let size = domain::size::format_verbose(bytes as f64);
            notes.set(
                note,
                Some(format!(
                    "Downloading dependency {child_path}: {size} done (archived size)"
                )),
            );
        });
        let found = found.await;
        notes.set(note, None);
        match found {
            Ok(path) => Ok((child_path, path)),
            Err(error) => Err(format!("Failed to download dependency {child_path}: {error}")),
        }
    }))
    .await
}

/// Makes the run directory and the links in it. Blocks.
fn set_out(run: &Run, shared: &Shared, dependencies: &[(String, PathBuf)]) -> Result<Plan, String> {
    let plan = links::plan(run.uuid.as_str(), dependencies, &*shared.runtime)?;
    match std::fs::create_dir(&run.directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(format!("{}: {error}", run.directory.display()));
        }
        _ => {}
    }
    run.update(|state| state.links = plan.links.iter().map(|(path, _)| path.clone()).collect());
    for (path, target) in &plan.links {
        links::make(&run.directory, path, target).map_err(|error| format!("Cannot link dependency {error}"))?;
    }
    Ok(plan)
}

fn job(run: &Run, shared: &Shared, lease: &Lease, plan: Plan) -> Job {
    run.read(|state| Job {
        uuid: run.uuid.to_string(),
        attempt: state.attempt.clone(),
        command: state.bundle.command.clone().unwrap_or_default(),
        image: state.resources.docker_image.clone(),
        directory: run.directory.clone(),
        mounts: plan.mounts,
        memory: shared.memory_limit(state.resources.memory),
        cpus: lease.cpus.iter().copied().collect(),
        gpus: lease.gpus.iter().cloned().collect(),
        network: state.resources.network,
        shared_memory: shared.config.shared_memory_size,
    })
}

async fn start(run: &Run, shared: &Shared, job: &Job) -> Result<String, String> {
    let mut backoff = Backoff::new();
    loop {
        match shared.runtime.start(job).await {
            Ok(handle) => return Ok(handle),
            Err(StartError::Bundle(message)) => return Err(format!("Cannot start Docker container: {message}")),
            Err(StartError::Machine(message)) => {
                tracing::error!("{}: {message}", run.uuid);
                run.status(&message);
                shared.changes.soon();
                if backoff.failures + 1 >= START_ATTEMPTS {
                    return Err(message);
                }
            }
        }
        backoff.wait().await;
    }
}

/// What is being waited for, as one status line.
struct Notes<'a> {
    run: &'a Run,
    shared: &'a Shared,
    texts: Mutex<Vec<Option<String>>>,
}

impl<'a> Notes<'a> {
    fn new(run: &'a Run, shared: &'a Shared) -> Self {
        Self {
            run,
            shared,
            texts: Mutex::default(),
        }
    }

    fn add(&self) -> usize {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.push(None);
        texts.len() - 1
    }

    fn set(&self, note: usize, text: Option<String>) {
        let status = {
            let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
            texts[note] = text;
            status_line(&texts.iter().flatten().map(String::as_str).collect::<Vec<_>>())
        };
        if let Some(status) = status {
            self.run.status(&status);
            self.shared.changes.soon();
        }
    }
}

/// The last note, and how many others there are.
fn status_line(notes: &[&str]) -> Option<String> {
    let (last, others) = notes.split_last()?;
    Some(match others.len() {
        0 => (*last).to_owned(),
        count => format!("{last}(and downloading {count} other dependencies and docker images)"),
    })
}

#[cfg(test)]
mod tests {
    use super::status_line;

    #[test]
    fn the_status_names_one_thing_and_counts_the_others() {
        assert_eq!(status_line(&[]), None);
        assert_eq!(status_line(&["a"]).as_deref(), Some("a"));
        let both = "b(and downloading 1 other dependencies and docker images)";
        assert_eq!(status_line(&["a", "b"]).as_deref(), Some(both));
    }
}
