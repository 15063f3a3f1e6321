//! Which GPUs containers can use: what the host's `nvidia-smi` lists, else what it lists inside a container.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{LogsOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptions};
use futures::StreamExt;
use tokio::sync::watch;

use super::image::Images;
use crate::machine::{host_gpus, parse_gpus};

const PROBE_IMAGE: &str = "nvidia/cuda:11.5.2-base-ubuntu20.04";
const PROBE_PATIENCE: Duration = Duration::from_secs(600);

/// Index to UUID. Any trouble means that there are none.
pub async fn discover(docker: &Docker, images: &Images, nvidia: bool) -> BTreeMap<String, String> {
    let listed = host_gpus().await;
    if !listed.is_empty() || !nvidia {
        return listed;
    }
    match tokio::time::timeout(PROBE_PATIENCE, ask_container(docker, images)).await {
        Ok(Ok(text)) => parse_gpus(&text),
        Ok(Err(error)) => {
            tracing::warn!("Cannot initialize NVIDIA runtime, no GPU support: {error}");
            BTreeMap::new()
        }
        Err(_) => BTreeMap::new(),
    }
}

async fn ask_container(docker: &Docker, images: &Images) -> Result<String, String> {
    images.get(PROBE_IMAGE, &watch::channel(String::new()).0).await?;
    let described = |error: bollard::errors::Error| error.to_string();
    let body = ContainerCreateBody {
        image: Some(PROBE_IMAGE.to_owned()),
        cmd: Some(
            ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
                .map(str::to_owned)
                .to_vec(),
        ),
        env: Some(vec!["NVIDIA_VISIBLE_DEVICES=all".to_owned()]),
        host_config: Some(HostConfig {
            runtime: Some("nvidia".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None, body).await.map_err(described)?.id;
    let asked = async {
        docker.start_container(&id, None).await.map_err(described)?;
        let _ = docker.wait_container(&id, None::<WaitContainerOptions>).next().await;
        let options = LogsOptionsBuilder::default().stdout(true).build();
        let mut pieces = docker.logs(&id, Some(options));
        let mut text = Vec::new();
        while let Some(Ok(LogOutput::StdOut { message })) = pieces.next().await {
            text.extend_from_slice(&message);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let outcome = asked.await;
    let force = RemoveContainerOptionsBuilder::default().force(true).build();
    if let Err(error) = docker.remove_container(&id, Some(force)).await {
        tracing::debug!("{error}");
    }
    outcome
}
