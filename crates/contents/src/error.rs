//! What can go wrong inside a tree or an archive, and how it is told to a user of the API.

use std::io;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there, or the way to it leaves the tree through a link.
    #[error("no such file or directory")]
    NotFound,
    /// The path climbs out of the tree with `..`.
    #[error("path leaves the tree")]
    Outside,
    /// The last component is a symbolic link, which is never followed.
    #[error("is a symlink; links are not followed")]
    Link,
    /// A directory where a file is wanted.
    #[error("is a directory")]
    IsDirectory,
    /// A file where a directory is wanted.
    #[error("is not a directory")]
    NotADirectory,
    /// A FIFO, socket or device, which is never opened.
    #[error("is neither a file nor a directory")]
    Special,
    /// The user's input is at fault; the text says what and is complete.
    #[error("{0}")]
    Usage(String),
    /// An archive that is damaged or hostile. Only the detail, without the sentence that starts the message.
    #[error("{0}")]
    Archive(String),
    /// The file system has no room left.
    #[error("Storage is full; try again later.")]
    Full,
    /// More than the caller's limit, e.g. a quota.
    #[error("more than {limit} bytes")]
    TooBig { limit: u64 },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl Error {
    /// An I/O error with what was being done, e.g. `write 'a/b'`.
    pub fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io {
                what: what.into(),
                source,
            },
        }
    }

    /// The error of the API for reading `path` (as the user wrote it) of `bundle`.
    pub fn about(self, bundle: &str, path: &str) -> domain::Error {
        let slash = if path.is_empty() { "" } else { "/" };
        match self {
            Self::NotFound | Self::NotADirectory => {
                domain::Error::not_found(format!("Path '{path}' in bundle {bundle} not found"))
            }
            Self::Outside => domain::Error::not_found(format!("{bundle}{slash}{path} is not inside the bundle.")),
            Self::Link => domain::Error::permission("Cannot download files of this type (link)."),
            Self::Special => domain::Error::permission("Cannot download files of this type ()."),
            Self::IsDirectory => domain::Error::usage(format!("{bundle}{slash}{path} is a directory")),
            other => other.into(),
        }
    }

    /// True when the input, not the machine, is at fault: sending the same again cannot succeed.
    pub fn is_users_fault(&self) -> bool {
        !matches!(self, Self::Full | Self::Io { .. })
    }
}

impl From<Error> for domain::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound | Error::Outside => domain::Error::not_found(error.to_string()),
            Error::Link | Error::Special => domain::Error::permission(error.to_string()),
            Error::Full => domain::Error::unavailable(error.to_string()),
            Error::Io { .. } => domain::Error::internal(error.to_string()),
            Error::Archive(detail) => domain::Error::usage(format!("Invalid archive: {detail}")),
            Error::TooBig { .. } | Error::Usage(_) | Error::IsDirectory | Error::NotADirectory => {
                domain::Error::usage(error.to_string())
            }
        }
    }
}
