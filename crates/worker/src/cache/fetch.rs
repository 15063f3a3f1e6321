//! Downloads a dependency from the server: a directory as a gzip'd tar that is unpacked on the way, or one file.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use async_trait::async_trait;
use client::{BlobOptions, Client};
use contents::{ArchiveKind, UnpackOptions, stream, unpack};
use domain::run::DependencyKey;
use futures::StreamExt;
use tokio::sync::watch;

use super::Fetch;

/// Downloads with the worker's own account.
pub struct HttpFetch(pub Client);

#[async_trait]
impl Fetch for HttpFetch {
    async fn fetch(&self, key: &DependencyKey, target: PathBuf, received: &watch::Sender<u64>) -> Result<(), String> {
        let (uuid, path) = key;
        let described = |error: client::Error| error.to_string();
        let info = self.0.contents_info(uuid, path, 0).await.map_err(described)?;
        let info = info.ok_or_else(|| format!("{uuid}/{path} not found"))?;
        let download = self
            .0
            .blob(uuid, path, &BlobOptions::default())
            .await
            .map_err(described)?;
        let counter = received.clone();
        let body = download.body.inspect(move |piece| {
            if let Ok(bytes) = piece {
                counter.send_modify(|sum| *sum += bytes.len() as u64);
            }
        });
        let is_directory = info["type"] == "directory";
        let permissions = info["perm"].as_u64().unwrap_or(0o644) as u32 & 0o777 | 0o400;
        let written = stream::consume(body, move |reader| {
            if is_directory {
                return unpack(ArchiveKind::TarGz, reader, &target, &UnpackOptions::default()).map(drop);
            }
            let failed = |error| contents::Error::io(target.display().to_string(), error);
            let mut file = File::create_new(&target).map_err(failed)?;
            std::io::copy(reader, &mut file).map_err(failed)?;
            file.set_permissions(std::fs::Permissions::from_mode(permissions))
                .map_err(failed)
        });
        written.await.map_err(|error| error.to_string())
    }
}
