//! The one error type that crosses crate borders, and its HTTP status (data-model section 2, REST section 3).

use std::fmt;

/// Result with the domain error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was; decides the HTTP status and the class name that the command line prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Invalid input, exceeded quota, ambiguous spec (400).
    Usage,
    /// Authentication is required or failed (401).
    Authentication,
    /// The user may not do this, or the object is frozen (403).
    Permission,
    /// No such bundle, worksheet, group, user or path (404).
    NotFound,
    /// The name is taken (409).
    Conflict,
    /// The request body is larger than allowed (413).
    TooLarge,
    /// The other side took too long, or could not be reached (503); trying again may help.
    Unavailable,
    /// Everything unexpected (500).
    Internal,
}

impl ErrorKind {
    /// The HTTP status code of this kind.
    pub const fn status(self) -> u16 {
        match self {
            Self::Usage => 400,
            Self::Authentication => 401,
            Self::Permission => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// The kind a client assumes for a response status: any unlisted 4xx is a usage error, the rest is internal.
    pub const fn from_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            403 => Self::Permission,
            404 => Self::NotFound,
            409 => Self::Conflict,
            413 => Self::TooLarge,
            400..=499 => Self::Usage,
            503 => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// An error with a message that a user can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Decides the HTTP status.
    pub kind: ErrorKind,
    /// The text that travels as response body and is printed by the command line.
    pub message: String,
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// 400: the input is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// 401: log in first.
    pub fn authentication(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Authentication, message)
    }

    /// 403: not allowed.
    pub fn permission(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Permission, message)
    }

    /// 404: no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// 409: the name is taken.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// 413: the body is too large.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::TooLarge, message)
    }

    /// 503: try again later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// 500: should not have happened. Put the cause into the message.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The HTTP status code.
    pub const fn status(&self) -> u16 {
        self.kind.status()
    }

    /// The same error with a prefix, e.g. `Upload failed`, before its message.
    pub fn context(mut self, prefix: &str) -> Self {
        self.message = format!("{prefix}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::usage(format!("Invalid JSON: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_survive_the_way_over_http() {
        for kind in [
            ErrorKind::Usage,
            ErrorKind::Authentication,
            ErrorKind::Permission,
            ErrorKind::NotFound,
            ErrorKind::Conflict,
            ErrorKind::TooLarge,
            ErrorKind::Unavailable,
            ErrorKind::Internal,
        ] {
            assert_eq!(ErrorKind::from_status(kind.status()), kind);
        }
        assert_eq!(ErrorKind::from_status(405), ErrorKind::Usage);
        assert_eq!(ErrorKind::from_status(502), ErrorKind::Internal);
    }
}
