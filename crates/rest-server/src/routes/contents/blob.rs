//! `GET /bundles/{uuid}/contents/blob/{path}`: whole files, ranges, first and last lines, directories.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contents::{Excludes, PackOptions, Summary};
use domain::run::ReadArgs;
use domain::target_info::TargetType;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::headers::{
    BlobHeaders, ByteRange, RangeSpec, accepts_gzip, byte_range, has_version, may_be_part, standard_range,
};
use crate::auth::Protected;
use crate::error::{ApiError, ApiResult};
use crate::openapi::{BlobQuery, Failures, PartAnswers, TreePath};
use crate::params::Query;
use crate::path::{PathUuid, RestPath};
use crate::pipeline::is_ajax;
use crate::reading::{self, Target};
use crate::state::AppState;

/// What part of a file is wanted.
enum Part {
    Whole,
    /// As clients of 1.7 know it: 200, and nothing past the end.
    Section(ByteRange),
    /// As browsers know it: 206 or 416.
    Range(RangeSpec),
    Summary(Summary),
}

/// What the request says beside its path.
struct Wish {
    part: Part,
    gzip: bool,
    /// Only the headers of the answer.
    head: bool,
    /// From a browser: ranges by the book, and versions.
    standard: bool,
    headers: HeaderMap,
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
    method: Method,
    headers: HeaderMap,
) -> ApiResult {
    query.flag("support_redirect", false)?;
    let standard = !is_ajax(&headers) || headers.contains_key(header::IF_RANGE);
    let wish = Wish {
        part: part(&query, &headers, standard)?,
        gzip: accepts_gzip(&headers),
        head: method == Method::HEAD,
        standard,
        headers,
    };
    let target = reading::resolve(&state, &viewer, uuid, &path, 0).await?;
    let at_root = path.trim_matches('/').is_empty();
    let name = if at_root {
        target.bundle.name().to_owned()
    } else {
        target.info.name.clone()
    };
    match target.info.target_type {
        TargetType::Directory => directory(&state, &target, &wish, &name).await,
        TargetType::File if target.live => live_file(&state, &target, wish, &name).await,
        TargetType::File => stored_file(&state, &target, wish, &name).await,
        other => Err(ApiError::permission(format!(
            "Cannot download files of this type ({}).",
            other.as_str()
        ))),
    }
}

fn part(query: &Query, headers: &HeaderMap, standard: bool) -> ApiResult<Part> {
    let count = |name: &str, default: i64| -> ApiResult<usize> {
        let value = query.int(name)?.unwrap_or(default);
        usize::try_from(value).map_err(|_| ApiError::usage(format!("'{name}' must not be negative")))
    };
    let range = if standard {
        standard_range(headers)?.map(Part::Range)
    } else {
        byte_range(headers)?.map(Part::Section)
    };
    let summary = Summary {
        head: count("head", 0)?,
        tail: count("tail", 0)?,
        max_line_length: count("max_line_length", 128)?,
        truncation_text: query.get("truncation_text").unwrap_or_default().to_owned(),
    };
    match (range, summary.head + summary.tail > 0) {
        (Some(_), true) => Err(ApiError::usage("Head and range not supported at the same time.")),
        (Some(range), false) => Ok(range),
        (None, true) => Ok(Part::Summary(summary)),
        (None, false) => Ok(Part::Whole),
    }
}

async fn directory(state: &AppState, target: &Target, wish: &Wish, name: &str) -> ApiResult {
    match wish.part {
        Part::Section(_) | Part::Range(_) => {
            return Err(ApiError::usage("Range not supported for directory blobs."));
        }
        Part::Summary(_) => return Err(ApiError::usage("Head and tail not supported for directory blobs.")),
        Part::Whole => {}
    }
    let body = if wish.head {
        Body::empty()
    } else if target.live {
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

/// A file of a running bundle. The worker sends gzip; it is passed on or unpacked on the way.
async fn live_file(state: &AppState, target: &Target, wish: Wish, name: &str) -> ApiResult {
    let size = target.info.size;
    let mut gzip = wish.gzip;
    let mut range = None;
    let read = match wish.part {
        Part::Whole => ReadArgs::StreamFile,
        Part::Section(section) => section_args(section),
        Part::Range(_) if !may_be_part(&wish.headers, None) => ReadArgs::StreamFile,
        Part::Range(asked) => match asked.within(size) {
            None => return Ok(beyond_the_end(size)),
            Some(part) => {
                gzip = false;
                range = Some(part);
                section_args(part)
            }
        },
        Part::Summary(summary) => ReadArgs::SummarizeFile {
            num_head_lines: summary.head as u64,
            num_tail_lines: summary.tail as u64,
            max_line_length: summary.max_line_length as u64,
            truncation_text: summary.truncation_text,
        },
    };
    let body = if wish.head {
        Body::empty()
    } else {
        let body = reading::read_live(state, target, read).await?;
        if gzip {
            body
        } else {
            Body::from_stream(contents::gunzip_stream(body.into_data_stream()))
        }
    };
    let mut response = Response::new(body);
    BlobHeaders {
        name,
        is_directory: false,
        gzip,
        target_size: size,
    }
    .apply(&mut response);
    if let Some(part) = range {
        mark_partial(&mut response, part, size);
    }
    Ok(response)
}

fn section_args(section: ByteRange) -> ReadArgs {
    ReadArgs::ReadFileSection {
        offset: section.start,
        length: section.length,
    }
}

async fn stored_file(state: &AppState, target: &Target, wish: Wish, name: &str) -> ApiResult {
    let contents = reading::stored(state, &target.bundle);
    let path = contents.sub_path(&target.path)?;
    let headers = |gzip: bool, body: Body| {
        let mut response = Response::new(body);
        BlobHeaders {
            name,
            is_directory: false,
            gzip,
            target_size: target.info.size,
        }
        .apply(&mut response);
        response
    };
    if let Part::Summary(summary) = &wish.part {
        let text = contents.summary(&path, summary).await?.into_bytes();
        let bytes = if wish.gzip { contents::gzip_bytes(&text) } else { text };
        return Ok(headers(wish.gzip, Body::from(bytes)));
    }
    let blob = contents.file(&path).await?;
    let size = blob.size();
    // The contents of a final bundle never change; those of a link may.
    let is_fixed = target.bundle.state.is_final() && !target.bundle.is_linked();
    let tag = |gzip: bool| is_fixed.then(|| format!("\"{}{}\"", blob.version(), if gzip { "-gz" } else { "" }));
    let (section, gzip, partial) = match wish.part {
        Part::Section(section) => (section, wish.gzip, false),
        Part::Range(asked) if may_be_part(&wish.headers, tag(false).as_deref()) => match asked.within(size) {
            Some(section) => (section, false, true),
            None => return Ok(beyond_the_end(size)),
        },
        _ => (ByteRange { start: 0, length: size }, wish.gzip, false),
    };
    let tag = tag(gzip).filter(|_| !matches!(wish.part, Part::Section(_)));
    if let Some(tag) = tag.as_deref().filter(|tag| has_version(&wish.headers, tag)) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        mark_version(&mut response, tag);
        return Ok(response);
    }
    let length = size.saturating_sub(section.start).min(section.length);
    let body = match (wish.head, gzip) {
        (true, _) => Body::empty(),
        (false, true) => Body::from_stream(blob.range_gzip_stream(section.start, length)),
        (false, false) => Body::from_stream(blob.range_stream(section.start, length)),
    };
    let mut response = headers(gzip, body);
    if !gzip {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if wish.standard {
        response
            .headers_mut()
            .insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if let Some(tag) = tag {
        mark_version(&mut response, &tag);
    }
    if partial {
        mark_partial(&mut response, section, size);
    }
    Ok(response)
}

/// 206, and which part it is.
fn mark_partial(response: &mut Response, part: ByteRange, size: u64) {
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let last = part.start + part.length - 1;
    if let Ok(value) = HeaderValue::try_from(format!("bytes {}-{last}/{size}", part.start)) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
}

/// The version, and that caches must ask before they show it: permissions change.
fn mark_version(response: &mut Response, tag: &str) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(
        header::VARY,
        HeaderValue::from_static("Accept-Encoding, Authorization, Cookie"),
    );
}

/// 416
fn beyond_the_end(size: u64) -> Response {
    let text = format!("The range begins past the end of the file, which has {size} bytes.");
    let mut response = ApiError::Status(StatusCode::RANGE_NOT_SATISFIABLE, text).into_response();
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}
