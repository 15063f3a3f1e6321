//! Make bundles: contents put together from other bundles.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

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
    /// `max_bytes`: quota left for this bundle.
    pub async fn make(&self, uuid: &Uuid, parts: Vec<MakePart>, max_bytes: Option<u64>) -> Result<Staged> {
        let (storage, uuid) = (self.clone(), *uuid);
        blocking(move || storage.put_together(&uuid, &parts, max_bytes)).await
    }

    fn put_together(&self, uuid: &Uuid, parts: &[MakePart], max_bytes: Option<u64>) -> Result<Staged> {
        check_apart(parts)?;
        let place = Place::new(self, uuid)?;
        let tree = place.tree();
        if parts.iter().all(|part| !part.child_path.is_root()) {
            std::fs::create_dir(&tree).map_err(|error| failed("make directory", &tree, &error))?;
        }
        let mut left = max_bytes;
        for part in parts {
            let target = tree.join(OsStr::from_bytes(&part.child_path.as_bytes()));
            if let Some(parent) = target.parent()
                && !part.child_path.is_root()
            {
                std::fs::create_dir_all(parent).map_err(|error| failed("make directory", parent, &error))?;
            }
            let target = if part.child_path.is_root() { &tree } else { &target };
            let root = part.parent.root()?;
            let copied = copy_tree(&root, &part.parent_path, target, left).map_err(|error| match error {
                contents::Error::TooBig { .. } => {
                    let limit = max_bytes.unwrap_or_default();
                    over_quota(uuid, &format!("more than {limit} bytes"), limit)
                }
                contents::Error::Link => Error::usage(format!(
                    "{} is a symlink; links are not followed",
                    part.parent.shown(&part.parent_path)
                )),
                other => part.parent.explain(other, &part.parent_path),
            })?;
            left = left.map(|left| left.saturating_sub(copied.bytes));
        }
        place.finish(max_bytes, None, 0, false)
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
