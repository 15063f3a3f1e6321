//! The info tree of a path inside a bundle (storage section 4.2, REST section 12.1).

use serde::{Deserialize, Serialize};

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TargetType {
    /// A regular file.
    #[serde(rename = "file")]
    File,
    /// A directory.
    #[serde(rename = "directory")]
    Directory,
    /// A symbolic link.
    #[serde(rename = "link")]
    Link,
    /// A FIFO, socket or device.
    #[serde(rename = "")]
    Other,
}

impl TargetType {
    /// The name on the wire; empty for [`TargetType::Other`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link => "link",
            Self::Other => "",
        }
    }
}

/// Which bundle and path a target turned out to be, after following dependencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedTarget {
    /// The bundle that holds the contents.
    pub bundle_uuid: String,
    /// The path inside it, empty for the whole bundle.
    pub subpath: String,
}

/// One entry of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Last path component; the uuid for the root of a bundle.
    pub name: String,
    /// File, directory, link or other.
    #[serde(rename = "type")]
    pub target_type: TargetType,
    /// Bytes as `lstat` reports them.
    #[serde(default)]
    pub size: u64,
    /// Permission bits (mode & 0777).
    #[serde(default)]
    pub perm: u32,
    /// Text of a symbolic link; links only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Children of a directory, in byte order of names, while the asked depth reaches them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<Vec<TargetInfo>>,
    /// Top entry only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_target: Option<ResolvedTarget>,
    /// Set when the reply was capped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl TargetInfo {
    /// Whether it is a directory.
    pub const fn is_dir(&self) -> bool {
        matches!(self.target_type, TargetType::Directory)
    }
}
