//! Make bundles: copied in the background, a few at a time, each of them cancellable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{BundleState, Dependency, Error, Result, Uuid};
use hub::{Event, Hub};
use model::{BundleContents, BundleRecord, MakeOutcome, Model};
use storage::{MakePart, Published, Staged, Storage};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::manager::now;

/// The makes in progress, including those that wait for their turn.
pub struct Makes {
    maker: Arc<Maker>,
    tasks: JoinSet<Uuid>,
    running: HashMap<Uuid, CancellationToken>,
}

struct Maker {
    model: Model,
    storage: Storage,
    hub: Arc<dyn Hub>,
    turns: Semaphore,
}

impl Makes {
    pub fn new(model: Model, storage: Storage, hub: Arc<dyn Hub>, at_once: usize) -> Self {
        let maker = Maker {
            model,
            storage,
            hub,
            turns: Semaphore::new(at_once.max(1)),
        };
        Self {
            maker: Arc::new(maker),
            tasks: JoinSet::new(),
            running: HashMap::new(),
        }
    }

    /// Begins to make a staged bundle, unless that is already under way.
    pub fn start(&mut self, uuid: Uuid) {
        if self.is_making(&uuid) {
            return;
        }
        let cancelled = CancellationToken::new();
        self.running.insert(uuid, cancelled.clone());
        let maker = Arc::clone(&self.maker);
        self.tasks.spawn(async move {
            if let Err(error) = maker.run(uuid, &cancelled).await {
                tracing::error!(bundle = %uuid, %error, "make could not be recorded; it will be tried again");
            }
            uuid
        });
    }

    pub fn is_making(&self, uuid: &Uuid) -> bool {
        self.running.contains_key(uuid)
    }

    /// Stops making a bundle that was killed or deleted. What was copied so far is removed.
    pub fn cancel(&mut self, uuid: &Uuid) {
        if let Some(token) = self.running.get(uuid) {
            token.cancel();
        }
    }

    /// Waits until one is over; for ever if there is none. Cancel safe.
    pub async fn reap(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(uuid)) => {
                self.running.remove(&uuid);
            }
            // A panic does not say whose it was; nothing is lost by forgetting those that are no longer there.
            Some(Err(error)) => {
                tracing::error!(%error, "make panicked");
                if self.tasks.is_empty() {
                    self.running.clear();
                }
            }
            None => std::future::pending().await,
        }
    }

    /// Lets the copies that are under way finish within `patience`; the others begin again at the next start.
    pub async fn finish(mut self, patience: Duration) {
        self.maker.turns.close();
        let done = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, done).await.is_err() {
            tracing::warn!(
                makes = self.tasks.len(),
                "make bundles did not finish in time; they begin again at the next start"
            );
        }
    }
}

impl Maker {
    /// Makes one bundle when its turn comes. An error means that the result could not be recorded.
    async fn run(&self, uuid: Uuid, cancelled: &CancellationToken) -> Result<()> {
        let Ok(_turn) = self.turns.acquire().await else {
            return Ok(());
        };
        if cancelled.is_cancelled() || !self.model.start_making(uuid, now()).await? {
            return Ok(());
        }
        self.publish(uuid, BundleState::Making);
        // Only the copying may be interrupted: what is published must also be recorded, or removed again.
        let copied = tokio::select! {
            () = cancelled.cancelled() => {
                tracing::info!(bundle = %uuid, "make cancelled");
                return Ok(());
            }
            copied = self.copy(uuid) => copied,
        };
        let published = match copied {
            Ok(staged) => staged.publish().await,
            Err(error) => Err(error),
        };
        match published {
            Ok(published) => self.record_success(uuid, &published).await,
            Err(error) => self.record_failure(uuid, error.message).await,
        }
    }

    async fn copy(&self, uuid: Uuid) -> Result<Staged> {
        let record = self.model.bundle(uuid).await?;
        let parts = self.parts(&record).await?;
        let left = match &record.bundle.owner_id {
            Some(owner) => self
                .model
                .user(owner)
                .await?
                .map(|user| user.quota.disk_left().max(0.0) as u64),
            None => None,
        };
        self.storage.make(&uuid, parts, left).await
    }

    async fn parts(&self, record: &BundleRecord) -> Result<Vec<MakePart>> {
        let dependencies = &record.bundle.dependencies;
        let uuids: Vec<Uuid> = dependencies.iter().map(|dependency| dependency.parent_uuid).collect();
        let parents = self.model.bundles_by_uuid(&uuids).await?;
        let own = self.storage.contents(&record.bundle.uuid);
        let mut parts = Vec::with_capacity(dependencies.len());
        for dependency in dependencies {
            let parent = parents
                .get(&dependency.parent_uuid)
                .ok_or_else(|| invalid_dependency(dependency))?;
            let link = parent.bundle.metadata.str("link_url");
            let contents = self.storage.contents_of(&dependency.parent_uuid, Some(link));
            let parent_path = contents
                .sub_path(&dependency.parent_path)
                .map_err(|_| invalid_dependency(dependency))?;
            let found = contents.kind(&parent_path).await;
            found.map_err(|error| {
                if error.status() < 500 {
                    invalid_dependency(dependency)
                } else {
                    error
                }
            })?;
            let child_path = own
                .sub_path(&dependency.child_path)
                .map_err(|_| Error::usage(format!("Invalid key for dependency: {}", dependency.child_path)))?;
            parts.push(MakePart {
                child_path,
                parent: contents,
                parent_path,
            });
        }
        Ok(parts)
    }

    /// `making` → `ready`. If somebody killed the bundle meanwhile, or it exceeds the quota, the copy is removed.
    async fn record_success(&self, uuid: Uuid, published: &Published) -> Result<()> {
        let outcome = MakeOutcome::Done(Box::new(contents_row(uuid, published)));
        match self.model.finish_making(uuid, &outcome, now()).await {
            Ok(true) => {
                tracing::info!(bundle = %uuid, bytes = published.size, "made");
                self.publish(uuid, BundleState::Ready);
                Ok(())
            }
            Ok(false) => self.storage.delete(&uuid).await,
            Err(error) if error.status() < 500 => {
                tracing::info!(bundle = %uuid, %error, "make failed");
                self.storage.delete(&uuid).await?;
                self.publish(uuid, BundleState::Failed);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn record_failure(&self, uuid: Uuid, message: String) -> Result<()> {
        tracing::info!(bundle = %uuid, %message, "make failed");
        let outcome = MakeOutcome::Failed {
            traceback: Some(message.clone()),
            message,
        };
        if self.model.finish_making(uuid, &outcome, now()).await? {
            self.publish(uuid, BundleState::Failed);
        }
        Ok(())
    }

    fn publish(&self, uuid: Uuid, state: BundleState) {
        self.hub.publish(Event::bundle_changed(uuid, state));
    }
}

fn invalid_dependency(dependency: &Dependency) -> Error {
    let slash = if dependency.parent_path.is_empty() { "" } else { "/" };
    Error::usage(format!(
        "Invalid dependency {}{slash}{}",
        dependency.parent_uuid, dependency.parent_path
    ))
}

/// The row that says what was published; the built-in disk store has an empty key.
fn contents_row(uuid: Uuid, published: &Published) -> BundleContents {
    let bytes = i64::try_from(published.size).unwrap_or(i64::MAX);
    BundleContents {
        bundle_uuid: uuid,
        store_key: String::new(),
        placement: "default".to_owned(),
        generation: format!("m_{:032x}", rand::random::<u128>()),
        is_dir: published.is_dir,
        format: "uncompressed".to_owned(),
        stored_bytes: bytes,
        logical_bytes: bytes,
        entries: 0,
        digest: published.digest.clone(),
        manifest_digest: None,
        created: now(),
        verified: None,
    }
}
