//! Attributes of users and groups (REST sections 5.5 and 5.6).

use domain::UtcTime;
use domain::user::Quota;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Who looks at an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserView {
    /// Anybody.
    Public,
    /// The user.
    Own,
    /// The root user.
    Root,
}

/// An account as the database knows it, without its password.
#[derive(Clone, Debug, PartialEq)]
pub struct UserFacts {
    /// Login name.
    pub user_name: String,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Where the user works.
    pub affiliation: Option<String>,
    /// Home page.
    pub url: Option<String>,
    /// When the account was made.
    pub date_joined: Option<UtcTime>,
    /// Uuid of the bundle that is the user's picture.
    pub avatar_id: Option<String>,
    /// Whether the user may use a protected instance.
    pub has_access: Option<bool>,
    /// E-mail address.
    pub email: Option<String>,
    /// 0 none, 1 important only, 2 general.
    pub notifications: i64,
    /// Last login; none before the first.
    pub last_login: Option<UtcTime>,
    /// Whether the e-mail address is verified.
    pub is_verified: bool,
    /// Quotas and usage.
    pub quota: Quota,
}

impl UserFacts {
    /// The attributes that this viewer may see; others are absent, not null.
    pub fn attributes(&self, view: UserView) -> Map<String, Value> {
        let mut object = Map::new();
        let mut add = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
        add("user_name", json!(self.user_name));
        add("first_name", json!(self.first_name));
        add("last_name", json!(self.last_name));
        add("affiliation", json!(self.affiliation));
        add("url", json!(self.url));
        add("date_joined", json!(self.date_joined.map(UtcTime::ctime)));
        add("avatar_id", json!(self.avatar_id));
        add("has_access", json!(self.has_access));
        if view != UserView::Public {
            add("email", json!(self.email));
            add("notifications", json!(self.notifications));
            add("time_quota", json!(self.quota.time_quota as i64));
            add("parallel_run_quota", json!(self.quota.parallel_run_quota));
            add("time_used", json!(self.quota.time_used as i64));
            add("disk_quota", json!(self.quota.disk_quota as i64));
            add("disk_used", json!(self.quota.disk_used as i64));
            add("last_login", json!(self.last_login.map(UtcTime::ctime)));
        }
        if view == UserView::Root {
            add("is_verified", json!(self.is_verified));
        }
        object
    }
}

/// Attributes of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupAttributes {
    /// Unique name.
    pub name: String,
    /// False for the public group; present in single fetch and creation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_defined: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_viewer_sees_the_attributes_of_the_contract() {
        let user = UserFacts {
            user_name: "alice".into(),
            first_name: Some("Alice".into()),
            last_name: None,
            affiliation: None,
            url: None,
            date_joined: Some(UtcTime::from_unix(1_714_555_800)),
            avatar_id: None,
            has_access: Some(false),
            email: Some("alice@example.edu".into()),
            notifications: 2,
            last_login: None,
            is_verified: true,
            quota: Quota {
                time_quota: 31_536_000.0,
                time_used: 5120.7,
                ..Quota::default()
            },
        };
        let public = user.attributes(UserView::Public);
        assert_eq!(public.len(), 8);
        assert_eq!(public["date_joined"], "Wed May  1 09:30:00 2024");
        assert_eq!(public["last_name"], Value::Null);
        let own = user.attributes(UserView::Own);
        assert_eq!(
            (own.len(), &own["time_used"], &own["last_login"]),
            (16, &json!(5120), &Value::Null)
        );
        assert_eq!(user.attributes(UserView::Root)["is_verified"], true);
    }
}
