//! The database of CodaLab: every SQL statement of the system is in this crate.
//!
//! [`Model`] is a cheap clone around connection pools. Its functions are grouped by table family, one `impl Model` per
//! file. Each function that changes something is one transaction; each state transition of a bundle is one
//! conditional update whose row count decides who won. One SQL text serves SQLite and MySQL; the differences are in
//! `dialect` and in the migrations.
//!
//! Times are Unix seconds (`now: i64`) that the caller passes in; `DATETIME` columns come out as [`domain::UtcTime`].
//! User ids are opaque texts; `viewer: Option<&str>` is the id of who asks, `None` for somebody not logged in.
#![forbid(unsafe_code)]

mod auth;
mod bundles;
mod contents;
mod credentials;
mod db;
mod dialect;
mod groups;
mod leases;
mod limits;
mod login;
mod migrate;
mod outbox;
mod password;
mod permissions;
mod quota;
mod report;
mod resolve;
mod sample;
mod search;
mod sessions;
mod stats;
mod stores;
mod transitions;
mod uploads;
mod users;
mod workers;
mod worksheets;

pub use auth::{OauthClient, Token};
pub use bundles::{
    BundleRecord, BundleUpdate, CreateBundles, DeleteBundles, DeletedBundle, HostWorksheet, NewBundle, NewItemPlace,
    ParentInfo,
};
pub use contents::{BundleContents, SessionUpdate, TrashEntry, UploadSession};
pub use db::{PoolState, Statement, Statements};
pub use groups::{Group, GroupDetails, GroupMember};
pub use limits::Limit;
pub use login::{Login, LoginAttempt, LoginLimits};
pub use outbox::QueuedMessage;
pub use password::{PasswordCost, hash_password, verify_password};
pub use permissions::{GroupPermission, ObjectKind, PermissionChange};
pub use quota::UsageRepair;
pub use report::ReportOutcome;
pub use resolve::References;
pub use search::{Found, UserSearch, WorksheetRow};
pub use stats::{Census, Stats, WorkerCounts};
pub use stores::{BundleLocation, BundleStore, NewStore};
pub use transitions::{KillOutcome, MakeOutcome, StartRun};
pub use users::{NewUser, User, UserUpdate};
pub use workers::{RunAssignment, WorkerKey, WorkerRecord};
pub use worksheets::items::{Base, MOST_ITEM_BYTES, MOST_ITEMS, Replaced, source_version};
pub use worksheets::{NewWorksheet, Worksheet, WorksheetUpdate};

use std::sync::Arc;

use domain::Result;

use crate::db::{Db, params};

/// How to open the database.
#[derive(Clone, Debug)]
pub struct ModelOptions {
    /// The user id that may do everything.
    pub root_user_id: String,
    /// Login name of that account.
    pub root_user_name: String,
    /// Most connections that read at the same time (SQLite), most connections in all (MySQL).
    pub max_connections: u32,
    /// What new password hashes cost. Less than the default is for tests only.
    pub password_cost: PasswordCost,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            root_user_id: domain::id::ROOT_USER_ID.to_owned(),
            root_user_name: "codalab".to_owned(),
            max_connections: 8,
            password_cost: PasswordCost::RECOMMENDED,
        }
    }
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Model {
    pub(crate) db: Db,
    pub(crate) identity: Arc<Identity>,
}

#[derive(Debug)]
pub(crate) struct Identity {
    root_user_id: String,
    root_user_name: String,
    public_group: domain::Uuid,
    hashing: password::Hashing,
    /// When useless rows of `rate_limit` were last removed, in Unix seconds.
    pub(crate) limits_swept: std::sync::atomic::AtomicI64,
}

impl Model {
    /// Opens the database at `sqlite:///abs/path`, `sqlite://path`, `sqlite::memory:` or `mysql://user:password@host/name`,
    /// brings its schema up to date under a lock and makes the bootstrap rows.
    ///
    /// # Errors
    /// The database cannot be reached, belongs to an older CodaLab, or was changed by a newer version.
    pub async fn connect(url: &str, options: &ModelOptions) -> Result<Self> {
        let db = Db::connect(url, options.max_connections).await?;
        migrate::migrate(&db).await?;
        let public_group = Self::bootstrap(&db).await?;
        let identity = Identity {
            root_user_id: options.root_user_id.clone(),
            root_user_name: options.root_user_name.clone(),
            public_group,
            hashing: password::Hashing::new(options.password_cost)?,
            limits_swept: std::sync::atomic::AtomicI64::new(0),
        };
        Ok(Self {
            db,
            identity: Arc::new(identity),
        })
    }

    /// Makes the public group and the two OAuth clients where they are missing.
    async fn bootstrap(db: &Db) -> Result<domain::Uuid> {
        let mut tx = db.write().await?;
        tx.lock_name("group_name").await?;
        let sql = "SELECT `uuid` FROM `group` WHERE `name` = 'public' AND `user_defined` = 0 ORDER BY `id` LIMIT 1";
        let public = if let Some(mut row) = tx.first(sql, params![]).await? {
            row.uuid()?
        } else {
            let uuid = password::random_uuid();
            let sql = "INSERT INTO `group` (`uuid`, `name`, `user_defined`, `owner_id`) VALUES (?, 'public', 0, NULL)";
            tx.run(sql, params![uuid]).await?;
            uuid
        };
        for (id, name) in [
            ("codalab_cli_client", "CodaLab CLI"),
            ("codalab_worker_client", "CodaLab Worker"),
        ] {
            let sql = format!(
                "{} `oauth2_client` (`client_id`, `name`, `secret`, `user_id`, `grant_type`, `response_type`, `scopes`, \
                 `redirect_uris`) VALUES (?, ?, NULL, NULL, 'password', 'token', 'default', '')",
                tx.engine().insert_ignore()
            );
            tx.run(sql, params![id, name]).await?;
        }
        tx.commit().await?;
        Ok(public)
    }

    /// Whether the database answers; for readiness probes.
    pub async fn ping(&self) -> Result<()> {
        self.db.once().await?.count("SELECT 1", params![]).await.map(drop)
    }

    /// The connection pools with their state, for metrics.
    pub fn pools(&self) -> [PoolState; 2] {
        self.db.pools()
    }

    /// What has been asked of the database through this model and its clones.
    pub fn statements(&self) -> &Statements {
        self.db.statements()
    }

    /// How the database would execute a recorded statement: one line per table it reads, as the database words it.
    pub async fn explain(&self, statement: &Statement) -> Result<Vec<String>> {
        let sql = format!("{}{}", self.db.engine().explain(), statement.sql);
        let rows = self.db.once().await?.all(sql, statement.values.clone()).await?;
        rows.into_iter().map(db::Row::into_line).collect()
    }

    /// Waits for running statements and closes all connections.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// The user id that may do everything.
    pub fn root_user_id(&self) -> &str {
        &self.identity.root_user_id
    }

    /// Login name of the root account.
    pub fn root_user_name(&self) -> &str {
        &self.identity.root_user_name
    }

    /// Whether this user may do everything.
    pub fn is_root(&self, viewer: Option<&str>) -> bool {
        viewer == Some(self.root_user_id())
    }

    pub(crate) fn hashing(&self) -> &password::Hashing {
        &self.identity.hashing
    }

    /// The group everybody is in.
    pub fn public_group(&self) -> domain::Uuid {
        self.identity.public_group
    }
}
