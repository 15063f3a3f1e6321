//! Who asks: bearer token, else session cookie, else the anonymous public user. Another way to identify oneself (personal
//! access tokens, OpenID Connect) has its place in [`identify`]; what the routes see is a [`Viewer`] in any case.
//!
//! Handlers name the guard of their route as an argument type, so that no route can forget it: [`Open`], [`Login`],
//! [`Protected`], [`LoginProtected`], and [`LoginUnverified`] or [`Whoever`] for the few routes that unverified accounts may
//! use.

pub mod cookie;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};
use model::User;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{ApiError, ApiResult};
use crate::origin;
use crate::pipeline::{RequestContext, is_ajax};
use crate::state::AppState;
use cookie::{BadCookie, Presented};

/// Where the browser app shows its login form.
const LOGIN_PAGE: &str = "/account/login";

/// The user of a request, or nobody.
#[derive(Clone, Debug, Default)]
pub struct Viewer(Option<Arc<User>>);

impl Viewer {
    /// The logged-in user.
    pub fn user(&self) -> Option<&User> {
        self.0.as_deref()
    }

    /// The id of the logged-in user.
    pub fn id(&self) -> Option<&str> {
        self.user().map(|user| user.user_id.as_str())
    }

    /// True for the root account.
    pub fn is_root(&self, state: &AppState) -> bool {
        state.model.is_root(self.id())
    }
}

impl From<User> for Viewer {
    fn from(user: User) -> Self {
        Self(Some(Arc::new(user)))
    }
}

/// No guard.
#[derive(Clone, Debug)]
pub struct Open(pub Viewer);
/// No guard, and whoever is logged in need not be verified.
#[derive(Clone, Debug)]
pub struct Whoever(pub Viewer);
/// Somebody verified is logged in.
#[derive(Clone, Debug)]
pub struct Login(pub Viewer, pub Arc<User>);
/// Somebody is logged in, perhaps not verified yet.
#[derive(Clone, Debug)]
pub struct LoginUnverified(pub Arc<User>);
/// Anybody, except that in protected mode the user must have been given access.
#[derive(Clone, Debug)]
pub struct Protected(pub Viewer);
/// Logged in, and with access in protected mode.
#[derive(Clone, Debug)]
pub struct LoginProtected(pub Viewer, pub Arc<User>);

impl FromRequestParts<AppState> for Open {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        Ok(Self(verified(parts, state).await?))
    }
}

impl FromRequestParts<AppState> for Whoever {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        Ok(Self(authenticate(parts, state).await?))
    }
}

impl FromRequestParts<AppState> for Login {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let viewer = verified(parts, state).await?;
        let user = viewer.0.clone().ok_or_else(|| not_authenticated(parts))?;
        Ok(Self(viewer, user))
    }
}

impl FromRequestParts<AppState> for LoginUnverified {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let viewer = authenticate(parts, state).await?;
        viewer.0.map(Self).ok_or_else(|| not_authenticated(parts))
    }
}

impl FromRequestParts<AppState> for Protected {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let viewer = verified(parts, state).await?;
        check_access(parts, state, &viewer)?;
        Ok(Self(viewer))
    }
}

impl FromRequestParts<AppState> for LoginProtected {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let Login(viewer, user) = Login::from_request_parts(parts, state).await?;
        check_access(parts, state, &viewer)?;
        Ok(Self(viewer, user))
    }
}

/// The user of the request; unverified ones are turned away.
async fn verified(parts: &mut Parts, state: &AppState) -> ApiResult<Viewer> {
    let viewer = authenticate(parts, state).await?;
    match viewer.user() {
        Some(user) if !user.is_verified => Err(if is_ajax(&parts.headers) {
            ApiError::authentication("User is not verified.")
        } else {
            ApiError::Redirect("/rest/account/resend".to_owned())
        }),
        _ => Ok(viewer),
    }
}

async fn authenticate(parts: &mut Parts, state: &AppState) -> ApiResult<Viewer> {
    if let Some(viewer) = parts.extensions.get::<Viewer>() {
        return Ok(viewer.clone());
    }
    let viewer = identify(parts, state).await?;
    if let (Some(user), Some(context)) = (viewer.user(), parts.extensions.get::<RequestContext>()) {
        let _ = context.user.set(user.user_name.clone());
    }
    parts.extensions.insert(viewer.clone());
    Ok(viewer)
}

async fn identify(parts: &Parts, state: &AppState) -> ApiResult<Viewer> {
    if let Some(token) = bearer_token(&parts.headers)
        && let Some(user) = state.model.authenticate(token, state.now()).await?
    {
        return Ok(user.into());
    }
    match state.sessions.presented(&parts.headers, state.now()) {
        Presented::Nothing => return Ok(Viewer::default()),
        Presented::Session(session) => {
            if let Some(user) = state.model.session_user(&session.id, state.now()).await? {
                origin::check(parts, state)?;
                return Ok(user.into());
            }
        }
        Presented::Junk => {}
    }
    if let Some(bad_cookie) = parts.extensions.get::<BadCookie>() {
        bad_cookie.note();
    }
    Ok(Viewer::default())
}

/// The token of an `Authorization: Bearer` header.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}

fn check_access(parts: &Parts, state: &AppState, viewer: &Viewer) -> ApiResult<()> {
    if !state.settings.protected_mode || viewer.user().is_some_and(|user| user.has_access) {
        return Ok(());
    }
    Err(if is_ajax(&parts.headers) {
        ApiError::authentication(
            "User has not been given access to this instance, which is in protected mode. Ask its administrator for access.",
        )
    } else {
        login_redirect(parts)
    })
}

fn not_authenticated(parts: &Parts) -> ApiError {
    if is_ajax(&parts.headers) {
        ApiError::authentication("User is not authenticated.")
    } else {
        login_redirect(parts)
    }
}

fn login_redirect(parts: &Parts) -> ApiError {
    let path = crate::path::full_uri(parts)
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let here = format!("{}{path}", origin::of_request(&parts.headers));
    ApiError::Redirect(format!(
        "{LOGIN_PAGE}?next={}",
        utf8_percent_encode(&here, NON_ALPHANUMERIC)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Request};

    #[test]
    fn only_bearer_headers_carry_tokens() {
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer ", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(bearer_token(&headers), expected, "{value}");
        }
    }

    #[test]
    fn the_login_page_learns_where_to_return() {
        let request = Request::builder()
            .uri("/rest/user?a=b")
            .header("host", "lab")
            .header("x-forwarded-proto", "https");
        let parts = request.body(()).unwrap().into_parts().0;
        let ApiError::Redirect(target) = not_authenticated(&parts) else {
            panic!("not a redirect")
        };
        assert_eq!(target, "/account/login?next=https%3A%2F%2Flab%2Frest%2Fuser%3Fa%3Db");
    }
}
