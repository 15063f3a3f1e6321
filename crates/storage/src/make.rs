//! Make bundles: contents put together from other bundles.

use contents::SubPath;
use domain::{Result, Uuid};

use crate::{Contents, Staged, Storage};

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
    pub async fn make(&self, _uuid: &Uuid, _parts: Vec<MakePart>, _max_bytes: Option<u64>) -> Result<Staged> {
        todo!()
    }
}
