//! Messages from server to worker, and the JSON replies back (worker sections 7 and 8).

use serde::{Deserialize, Serialize};

use super::resources::RunResources;
use crate::bundle::Bundle;
use crate::error::{Error, ErrorKind};
use crate::id::Uuid;
use crate::lenient;
use crate::metadata::Metadata;
use crate::target_info::TargetInfo;

/// A message that a worker receives in the answer to a check-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WorkerMessage {
    /// Execute a run.
    Run(Box<RunMessage>),
    /// End a run.
    Kill {
        /// The run.
        uuid: Uuid,
        /// Becomes the failure message; default `Kill requested`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kill_message: Option<String>,
    },
    /// The server has the final state; the run may be forgotten.
    MarkFinalized {
        /// The run.
        uuid: Uuid,
    },
    /// Read from a run's directory and answer on the socket.
    Read {
        /// The run.
        uuid: Uuid,
        /// Where to send the reply.
        socket_id: i64,
        /// Path in the run's directory, empty for its root.
        #[serde(default, deserialize_with = "lenient::or_default")]
        path: String,
        /// What to read.
        read_args: ReadArgs,
    },
    /// Send a message to a port of the run and answer with what comes back.
    Netcat {
        /// The run.
        uuid: Uuid,
        /// Where to send the reply.
        socket_id: i64,
        /// TCP port.
        port: u16,
        /// Text to send.
        message: String,
        /// Other bytes to send, in base64, instead of the text; only to workers with
        /// [`super::NETCAT_BYTES`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_base64: Option<String>,
    },
    /// Write a text to a file of the run; no reply.
    Write {
        /// The run.
        uuid: Uuid,
        /// File name.
        subpath: String,
        /// Contents.
        string: String,
    },
    /// A type this version does not know; ignored.
    #[serde(other)]
    Unknown,
}

impl WorkerMessage {
    /// The run that the message is about.
    pub fn uuid(&self) -> Option<Uuid> {
        match self {
            Self::Run(run) => Some(run.bundle.uuid),
            Self::Kill { uuid, .. }
            | Self::MarkFinalized { uuid }
            | Self::Read { uuid, .. }
            | Self::Netcat { uuid, .. }
            | Self::Write { uuid, .. } => Some(*uuid),
            Self::Unknown => None,
        }
    }

    /// The value of the `type` key.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Kill { .. } => "kill",
            Self::MarkFinalized { .. } => "mark_finalized",
            Self::Read { .. } => "read",
            Self::Netcat { .. } => "netcat",
            Self::Write { .. } => "write",
            Self::Unknown => "unknown",
        }
    }
}

/// The body of a `run` message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunMessage {
    /// The bundle to execute.
    pub bundle: RunBundle,
    /// What it may use.
    pub resources: RunResources,
}

/// A bundle as workers get it. All keys are present; old workers read `exclude_patterns` and `store` of the metadata
/// without a default, which [`Metadata::from_rows`] always fills.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunBundle {
    /// The run.
    pub uuid: Uuid,
    /// Always `run`.
    pub bundle_type: String,
    /// Its owner.
    #[serde(default)]
    pub owner_id: Option<String>,
    /// What to execute.
    #[serde(default)]
    pub command: Option<String>,
    /// State at the time of sending.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub state: String,
    /// ISO time without zone, or null.
    #[serde(default)]
    pub frozen: Option<String>,
    /// Whether its owner is hidden.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub is_anonymous: bool,
    /// All metadata.
    pub metadata: Metadata,
    /// The command line that would make it again.
    #[serde(default)]
    pub args: Option<String>,
    /// Parents to mount.
    #[serde(default)]
    pub dependencies: Vec<RunDependency>,
    /// Absolute path of the contents for workers that share the file system, else null.
    #[serde(default)]
    pub location: Option<String>,
}

impl RunBundle {
    /// The record of a stored bundle. `parent_name` looks up the current name of a parent. Locations stay null.
    pub fn new(bundle: &Bundle, mut parent_name: impl FnMut(&Uuid) -> Option<String>) -> Self {
        let dependencies = bundle
            .dependencies
            .iter()
            .map(|dependency| RunDependency {
                parent_name: parent_name(&dependency.parent_uuid),
                parent_path: dependency.parent_path.clone(),
                parent_uuid: dependency.parent_uuid,
                child_path: dependency.child_path.clone(),
                child_uuid: dependency.child_uuid,
                location: None,
            })
            .collect();
        Self {
            uuid: bundle.uuid,
            bundle_type: bundle.bundle_type.to_string(),
            owner_id: bundle.owner_id.as_ref().map(ToString::to_string),
            command: bundle.command.clone(),
            state: bundle.state.to_string(),
            frozen: bundle.frozen.map(crate::time::UtcTime::iso_naive),
            is_anonymous: bundle.is_anonymous,
            metadata: bundle.metadata.clone(),
            args: bundle.args(),
            dependencies,
            location: None,
        }
    }
}

/// A dependency as workers get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDependency {
    /// Current name of the parent; null if it is gone.
    #[serde(default)]
    pub parent_name: Option<String>,
    /// Part of the parent, empty for all of it.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub parent_path: String,
    /// The parent.
    pub parent_uuid: Uuid,
    /// Where it appears in the run's working directory.
    pub child_path: String,
    /// The run.
    pub child_uuid: Uuid,
    /// Absolute path of the parent for workers that share the file system, else null.
    #[serde(default)]
    pub location: Option<String>,
}

/// What a `read` message asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReadArgs {
    /// The info tree; answered by a JSON reply.
    GetTargetInfo {
        /// Levels below the path.
        depth: i64,
    },
    /// The directory as tar.gz; answered by data.
    StreamDirectory,
    /// The file, gzipped; answered by data.
    StreamFile,
    /// A part of the file, gzipped; answered by data.
    ReadFileSection {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// First and last lines of the file, gzipped; answered by data.
    SummarizeFile {
        /// Lines from the start.
        num_head_lines: u64,
        /// Lines from the end.
        num_tail_lines: u64,
        /// Bytes after which a line is cut.
        max_line_length: u64,
        /// Text between the two parts.
        truncation_text: String,
    },
    /// A type this version does not know; answered by an error.
    #[serde(other)]
    Unsupported,
}

/// A JSON reply of a worker. Exactly one part is set, or none: the empty object, an empty netcat answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Answer to `get_target_info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_info: Option<TargetInfo>,
    /// HTTP status of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u16>,
    /// Text of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

impl Reply {
    /// A reply that carries an info tree.
    pub fn info(target_info: TargetInfo) -> Self {
        Self {
            target_info: Some(target_info),
            ..Self::default()
        }
    }

    /// A reply that says what went wrong.
    pub fn error(error: &Error) -> Self {
        Self {
            error_code: Some(error.status()),
            error_message: Some(error.message.clone()),
            ..Self::default()
        }
    }

    /// The reply of a worker that no longer holds the run.
    pub fn no_longer_running() -> Self {
        Self::error(&Error::internal(super::BUNDLE_NO_LONGER_RUNNING))
    }

    /// Whether it is that reply.
    pub fn is_no_longer_running(&self) -> bool {
        self.error_message.as_deref() == Some(super::BUNDLE_NO_LONGER_RUNNING)
    }

    /// The failure it reports, if it does.
    pub fn failure(&self) -> Option<Error> {
        let status = self.error_code?;
        Some(Error::new(
            ErrorKind::from_status(status),
            self.error_message.clone().unwrap_or_default(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const UUID: &str = "0x0000000000000000000000000000abcd";

    fn check(value: &Value) -> WorkerMessage {
        let message: WorkerMessage = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(&serde_json::to_value(&message).unwrap(), value);
        assert_eq!(value["type"], message.type_name());
        message
    }

    #[test]
    fn every_message_has_the_shape_of_the_contract() {
        check(&json!({"type": "kill", "uuid": UUID}));
        check(&json!({"type": "kill", "uuid": UUID, "kill_message": "Kill requested: x"}));
        check(&json!({"type": "mark_finalized", "uuid": UUID}));
        check(&json!({"type": "netcat", "uuid": UUID, "socket_id": 3, "port": 80, "message": "hi"}));
        check(&json!({"type": "write", "uuid": UUID, "subpath": "message", "string": "hello"}));
        for read_args in [
            json!({"type": "get_target_info", "depth": 1}),
            json!({"type": "stream_directory"}),
            json!({"type": "stream_file"}),
            json!({"type": "read_file_section", "offset": 1, "length": 2}),
            json!({"type": "summarize_file", "num_head_lines": 1, "num_tail_lines": 2, "max_line_length": 3, "truncation_text": "…"}),
        ] {
            check(&json!({"type": "read", "uuid": UUID, "socket_id": 7, "path": "", "read_args": read_args}));
        }
    }

    #[test]
    fn the_run_message_of_the_contract_round_trips() {
        let value = json!({
            "type": "run",
            "bundle": {
                "uuid": UUID, "bundle_type": "run", "owner_id": "17", "command": "python train.py", "state": "starting",
                "frozen": null, "is_anonymous": false, "metadata": {"exclude_patterns": [], "name": "run-python", "store": ""},
                "args": "run …",
                "dependencies": [{
                    "parent_name": "corpus", "parent_path": "src/data", "parent_uuid": "0x11112222333344445555666677778888",
                    "child_path": "data", "child_uuid": UUID, "location": null,
                }],
                "location": null,
            },
            "resources": {
                "cpus": 1, "gpus": 0, "docker_image": "python:3.9", "time": 31_535_999, "memory": 2_147_483_648_i64,
                "disk": 10_737_418_240_i64, "network": true, "tag": "", "tag_exclusive": false, "runs_left": null,
            },
        });
        assert_eq!(check(&value).uuid().unwrap(), *UUID);
        let mut floats = value;
        floats["resources"]["time"] = json!(31_535_999.0);
        floats["bundle"]["frozen"].take();
        assert!(
            matches!(serde_json::from_value(floats).unwrap(), WorkerMessage::Run(run) if run.resources.time == 31_535_999)
        );
    }

    #[test]
    fn the_actions_of_users_and_new_types_are_tolerated() {
        let action = json!({"type": "kill", "uuid": UUID, "subpath": null, "string": null});
        assert!(matches!(
            serde_json::from_value(action).unwrap(),
            WorkerMessage::Kill { kill_message: None, .. }
        ));
        let future = json!({"type": "dance", "uuid": UUID});
        assert_eq!(
            serde_json::from_value::<WorkerMessage>(future).unwrap(),
            WorkerMessage::Unknown
        );
        let read = json!({"type": "read", "uuid": UUID, "socket_id": 1, "path": "", "read_args": {"type": "smell"}});
        assert!(matches!(
            serde_json::from_value(read).unwrap(),
            WorkerMessage::Read {
                read_args: ReadArgs::Unsupported,
                ..
            }
        ));
    }

    #[test]
    fn replies_carry_info_errors_or_nothing() {
        assert_eq!(serde_json::to_value(Reply::default()).unwrap(), json!({}));
        let reply = serde_json::to_value(Reply::no_longer_running()).unwrap();
        assert_eq!(
            reply,
            json!({"error_code": 500, "error_message": "Bundle no longer running"})
        );
        let reply: Reply = serde_json::from_value(json!({"error_code": 404, "error_message": "no"})).unwrap();
        assert_eq!(reply.failure().unwrap(), Error::not_found("no"));
    }
}
