//! Images: names, pulls with progress, and the cache of used images.
//!
//! A tag is pulled again when the last look at the registry is a minute old, since it may have moved. An image without
//! a repository digest was made on this machine and never pulled; a digest never changes; neither is asked for again.
//! When the registry cannot be reached the local image serves, and the registry is left in peace for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::failure::is_missing;
use crate::runtime::Image;

/// A pulled tag is taken as current for this long.
const FRESH: Duration = Duration::from_secs(60);
/// After a failed pull the local image is used without asking for this long.
const RESIGNED: Duration = Duration::from_secs(600);
/// With a local image at hand, a registry that does not even begin to answer is not waited for any longer.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(5);
const CACHE_REPOSITORY: &str = "codalab-image-cache/last-used";

pub struct Images {
    docker: Docker,
    max_size: Option<u64>,
    max_cache: Option<u64>,
    /// Until when a name needs no look at its registry.
    settled: Mutex<HashMap<String, Instant>>,
    /// One pull per name; others wait for it and then find it settled.
    pulling: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Images {
    pub fn new(docker: Docker, max_size: Option<u64>, max_cache: Option<u64>) -> Self {
        Self {
            docker,
            max_size,
            max_cache,
            settled: Mutex::default(),
            pulling: Mutex::default(),
        }
    }

    /// Makes the image available. An error is one of the bundle.
    pub async fn get(&self, name: &str, progress: &watch::Sender<String>) -> Result<Image, String> {
        let name = with_tag(name);
        let image = self.available(&name, progress).await?;
        if self.max_cache.is_some() {
            self.note_use(&image).await;
        }
        Ok(Image {
            digest: image.repo_digests.and_then(|digests| digests.into_iter().next()),
        })
    }

    async fn available(&self, name: &str, progress: &watch::Sender<String>) -> Result<ImageInspect, String> {
        let local = self.local(name).await?;
        if let Some(image) = local.filter(|image| self.is_settled(name, image)) {
            return Ok(image);
        }
        let turn = self
            .pulling
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name.to_owned())
            .or_default()
            .clone();
        let _turn = turn.lock().await;
        let local = self.local(name).await?;
        let has_local = local.is_some();
        if let Some(image) = local.filter(|image| self.is_settled(name, image)) {
            return Ok(image);
        }
        progress.send_replace("Download starting".to_owned());
        let pulled = self.pull(name, progress, has_local).await;
        let now = Instant::now();
        let until = now + if pulled.is_ok() { FRESH } else { RESIGNED };
        let found = self.local(name).await?;
        match (found, pulled) {
            (Some(image), outcome) => {
                if let Err(error) = outcome {
                    tracing::warn!("{name} cannot be pulled ({error}); the local copy is used");
                }
                self.settled
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(name.to_owned(), until);
                Ok(image)
            }
            (None, Ok(())) => Err(format!("{name} was pulled, but the engine does not find it")),
            (None, Err(PullError::TooLarge(why))) => Err(why),
            (None, Err(error)) => Err(format!("Can't download image: {error}")),
        }
    }

    fn is_settled(&self, name: &str, image: &ImageInspect) -> bool {
        let made_here = image.repo_digests.as_ref().is_none_or(Vec::is_empty);
        if made_here || name.contains('@') {
            return true;
        }
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.get(name).is_some_and(|until| Instant::now() < *until)
    }

    async fn local(&self, name: &str) -> Result<Option<ImageInspect>, String> {
        match self.docker.inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn pull(&self, name: &str, progress: &watch::Sender<String>, has_local: bool) -> Result<(), PullError> {
        let failed = PullError::Failed;
        let options = CreateImageOptionsBuilder::default().from_image(name).build();
        let mut events = self.docker.create_image(Some(options), None, credentials(name));
        let mut heard = false;
        // The compressed size of each layer, as it becomes known.
        let mut layers: HashMap<String, u64> = HashMap::new();
        loop {
            let next = events.next();
            let event = if has_local && !heard {
                let silence = |_| failed("the registry does not answer".to_owned());
                tokio::time::timeout(REGISTRY_PATIENCE, next).await.map_err(silence)?
            } else {
                next.await
            };
            let event = match event {
                None => return Ok(()),
                Some(Err(error)) => return Err(failed(error.to_string())),
                Some(Ok(event)) => event,
            };
            heard = true;
            if let Some(message) = event.error_detail.as_ref().and_then(|detail| detail.message.as_ref()) {
                return Err(failed(message.clone()));
            }
            if let (Some(layer), Some(size)) = (event.id.clone(), layer_size(&event)) {
                layers.insert(layer, size);
            }
            let size = layers.values().sum();
            if let Some(limit) = self.max_size.filter(|limit| size > *limit && !has_local) {
                // Dropping the events ends the pull.
                return Err(PullError::TooLarge(too_large(name, size, limit)));
            }
            progress.send_replace(progress_text(&event));
        }
    }

    /// Tags the image with the time, and removes the longest unused ones while all together are too large.
    async fn note_use(&self, image: &ImageInspect) {
        if let Err(error) = self.try_note_use(image).await {
            tracing::warn!("image cache: {error}");
        }
    }

    async fn try_note_use(&self, image: &ImageInspect) -> Result<(), bollard::errors::Error> {
        let Some(id) = image.id.as_deref() else {
            return Ok(());
        };
        let time = format!("{:.6}", crate::run::unix_now());
        let options = TagImageOptionsBuilder::default()
            .repo(CACHE_REPOSITORY)
            .tag(&time)
            .build();
        self.docker.tag_image(id, Some(options)).await?;
        let filters = HashMap::from([("reference", vec![CACHE_REPOSITORY])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let mut cached: Vec<(f64, String, u64)> = Vec::new();
        for found in self.docker.list_images(Some(options)).await? {
            let mut tags: Vec<(f64, &String)> = found
                .repo_tags
                .iter()
                .filter_map(|tag| Some((used_at(tag)?, tag)))
                .collect();
            tags.sort_by(|a, b| a.0.total_cmp(&b.0));
            let Some((last, _)) = tags.pop() else {
                continue;
            };
            for (_, old) in tags {
                self.docker.remove_image(old, None::<RemoveImageOptions>, None).await?;
            }
            cached.push((last, found.id, u64::try_from(found.size).unwrap_or(0)));
        }
        cached.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut sum: u64 = cached.iter().map(|(_, _, size)| size).sum();
        for (_, old, size) in cached.iter().filter(|(_, old, _)| old != id) {
            if self.max_cache.is_none_or(|limit| sum <= limit) {
                break;
            }
            let force = RemoveImageOptionsBuilder::default().force(true).build();
            match self.docker.remove_image(old, Some(force), None).await {
                Ok(_) => sum = sum.saturating_sub(*size),
                Err(error) => tracing::warn!("{old} stays in the image cache: {error}"),
            }
        }
        Ok(())
    }
}

/// Why a pull ended without an image.
#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    Failed(String),
}

fn too_large(name: &str, size: u64, limit: u64) -> String {
    let format = |bytes: u64| domain::size::format(bytes as f64);
    format!(
        "The size of {name}: {} exceeds the maximum image size allowed {}.",
        format(size),
        format(limit)
    )
}

/// Bytes that a layer has to be downloaded.
fn layer_size(event: &CreateImageInfo) -> Option<u64> {
    let downloading = event.status.as_deref() == Some("Downloading");
    let total = event.progress_detail.as_ref()?.total?;
    u64::try_from(total).ok().filter(|_| downloading)
}

fn used_at(tag: &str) -> Option<f64> {
    tag.strip_prefix(CACHE_REPOSITORY)?.strip_prefix(':')?.parse().ok()
}

/// `:latest` after a name that has neither tag nor digest. A colon before the last slash belongs to a port.
pub fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if name.contains('@') || last.contains(':') {
        name.to_owned()
    } else {
        format!("{name}:latest")
    }
}

/// The registry of an image name, as Docker's configuration knows it.
fn registry(name: &str) -> &str {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "https://index.docker.io/v1/",
    }
}

/// What `docker login` has left in the worker's own configuration.
fn credentials(name: &str) -> Option<DockerCredentials> {
    let directory = std::env::var_os("DOCKER_CONFIG")
        .map(std::path::PathBuf::from)
        .or_else(|| Some(std::path::Path::new(&std::env::var_os("HOME")?).join(".docker")))?;
    let text = std::fs::read(directory.join("config.json")).ok()?;
    let configuration: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let entry = configuration.get("auths")?.get(registry(name))?;
    let field = |key: &str| entry.get(key).and_then(|value| value.as_str()).map(str::to_owned);
    Some(DockerCredentials {
        auth: field("auth"),
        identitytoken: field("identitytoken"),
        serveraddress: Some(registry(name).to_owned()),
        ..DockerCredentials::default()
    })
}

/// `Downloading 12.5m/50m (25% done)`; empty while the engine does something else.
fn progress_text(event: &CreateImageInfo) -> String {
    let status = event.status.as_deref().unwrap_or_default();
    if !matches!(status, "Downloading" | "Extracting") {
        return String::new();
    }
    let detail = event.progress_detail.as_ref();
    let number = |value: Option<i64>| {
        value
            .and_then(|value| u64::try_from(value).ok())
            .filter(|value| *value > 0)
    };
    match (
        detail.and_then(|d| number(d.current)),
        detail.and_then(|d| number(d.total)),
    ) {
        (Some(current), Some(total)) => {
            let format = |bytes: u64| domain::size::format(bytes as f64);
            format!(
                "{status} {}/{} ({}% done)",
                format(current),
                format(total),
                current * 100 / total
            )
        }
        _ => status.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_a_tag_only_when_they_have_none() {
        for (name, full) in [
            ("python", "python:latest"),
            ("python:3.9", "python:3.9"),
            ("host:5000/img", "host:5000/img:latest"),
            ("host:5000/img:1", "host:5000/img:1"),
            ("python@sha256:00", "python@sha256:00"),
        ] {
            assert_eq!(with_tag(name), full);
        }
        assert_eq!(registry("python:3.9"), "https://index.docker.io/v1/");
        assert_eq!(registry("codalab/default-cpu"), "https://index.docker.io/v1/");
        assert_eq!(registry("ghcr.io/a/b"), "ghcr.io");
        assert_eq!(registry("host:5000/img"), "host:5000");
    }

    #[test]
    fn progress_is_a_short_line() {
        let event = |value: serde_json::Value| serde_json::from_value::<CreateImageInfo>(value).unwrap();
        for (value, text) in [
            (serde_json::json!({"status": "Pulling fs layer"}), ""),
            (serde_json::json!({"status": "Extracting"}), "Extracting"),
            (
                serde_json::json!({"status": "Downloading", "progressDetail": {"current": 512, "total": 2048}}),
                "Downloading 512/2k (25% done)",
            ),
        ] {
            assert_eq!(progress_text(&event(value)), text);
        }
    }

    #[test]
    fn cache_tags_carry_a_time() {
        assert_eq!(used_at("codalab-image-cache/last-used:12.5"), Some(12.5));
        assert_eq!(used_at("codalab-image-cache/last-used-2:12.5"), None);
        assert_eq!(used_at("python:3.9"), None);
    }
}
