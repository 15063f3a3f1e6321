//! The check-in: what a worker reports (worker section 6, REST section 16.1).

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::id::Uuid;
use crate::lenient;
use crate::state::BundleState;

/// What `exit_after_num_runs` says when there is no limit.
pub const UNLIMITED_RUNS: i64 = 999_999_999;

/// Capability: netcat messages may carry any bytes (`message_base64`).
pub const NETCAT_BYTES: &str = "netcat-bytes";

/// A cached dependency: parent uuid and path inside the parent.
pub type DependencyKey = (String, String);

/// `POST /workers/<worker_id>/checkin`. Only `dependencies` and `runs` are required; older workers leave out the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckInRequest {
    /// Queue that the worker serves.
    #[serde(default)]
    pub tag: Option<String>,
    /// Name of the group that may use the worker.
    #[serde(default)]
    pub group_name: Option<String>,
    /// CPUs offered in total.
    #[serde(default, deserialize_with = "lenient::int")]
    pub cpus: i64,
    /// GPUs offered in total.
    #[serde(default, deserialize_with = "lenient::int")]
    pub gpus: i64,
    /// Bytes of memory offered in total.
    #[serde(default, deserialize_with = "lenient::int")]
    pub memory_bytes: i64,
    /// Free bytes on the work directory's file system.
    #[serde(default, deserialize_with = "lenient::optional_int")]
    pub free_disk_bytes: Option<i64>,
    /// All cache entries, also those still downloading.
    #[serde(deserialize_with = "dependency_list")]
    pub dependencies: Vec<DependencyKey>,
    /// Informational.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Every run that the worker holds.
    pub runs: Vec<RunEntry>,
    /// Whether the worker sees the bundle store's files.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub shared_file_system: bool,
    /// Whether only runs that ask for the tag may come.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub tag_exclusive: bool,
    /// Runs that the worker will still accept.
    #[serde(default = "unlimited_runs", deserialize_with = "lenient::int")]
    pub exit_after_num_runs: i64,
    /// Whether the worker is about to leave and takes nothing more.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub is_terminating: bool,
    /// Whether the machine may be taken away at any time.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub preemptible: bool,
    /// Whether only bundles of the worker's own account may come, because nothing isolates them. Older workers never say so.
    #[serde(
        default,
        deserialize_with = "lenient::boolean",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub own_bundles_only: bool,
    /// Longest wait for a message that the worker wants, in seconds; none from older workers, who get
    /// [`super::CHECK_IN_HOLD_SECONDS`]. 0 from workers that a websocket wakes up.
    #[serde(
        default,
        deserialize_with = "lenient::optional_int",
        skip_serializing_if = "Option::is_none"
    )]
    pub wait_seconds: Option<i64>,
    /// What the worker can do beyond 1.7, e.g. [`NETCAT_BYTES`].
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub capabilities: Vec<String>,
}

impl CheckInRequest {
    /// The reports that can be understood; the others are to be logged and skipped.
    pub fn reports(&self) -> impl Iterator<Item = &RunReport> {
        self.runs.iter().filter_map(|entry| match entry {
            RunEntry::Report(report) => Some(&**report),
            RunEntry::Malformed(_) => None,
        })
    }

    /// The dependencies as the database holds them: a JSON array of `[uuid, path]` without blanks.
    pub fn dependencies_json(&self) -> String {
        serde_json::to_string(&self.dependencies).unwrap_or_else(|_| "[]".to_owned())
    }
}

/// One element of `runs`. A malformed one must not fail the check-in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RunEntry {
    /// A report.
    Report(Box<RunReport>),
    /// Something else, kept for the log.
    Malformed(Value),
}

impl<'de> Deserialize<'de> for RunEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(match RunReport::deserialize(&value) {
            Ok(report) => Self::Report(Box::new(report)),
            Err(_) => Self::Malformed(value),
        })
    }
}

impl From<RunReport> for RunEntry {
    fn from(report: RunReport) -> Self {
        Self::Report(Box::new(report))
    }
}

/// What a worker says about one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The run.
    pub uuid: Uuid,
    /// Human status line.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub run_status: String,
    /// Epoch seconds when the run was accepted.
    #[serde(default, deserialize_with = "lenient::float")]
    pub bundle_start_time: f64,
    /// Wall-clock seconds of the container.
    #[serde(default, deserialize_with = "lenient::float")]
    pub container_time_total: f64,
    /// User CPU seconds.
    #[serde(default, deserialize_with = "lenient::float")]
    pub container_time_user: f64,
    /// System CPU seconds.
    #[serde(default, deserialize_with = "lenient::float")]
    pub container_time_system: f64,
    /// Digest of the image in use.
    #[serde(default)]
    pub docker_image: Option<String>,
    /// `preparing`, `running`, `finalizing` or `staged` (given back); others are ignored by the server.
    pub state: BundleState,
    /// The worker's id.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub remote: String,
    /// Exit code of the command once it has ended.
    #[serde(default, deserialize_with = "lenient::optional_int")]
    pub exitcode: Option<i64>,
    /// Why the run failed.
    #[serde(default)]
    pub failure_message: Option<String>,
    /// Time spent per stage; missing from older workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_profile_stats: Option<ProfileStats>,
    /// Busy cores.
    #[serde(default, deserialize_with = "lenient::float")]
    pub cpu_usage: f64,
    /// Fraction of the memory limit in use.
    #[serde(default, deserialize_with = "lenient::float")]
    pub memory_usage: f64,
    /// Bytes under the run's directory.
    #[serde(default, deserialize_with = "lenient::int")]
    pub disk_utilization: i64,
}

/// Time spent in each stage of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProfileStats {
    /// Fetching dependencies and image.
    #[serde(rename = "RUN_STAGE.PREPARING", default, deserialize_with = "lenient::or_default")]
    pub preparing: StageProfile,
    /// Running the command.
    #[serde(rename = "RUN_STAGE.RUNNING", default, deserialize_with = "lenient::or_default")]
    pub running: StageProfile,
    /// Removing container and mounts.
    #[serde(rename = "RUN_STAGE.CLEANING_UP", default, deserialize_with = "lenient::or_default")]
    pub cleaning_up: StageProfile,
    /// Sending the results.
    #[serde(
        rename = "RUN_STAGE.UPLOADING_RESULTS",
        default,
        deserialize_with = "lenient::or_default"
    )]
    pub uploading_results: StageProfile,
    /// Waiting for the server's acknowledgement.
    #[serde(rename = "RUN_STAGE.FINALIZING", default, deserialize_with = "lenient::or_default")]
    pub finalizing: StageProfile,
}

impl ProfileStats {
    /// Metadata key and elapsed seconds of the stages that are recorded; none deletes the key.
    pub fn elapsed(&self) -> [(&'static str, Option<f64>); 4] {
        [
            ("time_preparing", self.preparing.elapsed),
            ("time_running", self.running.elapsed),
            ("time_cleaning_up", self.cleaning_up.elapsed),
            ("time_uploading_results", self.uploading_results.elapsed),
        ]
    }
}

/// Epoch seconds at which a stage began and ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageProfile {
    /// None before the stage.
    #[serde(default)]
    pub start: Option<f64>,
    /// None before its end.
    #[serde(default)]
    pub end: Option<f64>,
    /// Seconds between the two.
    #[serde(default)]
    pub elapsed: Option<f64>,
}

/// `POST /workers/<worker_id>/start_bundle/<uuid>`; answered by JSON `true` or `false`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartBundle {
    /// Host of the worker.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub hostname: String,
    /// Epoch seconds.
    #[serde(deserialize_with = "lenient::int")]
    pub start_time: i64,
}

const fn unlimited_runs() -> i64 {
    UNLIMITED_RUNS
}

/// A list of pairs, or an empty object.
fn dependency_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DependencyKey>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Input {
        List(Vec<DependencyKey>),
        Empty {},
    }
    Ok(match Input::deserialize(deserializer)? {
        Input::List(list) => list,
        Input::Empty {} => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const UUID: &str = "0x0000000000000000000000000000abcd";

    #[test]
    fn the_smallest_check_in_of_an_old_worker_is_understood() {
        let request: CheckInRequest = serde_json::from_value(json!({"dependencies": {}, "runs": []})).unwrap();
        assert_eq!(request.exit_after_num_runs, UNLIMITED_RUNS);
        assert!(!request.preemptible && request.dependencies.is_empty());
        assert!(serde_json::from_value::<CheckInRequest>(json!({"runs": []})).is_err());
    }

    #[test]
    fn a_full_check_in_round_trips() {
        let value = json!({
            "tag": null, "group_name": "g", "cpus": 8, "gpus": 1, "memory_bytes": 33_345_945_600_i64, "free_disk_bytes": null,
            "dependencies": [[UUID, ""], [UUID, "src/data"]], "hostname": "lab-42",
            "runs": [{
                "uuid": UUID, "run_status": "Running", "bundle_start_time": 1_700_000_000.12, "container_time_total": 12.5,
                "container_time_user": 0.0, "container_time_system": 0.0, "docker_image": null, "state": "running", "remote": "w",
                "exitcode": null, "failure_message": null,
                "bundle_profile_stats": {
                    "RUN_STAGE.PREPARING": {"start": 1.0, "end": 8.0, "elapsed": 7.0},
                    "RUN_STAGE.RUNNING": {"start": 8.0, "end": null, "elapsed": null},
                    "RUN_STAGE.CLEANING_UP": {"start": null, "end": null, "elapsed": null},
                    "RUN_STAGE.UPLOADING_RESULTS": {"start": null, "end": null, "elapsed": null},
                    "RUN_STAGE.FINALIZING": {"start": null, "end": null, "elapsed": null},
                },
                "cpu_usage": 0.97, "memory_usage": 0.031, "disk_utilization": 40960,
            }],
            "shared_file_system": false, "tag_exclusive": false, "exit_after_num_runs": 5, "is_terminating": false, "preemptible": true,
        });
        let request: CheckInRequest = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&request).unwrap(), value);
        assert_eq!(
            request
                .reports()
                .next()
                .unwrap()
                .bundle_profile_stats
                .unwrap()
                .elapsed()[0],
            ("time_preparing", Some(7.0))
        );
        assert_eq!(
            request.dependencies_json(),
            format!(r#"[["{UUID}",""],["{UUID}","src/data"]]"#)
        );
    }

    #[test]
    fn one_bad_run_does_not_spoil_the_others() {
        let request: CheckInRequest = serde_json::from_value(json!({
            "dependencies": [], "cpus": 2.0,
            "runs": [{"uuid": "nonsense"}, {"uuid": UUID, "state": "preparing", "exitcode": 1.0, "cpu_usage": null}, 7],
        }))
        .unwrap();
        assert_eq!((request.cpus, request.runs.len(), request.reports().count()), (2, 3, 1));
        let report = request.reports().next().unwrap();
        assert_eq!((report.exitcode, report.disk_utilization), (Some(1), 0));
    }
}
