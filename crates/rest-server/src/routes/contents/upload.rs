//! `PUT /bundles/{uuid}/contents/blob/`: an upload becomes the contents of a bundle, or nothing at all.

use std::time::Duration;

use api::{Document, kind};
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use bytes::Bytes;
use domain::{Bundle, BundleState, BundleType, Error, ErrorKind, Uuid};
use futures::{Stream, StreamExt};
use http::{HeaderMap, StatusCode};
use model::{BundleContents, User};
use storage::{Published, ReceiveOptions};

use crate::auth::{LoginProtected, bearer_token};
use crate::error::{ApiError, ApiResult};
use crate::input::JsonBody;
use crate::listener::Aborted;
use crate::openapi::{UploadQuery, UuidPath, WriteFailures};
use crate::params::Query;
use crate::path::PathUuid;
use crate::respond;
use crate::routes::bundles::fetch::{Wanted, present_all};
use crate::routes::need_all_on_bundles;
use crate::state::AppState;
use api::openapi;

/// An upload that sends nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(1200);

/// The query parameters of an upload, all checked before anything happens.
struct Parameters {
    /// None: no data is stored, only the state is set.
    filename: Option<String>,
    unpack: bool,
    /// The state at the end; none leaves it alone.
    state_on_success: Option<BundleState>,
    finalize_on_failure: bool,
    store: Option<Uuid>,
}

/// Stores the request body. Answers exactly 200 when the contents are durable and accounted for.
#[utoipa::path(
    put,
    path = "/bundles/{uuid}/contents/blob/",
    tag = "contents",
    summary = "Uploads contents.",
    params(UuidPath, UploadQuery),
    request_body(content = String, content_type = "application/octet-stream", description = "A file or an archive"),
    responses(
        (status = 200, description = "The contents are stored"),
        WriteFailures,
    )
)]
pub async fn put(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    PathUuid(uuid): PathUuid,
    query: Query,
    headers: HeaderMap,
    aborted: Option<Extension<Aborted>>,
    body: Body,
) -> ApiResult {
    let announced = headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = watched(body, announced, aborted.map(|Extension(aborted)| aborted));
    let (bundle, parameters) = match admitted(&state, &me, uuid, &query, &headers).await {
        Ok(admitted) => admitted,
        Err(error) => {
            // Clients read the answer only after they have sent everything.
            drain(&mut body).await;
            return Err(error);
        }
    };
    // The work goes on when the client hangs up, so that a bundle never stays between two states.
    let task = state.tasks.spawn({
        let state = state.clone();
        async move { upload(&state, &bundle, &parameters, body).await }
    });
    task.await
        .map_err(|error| ApiError::internal(format!("an upload broke off: {error}")))?
}

/// The bundle and the parameters of an upload that may begin.
async fn admitted(
    state: &AppState,
    me: &User,
    uuid: Uuid,
    query: &Query,
    headers: &HeaderMap,
) -> ApiResult<(Bundle, Parameters)> {
    need_all_on_bundles(state, Some(&me.user_id), &[uuid]).await?;
    let bundle = state.model.bundle(uuid).await?.bundle;
    if bundle.state.is_final() {
        return Err(ApiError::permission(
            "Contents cannot be modified, bundle already finalized.",
        ));
    }
    check_sender(state, &bundle, headers).await?;
    match parameters(state, me, query).await {
        Ok(parameters) => Ok((bundle, parameters)),
        Err(error) => {
            // A bundle that was made for this upload would wait for ever; others stay as they are.
            let made_for_it = query.flag("finalize_on_failure", false).unwrap_or(false) || query.has("urls");
            if made_for_it
                && state
                    .model
                    .fail_upload(uuid, error.message(), None, true, state.now())
                    .await?
            {
                state.hub.publish(hub::Event::bundle_changed(uuid, BundleState::Failed));
            }
            Err(error)
        }
    }
}

async fn parameters(state: &AppState, me: &User, query: &Query) -> ApiResult<Parameters> {
    let filename = query.non_empty("filename").map(str::to_owned);
    let git = query.flag("git", false)?;
    if filename.is_none() && query.has("urls") {
        let text = if git { "a git repository" } else { "a URL" };
        return Err(ApiError::usage(format!(
            "Upload failed: this server does not fetch {text} itself; download it and upload the file."
        )));
    }
    let end: Option<BundleState> = query.get("state_on_success").unwrap_or("ready").parse().ok();
    let Some(end) = end.filter(|state| state.is_final()) else {
        return Err(ApiError::usage("state_on_success must be one of failed|ready|killed"));
    };
    let store = match query.non_empty("store").or(state.settings.default_store.as_deref()) {
        None => None,
        Some(name) => {
            let store = state.model.find_store(&me.user_id, name).await?;
            let kind = store.storage_type.as_deref().unwrap_or("disk");
            if kind != "disk" {
                return Err(ApiError::usage(format!(
                    "The store {name} is of type {kind}; this server writes to disk stores only."
                )));
            }
            Some(store.uuid)
        }
    };
    Ok(Parameters {
        filename,
        unpack: query.flag("unpack", true)?,
        state_on_success: query.flag("finalize_on_success", true)?.then_some(end),
        finalize_on_failure: query.flag("finalize_on_failure", false)?,
        store,
    })
}

/// A worker that lost a run still uploads its results; they must not overwrite those of the worker that has it now.
async fn check_sender(state: &AppState, bundle: &Bundle, headers: &HeaderMap) -> ApiResult<()> {
    if bundle.bundle_type != BundleType::Run {
        return Ok(());
    }
    let Some(worker) = bearer_token(headers).and_then(|token| state.worker_of_token(token)) else {
        return Ok(());
    };
    if state.model.worker_of_run(bundle.uuid).await? == Some(worker) {
        Ok(())
    } else {
        Err(ApiError::permission(format!(
            "Bundle {} is not assigned to this worker (any more).",
            bundle.uuid
        )))
    }
}

async fn upload(
    state: &AppState,
    bundle: &Bundle,
    parameters: &Parameters,
    mut body: impl Stream<Item = Result<Bytes, String>> + Unpin + Send,
) -> ApiResult {
    let uuid = bundle.uuid;
    let stored = match &parameters.filename {
        Some(filename) if !bundle.is_linked() => {
            let options = ReceiveOptions {
                filename: filename.clone(),
                unpack: parameters.unpack,
                max_bytes: room_left(state, bundle).await?,
                run_results: parameters.state_on_success.is_none(),
            };
            receive(state, uuid, parameters, &mut body, options).await
        }
        _ => {
            while body.next().await.is_some() {}
            without_data(state, bundle, parameters).await
        }
    };
    match stored {
        Ok(()) => {
            if let Some(end) = parameters.state_on_success {
                state.hub.publish(hub::Event::bundle_changed(uuid, end));
            }
            Ok(respond::empty())
        }
        Err(error) => {
            drain(&mut body).await;
            failed(state, uuid, parameters.finalize_on_failure, error).await
        }
    }
}

async fn receive(
    state: &AppState,
    uuid: Uuid,
    parameters: &Parameters,
    body: &mut (impl Stream<Item = Result<Bytes, String>> + Unpin + Send),
    options: ReceiveOptions,
) -> Result<(), Error> {
    let staged = state.storage.receive(&uuid, body, options).await?;
    // One at a time: two uploads to the same bundle must not publish over each other's end.
    let _turn = state.publishing.lock().await;
    if state.model.bundle(uuid).await?.bundle.state.is_final() {
        staged.discard().await;
        return Err(Error::permission(
            "Contents cannot be modified, bundle already finalized.",
        ));
    }
    let published = staged.publish().await?;
    let contents = contents_record(uuid, parameters.store, &published, state.now());
    let finished = state
        .model
        .finish_upload(
            &contents,
            "disk",
            parameters.store,
            parameters.state_on_success,
            state.now(),
        )
        .await;
    if finished.is_err()
        && let Err(error) = state.storage.delete(&uuid).await
    {
        tracing::error!(bundle = %uuid, %error, "cannot remove the contents of a failed upload");
    }
    finished
}

fn contents_record(uuid: Uuid, store: Option<Uuid>, published: &Published, now: i64) -> BundleContents {
    BundleContents {
        bundle_uuid: uuid,
        store_key: store.map(|store| store.to_string()).unwrap_or_default(),
        placement: "default".to_owned(),
        generation: format!("u_{}", uuid::Uuid::new_v4().simple()),
        is_dir: published.is_dir,
        format: "uncompressed".to_owned(),
        stored_bytes: published.size as i64,
        logical_bytes: published.size as i64,
        entries: 0,
        digest: published.digest.clone(),
        manifest_digest: None,
        created: now,
        verified: None,
    }
}

/// Nothing to store: contents that are there go (unless the bundle is a link), and the state is set.
async fn without_data(state: &AppState, bundle: &Bundle, parameters: &Parameters) -> Result<(), Error> {
    if !bundle.is_linked() {
        state.storage.delete(&bundle.uuid).await?;
        state.model.set_data_size(bundle.uuid, 0).await?;
    }
    if let Some(end) = parameters.state_on_success {
        state
            .model
            .report_final_state(bundle.uuid, end, None, state.now())
            .await?;
    }
    Ok(())
}

/// Bytes that the owner's quota leaves for this bundle; what it holds now will be replaced.
async fn room_left(state: &AppState, bundle: &Bundle) -> ApiResult<Option<u64>> {
    let Some(owner) = &bundle.owner_id else { return Ok(None) };
    let Some(owner) = state.model.user(owner).await? else {
        return Ok(None);
    };
    let left = owner.quota.disk_left() + bundle.metadata.int("data_size") as f64;
    Ok(Some(left.max(0.0) as u64))
}

/// Notes the failure at the bundle and words the answer: 400 when sending the same again cannot help, 500 otherwise.
async fn failed(state: &AppState, uuid: Uuid, finalize: bool, error: Error) -> ApiResult<Response> {
    if matches!(error.kind, ErrorKind::Permission | ErrorKind::NotFound) {
        return Err(error.into());
    }
    let users_fault = matches!(error.kind, ErrorKind::Usage | ErrorKind::TooLarge | ErrorKind::Conflict);
    let text = match error.message.strip_prefix("Upload failed: ") {
        Some(_) => error.message.clone(),
        None => format!("Upload failed: {}", error.message),
    };
    tracing::warn!(bundle = %uuid, reason = %text, "upload failed");
    let end = users_fault || finalize;
    if state.model.fail_upload(uuid, &text, None, end, state.now()).await? && end {
        state.hub.publish(hub::Event::bundle_changed(uuid, BundleState::Failed));
    }
    let status = match error.kind {
        _ if users_fault => StatusCode::BAD_REQUEST,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Err(ApiError::Status(status, text))
}

/// The body with its ways of being incomplete made into errors: silence, fewer bytes than announced, and an end that is
/// only that of the connection.
fn watched(
    body: Body,
    announced: Option<u64>,
    aborted: Option<Aborted>,
) -> impl Stream<Item = Result<Bytes, String>> + Unpin + Send {
    let chunks = body.into_data_stream();
    let cut_off = move |received: u64| {
        announced.is_some_and(|announced| announced != received)
            || aborted.as_ref().is_some_and(|Aborted(token)| token.is_cancelled())
    };
    let start = (chunks, 0u64, false, cut_off);
    let stream = futures::stream::unfold(start, |(mut chunks, received, ended, cut_off)| async move {
        if ended {
            return None;
        }
        match tokio::time::timeout(IDLE, chunks.next()).await {
            Err(_) => Some((
                Err("the client stopped sending".to_owned()),
                (chunks, received, true, cut_off),
            )),
            Ok(Some(Ok(bytes))) => {
                let received = received + bytes.len() as u64;
                Some((Ok(bytes), (chunks, received, false, cut_off)))
            }
            Ok(Some(Err(error))) => Some((
                Err(format!("the request body was cut off: {error}")),
                (chunks, received, true, cut_off),
            )),
            Ok(None) if cut_off(received) => Some((
                Err("the request body was cut off".to_owned()),
                (chunks, received, true, cut_off),
            )),
            Ok(None) => None,
        }
    });
    // Fused, because a refused body is drained, to its end and maybe from there.
    Box::pin(stream.fuse())
}

/// Reads what the client still sends, within reason.
async fn drain(body: &mut (impl Stream<Item = Result<Bytes, String>> + Unpin)) {
    const MOST: usize = 1 << 30;
    let mut seen = 0;
    while let Some(Ok(bytes)) = body.next().await {
        seen += bytes.len();
        if seen > MOST {
            break;
        }
    }
}

/// `PATCH /bundles/{uuid}/contents/filesize/`: corrects the index of an archive in an object store. Contents on disk
/// know their size, so nothing changes there.
#[utoipa::path(
    patch,
    path = "/bundles/{uuid}/contents/filesize/",
    tag = "contents",
    summary = "Corrects the size of an archive in an object store.",
    params(UuidPath),
    request_body(content = openapi::ResourcesRequest<openapi::AnyAttributes>, content_type = "application/json"),
    responses(
        (status = 200, description = "The bundle", body = openapi::ManyDocument<api::bundles::BundleAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn filesize(
    State(state): State<AppState>,
    LoginProtected(viewer, me): LoginProtected,
    PathUuid(uuid): PathUuid,
    body: JsonBody,
) -> ApiResult {
    need_all_on_bundles(&state, Some(&me.user_id), &[uuid]).await?;
    body.resources(kind::BUNDLES)?;
    let records = state.model.bundles(&[uuid]).await?;
    let (resources, _) = present_all(&state, &viewer, &records, &Wanted::default()).await?;
    Ok(state.respond(Document::many(resources)))
}
