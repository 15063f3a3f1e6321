//! Accounts (data-model section 9).

use std::collections::HashMap;

use domain::user::Quota;
use domain::{Error, Result, UserId, UtcTime, Uuid, name};

use crate::Model;
use crate::db::{Row, Tx, Value, params};
use crate::groups::leave_groups;
use crate::password::{Hashing, random_uuid, verify_password};
use crate::quota::lock_account;

/// An account without its password.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub user_id: UserId,
    pub user_name: String,
    /// Empty for the root user made by the installer.
    pub email: String,
    /// 0 none, 1 important only, 2 general.
    pub notifications: i64,
    pub last_login: Option<UtcTime>,
    pub is_active: bool,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub date_joined: UtcTime,
    /// Only matters in protected mode.
    pub has_access: bool,
    /// E-mail verified.
    pub is_verified: bool,
    pub affiliation: Option<String>,
    pub url: Option<String>,
    pub quota: Quota,
    /// Bundle of the profile picture.
    pub avatar_id: Option<String>,
}

/// An account to make.
#[derive(Clone, Default)]
pub struct NewUser {
    /// Fresh if none.
    pub user_id: Option<UserId>,
    pub user_name: String,
    pub email: String,
    /// In clear; stored as a salted hash. Not checked against the password policy.
    pub password: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub affiliation: Option<String>,
    pub notifications: Option<i64>,
    pub is_verified: bool,
    pub has_access: bool,
    /// Only the quotas are read; what is used begins at zero.
    pub quota: Quota,
}

/// Columns to change; `None` leaves a column alone, `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct UserUpdate {
    pub user_name: Option<String>,
    pub email: Option<String>,
    pub first_name: Option<Option<String>>,
    pub last_name: Option<Option<String>>,
    pub affiliation: Option<Option<String>>,
    pub url: Option<Option<String>>,
    pub notifications: Option<i64>,
    pub avatar_id: Option<Option<String>>,
    pub has_access: Option<bool>,
    pub is_verified: Option<bool>,
    pub is_active: Option<bool>,
    pub time_quota: Option<f64>,
    pub disk_quota: Option<f64>,
    pub parallel_run_quota: Option<i64>,
    pub last_login: Option<i64>,
}

/// The columns of [`User`] in the order [`read_user`] takes them.
pub(crate) const USER_COLUMNS: &str = "`u`.`user_id`, `u`.`user_name`, `u`.`email`, `u`.`notifications`, \
    CAST(`u`.`last_login` AS CHAR), `u`.`is_active`, `u`.`first_name`, `u`.`last_name`, CAST(`u`.`date_joined` AS CHAR), \
    `u`.`has_access`, `u`.`is_verified`, `u`.`affiliation`, `u`.`url`, `u`.`time_quota`, `u`.`time_used`, \
    `u`.`disk_quota`, `u`.`disk_used`, `u`.`parallel_run_quota`, `u`.`avatar_id`";

pub(crate) fn read_user(row: &mut Row) -> Result<User> {
    Ok(User {
        user_id: row.user_id()?,
        user_name: row.text()?,
        email: row.text()?,
        notifications: row.int()?,
        last_login: row.opt_time()?,
        is_active: row.flag()?,
        first_name: row.opt_text()?,
        last_name: row.opt_text()?,
        date_joined: row.time()?,
        has_access: row.flag()?,
        is_verified: row.flag()?,
        affiliation: row.opt_text()?,
        url: row.opt_text()?,
        quota: Quota {
            time_quota: row.real()?,
            time_used: row.real()?,
            disk_quota: row.real()?,
            disk_used: row.real()?,
            parallel_run_quota: row.int()?,
        },
        avatar_id: row.opt_text()?,
    })
}

/// One active account by a condition with one placeholder value per `?`.
pub(crate) async fn active_user(tx: &mut Tx, condition: &str, values: Vec<Value>) -> Result<Option<User>> {
    let sql = format!(
        "SELECT {USER_COLUMNS} FROM `user` `u` WHERE `u`.`is_active` = 1 AND ({condition}) ORDER BY `u`.`id` LIMIT 1"
    );
    tx.first(sql, values)
        .await?
        .map(|mut row| read_user(&mut row))
        .transpose()
}

impl Model {
    /// Makes an account. 400 if the name is not a valid name, or if an account has that name or e-mail already.
    pub async fn create_user(&self, user: NewUser, now: i64) -> Result<User> {
        name::check(&user.user_name)?;
        let hash = self.hash(user.password.clone()).await?;
        let user_id = user
            .user_id
            .clone()
            .unwrap_or_else(|| UserId::from(random_uuid().as_str()));
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                tx.lock_name("user_name").await?;
                if taken(&mut tx, &user.user_name, &user.email, "").await? {
                    return Err(Error::usage("User with this username or email already exists."));
                }
                insert_user(&mut tx, &user_id, &user, &hash, now).await?;
                let made = active_user(&mut tx, "`u`.`user_id` = ?", params![&user_id]).await?;
                tx.commit().await?;
                made.ok_or_else(|| not_found(&user_id))
            })
            .await
    }

    /// Makes the root account, or resets its name, password and flags (data-model 3.16). If it has that password already,
    /// its tokens and sessions go on.
    pub async fn ensure_root(&self, password: &str, quota: Quota, now: i64) -> Result<User> {
        let root = UserId::from(self.root_user_id());
        let sql = "SELECT `password` FROM `user` WHERE `user_id` = ?";
        let row = self.db.once().await?.first(sql, params![&root]).await?;
        let stored = row.map(|mut row| row.text()).transpose()?;
        let same = match stored.clone() {
            Some(stored) => {
                let password = password.to_owned();
                let turn = self.hashing().turn().await?;
                Hashing::work(turn, move || verify_password(&password, &stored))
                    .await?
                    .0
            }
            None => false,
        };
        let hash = self.hash(password.to_owned()).await?;
        let mut tx = self.db.write().await?;
        tx.lock_name("user_name").await?;
        if stored.is_some() {
            tx.run(
                "UPDATE `user` SET `user_name` = ?, `has_access` = 1, `is_active` = 1, `is_verified` = 1 WHERE `user_id` = ?",
                params![self.root_user_name(), &root],
            )
            .await?;
            if !same {
                set_password_hash(&mut tx, &root, &hash).await?;
            }
        } else {
            let user = NewUser {
                user_name: self.root_user_name().to_owned(),
                first_name: Some(String::new()),
                last_name: Some(String::new()),
                affiliation: Some(String::new()),
                is_verified: true,
                has_access: true,
                quota,
                ..NewUser::default()
            };
            insert_user(&mut tx, &root, &user, &hash, now).await?;
        }
        let made = active_user(&mut tx, "`u`.`user_id` = ?", params![&root]).await?;
        tx.commit().await?;
        made.ok_or_else(|| not_found(&root))
    }

    /// The active account with this id.
    pub async fn user(&self, user_id: &str) -> Result<Option<User>> {
        active_user(&mut self.db.once().await?, "`u`.`user_id` = ?", params![user_id]).await
    }

    /// The active account with this name or e-mail.
    pub async fn user_by_name(&self, name_or_email: &str) -> Result<Option<User>> {
        user_by_name(&mut self.db.once().await?, name_or_email).await
    }

    /// The active account with this e-mail.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        if email.is_empty() {
            return Ok(None); // root's e-mail may be empty
        }
        active_user(&mut self.db.once().await?, "`u`.`email` = ?", params![email]).await
    }

    /// The active account with this id, else this name or e-mail. 404 `User <spec> not found`.
    pub async fn find_user(&self, spec: &str) -> Result<User> {
        let mut tx = self.db.read().await?;
        if let Some(user) = active_user(&mut tx, "`u`.`user_id` = ?", params![spec]).await? {
            return Ok(user);
        }
        user_by_name(&mut tx, spec).await?.ok_or_else(|| not_found(spec))
    }

    /// Active accounts by id; missing ones are absent.
    pub async fn users(&self, user_ids: &[&str]) -> Result<HashMap<UserId, User>> {
        let sql =
            format!("SELECT {USER_COLUMNS} FROM `user` `u` WHERE `u`.`is_active` = 1 AND `u`.`user_id` IN {{in}}");
        let rows = self.db.once().await?.all_in(&sql, &[], user_ids, &[]).await?;
        rows.into_iter()
            .map(|mut row| read_user(&mut row).map(|user| (user.user_id.clone(), user)))
            .collect()
    }

    /// Whether an active account has this name or this e-mail.
    pub async fn user_exists(&self, user_name: &str, email: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM `user` WHERE `is_active` = 1 AND (`user_name` = ? OR (`email` = ? AND `email` <> '')) LIMIT 1";
        Ok(self.db.once().await?.count(sql, params![user_name, email]).await? != 0)
    }

    /// Changes the named columns only. 404 if there is no such account; 400 if the new name or e-mail is taken.
    pub async fn update_user(&self, user_id: &str, update: UserUpdate) -> Result<User> {
        if let Some(new) = &update.user_name {
            name::check(new)?;
        }
        let mut tx = self.db.write().await?;
        tx.lock_name("user_name").await?;
        let Some(before) = active_user(&mut tx, "`u`.`user_id` = ?", params![user_id]).await? else {
            return Err(not_found(user_id));
        };
        if let Some(new) = &update.user_name
            && taken(&mut tx, new, "", user_id).await?
        {
            return Err(Error::usage(format!("User name {new} is already taken.")));
        }
        if let Some(new) = &update.email
            && *new != before.email
        {
            change_address(&mut tx, user_id, new).await?;
        }
        let (columns, mut values) = assignments(update);
        if !columns.is_empty() {
            values.push(user_id.into());
            tx.run(
                format!("UPDATE `user` SET {} WHERE `user_id` = ?", columns.join(", ")),
                values,
            )
            .await?;
        }
        let sql = format!("SELECT {USER_COLUMNS} FROM `user` `u` WHERE `u`.`user_id` = ?");
        let user = tx
            .first(sql, params![user_id])
            .await?
            .map(|mut row| read_user(&mut row))
            .transpose()?;
        tx.commit().await?;
        user.ok_or_else(|| not_found(user_id))
    }

    /// Stores a new password and ends all tokens and sessions of the account.
    pub async fn set_password(&self, user_id: &str, password: &str) -> Result<()> {
        let hash = self.hash(password.to_owned()).await?;
        let mut tx = self.db.write().await?;
        set_password_hash(&mut tx, user_id, &hash).await?;
        tx.commit().await
    }

    /// Deletes an account that owns nothing (404 naming what it owns) with all that hangs on it.
    pub async fn delete_user(&self, user_id: &str) -> Result<()> {
        self.delete_users(&[user_id]).await
    }

    /// The same for several accounts, all or none.
    pub async fn delete_users(&self, user_ids: &[&str]) -> Result<()> {
        if user_ids.contains(&self.root_user_id()) {
            return Err(Error::authentication("Cannot delete root user."));
        }
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                for user_id in user_ids {
                    delete_user(&mut tx, user_id).await?;
                }
                tx.commit().await
            })
            .await
    }

    /// Uuids of the bundles a user owns, in order of creation; for user deletion and transfers.
    pub async fn bundles_owned_by(&self, user_id: &str) -> Result<Vec<Uuid>> {
        let sql = "SELECT `uuid` FROM `bundle` WHERE `owner_id` = ? ORDER BY `id`";
        let rows = self.db.once().await?.all(sql, params![user_id]).await?;
        rows.into_iter().map(|mut row| row.uuid()).collect()
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String> {
        self.hashing().hash(password).await
    }
}

pub(crate) async fn user_by_name(tx: &mut Tx, name_or_email: &str) -> Result<Option<User>> {
    if name_or_email.is_empty() {
        return Ok(None); // root's e-mail may be empty
    }
    active_user(
        tx,
        "`u`.`user_name` = ? OR `u`.`email` = ?",
        params![name_or_email, name_or_email],
    )
    .await
}

/// Stores a password and ends what was granted for the old one: tokens, sessions, and codes for a new password.
pub(crate) async fn set_password_hash(tx: &mut Tx, user_id: &str, hash: &str) -> Result<()> {
    tx.run(
        "UPDATE `user` SET `password` = ? WHERE `user_id` = ?",
        params![hash, user_id],
    )
    .await?;
    for table in ["oauth2_token", "oauth2_auth_code", "user_session", "user_reset_code"] {
        tx.run(format!("DELETE FROM `{table}` WHERE `user_id` = ?"), params![user_id])
            .await?;
    }
    Ok(())
}

/// Stores a new e-mail address, if nobody else has it. What was sent to the old one opens nothing any more.
pub(crate) async fn change_address(tx: &mut Tx, user_id: &str, email: &str) -> Result<()> {
    tx.lock_name("user_name").await?;
    if taken(tx, "", email, user_id).await? {
        return Err(Error::usage("User with this email already exists."));
    }
    let sql = "UPDATE `user` SET `email` = ? WHERE `user_id` = ?";
    tx.run(sql, params![email, user_id]).await?;
    for table in ["user_verification", "user_reset_code"] {
        tx.run(format!("DELETE FROM `{table}` WHERE `user_id` = ?"), params![user_id])
            .await?;
    }
    Ok(())
}

/// Whether somebody else has the name or the e-mail; empty texts are not looked for. Inactive accounts count too: the
/// database keeps names unique over all rows.
async fn taken(tx: &mut Tx, user_name: &str, email: &str, except: &str) -> Result<bool> {
    let sql = "SELECT COUNT(*) FROM `user` WHERE `user_id` <> ? \
        AND ((`user_name` = ? AND `user_name` <> '') OR (`email` = ? AND `email` <> ''))";
    Ok(tx.count(sql, params![except, user_name, email]).await? > 0)
}

async fn delete_user(tx: &mut Tx, user_id: &str) -> Result<()> {
    // Locked: nobody makes anything for this account, or adds it to a group, until it is gone.
    lock_account(tx, &UserId::from(user_id)).await?;
    let mut reasons = Vec::new();
    for (table, what) in [
        ("bundle", "bundles, can't delete user"),
        ("worksheet", "worksheets, can't delete"),
        ("group", "groups, can't delete"),
    ] {
        let rows = tx
            .all(
                format!("SELECT `uuid` FROM `{table}` WHERE `owner_id` = ? ORDER BY `id`"),
                params![user_id],
            )
            .await?;
        let uuids: Vec<String> = rows.into_iter().map(|mut row| row.text()).collect::<Result<_>>()?;
        if !uuids.is_empty() {
            reasons.push(format!("User {user_id} owns {what}. UUIDs: {}", uuids.join(",")));
        }
    }
    if !reasons.is_empty() {
        return Err(Error::not_found(reasons.join("\n\n")));
    }
    for table in [
        "user_verification",
        "user_reset_code",
        "oauth2_auth_code",
        "oauth2_token",
        "user_session",
        "worker_message",
        "worker_run",
        "worker_dependency",
        "worker",
        "worker_socket",
        "time_charge",
    ] {
        tx.run(format!("DELETE FROM `{table}` WHERE `user_id` = ?"), params![user_id])
            .await?;
    }
    for table in ["oauth2_auth_code", "oauth2_token"] {
        let sql = format!(
            "DELETE FROM `{table}` WHERE `client_id` IN (SELECT `client_id` FROM `oauth2_client` WHERE `user_id` = ?)"
        );
        tx.run(sql, params![user_id]).await?;
    }
    leave_groups(tx, user_id).await?;
    tx.run("DELETE FROM `oauth2_client` WHERE `user_id` = ?", params![user_id])
        .await?;
    tx.run("DELETE FROM `user` WHERE `user_id` = ?", params![user_id])
        .await?;
    Ok(())
}

async fn insert_user(tx: &mut Tx, user_id: &UserId, user: &NewUser, hash: &str, now: i64) -> Result<()> {
    tx.run(
        "INSERT INTO `user` (`user_id`, `user_name`, `email`, `notifications`, `last_login`, `is_active`, `first_name`, \
         `last_name`, `date_joined`, `has_access`, `is_verified`, `password`, `affiliation`, `url`, `time_quota`, \
         `parallel_run_quota`, `time_used`, `disk_quota`, `disk_used`, `avatar_id`) \
         VALUES (?, ?, ?, ?, NULL, 1, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, 0, ?, 0, NULL)",
        params![
            user_id,
            &user.user_name,
            &user.email,
            user.notifications.unwrap_or(2),
            user.first_name.clone(),
            user.last_name.clone(),
            UtcTime::from_unix(now),
            user.has_access,
            user.is_verified,
            hash,
            user.affiliation.clone(),
            user.quota.time_quota,
            user.quota.parallel_run_quota,
            user.quota.disk_quota as i64,
        ],
    )
    .await
    .map(drop)
}

fn assignments(update: UserUpdate) -> (Vec<&'static str>, Vec<Value>) {
    let pairs: [(&'static str, Option<Value>); 14] = [
        ("`user_name` = ?", update.user_name.map(Value::from)),
        ("`first_name` = ?", update.first_name.map(Value::from)),
        ("`last_name` = ?", update.last_name.map(Value::from)),
        ("`affiliation` = ?", update.affiliation.map(Value::from)),
        ("`url` = ?", update.url.map(Value::from)),
        ("`notifications` = ?", update.notifications.map(Value::from)),
        ("`avatar_id` = ?", update.avatar_id.map(Value::from)),
        ("`has_access` = ?", update.has_access.map(Value::from)),
        ("`is_verified` = ?", update.is_verified.map(Value::from)),
        ("`is_active` = ?", update.is_active.map(Value::from)),
        ("`time_quota` = ?", update.time_quota.map(Value::from)),
        (
            "`disk_quota` = ?",
            update.disk_quota.map(|bytes| Value::from(bytes as i64)),
        ),
        ("`parallel_run_quota` = ?", update.parallel_run_quota.map(Value::from)),
        (
            "`last_login` = ?",
            update
                .last_login
                .map(|seconds| Value::from(UtcTime::from_unix(seconds))),
        ),
    ];
    pairs
        .into_iter()
        .filter_map(|(column, value)| value.map(|value| (column, value)))
        .unzip()
}

fn not_found(spec: &str) -> Error {
    Error::not_found(format!("User {spec} not found"))
}
