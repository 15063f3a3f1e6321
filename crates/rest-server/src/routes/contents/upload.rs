//! `PUT /bundles/{uuid}/contents/blob/`: an upload becomes the contents of a bundle, or nothing at all.

use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::{Bundle, BundleState, BundleType, Error, ErrorKind, Uuid};
use futures::{Stream, StreamExt};
use http::{HeaderMap, StatusCode};
use model::{BundleContents, User};
use storage::{Published, ReceiveOptions, Staged};

use super::fetched;
use super::incoming::{drain, watched};
use crate::auth::{LoginProtected, bearer_token};
use crate::error::{ApiError, ApiResult};
use crate::fetch::Source;
use crate::listener::Aborted;
use crate::openapi::{UploadQuery, UuidPath, WriteFailures};
use crate::params::Query;
use crate::path::PathUuid;
use crate::repeats::{self, Keep};
use crate::respond;
use crate::routes::need_all_on_bundles;
use crate::state::AppState;

/// Where the contents come from.
enum Origin {
    /// The request body, a file of this name.
    Body(String),
    /// A file that this server fetches.
    Url(Source),
    /// A git repository that this server clones.
    Git(Source),
    /// No data is stored, only the state is set.
    Nothing,
}

/// The query parameters of an upload, all checked before anything happens.
struct Parameters {
    origin: Origin,
    unpack: bool,
    /// The state at the end; none leaves it alone.
    state_on_success: Option<BundleState>,
    finalize_on_failure: bool,
    store: Option<Uuid>,
}

/// Stores the request body, or what the URL leads to. Answers exactly 200 when the contents are durable and accounted
/// for.
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
#[allow(clippy::too_many_arguments)] // one extractor each
pub async fn put(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    PathUuid(uuid): PathUuid,
    RawQuery(target): RawQuery,
    query: Query,
    headers: HeaderMap,
    aborted: Option<Extension<Aborted>>,
    body: Body,
) -> ApiResult {
    let announced = headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = watched(body, announced, aborted.map(|Extension(aborted)| aborted));
    let is_fetch = query.non_empty("filename").is_none() && query.has("urls");
    let target = target.unwrap_or_default();
    let key = repeats::key(&headers, &[b"PUT", uuid.as_str().as_bytes(), target.as_bytes()]).filter(|_| is_fetch);
    // The work goes on when the client hangs up, so that a bundle never stays between two states.
    let work = {
        let state = state.clone();
        async move {
            match admitted(&state, &me, uuid, &query, &headers).await {
                Ok((bundle, parameters)) => upload(&state, &bundle, &parameters, body).await,
                Err(error) => {
                    // Clients read the answer only after they have sent everything.
                    drain(&mut body).await;
                    Err(error)
                }
            }
            .into_response()
        }
    };
    match key {
        Some(key) => Ok(Box::pin(repeats::once(&state, key, Keep::Always, work)).await),
        None => state
            .tasks
            .spawn(work)
            .await
            .map_err(|error| ApiError::internal(format!("an upload broke off: {error}"))),
    }
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
    // A malformed request says nothing about the bundle, which stays as it is.
    let flags = Flags::read(query)?;
    match parameters(state, me, query, &flags).await {
        Ok(parameters) => Ok((bundle, parameters)),
        Err(error) => {
            // A bundle that was made for this upload would wait for ever; others stay as they are.
            let made_for_it = flags.finalize_on_failure || flags.fetches;
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

/// The parameters that are numbers or lists, and cannot be right or wrong but only well or badly formed.
struct Flags {
    unpack: bool,
    git: bool,
    finalize_on_success: bool,
    finalize_on_failure: bool,
    fetches: bool,
}

impl Flags {
    fn read(query: &Query) -> ApiResult<Self> {
        let flags = Self {
            unpack: query.flag("unpack", true)?,
            git: query.flag("git", false)?,
            finalize_on_success: query.flag("finalize_on_success", true)?,
            finalize_on_failure: query.flag("finalize_on_failure", false)?,
            fetches: query.non_empty("filename").is_none() && query.has("urls"),
        };
        if flags.fetches && query.all("urls").len() != 1 {
            return Err(ApiError::usage("Upload failed: Exactly one url must be provided."));
        }
        Ok(flags)
    }
}

async fn parameters(state: &AppState, me: &User, query: &Query, flags: &Flags) -> ApiResult<Parameters> {
    let origin = match (query.non_empty("filename"), query.get("urls")) {
        (Some(name), _) => Origin::Body(name.to_owned()),
        (None, Some(url)) => {
            let source = Source::parse(url).map_err(|error| error.context("Upload failed"))?;
            if flags.git {
                Origin::Git(source)
            } else {
                Origin::Url(source)
            }
        }
        (None, None) => Origin::Nothing,
    };
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
        origin,
        unpack: flags.unpack,
        state_on_success: flags.finalize_on_success.then_some(end),
        finalize_on_failure: flags.finalize_on_failure,
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
    let stored = if matches!(parameters.origin, Origin::Nothing) || bundle.is_linked() {
        while body.next().await.is_some() {}
        without_data(state, bundle, parameters).await
    } else {
        store(state, bundle, parameters, &mut body).await
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

/// Takes the contents in, and makes them those of the bundle.
async fn store(
    state: &AppState,
    bundle: &Bundle,
    parameters: &Parameters,
    body: &mut (impl Stream<Item = Result<Bytes, String>> + Unpin + Send),
) -> Result<(), Error> {
    let uuid = bundle.uuid;
    let options = |filename: String, max_bytes: Option<u64>| ReceiveOptions {
        filename,
        unpack: parameters.unpack,
        max_bytes,
        run_results: parameters.state_on_success.is_none(),
    };
    let max_bytes = room_left(state, bundle).await?;
    let staged = match &parameters.origin {
        Origin::Body(name) => {
            state
                .storage
                .receive(&uuid, body, options(name.clone(), max_bytes))
                .await?
        }
        Origin::Url(source) => fetched::file(state, &uuid, source, options(source.file_name(), max_bytes)).await?,
        Origin::Git(source) => fetched::repository(state, &uuid, source, max_bytes).await?,
        Origin::Nothing => return Ok(()),
    };
    publish(state, uuid, parameters, staged).await
}

async fn publish(state: &AppState, uuid: Uuid, parameters: &Parameters, staged: Staged) -> Result<(), Error> {
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
async fn room_left(state: &AppState, bundle: &Bundle) -> Result<Option<u64>, Error> {
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
