//! Waiting for a bundle, and showing what is written into it meanwhile.

use std::time::{Duration, Instant};

use client::{BlobOptions, Client, Object, Query};
use futures::TryStreamExt;

use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::render::fields::field;

/// Bytes asked for at once.
const PIECE: u64 = 64 * 1024;
/// First and longest pause between two looks; the longest doubles as the period of the Python client.
const FIRST_PAUSE: Duration = Duration::from_millis(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// After this long without news, look less often.
const PATIENCE: Duration = Duration::from_secs(600);
const PATIENT_PAUSE: Duration = Duration::from_secs(3);

/// A server that was there and went away (it is started again, the network breaks) is waited for this long.
const LONGEST_ABSENCE: Duration = Duration::from_secs(120);

/// Where following a file starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At its beginning.
    Beginning,
    /// Shortly before the end it has when first seen.
    NearEnd,
}

/// Files to follow inside a bundle.
pub struct Files<'a> {
    /// Paths.
    pub paths: Vec<String>,
    /// They may never appear.
    pub optional: bool,
    /// Where to start.
    pub start: Start,
    /// The bundle, for messages.
    pub uuid: &'a str,
}

struct Followed {
    path: String,
    /// Next byte to read; `None` until the file was seen.
    offset: Option<u64>,
    is_file: bool,
}

/// True for the states a bundle does not leave.
pub fn is_final(state: &str) -> bool {
    matches!(state, "ready" | "failed" | "killed")
}

/// Waits until the bundle is in a final state; gives the bundle.
pub async fn wait(cli: &mut Cli, client: &Client, uuid: &str) -> Result<Object> {
    let (mut pace, mut presence) = (Pace::new(), Presence::default());
    loop {
        let fetched = fetch(client, uuid).await;
        if let Some(bundle) = presence.excuse(cli, fetched)?
            && is_final(field(&bundle, "state"))
        {
            return Ok(bundle);
        }
        pace.pause().await;
    }
}

/// Shows the files of a bundle as they grow, until it is in a final state; gives the bundle.
pub async fn follow(cli: &mut Cli, client: &Client, files: Files<'_>) -> Result<Object> {
    let uuid = files.uuid;
    let mut followed: Vec<Followed> = files
        .paths
        .into_iter()
        .map(|path| Followed {
            path,
            offset: None,
            is_file: true,
        })
        .collect();
    let (mut pace, mut presence) = (Pace::new(), Presence::default());
    loop {
        let seen = look_at_all(cli, client, uuid, &mut followed, files.start).await?;
        cli.ui.flush()?;
        let Some((bundle, news)) = presence.excuse(cli, seen)? else {
            pace.pause().await;
            continue;
        };
        if is_final(field(&bundle, "state")) {
            let missing = followed
                .iter()
                .find(|file| file.offset.is_none())
                .filter(|_| !files.optional);
            return match missing {
                Some(file) => Err(Error::not_found(format!(
                    "Target '{}' doesn't exist in bundle {uuid}",
                    file.path
                ))),
                None => Ok(bundle),
            };
        }
        if news {
            pace = Pace::new();
        }
        pace.pause().await;
    }
}

/// The bundle, and whether anything new was shown. The outer error is of the output, the inner one of the server.
async fn look_at_all(
    cli: &mut Cli,
    client: &Client,
    uuid: &str,
    followed: &mut [Followed],
    start: Start,
) -> Result<Fetched<(Object, bool)>> {
    let bundle = match fetch(client, uuid).await {
        Ok(bundle) => bundle,
        Err(error) => return Ok(Err(error)),
    };
    let mut news = false;
    for file in followed {
        if file.offset.is_none()
            && let Err(error) = look(client, uuid, file, start).await
        {
            return Ok(Err(error));
        }
        match show(cli, client, uuid, file).await? {
            Ok(shown) => news |= shown,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok((bundle, news)))
}

/// What the server answered.
type Fetched<T> = std::result::Result<T, client::Error>;

/// Whether the server is there.
#[derive(Default)]
struct Presence {
    was_there: bool,
    away_since: Option<Instant>,
}

impl Presence {
    /// The answer; none while a server that was there before is away, which is said once. Every other error is final.
    fn excuse<T>(&mut self, cli: &mut Cli, fetched: Fetched<T>) -> Result<Option<T>> {
        let error = match fetched {
            Ok(answer) => {
                (self.was_there, self.away_since) = (true, None);
                return Ok(Some(answer));
            }
            Err(error) => error,
        };
        let is_away = matches!(
            error,
            client::Error::Unreachable { .. } | client::Error::Status { status: 502..=504, .. }
        );
        if !is_away || !self.was_there {
            return Err(error.into());
        }
        match self.away_since {
            None => {
                self.away_since = Some(Instant::now());
                cli.ui.notice(format!("{error}; waiting for the server to come back"));
            }
            Some(since) if since.elapsed() > LONGEST_ABSENCE => return Err(error.into()),
            Some(_) => {}
        }
        Ok(None)
    }
}

async fn fetch(client: &Client, uuid: &str) -> Fetched<Object> {
    client.fetch_one(&format!("bundles/{uuid}"), Query::new()).await
}

async fn look(client: &Client, uuid: &str, file: &mut Followed, start: Start) -> Fetched<()> {
    let Some(info) = client.contents_info(uuid, &file.path, 0).await? else {
        return Ok(());
    };
    file.is_file = info.get("type").and_then(serde_json::Value::as_str) == Some("file");
    let size = info.get("size").and_then(serde_json::Value::as_u64).unwrap_or(0);
    file.offset = Some(match start {
        Start::Beginning => 0,
        Start::NearEnd => size.saturating_sub(64),
    });
    Ok(())
}

/// Writes what is new; false if nothing is. The outer error is of the output, the inner one of the server.
async fn show(cli: &mut Cli, client: &Client, uuid: &str, file: &mut Followed) -> Result<Fetched<bool>> {
    let mut news = false;
    loop {
        let Some(offset) = file.offset.filter(|_| file.is_file) else {
            return Ok(Ok(false));
        };
        let options = BlobOptions {
            range: Some((offset, offset + PIECE - 1)),
            ..BlobOptions::default()
        };
        let mut body = match client.blob(uuid, &file.path, &options).await {
            Ok(download) => download.body,
            // Between two stages (results on their way to the store) a file may be out of reach for a moment.
            Err(error) if error.is_not_found() => return Ok(Ok(news)),
            Err(error) => return Ok(Err(error)),
        };
        let mut received = 0;
        loop {
            match body.try_next().await {
                Ok(Some(piece)) => {
                    cli.ui.bytes(&piece)?;
                    received += piece.len() as u64;
                    // What is shown is not asked for again, even if the connection breaks now.
                    file.offset = Some(offset + received);
                }
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            }
        }
        news |= received > 0;
        if received < PIECE {
            return Ok(Ok(news));
        }
    }
}

/// Pauses that grow while nothing happens.
struct Pace {
    next: Duration,
    since: Instant,
}

impl Pace {
    fn new() -> Self {
        Self {
            next: FIRST_PAUSE,
            since: Instant::now(),
        }
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.next).await;
        let longest = if self.since.elapsed() > PATIENCE {
            PATIENT_PAUSE
        } else {
            LONGEST_PAUSE
        };
        self.next = self.next.mul_f64(1.25).min(longest);
    }
}
