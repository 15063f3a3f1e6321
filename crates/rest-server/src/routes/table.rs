//! The table of routes: the router is built from it, and tests and descriptions of the API list it.

use std::fmt;

use axum::Router;
use axum::handler::Handler;
use axum::routing;

use crate::state::AppState;

/// Routes under construction, remembering what they answer.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<AppState>,
    index: Vec<Route>,
}

/// One method on one path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// The path with its parameters in braces, such as `/rest/bundles/{uuid}`.
    pub path: String,
    pub method: Method,
}

/// The methods that routes answer. A route for `GET` answers `HEAD` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn get<H: Handler<T, AppState>, T: 'static>(self, path: &str, handler: H) -> Self {
        self.add(Method::Get, path, routing::get(handler))
    }

    pub(super) fn post<H: Handler<T, AppState>, T: 'static>(self, path: &str, handler: H) -> Self {
        self.add(Method::Post, path, routing::post(handler))
    }

    pub(super) fn put<H: Handler<T, AppState>, T: 'static>(self, path: &str, handler: H) -> Self {
        self.add(Method::Put, path, routing::put(handler))
    }

    pub(super) fn patch<H: Handler<T, AppState>, T: 'static>(self, path: &str, handler: H) -> Self {
        self.add(Method::Patch, path, routing::patch(handler))
    }

    pub(super) fn delete<H: Handler<T, AppState>, T: 'static>(self, path: &str, handler: H) -> Self {
        self.add(Method::Delete, path, routing::delete(handler))
    }

    pub(super) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.index.extend(other.index);
        self
    }

    pub(super) fn into_router(self) -> Router<AppState> {
        self.router
    }

    pub(super) fn into_index(self) -> Vec<Route> {
        self.index
    }

    fn add(mut self, method: Method, path: &str, handler: routing::MethodRouter<AppState>) -> Self {
        self.router = self.router.route(path, handler);
        self.index.push(Route {
            path: path.to_owned(),
            method,
        });
        self
    }
}

impl Route {
    pub(super) fn beneath(self, prefix: &str) -> Self {
        Self {
            path: format!("{prefix}{}", self.path),
            method: self.method,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.path)
    }
}

impl Method {
    /// As in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}
