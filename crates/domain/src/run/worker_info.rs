//! A worker as the listing shows it (worker section 9.2, REST section 16.6).

use serde::{Deserialize, Serialize};

use crate::lenient;

/// One element of `GET /workers/info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Owner of the worker.
    pub user_id: String,
    /// The id it chose.
    pub worker_id: String,
    /// Group that may use it.
    #[serde(default)]
    pub group_uuid: Option<String>,
    /// Queue that it serves.
    #[serde(default)]
    pub tag: Option<String>,
    /// CPUs in total.
    #[serde(default, deserialize_with = "lenient::int")]
    pub cpus: i64,
    /// GPUs in total.
    #[serde(default, deserialize_with = "lenient::int")]
    pub gpus: i64,
    /// Bytes of memory in total.
    #[serde(default, deserialize_with = "lenient::int")]
    pub memory_bytes: i64,
    /// Free bytes on disk.
    #[serde(default, deserialize_with = "lenient::optional_int")]
    pub free_disk_bytes: Option<i64>,
    /// Unix seconds of the last check-in.
    #[serde(default, deserialize_with = "lenient::int")]
    pub checkin_time: i64,
    /// The worker's own socket.
    #[serde(default, deserialize_with = "lenient::int")]
    pub socket_id: i64,
    /// Runs it holds.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub run_uuids: Vec<String>,
    /// Whether it sees the bundle store's files.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub shared_file_system: bool,
    /// Whether it takes only runs that ask for its tag.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub tag_exclusive: bool,
    /// Runs it will still accept.
    #[serde(default, deserialize_with = "lenient::int")]
    pub exit_after_num_runs: i64,
    /// Whether it takes nothing more.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub is_terminating: bool,
    /// Whether the machine may be taken away.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub preemptible: bool,
    /// Sum of the CPUs that its runs asked for.
    #[serde(default, deserialize_with = "lenient::int")]
    pub cpus_in_use: i64,
    /// Sum of the GPUs that its runs asked for.
    #[serde(default, deserialize_with = "lenient::int")]
    pub gpus_in_use: i64,
}
