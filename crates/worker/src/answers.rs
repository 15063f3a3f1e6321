//! Answers to what the server asks about running bundles: reads, netcat, and the silent write. Exactly one reply goes
//! out per request. Nothing outside the run's directory can be read, whatever links the run has made.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use client::Body;
use contents::{Excludes, PackOptions, SubPath, Summary};
use domain::run::{ReadArgs, Reply, WorkerMessage};
use domain::target_info::{ResolvedTarget, TargetInfo, TargetType};
use domain::{Error, Result};
use futures::StreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use crate::run::{Run, links};
use crate::worker::Shared;

/// A port that does not begin to answer is given up after this time, which is shorter than the server waits.
const NETCAT_FIRST: Duration = Duration::from_secs(55);
/// A port that sends nothing more is given up after this time.
const NETCAT_SILENCE: Duration = Duration::from_secs(60);
/// Most bytes of a netcat answer.
const NETCAT_LIMIT: u64 = 64 << 20;

enum Answer {
    Info(TargetInfo),
    Data(Body),
}

/// Answers in the background.
pub fn answer(shared: Arc<Shared>, run: Option<Arc<Run>>, message: WorkerMessage) {
    match message {
        WorkerMessage::Read {
            uuid,
            socket_id,
            path,
            read_args,
        } => {
            shared.clone().spawn(async move {
                let _turn = shared.answering.acquire().await;
                let found = match run {
                    Some(run) => Ok(read(&run, uuid.as_str(), path, read_args).await),
                    None => Err(Reply::no_longer_running()),
                };
                reply(&shared, socket_id, found).await;
            });
        }
        WorkerMessage::Netcat {
            socket_id,
            port,
            message,
            message_base64,
            ..
        } => {
            shared.clone().spawn(async move {
                let _turn = shared.answering.acquire().await;
                let found = match run {
                    Some(run) => Ok(netcat(&shared, &run, port, message, message_base64)
                        .await
                        .map_err(Error::internal)),
                    None => Err(Reply::no_longer_running()),
                };
                reply(&shared, socket_id, found).await;
            });
        }
        WorkerMessage::Write { subpath, string, .. } => {
            if let Some(run) = run {
                tokio::task::spawn_blocking(move || write(&run, &subpath, &string));
            }
        }
        WorkerMessage::Run(_)
        | WorkerMessage::Kill { .. }
        | WorkerMessage::MarkFinalized { .. }
        | WorkerMessage::Unknown => {}
    }
}

async fn reply(shared: &Shared, socket_id: i64, found: std::result::Result<Result<Answer>, Reply>) {
    let sent = match found {
        Ok(Ok(Answer::Info(info))) => shared.client.reply(&shared.id, socket_id, &Reply::info(info)).await,
        Ok(Ok(Answer::Data(body))) => shared.client.reply_data(&shared.id, socket_id, &json!({}), body).await,
        Ok(Err(error)) => shared.client.reply(&shared.id, socket_id, &Reply::error(&error)).await,
        Err(message) => shared.client.reply(&shared.id, socket_id, &message).await,
    };
    if let Err(error) = sent {
        // Usually the reader has gone away.
        tracing::debug!("Unable to reply to message from bundle service: {error}");
    }
}

async fn read(run: &Arc<Run>, uuid: &str, path: String, args: ReadArgs) -> Result<Answer> {
    let (run, uuid) = (run.clone(), uuid.to_owned());
    let looked = tokio::task::spawn_blocking(move || {
        let links: Vec<SubPath> = run.read(|state| state.links.iter().flat_map(SubPath::parse).collect());
        let hidden: Vec<String> = run.read(|state| state.hidden_names().map(str::to_owned).collect());
        look(&run.directory, &uuid, &path, &args, &links, &hidden)
    });
    looked.await.map_err(|error| Error::internal(error.to_string()))?
}

/// Opens what is asked for, so that an error is known before the first byte goes out. Blocks.
fn look(root: &Path, uuid: &str, path: &str, args: &ReadArgs, links: &[SubPath], hidden: &[String]) -> Result<Answer> {
    let described = |error: contents::Error| match error {
        contents::Error::Link => Error::permission(format!("{uuid}/{path} is a symlink; links are not followed")),
        other => other.about(uuid, path),
    };
    let sub = SubPath::parse(path).map_err(described)?;
    if links.iter().any(|link| sub.starts_with(link)) {
        return Err(Error::not_found(format!("{path} not found in bundle {uuid}")));
    }
    Ok(match args {
        ReadArgs::GetTargetInfo { depth } => {
            let depth = u32::try_from(*depth).map_err(|_| Error::usage("Depth must be at least 0"))?;
            let mut info = contents::info(root, &sub, depth, uuid).map_err(described)?;
            if let (true, Some(entries)) = (sub.is_root(), &mut info.contents) {
                entries.retain(|entry| !hidden.contains(&entry.name));
            }
            info.resolved_target = Some(ResolvedTarget {
                bundle_uuid: uuid.to_owned(),
                subpath: path.to_owned(),
            });
            Answer::Info(info)
        }
        ReadArgs::StreamDirectory => {
            match contents::kind(root, &sub).map_err(described)?.0 {
                TargetType::Directory => {}
                TargetType::Link => return Err(described(contents::Error::Link)),
                TargetType::File | TargetType::Other => {
                    return Err(Error::usage(format!("{uuid}/{path} is not a directory")));
                }
            }
            let options = PackOptions {
                excludes: Excludes::default_ignored(),
                skip: links.iter().filter_map(|link| link.strip_prefix(&sub)).collect(),
                live: true,
                ..PackOptions::default()
            };
            stream(contents::pack_tree_stream(root.to_owned(), sub, options))
        }
        ReadArgs::StreamFile => {
            let file = contents::open_file(root, &sub).map_err(described)?;
            stream(contents::gzip_stream(file.stream()))
        }
        ReadArgs::ReadFileSection { offset, length } => {
            let file = contents::open_file(root, &sub).map_err(described)?;
            stream(contents::gzip_stream(file.range_stream(*offset, *length)))
        }
        ReadArgs::SummarizeFile {
            num_head_lines,
            num_tail_lines,
            max_line_length,
            truncation_text,
        } => {
            let size = |number: &u64| usize::try_from(*number).unwrap_or(usize::MAX);
            let summary = Summary {
                head: size(num_head_lines),
                tail: size(num_tail_lines),
                max_line_length: size(max_line_length),
                truncation_text: truncation_text.clone(),
            };
            let text = contents::summarize(root, &sub, &summary).map_err(described)?;
            Answer::Data(Body::Bytes(contents::gzip_bytes(text.as_bytes()).into()))
        }
        ReadArgs::Unsupported => return Err(Error::usage("Unsupported read_type for read: unknown")),
    })
}

fn stream(body: contents::ByteStream) -> Answer {
    Answer::Data(Body::Stream(body.boxed(), None))
}

async fn netcat(
    shared: &Shared,
    run: &Run,
    port: u16,
    message: String,
    message_base64: Option<String>,
) -> std::result::Result<Answer, String> {
    let message = match message_base64 {
        Some(text) => STANDARD
            .decode(text)
            .map_err(|error| format!("message_base64: {error}"))?,
        None => message.into_bytes(),
    };
    let handle = run
        .read(|state| state.handle.clone())
        .ok_or("the run has not started yet")?;
    let address = shared.runtime.address(&handle).await?;
    let talk = async {
        let mut peer = tokio::net::TcpStream::connect((address, port)).await?;
        peer.write_all(&message).await?;
        let mut chunks = ReaderStream::new(peer.take(NETCAT_LIMIT));
        let first = chunks.next().await.transpose()?;
        Ok::<_, std::io::Error>((first, chunks))
    };
    let (first, rest) = tokio::time::timeout(NETCAT_FIRST, talk)
        .await
        .map_err(|_| {
            format!(
                "port {port} of the run did not answer within {} s",
                NETCAT_FIRST.as_secs()
            )
        })?
        .map_err(|error| format!("port {port} of the run: {error}"))?;
    let Some(first) = first else {
        return Ok(Answer::Data(Body::Bytes(Bytes::new())));
    };
    let rest = futures::stream::try_unfold(rest, |mut chunks| async move {
        match tokio::time::timeout(NETCAT_SILENCE, chunks.next()).await {
            Ok(Some(Ok(bytes))) => Ok(Some((bytes, chunks))),
            Ok(Some(Err(error))) => Err(error),
            Ok(None) => Ok(None),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    });
    let body = futures::stream::once(async { Ok(first) }).chain(rest);
    Ok(Answer::Data(Body::Stream(body.boxed(), None)))
}

fn write(run: &Run, subpath: &str, text: &str) {
    let Ok(path) = SubPath::parse(subpath) else {
        tracing::warn!("{}: refused to write to {subpath}", run.uuid);
        return;
    };
    let is_dependency = run.read(|state| {
        state
            .links
            .iter()
            .flat_map(SubPath::parse)
            .any(|link| path.starts_with(&link))
    });
    if is_dependency {
        return;
    }
    if let Err(error) = links::write_file(&run.directory, &path, text.as_bytes()) {
        tracing::warn!("{}: cannot write {subpath}: {error}", run.uuid);
    }
}
