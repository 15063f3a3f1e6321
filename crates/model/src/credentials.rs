//! Keys that verify an e-mail address and codes that allow a new password (data-model sections 11.2 and 11.3).

use domain::{Result, UserId};

use crate::Model;

impl Model {
    /// The verification key to send to a user: the one that exists, or a new one.
    pub async fn verification_key(&self, _user_id: &str, _now: i64) -> Result<String> {
        todo!()
    }

    /// Uses up a verification key and marks its user verified; false if the key is unknown or older than a week.
    pub async fn verify_user(&self, _key: &str, _now: i64) -> Result<bool> {
        todo!()
    }

    /// A new code that lets its holder set the user's password.
    pub async fn reset_code(&self, _user_id: &str, _now: i64) -> Result<String> {
        todo!()
    }

    /// Whether a reset code exists and is younger than a day.
    pub async fn reset_code_exists(&self, _code: &str, _now: i64) -> Result<bool> {
        todo!()
    }

    /// Uses up a reset code (and the user's other codes), sets the password and revokes all tokens. `None` if unknown.
    pub async fn reset_password(&self, _code: &str, _password: &str, _now: i64) -> Result<Option<UserId>> {
        todo!()
    }
}
