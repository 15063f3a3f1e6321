//! `GET /bundles/{uuid}` and `GET /bundles`.

use std::collections::HashMap;

use axum::extract::State;
use domain::search::BundleQuery;
use domain::{Permission, UserId, Uuid};
use model::{BundleRecord, Found, GroupPermission, HostWorksheet, ObjectKind};
use serde_json::Value;

use crate::auth::{Protected, Viewer};
use crate::error::{ApiError, ApiResult};
use crate::openapi::{BundleIncludeQuery, BundlesQuery, Failures, UuidPath};
use crate::params::Query;
use crate::path::PathUuid;
use crate::present::{self, BundleExtras};
use crate::routes::included_users;
use crate::state::AppState;
use api::openapi;
use api::{Document, Resource};

const INCLUDES: [&str; 4] = ["owner", "group_permissions", "children", "host_worksheets"];

/// What a listing shows beside the bundles.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    owner: bool,
    group_permissions: bool,
    children: bool,
    host_worksheets: bool,
    display_metadata: bool,
}

impl Wanted {
    /// Reads `include` and `include_display_metadata`.
    pub fn from_query(query: &Query) -> ApiResult<Self> {
        let names = query.include(&INCLUDES)?;
        let has = |name: &str| names.iter().any(|found| found == name);
        Ok(Self {
            owner: has("owner"),
            group_permissions: has("group_permissions"),
            children: has("children"),
            host_worksheets: has("host_worksheets"),
            display_metadata: query.flag("include_display_metadata", false)?,
        })
    }

    /// Only the owners.
    pub fn owners(wanted: bool) -> Self {
        Self {
            owner: wanted,
            ..Self::default()
        }
    }

    fn anything_included(&self) -> bool {
        self.owner || self.group_permissions || self.children || self.host_worksheets
    }
}

/// `GET /bundles/{uuid}`
#[utoipa::path(
    get,
    path = "/bundles/{uuid}",
    tag = "bundles",
    summary = "One bundle.",
    params(UuidPath, BundleIncludeQuery),
    responses(
        (status = 200, description = "The bundle; a placeholder where the caller may not read it", body = openapi::OneDocument<api::bundles::BundleAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn one(
    State(state): State<AppState>,
    Protected(viewer): Protected,
    PathUuid(uuid): PathUuid,
    query: Query,
) -> ApiResult {
    let wanted = Wanted::from_query(&query)?;
    let records = state.model.bundles_for(viewer.id(), &[uuid]).await?;
    let (mut resources, included) = present_all(&state, &viewer, records, &wanted).await?;
    let resource = resources
        .pop()
        .ok_or_else(|| ApiError::not_found(format!("Bundle {uuid} not found")))?;
    let document = Document::one(resource);
    let document = if wanted.anything_included() {
        document.including(included)
    } else {
        document
    };
    Ok(state.respond(document))
}

/// `GET /bundles`: by search, by specs, or by what a run would do again.
#[utoipa::path(
    get,
    path = "/bundles",
    tag = "bundles",
    summary = "Bundles, by search, by specs, or by what a run would do again.",
    params(BundlesQuery, BundleIncludeQuery),
    responses(
        (status = 200, description = "The bundles, or an aggregate", body = openapi::FoundDocument<api::bundles::BundleAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn list(State(state): State<AppState>, Protected(viewer): Protected, query: Query) -> ApiResult {
    let wanted = Wanted::from_query(&query)?;
    let mut uuids = if query.has("keywords") {
        let search = BundleQuery::parse(&query.all("keywords"))?;
        match state.model.search_bundles(viewer.id(), &search).await? {
            Found::Value(value) => {
                let value = worksheet::post_process(search.format.as_deref(), value);
                return Ok(state.respond(Document::meta_only("result", value)));
            }
            Found::Bundles(uuids) => uuids,
        }
    } else if query.has("specs") {
        by_specs(&state, &viewer, &query).await?
    } else if let Some(command) = query.get("command") {
        memoized(&state, &viewer, command, query.get("dependencies")).await?
    } else {
        return Err(ApiError::usage(
            "Request must include either the query parameter 'keywords' or 'specs'.",
        ));
    };
    if let Some(depth) = query.int("depth")? {
        uuids = state
            .model
            .self_and_descendants(&uuids, Some(depth.clamp(0, 1000) as u32))
            .await?;
    }
    let records = state.model.bundles_for(viewer.id(), &uuids).await?;
    let (resources, included) = present_all(&state, &viewer, records, &wanted).await?;
    let document = Document::many(resources);
    let document = if wanted.anything_included() {
        document.including(included)
    } else {
        document
    };
    Ok(state.respond(document))
}

async fn by_specs(state: &AppState, viewer: &Viewer, query: &Query) -> ApiResult<Vec<Uuid>> {
    let base = match query.non_empty("worksheet") {
        Some(spec) => Some(state.model.resolve_worksheet(viewer.id(), None, spec).await?),
        None => None,
    };
    let uuids = state
        .model
        .resolve_bundles(viewer.id(), base, &query.all("specs"))
        .await?;
    let found = state.model.bundle_states(&uuids).await?;
    match uuids.iter().find(|uuid| !found.contains_key(*uuid)) {
        Some(missing) => Err(ApiError::not_found(format!("Bundle {missing} not found"))),
        None => Ok(uuids),
    }
}

async fn memoized(
    state: &AppState,
    viewer: &Viewer,
    command: &str,
    dependencies: Option<&str>,
) -> ApiResult<Vec<Uuid>> {
    let malformed = || ApiError::usage("Invalid JSON in query parameter 'dependencies'");
    let parsed: Vec<Value> = serde_json::from_str(dependencies.unwrap_or("[]")).map_err(|_| malformed())?;
    let mut wanted = Vec::new();
    for dependency in parsed {
        let child = dependency["child_path"].as_str().ok_or_else(malformed)?;
        let parent = Uuid::parse(dependency["parent_uuid"].as_str().ok_or_else(malformed)?)?;
        wanted.push((child.to_owned(), parent));
    }
    match viewer.id() {
        Some(id) => Ok(state.model.memoized(id, command, &wanted).await?),
        None => Ok(Vec::new()),
    }
}

/// The resources of bundles in order, and everything that `wanted` includes with them.
pub async fn present_all(
    state: &AppState,
    viewer: &Viewer,
    records: Vec<(BundleRecord, Permission)>,
    wanted: &Wanted,
) -> ApiResult<(Vec<Resource>, Vec<Resource>)> {
    let uuids: Vec<Uuid> = records.iter().map(|(record, _)| record.bundle.uuid).collect();
    let related = Related::load(state, viewer, &uuids, wanted).await?;
    let is_root = viewer.is_root(state);
    let mut resources = Vec::with_capacity(records.len());
    let mut included = Vec::new();
    let mut owners: Vec<UserId> = Vec::new();
    for (record, permission) in records {
        let bundle = &record.bundle;
        let reveal = permission == Permission::All || !bundle.is_anonymous;
        let extras = related.extras(is_root, &record, permission, wanted, &mut included);
        if wanted.owner && permission != Permission::None && reveal {
            owners.extend(bundle.owner_id.clone());
        }
        resources.push(present::bundle(record, permission, &extras));
    }
    included.splice(0..0, included_users(state, owners).await?);
    Ok((resources, included))
}

/// What hangs on a set of bundles, fetched at once.
#[derive(Default)]
struct Related {
    children: HashMap<Uuid, Vec<Uuid>>,
    child_names: HashMap<Uuid, String>,
    hosts: HashMap<Uuid, Vec<HostWorksheet>>,
    groups: HashMap<Uuid, Vec<GroupPermission>>,
}

impl Related {
    async fn load(state: &AppState, viewer: &Viewer, uuids: &[Uuid], wanted: &Wanted) -> ApiResult<Self> {
        let mut related = Self::default();
        if wanted.children {
            related.children = readable_children(state, viewer, uuids).await?;
            let all: Vec<Uuid> = related.children.values().flatten().copied().collect();
            related.child_names = state.model.bundle_names(&all).await?;
        }
        if wanted.host_worksheets {
            related.hosts = state.model.host_worksheets(viewer.id(), uuids).await?;
        }
        if wanted.group_permissions {
            related.groups = state.model.group_permissions(ObjectKind::Bundle, uuids).await?;
            if viewer.id().is_none() {
                let public = state.model.public_group();
                related
                    .groups
                    .values_mut()
                    .for_each(|rows| rows.retain(|row| row.group_uuid == public));
            }
        }
        Ok(related)
    }

    fn extras(
        &self,
        is_root: bool,
        record: &BundleRecord,
        permission: Permission,
        wanted: &Wanted,
        included: &mut Vec<Resource>,
    ) -> BundleExtras {
        let uuid = record.bundle.uuid;
        let reveal = permission == Permission::All || !record.bundle.is_anonymous;
        let mut extras = BundleExtras {
            display_metadata: wanted.display_metadata,
            is_root,
            ..BundleExtras::default()
        };
        if permission == Permission::None {
            return extras;
        }
        if wanted.children {
            let children = self.children.get(&uuid).cloned().unwrap_or_default();
            let name = |child: &Uuid| self.child_names.get(child).map_or("", String::as_str);
            included.extend(children.iter().map(|child| present::named_bundle(*child, name(child))));
            extras.children = Some(children);
        }
        if wanted.host_worksheets {
            let hosts = self.hosts.get(&uuid).map_or(&[][..], Vec::as_slice);
            included.extend(hosts.iter().map(|host| present::named_worksheet(host.uuid, &host.name)));
            extras.host_worksheets = Some(hosts.iter().map(|host| host.uuid).collect());
        }
        if wanted.group_permissions {
            let rows = self.groups.get(&uuid).filter(|_| reveal).map_or(&[][..], Vec::as_slice);
            included.extend(
                rows.iter()
                    .map(|row| present::group_permission("bundle-permissions", row)),
            );
            extras.group_permissions = Some(rows.iter().map(|row| row.id).collect());
        }
        extras
    }
}

async fn readable_children(state: &AppState, viewer: &Viewer, uuids: &[Uuid]) -> ApiResult<HashMap<Uuid, Vec<Uuid>>> {
    let mut children = state.model.children(uuids).await?;
    let all: Vec<Uuid> = children.values().flatten().copied().collect();
    let permissions = state
        .model
        .permissions_of(ObjectKind::Bundle, viewer.id(), &all)
        .await?;
    let readable: HashMap<Uuid, bool> = all
        .into_iter()
        .zip(permissions.into_iter().map(|permission| permission != Permission::None))
        .collect();
    for list in children.values_mut() {
        list.retain(|child| readable.get(child) == Some(&true));
    }
    Ok(children)
}
