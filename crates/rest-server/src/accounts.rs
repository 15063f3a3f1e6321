//! Making accounts by hand: for operators and tests.

use domain::config::DefaultUser;
use domain::user::Quota;
use domain::{Error, Result, name, password};
use model::{Model, NewUser, User};

/// Most characters of a user name; as wide as its column, like the next ones.
pub(crate) const MAX_USER_NAME: usize = 63;
/// Most characters of a first or last name.
pub(crate) const MAX_PERSON_NAME: usize = 30;
/// Most characters of an affiliation or a web address.
pub(crate) const MAX_AFFILIATION: usize = 255;

/// What an operator says about a new account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Login name.
    pub user_name: String,
    /// E-mail address; unique.
    pub email: String,
    /// In clear.
    pub password: String,
    /// No e-mail verification is needed.
    pub is_verified: bool,
}

/// Checks name, address and password by the rules of sign-up and makes the account with the quotas of the instance.
pub async fn create(model: &Model, defaults: &DefaultUser, account: Account, now: i64) -> Result<User> {
    name::check(&account.user_name)?;
    password::check_email(&account.email)?;
    password::check(&account.password)?;
    if model.user_exists(&account.user_name, &account.email).await? {
        return Err(Error::usage("User with this username or email already exists."));
    }
    let quota = quota_for(&account.email, defaults);
    let user = NewUser {
        user_name: account.user_name,
        email: account.email,
        password: account.password,
        is_verified: account.is_verified,
        quota,
        ..NewUser::default()
    };
    model.create_user(user, now).await
}

/// The quotas of a new account: academic addresses have their own.
pub(crate) fn quota_for(email: &str, defaults: &DefaultUser) -> Quota {
    let (time_quota, disk_quota) = if is_academic(email) {
        (defaults.edu_time_quota, defaults.edu_disk_quota)
    } else {
        (defaults.time_quota, defaults.disk_quota)
    };
    Quota {
        time_quota,
        disk_quota: disk_quota as f64,
        parallel_run_quota: defaults.parallel_run_quota,
        ..Quota::default()
    }
}

/// True for addresses that end in `.edu`, `.edu.xx` or `.ac.xx`.
fn is_academic(email: &str) -> bool {
    let Some((_, host)) = email.rsplit_once('@') else {
        return false;
    };
    let host = host.to_lowercase();
    let parts: Vec<&str> = host.split('.').collect();
    match parts.as_slice() {
        [_, .., "edu"] => true,
        [_, .., "edu" | "ac", country] => country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_lowercase()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn academic_addresses_are_told_by_their_end() {
        for (email, expected) in [
            ("x@stanford.edu", true),
            ("x@q.edu.cn", true),
            ("x@q.ac.sg", true),
            ("X@Q.AC.UK", true),
            ("x@q.edu.xyz", false),
            ("x@q.ac.xyz", false),
            ("a.edu.cn@q.mail", false),
            ("x@edu", false),
        ] {
            assert_eq!(is_academic(email), expected, "{email}");
        }
    }
}
