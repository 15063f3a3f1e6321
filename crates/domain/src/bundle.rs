//! The bundle record, its dependencies, and the fields that are computed on read (data-model sections 4.6 and 5).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::id::{UserId, Uuid};
use crate::literal;
use crate::metadata::{FieldKind, Metadata, fields};
use crate::permission::Permission;
use crate::state::{BundleState, BundleType};
use crate::time::UtcTime;

/// The pattern of a dependency's path, as shown in errors.
pub const CHILD_PATH_REGEX: &str = r"^[a-zA-Z0-9_\-./]*\Z";

/// A bundle as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// Its identity.
    pub uuid: Uuid,
    /// How it comes into being.
    pub bundle_type: BundleType,
    /// The command of a run; none or empty otherwise.
    pub command: Option<String>,
    /// Where it is in its life.
    pub state: BundleState,
    /// Its owner; none in old databases where the owner is gone.
    pub owner_id: Option<UserId>,
    /// When it was frozen.
    pub frozen: Option<UtcTime>,
    /// Whether its owner is hidden from others.
    pub is_anonymous: bool,
    /// `disk` or the kind of object store; none in old databases.
    pub storage_type: Option<String>,
    /// Whether the contents are a directory; none when unknown.
    pub is_dir: Option<bool>,
    /// Everything else that is known about it.
    pub metadata: Metadata,
    /// In the order given at creation.
    pub dependencies: Vec<Dependency>,
}

impl Bundle {
    /// The name in the metadata.
    pub fn name(&self) -> &str {
        self.metadata.name()
    }

    /// The command line that would make this bundle again; none unless it is a make or a run.
    pub fn args(&self) -> Option<String> {
        args(
            self.bundle_type,
            self.command.as_deref(),
            &self.dependencies,
            &self.metadata,
        )
    }

    /// A sentence about the state.
    pub fn state_details(&self) -> String {
        state_details(self.bundle_type, self.state, &self.metadata)
    }

    /// The bundle as somebody with this permission on it may see it. Without *all*, an anonymous bundle does not show its
    /// owner, nor where and in which image it ran; tracebacks show the inside of the server and are for root.
    #[must_use]
    pub fn seen_with(&self, permission: Permission, is_root: bool) -> Self {
        let mut seen = self.clone();
        seen.hide_from(permission, is_root);
        seen
    }

    /// The same with this very bundle.
    pub fn hide_from(&mut self, permission: Permission, is_root: bool) {
        if !is_root {
            self.metadata.remove("error_traceback");
        }
        if self.is_anonymous && permission < Permission::All {
            self.owner_id = None;
            for field in fields(self.bundle_type).iter().filter(|field| field.anonymous) {
                // What is always there is empty, as if it had never been set.
                if field.generated && field.kind != FieldKind::List {
                    self.metadata.remove(field.key);
                } else {
                    self.metadata.set(field.key, field.kind.zero());
                }
            }
        }
    }

    /// Checks everything that must hold on creation and after each update.
    pub fn validate(&self) -> Result<()> {
        self.metadata.validate(self.bundle_type)?;
        check_command(self.bundle_type, self.command.as_deref())?;
        check_dependencies(self.bundle_type, &self.dependencies)
    }

    /// Whether the contents stay outside the store.
    pub fn is_linked(&self) -> bool {
        !self.metadata.str("link_url").is_empty()
    }
}

/// "In the child, `child_path` is `parent_path` inside the parent."
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dependency {
    /// The bundle that depends; set by the server.
    pub child_uuid: Uuid,
    /// Where it appears in the child; empty only for the single dependency of a make.
    #[serde(default, deserialize_with = "crate::lenient::or_default")]
    pub child_path: String,
    /// The bundle that is depended upon.
    pub parent_uuid: Uuid,
    /// The part of the parent; empty for all of it.
    #[serde(default, deserialize_with = "crate::lenient::or_default")]
    pub parent_path: String,
}

/// Checks the command: runs need one, and it must be ASCII.
pub fn check_command(bundle_type: BundleType, command: Option<&str>) -> Result<()> {
    match (bundle_type, command) {
        (BundleType::Run, None) => Err(Error::usage("None is not a valid command!")),
        (_, Some(command)) if !command.is_ascii() => {
            Err(Error::usage("Unsupported character detected, use ascii characters"))
        }
        _ => Ok(()),
    }
}

/// Checks the dependencies of a new bundle: characters of the paths, keys present, no duplicates.
pub fn check_dependencies(bundle_type: BundleType, dependencies: &[Dependency]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for dependency in dependencies {
        let path = &dependency.child_path;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
        if !path.bytes().all(allowed) {
            return Err(Error::usage(format!(
                "child_path must match {CHILD_PATH_REGEX}, was {path}"
            )));
        }
        if path.split('/').any(|part| part == "..") {
            return Err(Error::usage(format!(
                "child_path must not leave the bundle's directory, was {path}"
            )));
        }
        if path.is_empty() && bundle_type == BundleType::Run {
            return Err(Error::usage("child_path empty"));
        }
        if path.is_empty() && dependencies.len() > 1 {
            return Err(Error::usage("Must specify keys when packaging multiple targets!"));
        }
        if !seen.insert(path) {
            return Err(Error::usage(format!("Duplicate key: {path}")));
        }
    }
    Ok(())
}

/// See [`Bundle::args`].
pub fn args(
    bundle_type: BundleType,
    command: Option<&str>,
    dependencies: &[Dependency],
    metadata: &Metadata,
) -> Option<String> {
    if !matches!(bundle_type, BundleType::Make | BundleType::Run) {
        return None;
    }
    let mut words = vec![bundle_type.to_string()];
    let single_unkeyed = matches!(dependencies, [only] if only.child_path.is_empty());
    for dependency in dependencies {
        let slash = if dependency.parent_path.is_empty() { "" } else { "/" };
        let target = format!("{}{slash}{}", dependency.parent_uuid, dependency.parent_path);
        words.push(if single_unkeyed {
            target
        } else {
            format!("{}:{target}", dependency.child_path)
        });
    }
    words.extend(command.filter(|command| !command.is_empty()).map(quote));
    for (key, value) in metadata.requests() {
        words.push(format!("--{}", key.replace('_', "-")));
        if !value.is_boolean() {
            words.push(quote(&literal::display(value)));
        }
    }
    Some(words.join(" "))
}

/// Quotes an argument only if it contains a blank or a double quote.
fn quote(argument: &str) -> String {
    if argument.contains([' ', '"']) {
        format!("\"{}\"", argument.replace('"', "\\\""))
    } else {
        argument.to_owned()
    }
}

/// See [`Bundle::state_details`].
pub fn state_details(bundle_type: BundleType, state: BundleState, metadata: &Metadata) -> String {
    use BundleState as S;
    use BundleType as T;
    match (bundle_type, state) {
        (_, S::Staged) => metadata.str("staged_status"),
        (_, S::Preparing | S::Running) => metadata.str("run_status"),
        (T::Dataset, S::Created) => "The bundle exists; its upload has not begun.",
        (T::Dataset, S::Uploading) => "The contents are being uploaded.",
        (T::Dataset, S::Ready) => "The upload is complete. Runs can use this bundle.",
        (T::Dataset, S::Failed) => "The upload failed.",
        (T::Make, S::Created) => "The bundle exists; nothing has been copied into it yet.",
        (T::Make, S::Making) => "The dependencies are being copied in.",
        (T::Make, S::Ready) => "Everything is copied. Runs can use this bundle.",
        (T::Make, S::Failed) => "Copying the dependencies failed.",
        (T::Run, S::Created) => "The bundle exists; it has no contents yet.",
        (T::Run, S::Starting) => "A worker has been chosen and is about to begin.",
        (T::Run, S::Finalizing) => "The command has ended; the worker is tidying up.",
        (T::Run, S::Ready) => "The command succeeded and its results are stored.",
        (T::Run, S::Failed) => "The run failed.",
        (T::Run, S::Killed) => "A user ended the run; the contents are what existed at that moment.",
        (T::Run, S::WorkerOffline) => "Contact with the worker is lost; it may or may not come back.",
        _ => "",
    }
    .to_owned()
}

/// The metadata of the placeholder that stands for a bundle the viewer may not read.
pub fn private_metadata() -> Metadata {
    Metadata::from_iter([("name".to_owned(), Value::from("<private>"))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dependency(child_path: &str, parent_path: &str) -> Dependency {
        Dependency {
            child_uuid: Uuid::from_random([1; 16]),
            child_path: child_path.into(),
            parent_uuid: Uuid::parse("0x11111111111111111111111111111122").unwrap(),
            parent_path: parent_path.into(),
        }
    }

    #[test]
    fn args_rebuild_the_command_line() {
        let metadata = Metadata::try_from(json!({
            "name": "x", "request_cpus": 1, "request_docker_image": "img:1", "request_gpus": 0, "request_memory": "4g",
            "request_network": true, "request_queue": "", "request_time": "a b",
        }))
        .unwrap();
        assert_eq!(
            args(
                BundleType::Run,
                Some("python \"t.py\""),
                &[dependency("data", "train")],
                &metadata
            )
            .unwrap(),
            "run data:0x11111111111111111111111111111122/train \"python \\\"t.py\\\"\" --request-cpus 1 \
             --request-docker-image img:1 --request-memory 4g --request-network --request-time \"a b\""
        );
        let none = Metadata::new();
        assert_eq!(
            args(BundleType::Make, None, &[dependency("", "")], &none).unwrap(),
            "make 0x11111111111111111111111111111122"
        );
        assert_eq!(args(BundleType::Dataset, None, &[], &none), None);
    }

    #[test]
    fn dependency_rules_hold() {
        for (bundle_type, paths, message) in [
            (
                BundleType::Run,
                vec!["a b"],
                Some(r"child_path must match ^[a-zA-Z0-9_\-./]*\Z, was a b"),
            ),
            (
                BundleType::Run,
                vec!["a\n"],
                Some("child_path must match ^[a-zA-Z0-9_\\-./]*\\Z, was a\n"),
            ),
            (BundleType::Run, vec![""], Some("child_path empty")),
            (
                BundleType::Run,
                vec!["a/../../b"],
                Some("child_path must not leave the bundle's directory, was a/../../b"),
            ),
            (BundleType::Run, vec!["a..b"], None),
            (BundleType::Make, vec![""], None),
            (
                BundleType::Make,
                vec!["", "a"],
                Some("Must specify keys when packaging multiple targets!"),
            ),
            (BundleType::Run, vec!["a", "a"], Some("Duplicate key: a")),
            (BundleType::Run, vec!["a/b", "/data/x", "."], None),
        ] {
            let dependencies: Vec<_> = paths.iter().map(|path| dependency(path, "")).collect();
            let result = check_dependencies(bundle_type, &dependencies);
            assert_eq!(result.err().map(|error| error.message).as_deref(), message, "{paths:?}");
        }
    }

    #[test]
    fn commands_are_required_for_runs_and_ascii() {
        assert!(check_command(BundleType::Run, None).is_err());
        assert!(check_command(BundleType::Make, None).is_ok());
        assert_eq!(
            check_command(BundleType::Run, Some("écho")).unwrap_err().message,
            "Unsupported character detected, use ascii characters"
        );
    }

    #[test]
    fn state_details_come_from_the_status_fields_while_it_runs() {
        let metadata = Metadata::try_from(json!({"staged_status": "waits", "run_status": "pulls"})).unwrap();
        assert_eq!(state_details(BundleType::Run, BundleState::Staged, &metadata), "waits");
        assert_eq!(
            state_details(BundleType::Run, BundleState::Preparing, &metadata),
            "pulls"
        );
        assert_eq!(state_details(BundleType::Run, BundleState::Uploading, &metadata), "");
    }
}
