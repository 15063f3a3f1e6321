//! What executes a run: the trait that the run state machine talks to, and its two implementations.

pub mod docker;
pub mod process;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::config::{Config, Gpus, RuntimeKind};
use crate::error::Error;
use crate::machine;

/// Everything a runtime needs to start one run.
#[derive(Clone, Debug)]
pub struct Job {
    pub uuid: String,
    /// Random text made when the run was accepted: tells the containers of two attempts at one bundle apart.
    pub attempt: String,
    pub command: String,
    pub image: String,
    /// The run's working directory on this machine, absolute.
    pub directory: PathBuf,
    pub mounts: Vec<Mount>,
    /// Bytes; never 0.
    pub memory: u64,
    pub cpus: Vec<u32>,
    /// GPU UUIDs.
    pub gpus: Vec<String>,
    pub network: bool,
    /// `/dev/shm`, bytes.
    pub shared_memory: u64,
}

/// A dependency, or one top-level member of it, made visible to the run read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where the data is on this machine.
    pub host_path: PathBuf,
    /// Where the run sees it, absolute.
    pub job_path: PathBuf,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exit {
    pub code: Option<i32>,
    /// Set when something other than the exit code says that the run went wrong.
    pub failure: Option<String>,
    /// `None`: the runtime cannot tell.
    pub out_of_memory: Option<bool>,
    /// Seconds from start to end, when the runtime knows better than the worker's own clock.
    pub wall_seconds: Option<f64>,
    pub user_seconds: Option<f64>,
    pub system_seconds: Option<f64>,
}

/// One measurement of a live run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Busy cores, 1.0 is one core.
    pub cpu: f64,
    /// Bytes now.
    pub memory: u64,
    /// Most bytes seen.
    pub memory_max: u64,
    pub user_seconds: f64,
    pub system_seconds: f64,
}

/// Why a run did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The bundle asks for something that can never work here; it fails with this message.
    #[error("{0}")]
    Bundle(String),
    /// The machine or its engine is in trouble; trying again may help.
    #[error("{0}")]
    Machine(String),
}

/// An image that is ready to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Repository digest, when there is one: what the bundle's `docker_image` will say.
    pub digest: Option<String>,
}

/// Executes runs. Every method may be called again after a restart of the worker: the handle of a run is a text that is
/// kept on disk.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Whether bundles of other accounts may run here.
    fn isolates(&self) -> bool;

    /// Where the job sees the dependency that this machine has at `host_path`; `child_path` is relative and clean.
    fn dependency_path(&self, uuid: &str, child_path: &str, host_path: &Path) -> PathBuf;

    /// Whether dependencies can appear at absolute paths of the job's file system.
    fn mounts_anywhere(&self) -> bool;

    /// Makes the image available. Progress texts go to `progress`. An error fails the bundle.
    async fn image(&self, name: &str, progress: &watch::Sender<String>) -> Result<Image, String>;

    /// A handle that [`Runtime::remove`] understands, for an attempt of which nobody knows whether it was started.
    fn handle(&self, uuid: &str, attempt: &str) -> String;

    /// Starts the job, or finds it already started under the same attempt, and returns its handle.
    async fn start(&self, job: &Job) -> Result<String, StartError>;

    /// Returns as soon as the job has ended; at once when it ended before or is unknown.
    async fn wait(&self, handle: &str) -> Result<Exit, String>;

    /// Measures until the future is dropped; returns when the job is gone.
    async fn measure(&self, handle: &str, usage: &watch::Sender<Usage>);

    /// Ends the job by force. `Ok` when it is gone already.
    async fn kill(&self, handle: &str) -> Result<(), String>;

    /// Removes everything the runtime keeps for the job, by force. `Ok` when there is nothing.
    async fn remove(&self, handle: &str) -> Result<(), String>;

    /// Address at which this machine reaches ports that the job opened.
    async fn address(&self, handle: &str) -> Result<IpAddr, String>;

    /// Tidies up when the worker exits.
    async fn close(&self) {}
}

/// A runtime that works here, and the GPUs that it can give to jobs (index to UUID).
pub struct Chosen {
    pub runtime: Arc<dyn Runtime>,
    pub gpus: BTreeMap<String, String>,
}

/// Finds out which of the wanted runtimes works. `work` is the work directory.
pub async fn choose(config: &Config, work: &Path) -> crate::error::Result<Chosen> {
    let engine = match config.runtime {
        RuntimeKind::Process => None,
        RuntimeKind::Docker | RuntimeKind::Auto => Some(docker::DockerRuntime::connect(config).await),
    };
    match engine {
        Some(Ok(runtime)) => {
            tracing::info!("Bundles run in Docker containers");
            let gpus = if config.gpuset == Gpus::None {
                BTreeMap::new()
            } else {
                runtime.gpus().await
            };
            Ok(Chosen {
                runtime: Arc::new(runtime),
                gpus,
            })
        }
        Some(Err(error)) if config.runtime == RuntimeKind::Docker => Err(Error::Runtime(format!(
            "Unable to use Docker: {error}\nInstall and start Docker (on Debian: apt install docker.io), set DOCKER_HOST, \
             or run bundles as plain processes with --bundle-runtime process."
        ))),
        other => {
            if let Some(Err(error)) = other {
                tracing::info!("No Docker engine answers ({error})");
            }
            let at = work.to_owned();
            let made = tokio::task::spawn_blocking(move || process::ProcessRuntime::new(&at)).await;
            let runtime = made.map_err(|error| Error::Internal(error.to_string()))?;
            let runtime = runtime.map_err(|error| Error::Runtime(format!("Unable to run processes: {error}")))?;
            let gpus = if config.gpuset == Gpus::None {
                BTreeMap::new()
            } else {
                machine::host_gpus().await
            };
            Ok(Chosen {
                runtime: Arc::new(runtime),
                gpus,
            })
        }
    }
}

/// How often limits that nothing announces are looked at.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// The command as it is given to bash: both streams go to files of the working directory. The newline before the
/// closing parenthesis keeps commands that end in a comment or in a backslash working.
pub(crate) fn wrapped_command(command: &str) -> String {
    let trimmed = command.trim_end();
    let plain = !trimmed.contains('#') && !trimmed.contains('\n') && !trimmed.ends_with(['\\', '&']);
    if !plain {
        return format!("( {command}\n) >stdout 2>stderr");
    }
    let end = if trimmed.ends_with(';') { "" } else { ";" };
    format!("( {trimmed}{end} ) >stdout 2>stderr")
}

#[cfg(test)]
mod tests {
    use super::wrapped_command;

    #[test]
    fn commands_keep_their_meaning_inside_the_wrapper() {
        let cases = [
            ("echo hi", "( echo hi; ) >stdout 2>stderr"),
            ("echo hi;", "( echo hi; ) >stdout 2>stderr"),
            ("sleep 1 &", "( sleep 1 &\n) >stdout 2>stderr"),
            ("echo a # note", "( echo a # note\n) >stdout 2>stderr"),
            ("cat <<E\nx\nE", "( cat <<E\nx\nE\n) >stdout 2>stderr"),
        ];
        for (command, wrapped) in cases {
            assert_eq!(wrapped_command(command), wrapped);
        }
    }
}
