//! After the command: remove container and links, upload what the run wrote, wait until the server has it all.

use std::sync::Arc;
use std::time::Duration;

use client::{Body, Query};
use contents::{Excludes, PackOptions, SubPath, pack_tree_stream};
use futures::StreamExt;

use super::execute::directory_size;
use super::state::{Stage, disk_message};
use super::{Backoff, Run, links};
use crate::worker::Shared;

/// The upload is tried for about six hours.
const UPLOAD_ATTEMPTS: u32 = 720;
const UPLOAD_PAUSE: Duration = Duration::from_secs(30);

pub async fn clean_up(run: &Arc<Run>, shared: &Arc<Shared>) -> (Stage, String) {
    if run.read(|state| state.ended && !state.is_restaged) {
        // Nothing runs any more; the container can go while the results are uploaded.
        let (run, worker) = (run.clone(), shared.clone());
        shared.spawn(async move { remove_container(&run, &worker).await });
    } else {
        remove_container(run, shared).await;
    }
    run.hold(None);
    let cleaned = run.clone();
    let removed = tokio::task::spawn_blocking(move || remove_links(&cleaned)).await;
    if removed.is_err() {
        tracing::error!("{}: links to dependencies could not be removed", run.uuid);
    }
    if run.read(|state| state.is_restaged) {
        return (Stage::Restaged, "the worker hands the run back".to_owned());
    }
    if run.read(|state| !state.has_contents) {
        prepare_last_words(run);
        return (Stage::Finalizing, "there is nothing to upload".to_owned());
    }
    if let Some(bytes) = directory_size(run).await {
        run.update(|state| {
            state.disk_utilization = bytes;
            let limit = state.resources.disk;
            if limit > 0 && bytes > limit as u64 {
                state.kill(&disk_message(limit));
            }
        });
    }
    run.status("Uploading results.");
    (Stage::UploadingResults, "the run is cleaned up".to_owned())
}

/// Removes what the runtime keeps of the run; may be called again.
async fn remove_container(run: &Run, shared: &Shared) {
    // A command may have been started just before a crash or a kill, and its handle not yet noted.
    let handle = run.read(|state| {
        let unknown = || shared.runtime.handle(run.uuid.as_str(), &state.attempt);
        state.handle.clone().unwrap_or_else(unknown)
    });
    let mut backoff = Backoff::new();
    while let Err(error) = shared.runtime.remove(&handle).await {
        tracing::error!("{}: {error}", run.uuid);
        backoff.wait().await;
    }
}

fn remove_links(run: &Run) {
    for name in run.read(|state| {
        state
            .names_to_remove()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    }) {
        if let Err(error) = links::remove(&run.directory, &name) {
            tracing::error!("{}: {name}: {error}", run.uuid);
        }
    }
}

pub async fn upload(run: &Arc<Run>, shared: &Arc<Shared>) -> (Stage, String) {
    run.status("Upload started.");
    let outcome = tokio::select! {
        () = run.until_restaged() => return (Stage::Restaged, "the worker hands the run back".to_owned()),
        outcome = upload_until_accepted(run, shared) => outcome,
    };
    let reason = match outcome {
        Ok(()) => "the results are uploaded".to_owned(),
        Err(error) => {
            let message = format!("Error while uploading: {error}");
            run.update(|state| state.fail(&message));
            message
        }
    };
    prepare_last_words(run);
    (Stage::Finalizing, reason)
}

async fn upload_until_accepted(run: &Arc<Run>, shared: &Arc<Shared>) -> Result<(), client::Error> {
    let mut pause = Duration::from_secs(1);
    for attempt in 1.. {
        match upload_once(run, shared).await {
            Err(error) if attempt < attempts_for(&error) => {
                tracing::warn!("{}: upload attempt {attempt}: {error}", run.uuid);
                run.status(&format!("Uploading results: {error}; trying again."));
                shared.changes.soon();
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(UPLOAD_PAUSE);
            }
            outcome => return outcome,
        }
    }
    Ok(())
}

/// How often an upload that failed like this is tried.
const fn attempts_for(error: &client::Error) -> u32 {
    match error {
        // A file that cannot be read now will hardly be readable later.
        client::Error::Local(_) => 3,
        client::Error::Status { status: 400..=499, .. } | client::Error::BadCredentials | client::Error::Usage(_) => 1,
        _ => UPLOAD_ATTEMPTS,
    }
}

async fn upload_once(run: &Arc<Run>, shared: &Arc<Shared>) -> Result<(), client::Error> {
    let (excludes, store) = run.read(|state| {
        let metadata = &state.bundle.metadata;
        (
            Excludes::new(metadata.list("exclude_patterns")),
            metadata.str("store").to_owned(),
        )
    });
    let options = PackOptions {
        excludes,
        ..PackOptions::default()
    };
    let (watcher, told) = (run.clone(), shared.clone());
    let mut sent = 0_u64;
    let body = pack_tree_stream(run.directory.clone(), SubPath::root(), options).inspect(move |piece| {
        if let Ok(bytes) = piece {
            sent += bytes.len() as u64;
            let size = domain::size::format_verbose(sent as f64);
            watcher.status(&format!("Uploading results: {size} uploaded (archived size)."));
            told.changes.soon();
        }
    });
    let query = Query::new()
        .with("filename", "bundle.tar.gz")
        .flag("finalize_on_success", false)
        .with("store", store);
    shared
        .client
        .put_contents(run.uuid.as_str(), query, Body::Stream(body.boxed(), None))
        .await
}

/// What the server is told with the final report.
fn prepare_last_words(run: &Run) {
    run.update(|state| {
        "Finalizing bundle.".clone_into(&mut state.run_status);
        if state.is_killed {
            let message = state
                .kill_message
                .clone()
                .unwrap_or_else(|| "Kill requested".to_owned());
            // A repetition of the stage after a crash must not say it twice.
            if !state.failure_message.as_deref().unwrap_or_default().ends_with(&message) {
                state.fail(&message);
            }
        }
    });
}

pub async fn finalize(run: &Arc<Run>, shared: &Arc<Shared>) -> (Stage, String) {
    run.until_finalized().await;
    remove_container(run, shared).await;
    if run.read(|state| state.is_restaged && !state.finalized) {
        return (Stage::Restaged, "the worker hands the run back".to_owned());
    }
    let directory = run.directory.clone();
    let removed = tokio::task::spawn_blocking(move || contents::remove_tree(&directory)).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!("{}: {error}", run.uuid);
    }
    (Stage::Finished, "the server has the final state".to_owned())
}
