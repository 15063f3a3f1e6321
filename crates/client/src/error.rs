//! What can go wrong in a call, told apart by what the caller can do about it.

/// Result of every call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Failure of a call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The server answered with an error status; `message` is its body (plain text).
    #[error("{message}")]
    Status {
        /// HTTP status code, 400 to 599.
        status: u16,
        /// Body of the answer, or the reason phrase if it was empty.
        message: String,
    },
    /// User name and password (or the refresh token) were refused.
    #[error("Invalid username or password.")]
    BadCredentials,
    /// The server could not be reached, or the connection broke.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// Address of the instance, as configured.
        address: String,
        /// Cause, from the operating system where there is one.
        reason: String,
        /// True if the connection was never established, so that the server has seen nothing of the request.
        before_sending: bool,
    },
    /// The answer is not what the API promises.
    #[error("{address} gave an unexpected answer: {reason}")]
    BadAnswer {
        /// Address of the instance.
        address: String,
        /// What was wrong.
        reason: String,
    },
    /// The request cannot be made at all: bad address, bad argument.
    #[error("{0}")]
    Usage(String),
    /// Reading the data to upload, or writing the downloaded data, failed on this machine.
    #[error("{0}")]
    Local(String),
}

impl Error {
    /// HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Status { status, .. } => Some(*status),
            Error::BadCredentials => Some(401),
            _ => None,
        }
    }

    /// True for 404 answers.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// True if trying again later may help: no 4xx, no mistake on this side.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Status { status, .. } => *status >= 500,
            Error::Unreachable { .. } | Error::BadAnswer { .. } => true,
            Error::BadCredentials | Error::Usage(_) | Error::Local(_) => false,
        }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_server_side_and_transport_failures_are_retryable() {
        let status = |status| Error::Status {
            status,
            message: String::new(),
        };
        let unreachable = Error::Unreachable {
            address: String::new(),
            reason: String::new(),
            before_sending: true,
        };
        for (error, retryable) in [
            (status(400), false),
            (status(403), false),
            (status(404), false),
            (status(500), true),
            (status(503), true),
            (Error::BadCredentials, false),
            (unreachable, true),
            (Error::Usage("x".into()), false),
        ] {
            assert_eq!(error.is_retryable(), retryable, "{error:?}");
        }
    }
}
