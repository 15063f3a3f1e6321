//! Reading the contents of a bundle.

use std::path::PathBuf;

use contents::{ByteStream, FileBlob, PackOptions, SubPath, Summary};
use domain::target_info::{TargetInfo, TargetType};
use domain::{Result, Uuid};

use crate::Storage;

/// The contents of one bundle: stored, or a path it links to. A handle; nothing is opened before something is read.
///
/// Paths that do not exist are 404 errors with the API's text, also when the bundle has no contents at all; links are
/// never followed as the last component and never to the outside.
#[derive(Clone, Debug)]
pub struct Contents {
    storage: Storage,
    uuid: Uuid,
    link: Option<String>,
}

impl Contents {
    pub(crate) fn stored(storage: Storage, uuid: &Uuid) -> Self {
        Self {
            storage,
            uuid: *uuid,
            link: None,
        }
    }

    pub(crate) fn linked(storage: Storage, uuid: &Uuid, link: &str) -> Self {
        Self {
            storage,
            uuid: *uuid,
            link: Some(link.to_owned()),
        }
    }

    /// Parses the path of a request; `..` leaving the bundle is 404.
    pub fn sub_path(&self, text: &str) -> Result<SubPath> {
        SubPath::parse(text).map_err(|error| error.about(self.uuid.as_str(), text))
    }

    /// Where the contents lie on this machine, for workers that share the file system; `None` when there are none.
    pub async fn location(&self) -> Result<Option<PathBuf>> {
        todo!()
    }

    /// Whether there are any.
    pub async fn exists(&self) -> Result<bool> {
        Ok(self.location().await?.is_some())
    }

    /// What is at `path`, and its size in bytes as `lstat` tells it.
    pub async fn kind(&self, _path: &SubPath) -> Result<(TargetType, u64)> {
        todo!()
    }

    /// The info tree; `resolved_target` names this bundle and path.
    pub async fn info(&self, _path: &SubPath, _depth: u32) -> Result<TargetInfo> {
        todo!()
    }

    /// Opens a file for reading; 403 for links and special files.
    pub async fn file(&self, _path: &SubPath) -> Result<FileBlob> {
        todo!()
    }

    /// First and last lines of a file.
    pub async fn summary(&self, _path: &SubPath, _summary: &Summary) -> Result<String> {
        todo!()
    }

    /// The directory as a tar archive. An error item breaks the connection.
    pub async fn directory(&self, _path: &SubPath, _options: PackOptions) -> Result<ByteStream> {
        todo!()
    }

    /// What the file or tree holds, in bytes, measured now (3.11: links count with their text, directories with their own size).
    pub async fn size(&self, _path: &SubPath) -> Result<u64> {
        todo!()
    }

    /// Digest of the file or tree, computed now from all bytes.
    pub async fn digest(&self, _path: &SubPath) -> Result<String> {
        todo!()
    }
}
