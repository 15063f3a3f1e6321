//! How a command ends when it does not end well: text on stderr and exit status.

use std::io;

/// Result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Failure of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// `<class>: <message>`, exit 1.
    Named {
        /// `UsageError`, `NotFoundError`, ….
        class: &'static str,
        /// What went wrong.
        message: String,
    },
    /// The message alone, exit 1.
    Plain(String),
    /// Nothing more to say; the exit status.
    Exit(u8),
    /// The reader of our output has gone.
    BrokenPipe,
}

impl Error {
    /// A mistake of the caller.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Named {
            class: "UsageError",
            message: message.into(),
        }
    }

    /// Something that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::Named {
            class: "NotFoundError",
            message: message.into(),
        }
    }

    /// A failure that is told without a class.
    pub fn other(message: impl Into<String>) -> Self {
        Self::Plain(message.into())
    }

    /// True for `NotFoundError`.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Named {
                class: "NotFoundError",
                ..
            }
        )
    }

    /// HTTP status that says the same.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Named { class, .. } => match *class {
                "UsageError" => 400,
                "AuthorizationError" => 401,
                "NotFoundError" => 404,
                _ => 500,
            },
            Self::Plain(_) => 403,
            Self::Exit(_) | Self::BrokenPipe => 400,
        }
    }

    /// Status for the shell.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Named { .. } | Self::Plain(_) => 1,
            Self::Exit(status) => *status,
            Self::BrokenPipe => 0,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named { class, message } => write!(f, "{class}: {message}"),
            Self::Plain(message) => f.write_str(message),
            Self::Exit(_) | Self::BrokenPipe => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<client::Error> for Error {
    fn from(error: client::Error) -> Self {
        let named = |class| Self::Named {
            class,
            message: error.to_string(),
        };
        match &error {
            client::Error::Status { status: 403, message } => Self::Plain(message.clone()),
            client::Error::Status { status: 401, .. } => named("AuthorizationError"),
            client::Error::Status { status: 404, .. } => named("NotFoundError"),
            client::Error::Status { status: 400..500, .. } | client::Error::Usage(_) | client::Error::Local(_) => {
                named("UsageError")
            }
            client::Error::Status { status, message } => {
                let reason = http::StatusCode::from_u16(*status)
                    .ok()
                    .and_then(|status| status.canonical_reason());
                let first_line = message
                    .lines()
                    .find(|line| !line.trim().is_empty())
                    .unwrap_or_default()
                    .trim();
                let message = match reason {
                    Some(reason) if reason == first_line => format!("{status} {reason}"),
                    _ => format!("{status} {}: {first_line}", reason.unwrap_or("error")),
                };
                Self::Named {
                    class: "ServerError",
                    message,
                }
            }
            client::Error::BadCredentials => Self::Plain(error.to_string()),
            client::Error::Unreachable { .. } => named("ConnectionError"),
            client::Error::BadAnswer { .. } => named("ServerError"),
        }
    }
}

impl From<domain::Error> for Error {
    fn from(error: domain::Error) -> Self {
        match error.status() {
            404 => Self::not_found(error.message),
            403 => Self::Plain(error.message),
            _ => Self::usage(error.message),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::other(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_the_classes_of_the_python_client() {
        let status = |status, message: &str| client::Error::Status {
            status,
            message: message.into(),
        };
        for (error, text) in [
            (status(403, "User mira(12) …"), "User mira(12) …"),
            (status(401, "no"), "AuthorizationError: no"),
            (status(404, "gone"), "NotFoundError: gone"),
            (status(400, "bad"), "UsageError: bad"),
            (status(413, "Request to large"), "UsageError: Request to large"),
            (
                status(500, "\n<html>\n<body>"),
                "ServerError: 500 Internal Server Error: <html>",
            ),
            (status(502, "Bad Gateway"), "ServerError: 502 Bad Gateway"),
            (client::Error::BadCredentials, "Invalid username or password."),
        ] {
            let error = Error::from(error);
            assert_eq!((error.to_string().as_str(), error.exit_status()), (text, 1));
        }
    }
}
