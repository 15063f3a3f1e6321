//! The `run` message: the bundle as it will be once assigned, and what it may use.

use std::collections::HashMap;

use domain::run::{RunBundle, RunMessage, RunResources};
use domain::{BundleState, Error, Result, Uuid};
use model::{BundleRecord, Model};
use storage::{Contents, Storage};

use crate::schedule::Worker;

/// The message without locations, which only workers on a shared file system need.
pub fn run_message(record: &BundleRecord, worker: &Worker, mut resources: RunResources, now: i64) -> RunMessage {
    // 0 would mean "no limit" to the worker.
    if resources.memory == 0 {
        resources.memory = worker.memory;
    }
    let mut bundle = record.bundle.clone();
    bundle.state = BundleState::Starting;
    bundle.metadata.set("last_updated", now);
    let names: HashMap<Uuid, Option<String>> = (bundle.dependencies.iter().zip(&record.parents))
        .map(|(dependency, parent)| (dependency.parent_uuid, parent.name.clone()))
        .collect();
    let bundle = RunBundle::new(&bundle, |uuid| names.get(uuid).cloned().flatten());
    RunMessage { bundle, resources }
}

/// For a worker on a shared file system: makes the run's directory, empty, and names it and the parents' contents.
pub async fn add_locations(message: &mut RunMessage, model: &Model, storage: &Storage) -> Result<()> {
    let uuid = message.bundle.uuid;
    storage.make(&uuid, vec![], None).await?.publish().await?;
    message.bundle.location = Some(location(&storage.contents(&uuid)).await?);
    let uuids: Vec<Uuid> = message
        .bundle
        .dependencies
        .iter()
        .map(|dependency| dependency.parent_uuid)
        .collect();
    let parents = model.bundles_by_uuid(&uuids).await?;
    for dependency in &mut message.bundle.dependencies {
        let link = parents
            .get(&dependency.parent_uuid)
            .map(|parent| parent.bundle.metadata.str("link_url"));
        dependency.location = Some(location(&storage.contents_of(&dependency.parent_uuid, link)).await?);
    }
    Ok(())
}

async fn location(contents: &Contents) -> Result<String> {
    let path = contents
        .location()
        .await?
        .ok_or_else(|| Error::not_found("the contents of a bundle are missing"))?;
    Ok(path.display().to_string())
}
