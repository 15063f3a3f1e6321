//! What workers ask: check in (a long poll), begin a run, answer a message; and the listing of workers.

use std::collections::HashSet;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{OriginalUri, Path, State};
use domain::run::{CHECK_IN_HOLD_SECONDS, CheckInRequest, RunReport, StartBundle, WorkerInfo, WorkerMessage};
use domain::{BundleState, Uuid};
use http::HeaderMap;
use hub::Event;
use model::{ReportOutcome, StartRun, WorkerKey, WorkerRecord};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::auth::{LoginProtected, bearer_token};
use crate::error::{ApiError, ApiResult};
use crate::input::JsonBody;
use crate::openapi::{Failures, HeaderMessageQuery, SocketPath, WorkerPath, WorkerRunPath, WriteFailures};
use crate::params::Query;
use crate::path::PathSocket;
use crate::peers::Channel;
use crate::respond;
use crate::state::AppState;
use api::openapi;

/// Most messages in one answer.
const MOST_MESSAGES: u32 = 100;
/// A worker of 1.7 cannot work on its runs while it waits, so it waits less while runs are being prepared.
const HOLD_WHILE_PREPARING: Duration = Duration::from_millis(500);

/// `POST /workers/{worker_id}/checkin`
#[utoipa::path(
    post,
    path = "/workers/{worker_id}/checkin",
    tag = "workers",
    summary = "A worker reports and waits for messages.",
    params(WorkerPath),
    request_body(content = openapi::CheckIn, content_type = "application/json"),
    responses(
        (status = 200, description = "Messages; null ends an empty list", body = Vec<serde_json::Value>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn check_in(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    Path(worker_id): Path<String>,
    headers: HeaderMap,
    body: JsonBody,
) -> ApiResult {
    let request: CheckInRequest = serde_json::from_value(body.0.unwrap_or_default())
        .map_err(|error| ApiError::usage(format!("Malformed check-in: {error}")))?;
    let worker = WorkerKey {
        user_id: me.user_id.clone(),
        worker_id: worker_id.into(),
    };
    if let Some(token) = bearer_token(&headers) {
        state.bind_token(token, &worker);
    }
    state.note_capabilities(&worker, &request.capabilities);
    state.model.worker_checkin(&worker, &request, state.now()).await?;
    let answers = apply_reports(&state, &worker, &request).await;
    state
        .hub
        .publish(Event::worker_checked_in(&worker.user_id, &worker.worker_id));

    let hold = if answers.is_empty() {
        hold_time(&request)
    } else {
        Duration::ZERO
    };
    let (queued, ids) = wait_for_messages(&state, &worker, &request, hold).await?;
    // Delivered means written here; what the worker does with it is confirmed by its next reports.
    state.model.mark_delivered(&ids, state.now()).await?;
    let mut messages = answers;
    messages.extend(queued);
    if ids.is_empty() {
        messages.push(Value::Null);
    }
    Ok(respond::json_value(&Value::Array(messages)))
}

fn hold_time(request: &CheckInRequest) -> Duration {
    let longest = CHECK_IN_HOLD_SECONDS;
    match request.wait_seconds {
        Some(seconds) => Duration::from_secs((seconds.max(0) as u64).min(longest)),
        None if request.reports().any(|run| run.state == BundleState::Preparing) => HOLD_WHILE_PREPARING,
        None => Duration::from_secs(longest),
    }
}

/// Stores every report on its own; gives the messages that answer them. A failing report is logged and skipped.
async fn apply_reports(state: &AppState, worker: &WorkerKey, request: &CheckInRequest) -> Vec<Value> {
    let mut answers = Vec::new();
    for report in request.reports() {
        match state.model.report_run(worker, report, state.now()).await {
            Ok(outcome) => answers.extend(answer_report(state, report, outcome).await),
            Err(error) => tracing::warn!(run = %report.uuid, worker = %worker.worker_id, %error, "a run report failed"),
        }
    }
    answers
        .iter()
        .filter_map(|message| serde_json::to_value(message).ok())
        .collect()
}

async fn answer_report(state: &AppState, report: &RunReport, outcome: ReportOutcome) -> Vec<WorkerMessage> {
    let uuid = report.uuid;
    match outcome {
        ReportOutcome::Applied {
            state: BundleState::Finalizing,
            ..
        } => {
            match state.model.finalize_run(uuid, state.now()).await {
                Ok(Some(end)) => state.hub.publish(Event::bundle_changed(uuid, end)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(run = %uuid, %error, "cannot finalize a run");
                    return Vec::new();
                }
            }
            vec![WorkerMessage::MarkFinalized { uuid }]
        }
        ReportOutcome::Applied { state: now, over_quota } => {
            state.hub.publish(Event::bundle_changed(uuid, now));
            over_quota
                .map(|text| WorkerMessage::Kill {
                    uuid,
                    kill_message: Some(text),
                })
                .into_iter()
                .collect()
        }
        ReportOutcome::Restaged => {
            state.hub.publish(Event::bundle_changed(uuid, BundleState::Staged));
            Vec::new()
        }
        ReportOutcome::NotAssigned { .. } if report.state == BundleState::Finalizing => {
            vec![WorkerMessage::MarkFinalized { uuid }]
        }
        ReportOutcome::NotAssigned { .. } => {
            vec![WorkerMessage::Kill {
                uuid,
                kill_message: Some("This run no longer belongs to this worker.".to_owned()),
            }]
        }
        ReportOutcome::Ignored => Vec::new(),
    }
}

/// Queued messages, waiting for the first one at most `hold`; and the ids of their rows.
async fn wait_for_messages(
    state: &AppState,
    worker: &WorkerKey,
    request: &CheckInRequest,
    hold: Duration,
) -> ApiResult<(Vec<Value>, Vec<i64>)> {
    let mut events = state.hub.subscribe();
    let deadline = Instant::now() + hold;
    let mut messages = take_messages(state, worker, request).await?;
    if !messages.1.is_empty() || hold.is_zero() {
        return Ok(messages);
    }
    let parked = Parked::announce(state, worker);
    loop {
        tokio::select! {
            event = hub::next_event(&mut events) => match event {
                Some(event) if concerns(&event, worker) => {}
                Some(_) => continue,
                None => break,
            },
            () = tokio::time::sleep_until(deadline) => break,
            () = state.shutdown.cancelled() => break,
        }
        messages = take_messages(state, worker, request).await?;
        if !messages.1.is_empty() {
            return Ok(messages);
        }
    }
    drop(parked);
    take_messages(state, worker, request).await
}

fn concerns(event: &Event, worker: &WorkerKey) -> bool {
    match event {
        Event::MessageQueued { user_id, worker_id } => {
            worker.user_id == user_id.as_str() && worker.worker_id == worker_id.as_str()
        }
        Event::Resync => true,
        _ => false,
    }
}

/// Says on the hub that a poll is parked, and when it no longer is, also when the client goes away.
struct Parked<'a>(&'a AppState, &'a WorkerKey);

impl<'a> Parked<'a> {
    fn announce(state: &'a AppState, worker: &'a WorkerKey) -> Self {
        let (user_id, worker_id) = (worker.user_id.to_string(), worker.worker_id.to_string());
        state.hub.publish(Event::PollParked { user_id, worker_id });
        Self(state, worker)
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        let (user_id, worker_id) = (self.1.user_id.to_string(), self.1.worker_id.to_string());
        self.0.hub.publish(Event::PollEnded { user_id, worker_id });
    }
}

/// The queued messages in the order that old workers need: about reported runs, then `run`, then at most one about a
/// run that the worker has not reported, because such a worker stops reading at a run it does not know.
async fn take_messages(
    state: &AppState,
    worker: &WorkerKey,
    request: &CheckInRequest,
) -> ApiResult<(Vec<Value>, Vec<i64>)> {
    let reported: HashSet<Uuid> = request.reports().map(|report| report.uuid).collect();
    let mut pending = state.model.pending_messages(worker, state.now(), MOST_MESSAGES).await?;
    let rank = |message: &model::QueuedMessage| match message.run_uuid {
        _ if message.kind == "run" => 1,
        Some(uuid) if reported.contains(&uuid) => 0,
        _ => 2,
    };
    pending.sort_by_key(rank);
    let certain = pending.iter().filter(|message| rank(message) < 2).count();
    pending.truncate(certain + 1);
    let ids = pending.iter().map(|message| message.id).collect();
    Ok((pending.into_iter().map(|message| message.payload).collect(), ids))
}

/// `POST /workers/{worker_id}/start_bundle/{uuid}`
#[utoipa::path(
    post,
    path = "/workers/{worker_id}/start_bundle/{uuid}",
    tag = "workers",
    summary = "A worker begins a run.",
    params(WorkerRunPath),
    request_body(content = openapi::StartBundleRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "Whether it may", body = bool, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn start_bundle(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    Path((worker_id, uuid)): Path<(String, String)>,
    body: JsonBody,
) -> ApiResult {
    let request: StartBundle = serde_json::from_value(body.0.unwrap_or_default())
        .map_err(|error| ApiError::usage(format!("Malformed start_bundle: {error}")))?;
    let run = Uuid::parse(&uuid).map_err(|_| ApiError::not_found(format!("Bundle {uuid} not found")))?;
    let worker = WorkerKey {
        user_id: me.user_id.clone(),
        worker_id: worker_id.into(),
    };
    let start = StartRun {
        run,
        worker,
        hostname: request.hostname,
        start_time: request.start_time,
    };
    let started = state.model.start_run(&start).await?;
    if started {
        state.hub.publish(Event::bundle_changed(run, BundleState::Preparing));
    }
    Ok(respond::json_value(&Value::Bool(started)))
}

/// `POST /workers/{worker_id}/reply/{socket_id}`
#[utoipa::path(
    post,
    path = "/workers/{worker_id}/reply/{socket_id}",
    tag = "workers",
    summary = "A worker answers a message with JSON.",
    params(SocketPath),
    request_body(content = openapi::AnyAttributes, content_type = "application/json"),
    responses(
        (status = 200, description = "Done"),
        WriteFailures,
    )
)]
pub async fn reply(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    PathSocket {
        worker_id,
        socket_id: id,
    }: PathSocket,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: JsonBody,
) -> ApiResult {
    let worker = WorkerKey {
        user_id: me.user_id.clone(),
        worker_id: worker_id.into(),
    };
    let channel = Channel::from_id(id);
    check_socket(&state, &worker, channel.socket).await?;
    let answer = body.0.unwrap_or_else(|| json!({}));
    let text = || Body::from(answer.to_string());
    if let Some(passed_on) = state.pass_on(channel, target(&uri), &unmeasured(headers), text).await {
        return passed_on;
    }
    state.replies.deliver_json(channel.socket, answer);
    Ok(respond::empty())
}

/// The headers without the length of a body that is written anew.
fn unmeasured(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(http::header::CONTENT_LENGTH);
    headers
}

fn target(uri: &http::Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

/// `POST /workers/{worker_id}/reply_data/{socket_id}?header_message=...`
#[utoipa::path(
    post,
    path = "/workers/{worker_id}/reply_data/{socket_id}",
    tag = "workers",
    summary = "A worker answers a message with JSON and bytes.",
    params(SocketPath, HeaderMessageQuery),
    request_body(content = String, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "Done"),
        WriteFailures,
    )
)]
pub async fn reply_data(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    PathSocket {
        worker_id,
        socket_id: id,
    }: PathSocket,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    query: Query,
    body: Body,
) -> ApiResult {
    let header = query
        .get("header_message")
        .ok_or_else(|| ApiError::usage("Missing header message."))?;
    let header: Value =
        serde_json::from_str(header).map_err(|_| ApiError::usage("Header message should be in JSON format."))?;
    let worker = WorkerKey {
        user_id: me.user_id.clone(),
        worker_id: worker_id.into(),
    };
    let channel = Channel::from_id(id);
    check_socket(&state, &worker, channel.socket).await?;
    let mut body = Some(body);
    let taken = || body.take().unwrap_or_default();
    if let Some(passed_on) = state.pass_on(channel, target(&uri), &headers, taken).await {
        return passed_on;
    }
    let body = body.unwrap_or_default();
    let delivered = state.replies.deliver_data(channel.socket, header, body).await;
    delivered.map_err(|error| ApiError::usage(error.to_string()))?;
    Ok(respond::empty())
}

async fn check_socket(state: &AppState, worker: &WorkerKey, socket_id: i64) -> ApiResult<()> {
    if state.replies.is_open(socket_id, worker) || state.model.has_socket(worker, socket_id).await? {
        Ok(())
    } else {
        Err(ApiError::permission("Not your socket ID!"))
    }
}

/// `GET /workers/info`
#[utoipa::path(
    get,
    path = "/workers/info",
    tag = "workers",
    summary = "Workers that the caller may know.",
    responses(
        (status = 200, description = "The workers", body = openapi::WorkersAnswer, content_type = "application/json"),
        Failures,
    )
)]
pub async fn info(State(state): State<AppState>, LoginProtected(_, me): LoginProtected) -> ApiResult {
    let workers = state.model.workers_visible_to(&me.user_id).await?;
    let data: Vec<WorkerInfo> = workers.into_iter().map(listed).collect();
    let mut object = Map::new();
    object.insert("data".to_owned(), json!(data));
    Ok(respond::json_object(object, &state.settings.version))
}

fn listed(worker: WorkerRecord) -> WorkerInfo {
    WorkerInfo {
        user_id: worker.key.user_id.into(),
        worker_id: worker.key.worker_id.into(),
        group_uuid: worker.group_uuid.map(Into::into),
        tag: worker.tag,
        cpus: worker.cpus,
        gpus: worker.gpus,
        memory_bytes: worker.memory_bytes,
        free_disk_bytes: worker.free_disk_bytes,
        checkin_time: worker.checkin_time.unix(),
        socket_id: worker.socket_id,
        run_uuids: worker.run_uuids.into_iter().map(Into::into).collect(),
        shared_file_system: worker.shared_file_system,
        tag_exclusive: worker.tag_exclusive,
        exit_after_num_runs: worker.exit_after_num_runs,
        is_terminating: worker.is_terminating,
        preemptible: worker.preemptible,
        cpus_in_use: worker.cpus_in_use,
        gpus_in_use: worker.gpus_in_use,
    }
}
