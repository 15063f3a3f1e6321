//! Users and groups: looked up by spec, and shown.

use client::{Client, Object, Query, encode_path};
use domain::literal::display;
use domain::user::ratio;
use domain::{duration, size};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::render::fields::field;

/// What `uinfo` shows, in order.
const SHOWN: [&str; 14] = [
    "id",
    "user_name",
    "is_verified",
    "has_access",
    "first_name",
    "last_name",
    "affiliation",
    "url",
    "date_joined",
    "last_login",
    "email",
    "time",
    "disk",
    "parallel_run_quota",
];

/// The user of an id or user name.
pub async fn user(client: &Client, spec: &str) -> Result<Object> {
    if spec.is_empty() {
        return Err(Error::usage("The user is missing: give a user name or id."));
    }
    let path = format!("users/{}", segment(spec));
    Ok(client.fetch_one(&path, Query::new()).await?)
}

/// The group of a uuid, prefix or name.
pub async fn group(client: &Client, spec: &str) -> Result<Object> {
    if spec.is_empty() {
        return Err(Error::usage("The group is missing: give a name or uuid."));
    }
    let path = format!("groups/{}", segment(spec));
    Ok(client.fetch_one(&path, Query::new()).await?)
}

/// A spec as one segment of a path.
fn segment(spec: &str) -> String {
    encode_path(spec).replace('/', "%2F")
}

/// `name(uuid)`.
pub fn group_reference(group: &Object) -> String {
    format!("{}({})", field(group, "name"), field(group, "id"))
}

/// The lines of `uinfo`. What the server did not send (it is not for everybody) is left out.
pub fn lines(user: &Object) -> Vec<String> {
    SHOWN
        .iter()
        .filter_map(|key| Some(format!("{key:<15}: {}", value(user, key)?)))
        .collect()
}

/// An attribute as text; `time` and `disk` are shares of the quota. `None` if there is no such attribute.
pub fn value(user: &Object, key: &str) -> Option<String> {
    let number = |key: &str| user.get(key).and_then(Value::as_f64);
    match key {
        "time" => Some(ratio(number("time_used")?, number("time_quota")?, duration::format)),
        "disk" => Some(ratio(number("disk_used")?, number("disk_quota")?, size::format)),
        _ => user.get(key).map(display),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_user_is_shown_as_far_as_it_is_known() {
        let user = json!({
            "type": "users", "id": "12", "user_name": "mira", "has_access": false, "first_name": "Mira",
            "last_name": null, "date_joined": "Tue Nov 14 22:13:20 2023", "time_used": 3600, "time_quota": 31_536_000,
            "disk_used": 5_000_000, "disk_quota": 1_099_511_627_776_i64, "parallel_run_quota": 3, "avatar_id": null,
        });
        let user = user.as_object().unwrap();
        assert_eq!(
            lines(user),
            [
                "id             : 12",
                "user_name      : mira",
                "has_access     : False",
                "first_name     : Mira",
                "last_name      : None",
                "date_joined    : Tue Nov 14 22:13:20 2023",
                "time           : 1h0m / 1y0d (0.0%)",
                "disk           : 4.8m / 1t (0.0%)",
                "parallel_run_quota: 3",
            ]
        );
        assert_eq!(value(user, "disk_used").as_deref(), Some("5000000"));
        assert_eq!(value(user, "nosuch"), None);
        assert_eq!(value(json!({"id": "1"}).as_object().unwrap(), "time"), None);
    }

    #[test]
    fn a_spec_cannot_leave_its_segment() {
        assert_eq!(segment("a/b c"), "a%2Fb%20c");
    }
}
