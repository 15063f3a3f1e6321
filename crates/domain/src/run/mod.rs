//! What server and worker tell each other about runs: resources, check-ins, messages and replies (worker sections 6 to 9).
//! The Python workers and servers of 1.7 read and write the same JSON.

mod checkin;
mod message;
mod resources;
mod worker_info;

pub use checkin::{
    CheckInRequest, DependencyKey, NETCAT_BYTES, ProfileStats, RunEntry, RunReport, StageProfile, StartBundle,
    UNLIMITED_RUNS,
};
pub use message::{ReadArgs, Reply, RunBundle, RunDependency, RunMessage, WorkerMessage};
pub use resources::{DEFAULT_MEMORY, RunResources, strip_tag};
pub use worker_info::WorkerInfo;

/// The error text of a worker that no longer holds the run; makes the server retry a read once from storage.
pub const BUNDLE_NO_LONGER_RUNNING: &str = "Bundle no longer running";

/// A failure message that contains this makes the run end as `killed`.
pub const KILL_REQUESTED: &str = "Kill requested";

/// The longest that a server holds a check-in, in seconds.
pub const CHECK_IN_HOLD_SECONDS: u64 = 5;
