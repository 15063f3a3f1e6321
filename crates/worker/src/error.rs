//! Why a worker cannot start or has to stop. Trouble with single runs never ends up here: it fails the bundle.

/// Result of starting or running a worker.
pub type Result<T> = std::result::Result<T, Error>;

/// A worker-level failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option does not make sense, or asks for what this machine does not have.
    #[error("{0}")]
    Usage(String),
    /// The server refuses the account.
    #[error(
        "Cannot log into the bundle service. Please check your worker credentials.\nUsername: \"{username}\" , server \"{server}\""
    )]
    Login { username: String, server: String },
    /// The work directory cannot be used.
    #[error("work directory {path}: {reason}")]
    WorkDir { path: String, reason: String },
    /// No runtime can execute bundles.
    #[error("{0}")]
    Runtime(String),
    /// A failure of the worker itself.
    #[error("{0}")]
    Internal(String),
}
