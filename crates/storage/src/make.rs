//! Make bundles: contents put together from other bundles.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use contents::{SubPath, copy_tree};
use domain::{Error, Result, Uuid};

use crate::layout::failed;
use crate::staged::{Place, over_quota};
use crate::{Contents, Staged, Storage, blocking};

/// One dependency of a make bundle.
#[derive(Clone, Debug)]
pub struct MakePart {
    /// Where the copy goes; the root when the bundle is the copy of one target.
    pub child_path: SubPath,
    /// The bundle it comes from ...
    pub parent: Contents,
    /// ... and the path inside it.
    pub parent_path: SubPath,
}

impl Storage {
    /// Copies the parts into a new tree: one part with an empty child path becomes the bundle itself; several become a
    /// directory; none an empty directory. Links are copied as links; a part that is itself a link is refused.
    /// `max_bytes`: quota left for this bundle. When the future is dropped the copying stops and nothing stays.
    pub async fn make(&self, uuid: &Uuid, parts: Vec<MakePart>, max_bytes: Option<u64>) -> Result<Staged> {
        let (storage, uuid) = (self.clone(), *uuid);
        let cancelled = Arc::new(AtomicBool::new(false));
        let _guard = CancelOnDrop(cancelled.clone());
        blocking(move || storage.put_together(&uuid, &parts, max_bytes, &cancelled)).await
    }

    fn put_together(
        &self,
        uuid: &Uuid,
        parts: &[MakePart],
        max_bytes: Option<u64>,
        cancelled: &AtomicBool,
    ) -> Result<Staged> {
        check_apart(parts)?;
        let place = Place::new(self, uuid)?;
        let tree = place.tree();
        if parts.iter().all(|part| !part.child_path.is_root()) {
            std::fs::create_dir(&tree).map_err(|error| failed("make directory", &tree, &error))?;
        }
        let mut done = 0;
        for part in parts {
            let target = tree.join(OsStr::from_bytes(&part.child_path.as_bytes()));
            if let Some(parent) = target.parent()
                && !part.child_path.is_root()
            {
                std::fs::create_dir_all(parent).map_err(|error| failed("make directory", parent, &error))?;
            }
            let target = if part.child_path.is_root() { &tree } else { &target };
            let root = part.parent.root(&part.parent_path)?;
            let mut check = |bytes: u64| match max_bytes {
                _ if cancelled.load(Ordering::Relaxed) => {
                    Err(contents::Error::io("copy", std::io::Error::other("cancelled")))
                }
                Some(limit) if done + bytes > limit => Err(contents::Error::TooBig { limit }),
                _ => Ok(()),
            };
            let copied = copy_tree(&root, &part.parent_path, target, &mut check).map_err(|error| match error {
                contents::Error::TooBig { limit } => over_quota(uuid, &format!("more than {limit} bytes"), limit),
                contents::Error::Link => Error::usage(format!(
                    "{} is a symlink; links are not followed",
                    part.parent.shown(&part.parent_path)
                )),
                other => part.parent.explain(other, &part.parent_path),
            })?;
            done += copied.bytes;
        }
        place.finish(max_bytes, None, 0, false)
    }
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// No part may lie inside another one: what is copied there could be a link to somewhere else.
fn check_apart(parts: &[MakePart]) -> Result<()> {
    for (index, part) in parts.iter().enumerate() {
        for (other_index, other) in parts.iter().enumerate() {
            if index != other_index && part.child_path.starts_with(&other.child_path) {
                return Err(Error::usage(format!(
                    "Cannot make '{}' and '{}' in one bundle: one lies inside the other",
                    other.child_path, part.child_path
                )));
            }
        }
    }
    Ok(())
}
