//! Runs bundles in containers of a Docker engine (or whatever speaks its API at `DOCKER_HOST`).
//!
//! The handle of a run is the container's id. A container carries the run and the attempt as labels, so that after a
//! crash it is recognised as ours and never started a second time.

mod container;
mod failure;
mod gpus;
mod image;
mod network;
mod usage;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as Status};
use bollard::query_parameters::{
    KillContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures::StreamExt;
use tokio::sync::watch;

use self::container::Features;
use self::failure::{is_conflict, is_missing};
use self::image::Images;
use self::network::Networks;
use super::{Exit, Image, Job, Runtime, StartError, Usage};
use crate::config::Config;

/// An engine that does not answer within this time is as good as none.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// For everything else, e.g. removing a container with a huge file system.
const CALL_PATIENCE: Duration = Duration::from_secs(720);
/// Bytes of a container's own log that are kept as a failure message.
const LOG_LIMIT: usize = 4096;

pub struct DockerRuntime {
    docker: Docker,
    networks: Networks,
    images: Images,
    features: Features,
}

impl DockerRuntime {
    /// Finds the engine and makes the networks. An error says why there is none.
    pub async fn connect(config: &Config) -> Result<Self, String> {
        let described = |error: bollard::errors::Error| error.to_string();
        let docker = Docker::connect_with_defaults()
            .map_err(described)?
            .with_timeout(CALL_PATIENCE);
        let reached = async {
            let docker = docker.negotiate_version().await.map_err(described)?;
            let info = docker.info().await.map_err(described)?;
            Ok::<_, String>((docker, info))
        };
        let (docker, info) = tokio::time::timeout(CONNECT_PATIENCE, reached)
            .await
            .map_err(|_| "no answer".to_owned())??;
        let nvidia = info.runtimes.is_some_and(|runtimes| runtimes.contains_key("nvidia"));
        let networks = Networks::new(docker.clone(), &config.network_prefix);
        networks.ensure().await.map_err(described)?;
        let images = Images::new(docker.clone(), config.max_image_size, config.max_image_cache_size);
        Ok(Self {
            docker,
            networks,
            images,
            features: Features {
                nvidia,
                init: AtomicBool::new(true),
            },
        })
    }

    /// GPUs that containers can use.
    pub async fn gpus(&self) -> BTreeMap<String, String> {
        gpus::discover(&self.docker, &self.images, self.features.nvidia).await
    }

    async fn inspect(&self, handle: &str) -> Result<Option<ContainerInspectResponse>, String> {
        match self.docker.inspect_container(handle, None).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(format!("Unable to check Docker container status: {error}")),
        }
    }

    /// The container's own error stream; the command's is redirected, so this is trouble with bash or the redirection.
    async fn log(&self, handle: &str) -> Option<String> {
        let options = LogsOptionsBuilder::default().stderr(true).stdout(false).build();
        let mut pieces = self.docker.logs(handle, Some(options));
        let mut text = Vec::new();
        while let Some(Ok(piece)) = pieces.next().await {
            text.extend(piece.into_bytes().iter().filter(|byte| byte.is_ascii()));
            if text.len() >= LOG_LIMIT {
                text.truncate(LOG_LIMIT);
                break;
            }
        }
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn isolates(&self) -> bool {
        true
    }

    fn dependency_path(&self, uuid: &str, child_path: &str, _host_path: &Path) -> PathBuf {
        Path::new(&format!("/{uuid}_dependencies")).join(child_path)
    }

    fn mounts_anywhere(&self) -> bool {
        true
    }

    async fn image(&self, name: &str, progress: &watch::Sender<String>) -> Result<Image, String> {
        self.images.get(name, progress).await
    }

    fn handle(&self, uuid: &str, attempt: &str) -> String {
        format!("{}@{attempt}", container::name(uuid))
    }

    async fn start(&self, job: &Job) -> Result<String, StartError> {
        container::start(&self.docker, &self.networks, job, &self.features).await
    }

    async fn wait(&self, handle: &str) -> Result<Exit, String> {
        loop {
            let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
            // A failing command, a vanished container: the inspection tells.
            let announced = self.docker.wait_container(handle, Some(options)).next().await;
            let Some(found) = self.inspect(handle).await? else {
                let failure = Some("Docker container not found".to_owned());
                return Ok(Exit {
                    failure,
                    ..Exit::default()
                });
            };
            let state = found.state.unwrap_or_default();
            if matches!(state.status, Some(Status::EXITED | Status::DEAD | Status::REMOVING)) {
                return Ok(Exit {
                    code: state.exit_code.and_then(|code| i32::try_from(code).ok()),
                    failure: self.log(handle).await.or(state.error.filter(|text| !text.is_empty())),
                    out_of_memory: state.oom_killed,
                    wall_seconds: seconds_between(state.started_at.as_deref(), state.finished_at.as_deref()),
                    ..Exit::default()
                });
            }
            if let Some(Err(error)) = announced
                && !matches!(error, bollard::errors::Error::DockerContainerWaitError { .. })
            {
                return Err(format!("Unable to check Docker API for container: {error}"));
            }
            // Created but not started, or paused: whoever did that goes on soon.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn measure(&self, handle: &str, usage: &watch::Sender<Usage>) {
        usage::follow(&self.docker, handle, usage).await;
    }

    async fn kill(&self, handle: &str) -> Result<(), String> {
        let options = KillContainerOptionsBuilder::default().signal("KILL").build();
        match self.docker.kill_container(handle, Some(options)).await {
            Err(error) if !is_missing(&error) && !is_conflict(&error) => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    async fn remove(&self, handle: &str) -> Result<(), String> {
        let handle = match handle.split_once('@') {
            None => handle.to_owned(),
            Some((name, attempt)) => match self.inspect(name).await? {
                Some(found) if container::attempt(&found) == Some(attempt) => name.to_owned(),
                _ => return Ok(()),
            },
        };
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(&handle, Some(options)).await {
            Err(error) if is_missing(&error) => Ok(()),
            // Somebody else is removing it.
            Err(error) if is_conflict(&error) => Ok(()),
            Err(error) => Err(format!("Unable to remove Docker container: {error}")),
            Ok(()) => Ok(()),
        }
    }

    async fn address(&self, handle: &str) -> Result<IpAddr, String> {
        let address = self.networks.address(handle).await;
        address.map_err(|error| format!("Unable to fetch Docker container ip: {error}"))
    }

    async fn close(&self) {
        self.networks.remove().await;
    }
}

fn seconds_between(start: Option<&str>, end: Option<&str>) -> Option<f64> {
    let at = |text: Option<&str>| text?.parse::<jiff::Timestamp>().ok();
    let (start, end) = (at(start)?, at(end)?);
    let seconds = end.duration_since(start).as_secs_f64();
    (seconds >= 0.0 && start.as_second() > 0).then_some(seconds)
}
