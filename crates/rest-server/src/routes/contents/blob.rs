//! `GET /bundles/{uuid}/contents/blob/{path}`: whole files, ranges, first and last lines, directories.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use contents::{Excludes, PackOptions, Summary};
use domain::run::ReadArgs;
use domain::target_info::TargetType;
use http::{HeaderMap, HeaderValue, header};

use super::headers::{BlobHeaders, ByteRange, accepts_gzip, byte_range};
use crate::auth::Protected;
use crate::error::{ApiError, ApiResult};
use crate::openapi::{BlobQuery, Failures, PartAnswers, TreePath};
use crate::params::Query;
use crate::path::{PathUuid, RestPath};
use crate::reading::{self, Target};
use crate::state::AppState;

/// What part of a file is wanted.
enum Part {
    Whole,
    Range(ByteRange),
    Summary(Summary),
}

/// Answers with the bytes of a target.
#[utoipa::path(
    get,
    path = "/bundles/{uuid}/contents/blob/{path}",
    tag = "contents",
    summary = "The bytes of a file, a part of it, or a directory as an archive.",
    params(TreePath, BlobQuery),
    responses(
        (status = 200, description = "The bytes, in the type of the file", content_type = "*/*"),
        PartAnswers,
        Failures,
    )
)]
pub async fn read(
    State(state): State<AppState>,
    Protected(viewer): Protected,
    PathUuid(uuid): PathUuid,
    RestPath(path): RestPath,
    query: Query,
    headers: HeaderMap,
) -> ApiResult {
    let part = part(&query, &headers)?;
    query.flag("support_redirect", false)?;
    let gzip = accepts_gzip(&headers);
    let target = reading::resolve(&state, &viewer, uuid, &path, 0).await?;
    let at_root = path.trim_matches('/').is_empty();
    let name = if at_root {
        target.bundle.name().to_owned()
    } else {
        target.info.name.clone()
    };
    match target.info.target_type {
        TargetType::Directory => directory(&state, &target, &part, &name).await,
        TargetType::File => file(&state, &target, part, &name, gzip).await,
        other => Err(ApiError::permission(format!(
            "Cannot download files of this type ({}).",
            other.as_str()
        ))),
    }
}

fn part(query: &Query, headers: &HeaderMap) -> ApiResult<Part> {
    let count = |name: &str, default: i64| -> ApiResult<usize> {
        let value = query.int(name)?.unwrap_or(default);
        usize::try_from(value).map_err(|_| ApiError::usage(format!("'{name}' must not be negative")))
    };
    let range = byte_range(headers)?;
    let summary = Summary {
        head: count("head", 0)?,
        tail: count("tail", 0)?,
        max_line_length: count("max_line_length", 128)?,
        truncation_text: query.get("truncation_text").unwrap_or_default().to_owned(),
    };
    match (range, summary.head + summary.tail > 0) {
        (Some(_), true) => Err(ApiError::usage("Head and range not supported at the same time.")),
        (Some(range), false) => Ok(Part::Range(range)),
        (None, true) => Ok(Part::Summary(summary)),
        (None, false) => Ok(Part::Whole),
    }
}

async fn directory(state: &AppState, target: &Target, part: &Part, name: &str) -> ApiResult {
    match part {
        Part::Range(_) => return Err(ApiError::usage("Range not supported for directory blobs.")),
        Part::Summary(_) => return Err(ApiError::usage("Head and tail not supported for directory blobs.")),
        Part::Whole => {}
    }
    let body = if target.live {
        reading::read_live(state, target, ReadArgs::StreamDirectory).await?
    } else {
        let contents = reading::stored(state, &target.bundle);
        let options = PackOptions {
            excludes: Excludes::default_ignored(),
            ..PackOptions::default()
        };
        Body::from_stream(contents.directory(&contents.sub_path(&target.path)?, options).await?)
    };
    let whole_bundle = target.path.is_empty();
    let target_size = if whole_bundle {
        target.bundle.metadata.int("data_size").max(0) as u64
    } else {
        0
    };
    let mut response = Response::new(body);
    BlobHeaders {
        name,
        is_directory: true,
        gzip: false,
        target_size,
    }
    .apply(&mut response);
    Ok(response)
}

async fn file(state: &AppState, target: &Target, part: Part, name: &str, gzip: bool) -> ApiResult {
    let (body, length) = if target.live {
        (live_file(state, target, part, gzip).await?, None)
    } else {
        stored_file(state, target, part, gzip).await?
    };
    let mut response = Response::new(body);
    BlobHeaders {
        name,
        is_directory: false,
        gzip,
        target_size: target.info.size,
    }
    .apply(&mut response);
    if let Some(length) = length {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(response)
}

/// The worker sends gzip; it is passed on or unpacked on the way.
async fn live_file(state: &AppState, target: &Target, part: Part, gzip: bool) -> ApiResult<Body> {
    let read = match part {
        Part::Whole => ReadArgs::StreamFile,
        Part::Range(range) => ReadArgs::ReadFileSection {
            offset: range.start,
            length: range.length,
        },
        Part::Summary(summary) => ReadArgs::SummarizeFile {
            num_head_lines: summary.head as u64,
            num_tail_lines: summary.tail as u64,
            max_line_length: summary.max_line_length as u64,
            truncation_text: summary.truncation_text,
        },
    };
    let body = reading::read_live(state, target, read).await?;
    if gzip {
        return Ok(body);
    }
    Ok(Body::from_stream(contents::gunzip_stream(body.into_data_stream())))
}

/// The body and, where it is certain, its length.
async fn stored_file(state: &AppState, target: &Target, part: Part, gzip: bool) -> ApiResult<(Body, Option<u64>)> {
    let contents = reading::stored(state, &target.bundle);
    let path = contents.sub_path(&target.path)?;
    let (offset, length) = match part {
        Part::Summary(summary) => {
            let text = contents.summary(&path, &summary).await?.into_bytes();
            let bytes = if gzip { contents::gzip_bytes(&text) } else { text };
            let length = bytes.len() as u64;
            return Ok((Body::from(bytes), Some(length)));
        }
        Part::Whole => (0, u64::MAX),
        Part::Range(range) => (range.start, range.length),
    };
    let blob = contents.file(&path).await?;
    let length = blob.size().saturating_sub(offset).min(length);
    if gzip {
        return Ok((Body::from_stream(blob.range_gzip_stream(offset, length)), None));
    }
    Ok((Body::from_stream(blob.range_stream(offset, length)), Some(length)))
}
