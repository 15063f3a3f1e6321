//! The description of the API: `GET /rest/openapi.json`, made from the attributes of the handlers and checked against the
//! table of routes, and the page at `GET /rest/docs` that shows it.

mod answers;
mod page;
mod params;

use std::sync::OnceLock;

use api::kind;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, OpenApi as Description, RefOr, SecurityRequirement};

use crate::routes::{Method, described};

pub use answers::{Failures, FormFailures, PartAnswers, ServerFailures, TokenRefusals, WriteFailures};
pub use page::{asset, show};
pub use params::*;

/// Operations that answer like another one: method, path, the path that is described.
const LIKE: [(Method, &str, &str); 8] = [
    (
        Method::Delete,
        "/groups/{spec}/relationships/admins",
        "/groups/{spec}/relationships/members",
    ),
    (
        Method::Get,
        "/bundles/{uuid}/contents/blob/",
        "/bundles/{uuid}/contents/blob/{path}",
    ),
    (
        Method::Get,
        "/bundles/{uuid}/contents/info/",
        "/bundles/{uuid}/contents/info/{path}",
    ),
    (
        Method::Get,
        "/bundles/{uuid}/netcurl/{port}/",
        "/bundles/{uuid}/netcurl/{port}/{path}",
    ),
    (
        Method::Post,
        "/bundles/{uuid}/netcurl/{port}/",
        "/bundles/{uuid}/netcurl/{port}/{path}",
    ),
    (
        Method::Put,
        "/bundles/{uuid}/netcurl/{port}/",
        "/bundles/{uuid}/netcurl/{port}/{path}",
    ),
    (
        Method::Patch,
        "/bundles/{uuid}/netcurl/{port}/",
        "/bundles/{uuid}/netcurl/{port}/{path}",
    ),
    (
        Method::Delete,
        "/bundles/{uuid}/netcurl/{port}/",
        "/bundles/{uuid}/netcurl/{port}/{path}",
    ),
];

/// The `type` of resources in requests, by the name of their shape.
const TYPES: [(&str, &[&str]); 12] = [
    ("ResourceInput_BundleInput", &[kind::BUNDLES]),
    ("ResourceInput_BundleChange", &[kind::BUNDLES]),
    ("ResourceInput_BundleAction", &[kind::BUNDLE_ACTIONS]),
    ("ResourceInput_WorksheetInput", &[kind::WORKSHEETS]),
    ("ResourceInput_ItemInput", &[kind::WORKSHEET_ITEMS]),
    ("ResourceInput_UserChange", &[kind::USERS]),
    ("ResourceInput_DiskIncrement", &["user/increment_disk_used"]),
    ("ResourceInput_GroupInput", &[kind::GROUPS]),
    (
        "ResourceInput_PermissionInput",
        &[kind::BUNDLE_PERMISSIONS, kind::WORKSHEET_PERMISSIONS],
    ),
    ("ResourceInput_StoreInput", &[kind::BUNDLE_STORES]),
    ("ResourceInput_LocationInput", &[kind::BUNDLE_LOCATIONS]),
    (
        "Linkage",
        &[
            kind::BUNDLES,
            kind::WORKSHEETS,
            kind::USERS,
            kind::GROUPS,
            kind::BUNDLE_STORES,
        ],
    ),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "CodaLab Worksheets",
        description = "Bundles, worksheets, runs, accounts and workers. Errors are a text for requests with \
            `X-Requested-With: XMLHttpRequest`, else a page. HTTP/1.1 only.",
    ),
    servers((url = "/rest"))
)]
struct Base;

/// The whole description.
pub fn description() -> Description {
    let mut description = Base::openapi();
    described(&mut description);
    for (method, path, original) in LIKE {
        copy(&mut description, method, path, original);
    }
    for (path, item) in &mut description.paths.paths {
        for (method, operation) in operations(item) {
            operation.operation_id = Some(operation_id(method, path));
        }
    }
    let components = description.components.get_or_insert_with(Components::new);
    for (shape, types) in TYPES {
        name_types(components, shape, types);
    }
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    let cookie = ApiKeyValue::new("codalab_session");
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    let none: [&str; 0] = [];
    description.security = Some(vec![
        SecurityRequirement::default(),
        SecurityRequirement::new("token", none),
        SecurityRequirement::new("session", none),
    ]);
    description
}

/// `GET /openapi.json`
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "server",
    summary = "This description.",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = api::openapi::AnyAttributes))
)]
pub async fn json() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| description().to_json().unwrap_or_default().into());
    let mut response = Response::new(Body::from(text.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// Puts the operation of one path at another one as well, without the parameters that the other path has not.
fn copy(description: &mut Description, method: Method, path: &str, original: &str) {
    let Some(item) = description.paths.paths.get_mut(original) else {
        return;
    };
    let Some(mut operation) = slot(item, method).clone() else {
        return;
    };
    if let Some(parameters) = &mut operation.parameters {
        parameters.retain(|parameter| match parameter {
            RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Path => {
                path.contains(&format!("{{{}}}", parameter.name))
            }
            _ => true,
        });
    }
    let item = description.paths.paths.entry(path.to_owned()).or_default();
    *slot(item, method) = Some(operation);
}

/// Says which values `type` may have in a shape.
fn name_types(components: &mut Components, shape: &str, types: &[&str]) {
    let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(shape) else {
        return;
    };
    let named = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(types.iter().copied()))
        .build();
    object
        .properties
        .insert("type".to_owned(), Schema::Object(named).into());
}

fn slot(item: &mut PathItem, method: Method) -> &mut Option<Operation> {
    match method {
        Method::Get => &mut item.get,
        Method::Post => &mut item.post,
        Method::Put => &mut item.put,
        Method::Patch => &mut item.patch,
        Method::Delete => &mut item.delete,
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::Get, &mut item.get),
        (Method::Post, &mut item.post),
        (Method::Put, &mut item.put),
        (Method::Patch, &mut item.patch),
        (Method::Delete, &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// `get_bundles_uuid` for `GET /bundles/{uuid}`.
fn operation_id(method: Method, path: &str) -> String {
    let mut id = method.as_str().to_ascii_lowercase();
    for word in path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        id.push('_');
        id.push_str(word);
    }
    if path.ends_with('/') {
        id.push_str("_root");
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes::index;

    /// Served for the page itself, or outside the API.
    const APART: [&str; 4] = [
        "GET /healthz",
        "GET /readyz",
        "GET /rest/docs",
        "GET /rest/docs/{*path}",
    ];

    /// A route that differs from a described one by a slash at its end is the same operation.
    fn is_described(route: &str, described: &BTreeSet<String>) -> bool {
        described.contains(route)
            || described.contains(&format!("{route}/"))
            || route.strip_suffix('/').is_some_and(|route| described.contains(route))
    }

    #[test]
    fn every_route_is_described_and_every_description_is_a_route() {
        let described: BTreeSet<String> = description()
            .paths
            .paths
            .iter_mut()
            .flat_map(|(path, item)| {
                operations(item)
                    .map(|(method, _)| format!("{} /rest{path}", method.as_str()))
                    .collect::<Vec<_>>()
            })
            .collect();
        let routes: BTreeSet<String> = index()
            .iter()
            .map(ToString::to_string)
            .filter(|route| !APART.contains(&route.as_str()))
            .map(|route| route.replace("{*", "{"))
            .collect();
        let missing: Vec<&String> = routes.iter().filter(|route| !is_described(route, &described)).collect();
        assert!(
            missing.is_empty(),
            "no #[utoipa::path] listed in routes::described for {missing:#?}"
        );
        let invented: Vec<&String> = described.difference(&routes).collect();
        assert!(invented.is_empty(), "described, but no route: {invented:#?}");
    }

    #[test]
    fn every_resource_that_can_be_sent_names_its_type() {
        let value = serde_json::to_value(description()).unwrap();
        let schemas = value["components"]["schemas"].as_object().unwrap();
        let sent = |name: &str| name.starts_with("ResourceInput_") && name != "ResourceInput_AnyAttributes";
        for (shape, _) in TYPES {
            assert!(schemas[shape]["properties"]["type"]["enum"].is_array(), "{shape}");
        }
        let unnamed: Vec<&String> = schemas
            .keys()
            .filter(|name| sent(name) && !TYPES.iter().any(|(shape, _)| shape == name))
            .collect();
        assert!(unnamed.is_empty(), "add to TYPES: {unnamed:?}");
    }

    #[test]
    fn operations_have_unique_names_a_tag_and_answers() {
        let mut names = BTreeSet::new();
        for (path, item) in &mut description().paths.paths {
            for (_, operation) in operations(item) {
                let name = operation.operation_id.clone().unwrap();
                assert!(names.insert(name.clone()), "{name} names two operations");
                assert!(operation.tags.as_ref().is_some_and(|tags| !tags.is_empty()), "{path}");
                assert!(operation.summary.is_some(), "{path}");
                assert!(!operation.responses.responses.is_empty(), "{path}");
            }
        }
    }

    #[test]
    fn the_version_is_3_1_and_the_schemas_resolve() {
        let text = description().to_json().unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value["openapi"].as_str().unwrap().starts_with("3.1"));
        let schemas = value["components"]["schemas"].as_object().unwrap();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name} is not defined");
        }
    }
}
