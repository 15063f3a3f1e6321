//! `cl download`: contents of a bundle into a file or directory.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::{BlobOptions, ByteStream, Query};
use contents::{ArchiveKind, UnpackOptions, stream, unpack};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::{Command, Group};
use crate::cli::{Cli, Target};
use crate::error::{Error, Result};
use crate::following;
use crate::parse::{Argument, Arity, Parsed};
use crate::progress::Progress;
use crate::render::fields;

/// So often in a row a transfer may break off without a byte of progress.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

pub const COMMAND: Command = Command {
    name: "download",
    aliases: &["down"],
    group: Group::Bundles,
    summary: "Download the contents of a bundle, or a path in it.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional(
            "target_spec",
            Arity::One,
            "[[<instance>::]<worksheet>//]<bundle>[/<path>]",
        ),
        Argument::option(
            "output_path",
            "-o --output-path",
            Arity::One,
            "Where to put it; default a name here.",
        ),
        Argument::flag("force", "-f --force", "Replace what is there."),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let target = cli
        .target(parsed.text("target_spec").unwrap_or_default(), &worksheet, true)
        .await?;
    let bundle = target
        .client
        .fetch_one(&format!("bundles/{}", target.uuid), Query::new())
        .await?;
    let name = fields::text(fields::metadata(&bundle, "name"))
        .filter(|name| !name.is_empty())
        .unwrap_or("untitled");
    let destination = match parsed.text("output_path") {
        Some(path) => path.to_owned(),
        None => default_name(&target.subpath, name).to_owned(),
    };
    let path = std::path::absolute(&destination).map_err(|_| Error::usage("the output path is empty"))?;
    let exists = fs::symlink_metadata(&path).is_ok();
    if exists && !parsed.has("force") {
        return cli
            .ui
            .line(format!("Local file/directory '{destination}' already exists."));
    }
    let info = target.client.contents_info(&target.uuid, &target.subpath, 0).await?;
    match info.as_ref().and_then(|info| info.get("type")).and_then(Value::as_str) {
        Some("link") => return Err(Error::usage("Downloading symlinks is not allowed.")),
        Some(_) => {}
        None => {
            let message = format!("Target '{}' doesn't exist in bundle {}", target.subpath, target.uuid);
            return Err(Error::not_found(message));
        }
    }
    cli.ui.line(format!(
        "Downloading {name}({})/{} => {}",
        target.uuid,
        target.subpath,
        path.display()
    ))?;
    cli.ui.flush()?;
    let size = info.as_ref().and_then(|info| info.get("size")).and_then(Value::as_u64);
    let is_file = info.as_ref().and_then(|info| info.get("type")).and_then(Value::as_str) == Some("file");
    // What is final does not change: what was received of it once is good for ever.
    let whole = size.filter(|_| is_file && following::is_final(fields::field(&bundle, "state")));
    let mut partial = Partial::beside(&path, &target, whole.is_some())?;
    let fetched = match whole {
        Some(size) => fetch_resumable(cli, &target, &mut partial, size).await,
        None => fetch(cli, &target, &partial.path).await,
    };
    if let Err(error) = fetched {
        if partial.keep_if_begun() {
            cli.ui
                .notice("What was received is kept; the same command goes on from there.");
        }
        return Err(error);
    }
    if exists {
        remove(&path).map_err(|error| Error::other(format!("cannot replace {}: {error}", path.display())))?;
    }
    fs::rename(&partial.path, &path).map_err(|error| Error::other(format!("cannot create {}: {error}", path.display())))
}

/// Receives a file of `size` bytes, going on where an earlier attempt has ended, and again where this one breaks off.
async fn fetch_resumable(cli: &mut Cli, target: &Target, partial: &mut Partial, size: u64) -> Result<()> {
    let progress = Progress::new("Received", Some(size), cli.ui.is_watched());
    let mut file = partial.open()?;
    let mut done = file.metadata().map_or(0, |metadata| metadata.len());
    if done > size {
        file.set_len(0).map_err(|error| partial.failed(&error))?;
        done = 0;
    }
    progress.add(done);
    let mut failures = 0;
    let result = loop {
        let before = done;
        match receive(target, &mut file, &mut done, size, &progress, partial).await {
            Ok(()) if done >= size => break Ok(()),
            Ok(()) if done == before => {
                break Err(Error::other(format!(
                    "the server sent {done} of {size} bytes of {}",
                    partial.path.display()
                )));
            }
            Ok(()) => {}
            Err(Broken::Network(error)) => {
                failures = if done > before { 0 } else { failures + 1 };
                if failures >= ATTEMPTS {
                    break Err(error.into());
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(Broken::Other(error)) => break Err(error),
        }
    };
    cli.ui.notice_part(&progress.finish());
    result
}

/// Why receiving has ended early.
enum Broken {
    /// It may go on.
    Network(client::Error),
    /// It is no use.
    Other(Error),
}

impl From<client::Error> for Broken {
    fn from(error: client::Error) -> Self {
        match error {
            error @ client::Error::Unreachable { .. } => Self::Network(error),
            error => Self::Other(error.into()),
        }
    }
}

/// One request for what is missing.
async fn receive(
    target: &Target,
    file: &mut fs::File,
    done: &mut u64,
    size: u64,
    progress: &Progress,
    partial: &Partial,
) -> std::result::Result<(), Broken> {
    if *done >= size {
        return Ok(());
    }
    // Ranges are of the file itself, so nothing may be compressed on the way.
    let options = BlobOptions {
        range: (*done > 0).then_some((*done, size - 1)),
        identity: *done > 0,
        ..BlobOptions::default()
    };
    let mut body = target.client.blob(&target.uuid, &target.subpath, &options).await?.body;
    while let Some(piece) = body.try_next().await? {
        file.write_all(&piece)
            .map_err(|error| Broken::Other(partial.failed(&error)))?;
        *done += piece.len() as u64;
        progress.add(piece.len() as u64);
    }
    Ok(())
}

/// The last component of the path inside the bundle, else the bundle's name; never something that leads elsewhere.
fn default_name<'a>(subpath: &'a str, bundle: &'a str) -> &'a str {
    let last = subpath.trim_end_matches('/').rsplit('/').next().unwrap_or("");
    let usable = |name: &&str| !matches!(*name, "" | "." | "..") && !name.contains('/');
    Some(last)
        .filter(usable)
        .or(Some(bundle).filter(usable))
        .unwrap_or("untitled")
}

/// Receives a file or unpacks a directory at `path`, which does not exist yet.
async fn fetch(cli: &mut Cli, target: &Target, path: &Path) -> Result<()> {
    let download = target
        .client
        .blob(&target.uuid, &target.subpath, &BlobOptions::default())
        .await?;
    let total = download.size.filter(|_| !download.is_directory);
    let progress = Progress::new("Received", total, cli.ui.is_watched());
    let counter = progress.clone();
    let body = download
        .body
        .inspect_ok(move |piece| counter.add(piece.len() as u64))
        .boxed();
    let received = if download.is_directory {
        unpack_to(body, path).await
    } else {
        write_to(body, path).await
    };
    cli.ui.notice_part(&progress.finish());
    received
}

async fn write_to(mut body: ByteStream, path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::other(format!("cannot write {}: {error}", path.display()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    while let Some(piece) = body.try_next().await? {
        file.write_all(&piece).map_err(failed)?;
    }
    Ok(())
}

async fn unpack_to(body: ByteStream, path: &Path) -> Result<()> {
    let path = path.to_owned();
    // The reason why the stream broke is lost on the way through the reader: remember it.
    let (note, mut noted) = tokio::sync::mpsc::unbounded_channel();
    let body = body.inspect_err(move |error| {
        let _ = note.send(error.clone());
    });
    let unpacked = stream::consume(body, move |reader| {
        unpack(ArchiveKind::TarGz, reader, &path, &UnpackOptions::default())
    });
    match unpacked.await {
        Ok(_) => Ok(()),
        Err(error) => Err(match noted.try_recv() {
            Ok(broken) => broken.into(),
            Err(_) => Error::other(format!("cannot unpack what the server sent: {error}")),
        }),
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// A path for incomplete data, removed when this is dropped unless it is kept.
struct Partial {
    path: PathBuf,
    keep: bool,
    /// No other process may write to the same file.
    lock: Option<fs::File>,
}

impl Partial {
    /// Beside the destination. With `resumable` its name tells what is in it, so that a later process finds it.
    fn beside(path: &Path, target: &Target, resumable: bool) -> Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::usage(format!("{} cannot be written to", path.display())));
        };
        if !parent.is_dir() {
            return Err(Error::usage(format!("{} is not a directory", parent.display())));
        }
        let name = name.to_string_lossy();
        let place = |mark: &str| parent.join(format!(".{name}.partial-{mark}"));
        if resumable {
            let mut hasher = std::hash::DefaultHasher::new();
            (target.client.address(), &target.subpath).hash(&mut hasher);
            let path = place(&format!("{}-{:016x}", target.uuid, hasher.finish()));
            let lock = fs::OpenOptions::new().append(true).create(true).open(&path).ok();
            if let Some(lock) = lock.filter(|lock| lock.try_lock().is_ok()) {
                return Ok(Self {
                    path,
                    keep: false,
                    lock: Some(lock),
                });
            }
        }
        Ok(Self {
            path: place(&std::process::id().to_string()),
            keep: false,
            lock: None,
        })
    }

    fn open(&self) -> Result<fs::File> {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::other(format!("cannot write {}: {error}", self.path.display()))
    }

    /// Keeps what can be gone on with; false if there is nothing.
    fn keep_if_begun(&mut self) -> bool {
        self.keep = self.lock.is_some() && fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > 0);
        self.keep
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.keep {
            let _ = remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_is_named_after_the_path_or_the_bundle() {
        for (subpath, bundle, name) in [
            ("", "fit", "fit"),
            ("model/w.1", "fit", "w.1"),
            ("model/", "fit", "model"),
            ("a/..", "fit", "fit"),
            ("", "../x", "untitled"),
        ] {
            assert_eq!(default_name(subpath, bundle), name);
        }
    }
}
