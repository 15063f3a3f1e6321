//! A database, a store, a hub and (if started) a manager, with short ways to make bundles and workers.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bundle_manager::Config;
use bytes::Bytes;
use domain::run::CheckInRequest;
use domain::user::Quota;
use domain::{BundleState, BundleType, Dependency, Metadata, Uuid};
use futures::stream;
use hub::{Event, Hub, LocalHub};
use model::{
    BundleContents, CreateBundles, Model, ModelOptions, NewBundle, NewItemPlace, NewUser, QueuedMessage, WorkerKey,
};
use serde_json::json;
use storage::{ReceiveOptions, Storage, StorageOptions};
use testkit::{Engine, TestDatabase, wait_for};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const DEADLINE: Duration = Duration::from_secs(30);
pub const ROOT: &str = "0";
pub const GIB: i64 = 1 << 30;

pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

pub struct Scene {
    pub model: Model,
    pub storage: Storage,
    pub hub: Arc<LocalHub>,
    pub shutdown: CancellationToken,
    pub manager: Option<JoinHandle<domain::Result<()>>>,
    pub user: String,
    _database: TestDatabase,
    _home: tempfile::TempDir,
}

/// Sweeps so rarely that only events can move anything.
pub fn events_only() -> Config {
    Config {
        sweep_interval: Duration::from_secs(3600),
        ..Config::default()
    }
}

pub fn quick_sweeps() -> Config {
    Config {
        sweep_interval: Duration::from_millis(50),
        ..Config::default()
    }
}

impl Scene {
    /// Everything but the manager.
    pub async fn prepare(engine: Engine) -> Self {
        let database = engine.fresh();
        let home = tempfile::tempdir().unwrap();
        let model = Model::connect(
            database.url(),
            &ModelOptions {
                password_cost: model::PasswordCost::CHEAPEST,
                ..ModelOptions::default()
            },
        )
        .await
        .unwrap();
        let options = StorageOptions {
            min_free_bytes: 0,
            min_free_percent: 0,
            ..StorageOptions::default()
        };
        let storage = Storage::open(home.path(), options).unwrap();
        let quota = Quota {
            time_quota: 1e9,
            disk_quota: 1e12,
            parallel_run_quota: 1000,
            ..Quota::default()
        };
        model.ensure_root("correct horse", quota, now()).await.unwrap();
        let user = NewUser {
            user_name: "ada".into(),
            email: "ada@example.org".into(),
            password: "correct horse".into(),
            is_verified: true,
            has_access: true,
            quota,
            ..NewUser::default()
        };
        let user = model.create_user(user, now()).await.unwrap().user_id.to_string();
        Self {
            model,
            storage,
            hub: Arc::new(LocalHub::new()),
            shutdown: CancellationToken::new(),
            manager: None,
            user,
            _database: database,
            _home: home,
        }
    }

    pub async fn start(engine: Engine, config: Config) -> Self {
        let mut scene = Self::prepare(engine).await;
        scene.start_manager(config).await;
        scene
    }

    /// Starts the manager and waits until it listens.
    pub async fn start_manager(&mut self, config: Config) {
        let (model, storage, hub) = (self.model.clone(), self.storage.clone(), self.hub.clone());
        self.shutdown = CancellationToken::new();
        self.manager = Some(tokio::spawn(bundle_manager::run(
            model,
            storage,
            hub,
            config,
            self.shutdown.clone(),
        )));
        // A bundle that can only fail shows that the first sweep is over and that events arrive.
        let probe = self.make(&[("missing", uuid(255), "")]).await;
        self.until(probe, BundleState::Failed).await;
    }

    pub async fn stop_manager(&mut self) {
        self.shutdown.cancel();
        if let Some(manager) = self.manager.take() {
            tokio::time::timeout(DEADLINE, manager).await.unwrap().unwrap().unwrap();
        }
    }

    pub async fn create(
        &self,
        bundle_type: BundleType,
        state: BundleState,
        fields: serde_json::Value,
        dependencies: &[(&str, Uuid, &str)],
    ) -> Uuid {
        let uuid = Uuid::from_random(rand_bytes());
        let mut metadata = Metadata::try_from(fields).unwrap();
        metadata.set("name", "thing");
        let metadata = metadata.with_client_defaults(bundle_type);
        let dependencies = dependencies
            .iter()
            .map(|(child_path, parent_uuid, parent_path)| Dependency {
                child_uuid: uuid,
                child_path: (*child_path).into(),
                parent_uuid: *parent_uuid,
                parent_path: (*parent_path).into(),
            })
            .collect();
        let command = (bundle_type == BundleType::Run).then(|| "true".to_owned());
        let bundle = NewBundle {
            uuid,
            bundle_type,
            command,
            state,
            metadata,
            dependencies,
            store_uuid: None,
        };
        let request = CreateBundles {
            owner_id: self.user.as_str().into(),
            worksheet: None,
            place: NewItemPlace::default(),
            shadow: None,
            bundles: vec![bundle],
        };
        self.model.create_bundles(request, now()).await.unwrap();
        self.hub.publish(Event::bundle_created(uuid));
        uuid
    }

    pub async fn run(&self, dependencies: &[(&str, Uuid, &str)]) -> Uuid {
        self.run_with(json!({"request_memory": "1g"}), dependencies).await
    }

    pub async fn run_with(&self, fields: serde_json::Value, dependencies: &[(&str, Uuid, &str)]) -> Uuid {
        self.create(BundleType::Run, BundleState::Created, fields, dependencies)
            .await
    }

    pub async fn make(&self, dependencies: &[(&str, Uuid, &str)]) -> Uuid {
        self.create(BundleType::Make, BundleState::Created, json!({}), dependencies)
            .await
    }

    /// A dataset with one file as its contents, ready.
    pub async fn dataset(&self, text: &str) -> Uuid {
        let uuid = self
            .create(BundleType::Dataset, BundleState::Uploading, json!({}), &[])
            .await;
        self.upload(uuid, text).await;
        uuid
    }

    pub async fn upload(&self, uuid: Uuid, text: &str) {
        let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from(text.to_owned()))]);
        let staged = self
            .storage
            .receive(&uuid, body, ReceiveOptions::default())
            .await
            .unwrap();
        let published = staged.publish().await.unwrap();
        let contents = BundleContents {
            bundle_uuid: uuid,
            store_key: String::new(),
            placement: "default".into(),
            generation: uuid.to_string(),
            is_dir: published.is_dir,
            format: "uncompressed".into(),
            stored_bytes: published.size as i64,
            logical_bytes: published.size as i64,
            entries: 1,
            digest: published.digest,
            manifest_digest: None,
            created: now(),
            verified: None,
        };
        self.model
            .finish_upload(&contents, "disk", None, Some(BundleState::Ready), now())
            .await
            .unwrap();
        self.hub.publish(Event::bundle_changed(uuid, BundleState::Ready));
    }

    pub async fn state(&self, uuid: Uuid) -> BundleState {
        self.model.bundle(uuid).await.unwrap().bundle.state
    }

    pub async fn text(&self, uuid: Uuid, key: &str) -> String {
        self.model
            .bundle(uuid)
            .await
            .unwrap()
            .bundle
            .metadata
            .str(key)
            .to_owned()
    }

    /// Waits until `staged_status` contains this.
    pub async fn status(&self, uuid: Uuid, part: &str) {
        wait_for(part, DEADLINE, async || {
            self.text(uuid, "staged_status").await.contains(part).then_some(())
        })
        .await;
    }

    pub async fn until(&self, uuid: Uuid, state: BundleState) {
        let what = format!("{uuid} to become {state}");
        wait_for(&what, DEADLINE, async || {
            (self.state(uuid).await == state).then_some(())
        })
        .await;
    }

    /// A check-in with 4 CPUs and 16 GiB, changed by `fields`.
    pub async fn check_in(&self, owner: &str, id: &str, fields: serde_json::Value) -> WorkerKey {
        let key = WorkerKey {
            user_id: owner.into(),
            worker_id: id.into(),
        };
        self.model
            .worker_checkin(&key, &check_in(&fields), now())
            .await
            .unwrap();
        self.hub.publish(Event::worker_checked_in(owner, id));
        key
    }

    pub async fn messages(&self, worker: &WorkerKey) -> Vec<QueuedMessage> {
        self.model.pending_messages(worker, now(), 100).await.unwrap()
    }

    pub async fn file(&self, uuid: Uuid, path: &str) -> String {
        use tokio::io::AsyncReadExt;
        let contents = self.storage.contents(&uuid);
        let location = contents.location().await.unwrap().unwrap();
        let path = if path.is_empty() { location } else { location.join(path) };
        let mut text = String::new();
        tokio::fs::File::open(path)
            .await
            .unwrap()
            .read_to_string(&mut text)
            .await
            .unwrap();
        text
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub fn check_in(fields: &serde_json::Value) -> CheckInRequest {
    let mut request = json!({
        "cpus": 4, "gpus": 0, "memory_bytes": 16 * GIB, "free_disk_bytes": 100 * GIB, "dependencies": [], "runs": [],
    });
    request
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    serde_json::from_value(request).unwrap()
}

pub fn uuid(n: u8) -> Uuid {
    Uuid::from_random([n; 16])
}

pub fn rand_bytes() -> [u8; 16] {
    rand::random()
}
