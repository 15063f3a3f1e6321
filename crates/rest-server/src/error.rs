//! The one error type of all handlers, and how it becomes an answer.
//!
//! A handler returns `Result<_, ApiError>` and converts with `?`. The text reaches the client either bare (requests that
//! say `X-Requested-With: XMLHttpRequest`) or inside a small HTML page; which of the two is decided by
//! [`crate::pipeline`], which sees the request as well.

use axum::response::{IntoResponse, Response};
use domain::error::{Error, ErrorKind};
use http::{HeaderValue, StatusCode, header};

/// Why a request failed.
#[derive(Debug)]
pub enum ApiError {
    /// A failure with the text that the client shows.
    Failure(Error),
    /// A failure whose status has no kind of its own in the domain (413, 405, 408, 503).
    Status(StatusCode, String),
    /// An attribute that breaks the schema (400). `pointer` is a JSON pointer into the request document.
    Invalid { detail: String, pointer: String },
    /// Not an error for a browser: send it elsewhere (a login page, for instance).
    Redirect(String),
}

impl ApiError {
    /// 400 with this text.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Failure(Error::usage(message))
    }

    /// 401 with this text.
    pub fn authentication(message: impl Into<String>) -> Self {
        Self::Failure(Error::authentication(message))
    }

    /// 403 with this text.
    pub fn permission(message: impl Into<String>) -> Self {
        Self::Failure(Error::permission(message))
    }

    /// 404 with this text.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::Failure(Error::not_found(message))
    }

    /// 500; the text goes to the log, the client learns the request id.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Failure(Error::internal(message))
    }

    /// The HTTP status of this error.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Failure(error) => StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Status(status, _) => *status,
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::Redirect(_) => StatusCode::SEE_OTHER,
        }
    }

    /// The text of this error.
    pub fn message(&self) -> &str {
        match self {
            Self::Failure(error) => &error.message,
            Self::Invalid { detail, .. } => detail,
            Self::Status(_, text) | Self::Redirect(text) => text,
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::Failure(error)
    }
}

/// Rides on an error response until the pipeline has written its body.
#[derive(Clone, Debug)]
pub struct ErrorText {
    /// What the client reads, or for an internal error what only the log shows.
    pub message: String,
    /// The message is not for the client.
    pub internal: bool,
    /// For an attribute that breaks the schema, where it stands in the document.
    pub pointer: Option<String>,
}

/// What `format_errors=1` asks for: the message of a schema error becomes a JSON text.
pub fn format_schema_error(response: &mut Response) {
    if let Some(text) = response.extensions_mut().get_mut::<ErrorText>()
        && let Some(pointer) = text.pointer.take()
    {
        let error = serde_json::json!({"errors": [{"detail": text.message, "source": {"pointer": pointer}}]});
        text.message = error.to_string();
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Redirect(target) = &self {
            return redirect(target);
        }
        let internal = matches!(&self, Self::Failure(error) if error.kind == ErrorKind::Internal);
        let mut response = self.status().into_response();
        response.extensions_mut().insert(ErrorText {
            message: self.message().to_owned(),
            internal,
            pointer: match self {
                Self::Invalid { pointer, .. } => Some(pointer),
                _ => None,
            },
        });
        response
    }
}

/// 303 to `target`, or a 400 where the target cannot stand in a header.
pub fn redirect(target: &str) -> Response {
    match HeaderValue::from_str(target) {
        Ok(location) => (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response(),
        Err(_) => ApiError::usage("The redirect target is not a valid address").into_response(),
    }
}

/// What every handler returns.
pub type ApiResult<T = Response> = Result<T, ApiError>;
