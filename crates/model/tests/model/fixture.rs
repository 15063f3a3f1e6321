//! A fresh database with a few accounts, and short ways to make what the tests need.

use std::panic::AssertUnwindSafe;

use domain::run::{CheckInRequest, RunReport};
use domain::user::Quota;
use domain::{BundleState, BundleType, Dependency, Metadata, UserId, Uuid};
use futures::FutureExt;
use model::{
    BundleContents, CreateBundles, Model, ModelOptions, NewBundle, NewItemPlace, NewUser, NewWorksheet, User, WorkerKey,
};
use serde_json::json;
use testkit::{Engine, TestDatabase};

/// The time at which the tests begin, in Unix seconds.
pub const NOW: i64 = 1_800_000_000;

/// Declares tests that run once per database.
macro_rules! on_both {
    ($(async fn $name:ident($fixture:ident) $body:block)*) => {
        $(mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn check($fixture: &$crate::fixture::Fixture) $body

            #[tokio::test]
            async fn sqlite() {
                $crate::fixture::with(testkit::Engine::Sqlite, async |fixture| check(fixture).await).await;
            }

            #[tokio::test]
            async fn mariadb() {
                $crate::fixture::with(testkit::Engine::Mariadb, async |fixture| check(fixture).await).await;
            }
        })*
    };
}

/// Runs a test on a fresh database. All connections are closed before it is dropped, also after a failure: MariaDB does
/// not drop a database that a transaction still looks at.
pub async fn with(engine: Engine, test: impl AsyncFnOnce(&Fixture)) {
    let fixture = Fixture::new(engine).await;
    let outcome = AssertUnwindSafe(test(&fixture)).catch_unwind().await;
    fixture.model.close().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// The status and the text of an error; panics on success.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: domain::Result<T>) -> (u16, String) {
    let error = result.expect_err("it should have been refused");
    (error.status(), error.message)
}

pub struct Fixture {
    pub model: Model,
    pub database: TestDatabase,
}

impl std::ops::Deref for Fixture {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

pub fn options() -> ModelOptions {
    ModelOptions {
        password_cost: model::PasswordCost::CHEAPEST,
        ..ModelOptions::default()
    }
}

pub fn plenty() -> Quota {
    Quota {
        time_quota: 1e6,
        disk_quota: 1e12,
        parallel_run_quota: 3,
        ..Quota::default()
    }
}

impl Fixture {
    /// A database with the root account and `ada`, `bob`.
    pub async fn new(engine: Engine) -> Self {
        let database = tokio::task::spawn_blocking(move || engine.fresh()).await.unwrap();
        let model = Model::connect(database.url(), &options()).await.unwrap();
        model.ensure_root("rootroot", plenty(), NOW).await.unwrap();
        let fixture = Self { model, database };
        fixture.add_user("ada").await;
        fixture.add_user("bob").await;
        fixture
    }

    /// An account whose id is its name.
    pub async fn add_user(&self, name: &str) -> User {
        let user = NewUser {
            user_id: Some(UserId::from(name)),
            user_name: name.to_owned(),
            email: format!("{name}@example.org"),
            password: "password".to_owned(),
            quota: plenty(),
            is_verified: true,
            ..NewUser::default()
        };
        self.model.create_user(user, NOW).await.unwrap()
    }

    pub async fn add_worksheet(&self, owner: &str, name: &str) -> Uuid {
        let new = NewWorksheet {
            name: name.to_owned(),
            ..NewWorksheet::default()
        };
        self.model.create_worksheet(Some(owner), new, NOW).await.unwrap().uuid
    }

    /// A worksheet nobody else may read.
    pub async fn add_private_worksheet(&self, owner: &str, name: &str) -> Uuid {
        let uuid = self.add_worksheet(owner, name).await;
        let kind = model::ObjectKind::Worksheet;
        self.model
            .set_permission(kind, uuid, self.model.public_group(), domain::Permission::None)
            .await
            .unwrap();
        uuid
    }

    pub async fn create(&self, owner: &str, worksheet: Option<Uuid>, bundle: NewBundle) -> domain::Result<Uuid> {
        let request = CreateBundles {
            owner_id: owner.into(),
            worksheet,
            place: NewItemPlace::default(),
            shadow: None,
            bundles: vec![bundle],
        };
        self.model.create_bundles(request, NOW).await.map(|uuids| uuids[0])
    }

    /// A dataset in state `ready` that holds this many bytes.
    pub async fn add_dataset(&self, owner: &str, worksheet: Uuid, name: &str, bytes: i64) -> Uuid {
        let uuid = self.create(owner, Some(worksheet), dataset(name)).await.unwrap();
        self.upload(uuid, bytes).await.unwrap();
        uuid
    }

    pub async fn upload(&self, uuid: Uuid, bytes: i64) -> domain::Result<()> {
        self.model
            .finish_upload(&contents(uuid, bytes), "disk", None, Some(BundleState::Ready), NOW)
            .await
    }

    /// A run in state `created` with one dependency per parent.
    pub async fn add_run(&self, owner: &str, worksheet: Uuid, name: &str, parents: &[Uuid]) -> Uuid {
        self.create(owner, Some(worksheet), run(name, parents)).await.unwrap()
    }

    /// A run that the worker has begun.
    pub async fn add_running(&self, owner: &str, worksheet: Uuid, name: &str, worker: &WorkerKey) -> Uuid {
        let uuid = self.add_run(owner, worksheet, name, &[]).await;
        assert!(self.model.stage(uuid, NOW).await.unwrap());
        assert!(
            self.model
                .assign_run(uuid, worker, &json!({"type": "run"}), NOW)
                .await
                .unwrap()
        );
        assert!(self.model.start_run(&start(uuid, worker)).await.unwrap());
        uuid
    }

    pub async fn add_worker(&self, owner: &str, id: &str) -> WorkerKey {
        let worker = WorkerKey {
            user_id: owner.into(),
            worker_id: id.into(),
        };
        self.model.worker_checkin(&worker, &checkin(), NOW).await.unwrap();
        worker
    }

    pub async fn state(&self, uuid: Uuid) -> BundleState {
        self.model.bundle_states(&[uuid]).await.unwrap()[&uuid]
    }

    pub async fn metadata(&self, uuid: Uuid) -> Metadata {
        self.model.bundle(uuid).await.unwrap().bundle.metadata
    }

    pub async fn disk_used(&self, user: &str) -> i64 {
        self.model.user(user).await.unwrap().unwrap().quota.disk_used as i64
    }

    pub async fn time_used(&self, user: &str) -> f64 {
        self.model.user(user).await.unwrap().unwrap().quota.time_used
    }
}

pub fn fresh_uuid() -> Uuid {
    Uuid::from_random(rand::random())
}

pub fn dataset(name: &str) -> NewBundle {
    NewBundle {
        uuid: fresh_uuid(),
        bundle_type: BundleType::Dataset,
        command: None,
        state: BundleState::Uploading,
        metadata: named(name).with_client_defaults(BundleType::Dataset),
        dependencies: Vec::new(),
        store_uuid: None,
    }
}

pub fn make(name: &str, parent: Uuid) -> NewBundle {
    NewBundle {
        bundle_type: BundleType::Make,
        state: BundleState::Created,
        metadata: named(name).with_client_defaults(BundleType::Make),
        dependencies: vec![depends_on("", parent)],
        ..dataset(name)
    }
}

pub fn run(name: &str, parents: &[Uuid]) -> NewBundle {
    NewBundle {
        bundle_type: BundleType::Run,
        command: Some("sort < in0 > out".to_owned()),
        state: BundleState::Created,
        metadata: named(name).with_client_defaults(BundleType::Run),
        dependencies: parents
            .iter()
            .enumerate()
            .map(|(i, parent)| depends_on(&format!("in{i}"), *parent))
            .collect(),
        ..dataset(name)
    }
}

pub fn named(name: &str) -> Metadata {
    Metadata::try_from(json!({ "name": name })).unwrap()
}

pub fn depends_on(child_path: &str, parent: Uuid) -> Dependency {
    Dependency {
        child_uuid: parent,
        child_path: child_path.to_owned(),
        parent_uuid: parent,
        parent_path: String::new(),
    }
}

pub fn contents(uuid: Uuid, bytes: i64) -> BundleContents {
    BundleContents {
        bundle_uuid: uuid,
        store_key: String::new(),
        placement: "default".to_owned(),
        generation: "u_1".to_owned(),
        is_dir: false,
        format: "uncompressed".to_owned(),
        stored_bytes: bytes,
        logical_bytes: bytes,
        entries: 1,
        digest: None,
        manifest_digest: None,
        created: NOW,
        verified: None,
    }
}

pub fn checkin() -> CheckInRequest {
    serde_json::from_value(json!({
        "cpus": 4, "gpus": 0, "memory_bytes": 8_000_000_000_i64, "free_disk_bytes": 5_000_000_000_i64,
        "dependencies": [], "runs": [],
    }))
    .unwrap()
}

pub fn start(run: Uuid, worker: &WorkerKey) -> model::StartRun {
    model::StartRun {
        run,
        worker: worker.clone(),
        hostname: "host".to_owned(),
        start_time: NOW + 1,
    }
}

/// A report about a run; `more` overrides fields.
#[allow(clippy::needless_pass_by_value)] // callers write the object in place
pub fn report(run: Uuid, state: &str, more: serde_json::Value) -> RunReport {
    let mut value = json!({
        "uuid": run, "state": state, "run_status": state, "remote": "w", "container_time_total": 10.0, "disk_utilization": 100,
    });
    for (key, new) in more.as_object().unwrap() {
        value[key] = new.clone();
    }
    serde_json::from_value(value).unwrap()
}
