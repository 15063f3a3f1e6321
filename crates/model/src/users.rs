//! Accounts (data-model section 9).

use std::collections::HashMap;

use domain::user::Quota;
use domain::{Result, UserId, UtcTime, Uuid};

use crate::Model;

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
#[derive(Clone, Debug, Default)]
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

impl Model {
    /// Makes an account. 400 if the name is not a valid name; 400 if an account has that name or e-mail already.
    pub async fn create_user(&self, _user: NewUser, _now: i64) -> Result<User> {
        todo!()
    }

    /// Makes the root account, or resets its name, password and flags (data-model 3.16).
    pub async fn ensure_root(&self, _password: &str, _quota: Quota, _now: i64) -> Result<User> {
        todo!()
    }

    /// The active account with this id.
    pub async fn user(&self, _user_id: &str) -> Result<Option<User>> {
        todo!()
    }

    /// The active account with this name or e-mail.
    pub async fn user_by_name(&self, _name_or_email: &str) -> Result<Option<User>> {
        todo!()
    }

    /// The active account with this id, else this name or e-mail. 404 `User <spec> not found`.
    pub async fn find_user(&self, _spec: &str) -> Result<User> {
        todo!()
    }

    /// Active accounts by id; missing ones are absent.
    pub async fn users(&self, _user_ids: &[&str]) -> Result<HashMap<UserId, User>> {
        todo!()
    }

    /// Whether an active account has this name or this e-mail.
    pub async fn user_exists(&self, _user_name: &str, _email: &str) -> Result<bool> {
        todo!()
    }

    /// The active account if name (or e-mail) and password match. Rehashes an old hash and notes the login.
    pub async fn check_credentials(&self, _name_or_email: &str, _password: &str, _now: i64) -> Result<Option<User>> {
        todo!()
    }

    /// Changes the named columns only. 404 if there is no such account; 400 if the new name or e-mail is taken.
    pub async fn update_user(&self, _user_id: &str, _update: UserUpdate) -> Result<User> {
        todo!()
    }

    /// Stores a new password and revokes all tokens of the account.
    pub async fn set_password(&self, _user_id: &str, _password: &str) -> Result<()> {
        todo!()
    }

    /// Deletes an account that owns nothing (404 naming what it owns) with all that hangs on it.
    pub async fn delete_user(&self, _user_id: &str) -> Result<()> {
        todo!()
    }

    /// Uuids of the bundles a user owns, in order of creation; for user deletion and transfers.
    pub async fn bundles_owned_by(&self, _user_id: &str) -> Result<Vec<Uuid>> {
        todo!()
    }
}
