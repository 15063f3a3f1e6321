//! Reading the contents of a bundle.

use std::path::{Path, PathBuf};

use contents::{Beginning, ByteStream, FileBlob, PackOptions, SubPath, Summary};
use domain::target_info::{ResolvedTarget, TargetInfo, TargetType};
use domain::{Error, Result, Uuid};

use crate::layout::Partition;
use crate::{Storage, blocking};

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

/// Where a way through several contents ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayEnd {
    /// At a regular file.
    File {
        /// Number of the step.
        step: usize,
        /// See [`contents::version`].
        version: String,
    },
    /// At something that is no file.
    Other,
    /// At none of its steps is anything.
    Nothing,
    /// It could not be looked at.
    Failed,
}

impl Storage {
    /// Where each way ends: at the first of its steps where something is. One task for all of them, so that many are cheap.
    pub async fn way_ends(&self, ways: Vec<Vec<(Contents, SubPath)>>) -> Result<Vec<WayEnd>> {
        let storage = self.clone();
        blocking(move || {
            let partitions = storage.inner.layout.partitions()?;
            Ok(ways.into_iter().map(|way| way_end(way, &partitions)).collect())
        })
        .await
    }
}

fn way_end(way: Vec<(Contents, SubPath)>, partitions: &[Partition]) -> WayEnd {
    for (step, (contents, path)) in way.into_iter().enumerate() {
        let Some(root) = contents.find_root_in(partitions) else {
            continue;
        };
        match contents::version(&root, &path) {
            Ok(Some(version)) => return WayEnd::File { step, version },
            Ok(None) => return WayEnd::Other,
            Err(contents::Error::NotFound) => {}
            Err(_) => return WayEnd::Failed,
        }
    }
    WayEnd::Nothing
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
        let this = self.clone();
        blocking(move || this.find_root()).await
    }

    /// Whether there are any.
    pub async fn exists(&self) -> Result<bool> {
        Ok(self.location().await?.is_some())
    }

    /// What is at `path`, and its size in bytes as `lstat` tells it.
    pub async fn kind(&self, path: &SubPath) -> Result<(TargetType, u64)> {
        self.read(path, contents::kind).await
    }

    /// The info tree; `resolved_target` names this bundle and path.
    pub async fn info(&self, path: &SubPath, depth: u32) -> Result<TargetInfo> {
        let name = self.root_name();
        let mut info = self
            .read(path, move |root, path| contents::info(root, path, depth, &name))
            .await?;
        info.resolved_target = Some(ResolvedTarget {
            bundle_uuid: self.uuid.as_str().to_owned(),
            subpath: path.to_string(),
        });
        Ok(info)
    }

    /// What is at `path`, and of a file its first `limit` bytes; links and special files are no errors.
    pub async fn beginning(&self, path: &SubPath, limit: u64) -> Result<Beginning> {
        self.read(path, move |root, path| contents::beginning(root, path, limit))
            .await
    }

    /// Opens a file for reading; 403 for links and special files.
    pub async fn file(&self, path: &SubPath) -> Result<FileBlob> {
        self.read(path, contents::open_file).await
    }

    /// First and last lines of a file.
    pub async fn summary(&self, path: &SubPath, summary: &Summary) -> Result<String> {
        let summary = summary.clone();
        self.read(path, move |root, path| contents::summarize(root, path, &summary))
            .await
    }

    /// The directory as a tar archive. An error item breaks the connection.
    pub async fn directory(&self, path: &SubPath, options: PackOptions) -> Result<ByteStream> {
        // Found out now, while an error can still become a status.
        let (root, kind) = self
            .read(path, |root, path| Ok((root.to_owned(), contents::kind(root, path)?.0)))
            .await?;
        if kind != TargetType::Directory {
            return Err(Error::usage(format!("{} is not a directory", self.shown(path))));
        }
        Ok(contents::pack_tree_stream(root, path.clone(), options))
    }

    /// What the file or tree holds, in bytes, measured now: files and links with their length, directories with their
    /// own size.
    pub async fn size(&self, path: &SubPath) -> Result<u64> {
        self.read(path, |root, path| {
            contents::disk_usage(root, path).map(|usage| usage.bytes)
        })
        .await
    }

    /// Digest of the file or tree, computed now from all bytes.
    pub async fn digest(&self, path: &SubPath) -> Result<String> {
        self.read(path, contents::tree_digest).await
    }

    async fn read<T: Send + 'static>(
        &self,
        path: &SubPath,
        work: impl FnOnce(&Path, &SubPath) -> contents::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (this, path) = (self.clone(), path.clone());
        blocking(move || {
            let root = this.root(&path)?;
            work(&root, &path).map_err(|error| this.explain(error, &path))
        })
        .await
    }

    /// The root of the contents; 404 about `path` when there are none. Blocks.
    pub(crate) fn root(&self, path: &SubPath) -> Result<PathBuf> {
        self.find_root()?
            .ok_or_else(|| self.explain(contents::Error::NotFound, path))
    }

    fn find_root(&self) -> Result<Option<PathBuf>> {
        match &self.link {
            Some(_) => Ok(self.find_root_in(&[])),
            None => Ok(self.find_root_in(&self.storage.inner.layout.partitions()?)),
        }
    }

    fn find_root_in(&self, partitions: &[Partition]) -> Option<PathBuf> {
        if let Some(link) = &self.link {
            return self.allowed_link(link);
        }
        let mut places = partitions.iter().map(|partition| partition.bundle(self.uuid.as_str()));
        places.find(|place| place.symlink_metadata().is_ok())
    }

    /// Where a link leads, with every link and `..` resolved, when that lies in an allowed directory and exists.
    fn allowed_link(&self, link: &str) -> Option<PathBuf> {
        let options = &self.storage.inner.options;
        let (path, roots) = match &options.link_prefix {
            Some(prefix) => (prefix.join(link.trim_start_matches('/')), std::slice::from_ref(prefix)),
            None => (PathBuf::from(link), &options.link_roots[..]),
        };
        let path = path.is_absolute().then(|| path.canonicalize().ok())??;
        let is_allowed = |root: &PathBuf| root.canonicalize().is_ok_and(|root| path.starts_with(root));
        roots.iter().any(is_allowed).then_some(path)
    }

    /// Name of the root in the info tree.
    fn root_name(&self) -> String {
        let link_name = self.link.as_deref().and_then(|link| Path::new(link).file_name());
        link_name.map_or_else(
            || self.uuid.as_str().to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    pub(crate) fn explain(&self, error: contents::Error, path: &SubPath) -> Error {
        error.about(self.uuid.as_str(), &path.to_string())
    }

    /// The target as messages show it.
    pub(crate) fn shown(&self, path: &SubPath) -> String {
        if path.is_root() {
            self.uuid.to_string()
        } else {
            format!("{}/{path}", self.uuid)
        }
    }
}
