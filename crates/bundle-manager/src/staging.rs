//! Whether a created bundle may leave `created`: a pure decision over its parents.

use std::collections::HashSet;

use domain::permission::{self, Permission, Viewer};
use domain::{BundleState, Uuid};

/// A parent of the bundle under decision. The same parent may occur several times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parent {
    pub uuid: Uuid,
    /// `None`: there is no such bundle.
    pub state: Option<BundleState>,
    /// What the bundle's owner may do with the parent.
    pub permission: Permission,
}

/// What to do with a bundle in `created`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Staging {
    /// All parents are acceptable.
    Stage,
    /// Some parent is still on its way.
    Wait,
    /// It can never run; the failure message.
    Fail(String),
}

/// Decides by the rules of staging. `owner` names the bundle's owner in a refusal.
pub fn decide(parents: &[Parent], allow_failed: bool, owner: Viewer<'_>) -> Staging {
    let mut seen = HashSet::new();
    let parents: Vec<&Parent> = parents.iter().filter(|parent| seen.insert(parent.uuid)).collect();
    let missing = list(&parents, |parent| parent.state.is_none());
    if !missing.is_empty() {
        return Staging::Fail(format!("Missing parent bundles: {missing}"));
    }
    if parents.iter().any(|parent| parent.permission < Permission::Read) {
        let uuids: Vec<&str> = parents.iter().map(|parent| parent.uuid.as_str()).collect();
        let have: Vec<Permission> = parents.iter().map(|parent| parent.permission).collect();
        return Staging::Fail(permission::insufficient(owner, "bundle", &uuids, &have, Permission::Read).message);
    }
    if !allow_failed {
        let failed = list(&parents, |parent| parent.state == Some(BundleState::Failed));
        let killed = list(&parents, |parent| parent.state == Some(BundleState::Killed));
        if let Some(message) = unacceptable(&failed, &killed) {
            return Staging::Fail(message);
        }
    }
    let acceptable = |parent: &&Parent| match parent.state {
        Some(BundleState::Ready) => true,
        Some(BundleState::Failed | BundleState::Killed) => allow_failed,
        _ => false,
    };
    if parents.iter().all(acceptable) {
        Staging::Stage
    } else {
        Staging::Wait
    }
}

fn list(parents: &[&Parent], wanted: impl Fn(&Parent) -> bool) -> String {
    let uuids: Vec<&str> = parents
        .iter()
        .filter(|parent| wanted(parent))
        .map(|parent| parent.uuid.as_str())
        .collect();
    uuids.join(", ")
}

fn unacceptable(failed: &str, killed: &str) -> Option<String> {
    const HINT: &str =
        "(Please use the --allow-failed-dependencies flag to run on whatever failed or killed bundles left behind.) ";
    let parts = [
        ("Parent bundles failed:", failed),
        ("Parent bundles were killed:", killed),
    ];
    let named = parts.iter().filter(|(_, uuids)| !uuids.is_empty());
    let message = named
        .map(|(what, uuids)| format!("{what} {uuids} "))
        .collect::<Vec<_>>()
        .concat();
    (!message.is_empty()).then(|| message + HINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Viewer<'static> = Viewer::User { name: "ada", id: "7" };

    fn parent(n: u8, state: BundleState) -> Parent {
        Parent {
            uuid: Uuid::from_random([n; 16]),
            state: Some(state),
            permission: Permission::Read,
        }
    }

    #[test]
    fn a_bundle_waits_until_every_parent_is_acceptable() {
        use BundleState::{Created, Failed, Killed, Ready, Running, Uploading, WorkerOffline};
        let cases: [(&[BundleState], bool, Staging); 9] = [
            (&[], false, Staging::Stage),
            (&[Ready], false, Staging::Stage),
            (&[Ready, Ready], false, Staging::Stage),
            (&[Ready, Running], false, Staging::Wait),
            (&[Uploading], false, Staging::Wait),
            (&[Created], true, Staging::Wait),
            (&[WorkerOffline], true, Staging::Wait),
            (&[Failed, Killed, Ready], true, Staging::Stage),
            (&[Failed, Running], true, Staging::Wait),
        ];
        for (states, allow_failed, expected) in cases {
            let parents: Vec<_> = (1..).zip(states).map(|(n, &state)| parent(n, state)).collect();
            assert_eq!(decide(&parents, allow_failed, OWNER), expected, "{states:?}");
        }
    }

    #[test]
    fn failures_name_each_parent_once_in_dependency_order() {
        let (a, b) = (parent(1, BundleState::Ready), parent(2, BundleState::Failed));
        let gone = Parent {
            state: None,
            ..parent(3, BundleState::Ready)
        };
        let also_gone = Parent {
            state: None,
            ..parent(4, BundleState::Ready)
        };
        let fail = |parents: &[Parent]| match decide(parents, false, OWNER) {
            Staging::Fail(message) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            fail(&[also_gone, a, gone, also_gone]),
            format!("Missing parent bundles: {}, {}", also_gone.uuid, gone.uuid)
        );
        let secret = Parent {
            permission: Permission::None,
            ..a
        };
        assert_eq!(
            fail(&[secret]),
            format!(
                "User ada(7) does not have sufficient permissions on bundle {} (have none, need read).",
                a.uuid
            )
        );
        let killed = parent(5, BundleState::Killed);
        let message = fail(&[killed, b, a]);
        let start = format!(
            "Parent bundles failed: {} Parent bundles were killed: {} ",
            b.uuid, killed.uuid
        );
        assert!(message.starts_with(&start), "{message}");
        assert!(message[start.len()..].starts_with("(Please use the --allow-failed-dependencies flag"));
        assert!(message.ends_with(") "));
    }

    #[test]
    fn a_failed_parent_fails_the_child_although_another_is_still_running() {
        let parents = [parent(1, BundleState::Running), parent(2, BundleState::Failed)];
        assert!(matches!(decide(&parents, false, OWNER), Staging::Fail(_)));
    }
}
