//! Creates and starts the container of a run, at most once per attempt.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum as Status, DeviceRequest, HostConfig,
    Mount, MountType,
};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};

use super::failure::{classify, is_conflict};
use super::network::Networks;
use crate::runtime::{Job, StartError, wrapped_command};

const RUN_LABEL: &str = "codalab.run";
const ATTEMPT_LABEL: &str = "codalab.attempt";
const PIDS_LIMIT: i64 = 32_768;

/// What the engine can do.
pub struct Features {
    /// The `nvidia` container runtime is registered.
    pub nvidia: bool,
    /// There is a small init process for containers, until we learn otherwise.
    pub init: AtomicBool,
}

pub fn name(uuid: &str) -> String {
    format!("codalab_run_{uuid}")
}

/// The attempt that a container belongs to.
pub fn attempt(container: &ContainerInspectResponse) -> Option<&str> {
    container
        .config
        .as_ref()?
        .labels
        .as_ref()?
        .get(ATTEMPT_LABEL)
        .map(String::as_str)
}

/// How often a start is tried again at once because its network had vanished: other workers of this engine, above all
/// Python ones, keep removing networks that no container uses at the moment.
const NETWORK_ATTEMPTS: u32 = 8;

/// Starts the job's container and gives its id; finds it when it exists already.
pub async fn start(docker: &Docker, networks: &Networks, job: &Job, features: &Features) -> Result<String, StartError> {
    for _ in 1..NETWORK_ATTEMPTS {
        match start_with_or_without_init(docker, networks, job, features).await {
            Err(StartError::Bundle(message) | StartError::Machine(message)) if message.contains("network") => {
                tracing::debug!(run = %job.uuid, "a network is made anew: {message}");
                networks.ensure().await.map_err(|error| classify(&error))?;
            }
            outcome => return outcome,
        }
    }
    start_with_or_without_init(docker, networks, job, features).await
}

async fn start_with_or_without_init(
    docker: &Docker,
    networks: &Networks,
    job: &Job,
    features: &Features,
) -> Result<String, StartError> {
    match start_once(docker, networks, job, features).await {
        Err(StartError::Bundle(message) | StartError::Machine(message))
            if message.contains("docker-init") && features.init.swap(false, Ordering::Relaxed) =>
        {
            tracing::warn!("The engine has no docker-init; containers run without it");
            start_once(docker, networks, job, features).await
        }
        outcome => outcome,
    }
}

async fn start_once(
    docker: &Docker,
    networks: &Networks,
    job: &Job,
    features: &Features,
) -> Result<String, StartError> {
    let name = name(&job.uuid);
    let body = body(job, networks, features)?;
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let id = match docker.create_container(Some(options.clone()), body.clone()).await {
        Ok(created) => created.id,
        Err(error) if is_conflict(&error) => match existing(docker, &name, job).await? {
            Found::Started(id) => return Ok(id),
            Found::Created(id) => id,
            Found::Nothing => {
                docker
                    .create_container(Some(options), body)
                    .await
                    .map_err(|error| classify(&error))?
                    .id
            }
        },
        Err(error) => return Err(classify(&error)),
    };
    if let Err(error) = docker.start_container(&id, None).await {
        // Its name would be in the way of the next attempt.
        let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        if let Err(error) = docker.remove_container(&id, Some(force)).await {
            tracing::warn!("{name}: {error}");
        }
        return Err(classify(&error));
    }
    Ok(id)
}

enum Found {
    /// Ours; runs or has run.
    Started(String),
    /// Ours; the worker died before it could start it.
    Created(String),
    /// The name is free (now).
    Nothing,
}

async fn existing(docker: &Docker, name: &str, job: &Job) -> Result<Found, StartError> {
    let machine = |error: Error| StartError::Machine(format!("Unable to check Docker container status: {error}"));
    let found = docker.inspect_container(name, None).await.map_err(machine)?;
    let id = found.id.clone().unwrap_or_else(|| name.to_owned());
    if attempt(&found) != Some(&job.attempt) {
        let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        docker.remove_container(&id, Some(force)).await.map_err(machine)?;
        return Ok(Found::Nothing);
    }
    let created = found.state.is_some_and(|state| state.status == Some(Status::CREATED));
    Ok(if created {
        Found::Created(id)
    } else {
        Found::Started(id)
    })
}

fn body(job: &Job, networks: &Networks, features: &Features) -> Result<ContainerCreateBody, StartError> {
    let home = format!("/{}", job.uuid);
    let owner = std::fs::metadata(&job.directory)
        .map_err(|error| StartError::Machine(format!("{}: {error}", job.directory.display())))?;
    let mut env = vec![format!("HOME={home}"), "CODALAB=true".to_owned()];
    if features.nvidia {
        env.push(format!("NVIDIA_VISIBLE_DEVICES={}", job.gpus.join(",")));
    }
    let mut mounts = vec![bind(&job.directory, Path::new(&home), false)];
    mounts.extend(
        job.mounts
            .iter()
            .map(|mount| bind(&mount.host_path, &mount.job_path, true)),
    );
    let integer = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let cpus: Vec<String> = job.cpus.iter().map(u32::to_string).collect();
    let wants_gpus = !job.gpus.is_empty();
    let host = HostConfig {
        mounts: Some(mounts),
        network_mode: Some(networks.primary(job.network)),
        memory: Some(integer(job.memory)),
        // Without this a limit of N would allow N of swap as well.
        memory_swap: Some(integer(job.memory)),
        cpuset_cpus: Some(cpus.join(",")),
        shm_size: Some(integer(job.shared_memory)),
        pids_limit: Some(PIDS_LIMIT),
        init: Some(features.init.load(Ordering::Relaxed)),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        runtime: (features.nvidia && wants_gpus).then(|| "nvidia".to_owned()),
        device_requests: (!features.nvidia && wants_gpus).then(|| {
            vec![DeviceRequest {
                device_ids: Some(job.gpus.clone()),
                capabilities: Some(vec![vec!["gpu".to_owned()]]),
                ..DeviceRequest::default()
            }]
        }),
        ..HostConfig::default()
    };
    Ok(ContainerCreateBody {
        image: Some(super::image::with_tag(&job.image)),
        // Whatever the image says.
        entrypoint: Some(Vec::new()),
        cmd: Some(vec![
            "/bin/bash".to_owned(),
            "-c".to_owned(),
            wrapped_command(&job.command),
        ]),
        working_dir: Some(home),
        env: Some(env),
        user: Some(format!("{}:{}", owner.uid(), owner.gid())),
        labels: Some(HashMap::from([
            (RUN_LABEL.to_owned(), job.uuid.clone()),
            (ATTEMPT_LABEL.to_owned(), job.attempt.clone()),
        ])),
        tty: Some(false),
        open_stdin: Some(false),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    })
}

fn bind(source: &Path, target: &Path, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_string_lossy().into_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}
