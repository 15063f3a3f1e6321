//! The people and the things of the matrix.

use domain::run::CheckInRequest;
use domain::user::Quota;
use domain::{BundleState, BundleType, Metadata, Permission, UserId, Uuid};
use model::{CreateBundles, NewBundle, NewItemPlace, NewStore, NewUser, NewWorksheet, ObjectKind, WorkerKey};
use reqwest::StatusCode;
use rest_server::Settings;
use serde_json::{Value, json};

use super::requests::{Body, Request};
use super::{Mode, Role};
use crate::support::{Client, PASSWORD, TestServer, read};

/// What nobody may see who cannot read the objects: part of every name, description and content.
const SECRET: &str = "classified";
/// Worker of root that has the run.
pub const BUSY_WORKER: &str = "busy";

/// A server and everybody who asks it.
pub struct Scene {
    pub server: TestServer,
    clients: Vec<Client>,
    readers: Uuid,
    writers: Uuid,
    pub store: Uuid,
    /// A socket of root's worker.
    pub socket: i64,
}

/// Fresh objects of the owner.
pub struct Objects {
    pub worksheet: Uuid,
    /// A ready dataset with contents.
    pub data: Uuid,
    /// A dataset that waits for its upload.
    pub upload: Uuid,
    /// A run on root's worker.
    pub run: Uuid,
    /// A group: the owner's, with the writer as admin and the reader as member.
    pub crew: Uuid,
    /// An account that owns nothing.
    pub victim: String,
    /// An empty bundle store of root.
    pub empty_store: Uuid,
}

/// Does an answer tell what only readers may know?
pub fn shows_secrets(text: &str) -> bool {
    text.contains(SECRET)
}

impl Scene {
    pub async fn new(mode: Mode) -> Self {
        let settings = Settings {
            protected_mode: mode != Mode::Usual,
            ..Settings::default()
        };
        let server = TestServer::start_with(settings).await;
        for role in ["stranger", "reader", "writer", "owner", "worker"] {
            add_user(&server, role, mode == Mode::ProtectedWithAccess).await;
        }
        let model = &server.state.model;
        let readers = model.create_group("readers", "owner").await.unwrap().group;
        let writers = model.create_group("writers", "owner").await.unwrap().group;
        model.add_group_members(&readers, &["reader"], false).await.unwrap();
        model.add_group_members(&writers, &["writer"], false).await.unwrap();
        let root = model.root_user_id().to_owned();
        let store = add_store(&server, "shelf").await;
        let busy = worker(&root, BUSY_WORKER);
        let check_in = json!({"tag": SECRET, "cpus": 4, "gpus": 0, "memory_bytes": 1, "dependencies": [], "runs": []});
        let check_in: CheckInRequest = serde_json::from_value(check_in).unwrap();
        let socket = model
            .worker_checkin(&busy, &check_in, server.state.now())
            .await
            .unwrap();
        let mut clients = vec![server.anonymous()];
        for name in ["stranger", "reader", "writer", "owner", "codalab", "worker"] {
            clients.push(server.login(name).await);
        }
        Self {
            clients,
            readers: readers.uuid,
            writers: writers.uuid,
            store,
            socket,
            server,
        }
    }

    pub async fn ask(&self, role: Role, request: &Request) -> (StatusCode, Value) {
        let client = &self.clients[Role::ALL.iter().position(|one| *one == role).unwrap()];
        let mut base = client.clone();
        // The path of a route names its prefix.
        base.base = format!("http://{}", self.server.address);
        let asked = base.request(request.method.clone(), &request.path);
        let asked = match &request.body {
            Body::None => asked,
            Body::Form(fields) => asked.form(fields),
            Body::Json(value) => asked.json(value),
            Body::Text(text) => asked.body(text.clone()),
        };
        read(asked.send().await.unwrap()).await
    }

    pub async fn objects(&self) -> Objects {
        let model = &self.server.state.model;
        let now = self.server.state.now();
        let number: u64 = rand_number();
        let new = NewWorksheet {
            name: format!("w{number}"),
            title: Some(SECRET.to_owned()),
            ..NewWorksheet::default()
        };
        let worksheet = model.create_worksheet(Some("owner"), new, now).await.unwrap().uuid;
        let kind = ObjectKind::Worksheet;
        for (group, permission) in [
            (model.public_group(), Permission::None),
            (self.readers, Permission::Read),
            (self.writers, Permission::All),
        ] {
            model.set_permission(kind, worksheet, group, permission).await.unwrap();
        }
        let data = self.bundle(worksheet, BundleType::Dataset, None).await;
        self.store_contents(data).await;
        let upload = self.bundle(worksheet, BundleType::Dataset, None).await;
        let run = self.bundle(worksheet, BundleType::Run, Some(SECRET)).await;
        let busy = worker(model.root_user_id(), BUSY_WORKER);
        assert!(model.stage(run, now).await.unwrap());
        assert!(model.assign_run(run, &busy, &json!({}), now).await.unwrap());
        let crew = model
            .create_group(&format!("crew-{number}"), "owner")
            .await
            .unwrap()
            .group;
        model.add_group_members(&crew, &["reader"], false).await.unwrap();
        model.add_group_members(&crew, &["writer"], true).await.unwrap();
        let victim = format!("victim{number}");
        add_user(&self.server, &victim, false).await;
        Objects {
            worksheet,
            data,
            upload,
            run,
            crew: crew.uuid,
            victim,
            empty_store: add_store(&self.server, &format!("store{number}")).await,
        }
    }

    async fn bundle(&self, worksheet: Uuid, bundle_type: BundleType, command: Option<&str>) -> Uuid {
        let metadata = json!({"name": "thing", "description": SECRET});
        let bundle = NewBundle {
            uuid: Uuid::from_random(uuid::Uuid::new_v4().into_bytes()),
            bundle_type,
            command: command.map(str::to_owned),
            state: match bundle_type {
                BundleType::Run => BundleState::Created,
                _ => BundleState::Uploading,
            },
            metadata: Metadata::try_from(metadata).unwrap().with_client_defaults(bundle_type),
            dependencies: Vec::new(),
            store_uuid: None,
        };
        let request = CreateBundles {
            owner_id: "owner".into(),
            worksheet: Some(worksheet),
            place: NewItemPlace::default(),
            shadow: None,
            bundles: vec![bundle],
        };
        let model = &self.server.state.model;
        model.create_bundles(request, self.server.state.now()).await.unwrap()[0]
    }

    /// Uploads as the owner would, also where protected mode would not let him.
    async fn store_contents(&self, uuid: Uuid) {
        let path = format!("/rest/bundles/{uuid}/contents/blob/?filename=data.txt");
        let request = Request {
            method: reqwest::Method::PUT,
            path,
            body: Body::Text(SECRET.to_owned()),
            shows_object: false,
        };
        let (status, text) = self.ask(Role::Root, &request).await;
        assert_eq!(status, 200, "{text}");
        let model = &self.server.state.model;
        model.add_location(uuid, self.store).await.unwrap();
    }

    /// Everything about the objects that a request could change.
    pub async fn snapshot(&self, objects: &Objects) -> String {
        let model = &self.server.state.model;
        let bundles = [objects.data, objects.upload, objects.run];
        let worksheet = model.worksheets(&[objects.worksheet]).await.unwrap();
        let parts = (
            model.bundles(&bundles).await.unwrap(),
            worksheet.get(&objects.worksheet),
            model.worksheet_items(objects.worksheet).await.unwrap(),
            model.locations(&bundles).await.unwrap().len(),
        );
        let groups = (
            sorted(model.group_permissions(ObjectKind::Bundle, &bundles).await.unwrap()),
            sorted(
                model
                    .group_permissions(ObjectKind::Worksheet, &[objects.worksheet])
                    .await
                    .unwrap(),
            ),
            model.group(objects.crew).await.unwrap(),
            model.worker_of_run(objects.run).await.unwrap(),
        );
        let accounts = (
            model.user("owner").await.unwrap(),
            model.user(&objects.victim).await.unwrap(),
            model.stores(model.root_user_id()).await.unwrap(),
        );
        format!("{parts:#?}\n{groups:#?}\n{accounts:#?}")
    }
}

fn sorted<K: Ord, V>(map: std::collections::HashMap<K, V>) -> std::collections::BTreeMap<K, V> {
    map.into_iter().collect()
}

fn worker(user_id: &str, worker_id: &str) -> WorkerKey {
    WorkerKey {
        user_id: user_id.into(),
        worker_id: worker_id.into(),
    }
}

fn rand_number() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

async fn add_store(server: &TestServer, name: &str) -> Uuid {
    let store = NewStore {
        name: name.to_owned(),
        storage_type: "disk".to_owned(),
        ..NewStore::default()
    };
    let model = &server.state.model;
    model.create_store(model.root_user_id(), store).await.unwrap().uuid
}

/// An account whose id is its name.
async fn add_user(server: &TestServer, name: &str, has_access: bool) {
    let user = NewUser {
        user_id: Some(UserId::from(name)),
        user_name: name.to_owned(),
        email: format!("{name}@example.org"),
        password: PASSWORD.to_owned(),
        is_verified: true,
        has_access,
        quota: Quota {
            time_quota: 1e9,
            disk_quota: 1e12,
            parallel_run_quota: 3,
            ..Quota::default()
        },
        ..NewUser::default()
    };
    server.state.model.create_user(user, server.state.now()).await.unwrap();
}
