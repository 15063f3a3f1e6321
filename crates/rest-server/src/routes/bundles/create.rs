//! `POST /bundles`.

use axum::extract::State;
use domain::metadata::any_field;
use domain::{BundleState, BundleType, Dependency, Metadata, Uuid};
use model::{CreateBundles, NewBundle, NewItemPlace};
use serde_json::Value;

use super::fetch::{Wanted, present_all};
use crate::auth::LoginProtected;
use crate::error::{ApiError, ApiResult};
use crate::input::{JsonBody, ResourceInput};
use crate::openapi::{NewBundlesQuery, WriteFailures};
use crate::params::Query;
use crate::state::AppState;
use api::Document;
use api::openapi;

/// New bundles are read for the answer so many at a time, because as records they take much more memory than as text.
const PRESENTED: usize = 250;

/// Creates bundles, all or none, and puts them on a worksheet.
#[utoipa::path(
    post,
    path = "/bundles",
    tag = "bundles",
    summary = "Creates bundles, all or none, and puts them on a worksheet.",
    params(NewBundlesQuery),
    request_body(content = openapi::ResourcesRequest<openapi::BundleInput>, content_type = "application/json"),
    responses(
        (status = 200, description = "The bundles", body = openapi::ManyDocument<api::bundles::BundleAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn create(
    State(state): State<AppState>,
    LoginProtected(viewer, me): LoginProtected,
    query: Query,
    body: JsonBody,
) -> ApiResult {
    let detached = query.flag("detached", false)?;
    let wait_for_upload = query.flag("wait_for_upload", false)?;
    let worksheet = match query.non_empty("worksheet") {
        _ if detached => None,
        Some(text) => Some(state.model.resolve_worksheet(viewer.id(), None, text).await?),
        None => {
            return Err(ApiError::usage(
                "The query parameter 'worksheet' is missing; it names the worksheet that shows the new bundle.",
            ));
        }
    };
    let shadow = query.non_empty("shadow").map(Uuid::parse).transpose()?;
    let store = match query
        .non_empty("bundle_store")
        .or_else(|| query.non_empty("bundle_store_uuid"))
    {
        Some(store) => Some(state.model.find_store(&me.user_id, store).await?.uuid),
        None => None,
    };
    let place = NewItemPlace {
        after_sort_key: query.int("after_sort_key")?,
        after_image: query.flag("after_image", false)?,
    };
    let mut bundles = Vec::new();
    for input in body.resources("bundles")? {
        bundles.push(new_bundle(input, wait_for_upload, store)?);
    }
    let request = CreateBundles {
        owner_id: me.user_id.clone(),
        worksheet,
        place,
        shadow,
        bundles,
    };
    let uuids = state.model.create_bundles(request, state.now()).await?;
    for uuid in &uuids {
        state.hub.publish(hub::Event::bundle_created(uuid));
    }
    let mut resources = Vec::with_capacity(uuids.len());
    for uuids in uuids.chunks(PRESENTED) {
        let records = state.model.bundles_for(viewer.id(), uuids).await?;
        resources.extend(present_all(&state, &viewer, records, &Wanted::default()).await?.0);
    }
    Ok(state.respond(Document::many(resources)))
}

fn new_bundle(mut input: ResourceInput, wait_for_upload: bool, store_uuid: Option<Uuid>) -> ApiResult<NewBundle> {
    let bundle_type: BundleType = input
        .required_text("bundle_type")?
        .parse()
        .ok()
        .filter(|kind| *kind != BundleType::Private)
        .ok_or_else(|| input.invalid("bundle_type", "Not a valid choice."))?;
    let metadata = new_metadata(&mut input, wait_for_upload)?;
    let linked = !metadata.str("link_url").is_empty();
    let state = match bundle_type {
        _ if linked => BundleState::Ready,
        BundleType::Dataset | BundleType::Program => BundleState::Uploading,
        _ if wait_for_upload => BundleState::Uploading,
        _ => BundleState::Created,
    };
    let uuid = match &input.id {
        Some(text) => Uuid::parse(text)?,
        None => Uuid::from_random(rand::random()),
    };
    Ok(NewBundle {
        uuid,
        bundle_type,
        command: input.nullable_text("command")?.flatten().map(str::to_owned),
        state,
        metadata,
        dependencies: dependencies(&input, uuid)?,
        store_uuid,
    })
}

/// The metadata as sent. Generated fields are dropped, except in copies of bundles that bring their contents later;
/// there only the size is, which is measured.
fn new_metadata(input: &mut ResourceInput, copy: bool) -> ApiResult<Metadata> {
    let Some(Value::Object(sent)) = input.attributes.remove("metadata") else {
        return Err(input.invalid("metadata", "Missing data for required field."));
    };
    let generated = |key: &str| any_field(key).is_some_and(|field| field.generated);
    let sent = sent.into_iter();
    Ok(sent
        .filter(|(key, _)| !generated(key) || (copy && key != "data_size"))
        .collect())
}

fn dependencies(input: &ResourceInput, child: Uuid) -> ApiResult<Vec<Dependency>> {
    let list = match input.attributes.get("dependencies") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(input.invalid("dependencies", "Not a valid list.")),
    };
    let text = |dependency: &Value, key: &str| dependency[key].as_str().unwrap_or_default().to_owned();
    list.iter()
        .map(|dependency| {
            Ok(Dependency {
                child_uuid: child,
                child_path: text(dependency, "child_path"),
                parent_uuid: Uuid::parse(&text(dependency, "parent_uuid"))?,
                parent_path: text(dependency, "parent_path"),
            })
        })
        .collect()
}
