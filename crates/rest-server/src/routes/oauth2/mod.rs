//! OAuth2 (REST section 7): how the command line and the workers log in, and the authorization-code pages.

pub mod authorize;
pub mod token;

/// The only scope there is.
const SCOPE: &str = "default";

fn is_known_scope(scope: Option<&str>) -> bool {
    matches!(scope, None | Some("" | SCOPE))
}
