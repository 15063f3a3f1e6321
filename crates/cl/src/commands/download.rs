//! `cl download`: contents of a bundle into a file or directory.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use client::{BlobOptions, ByteStream, Query};
use contents::{ArchiveKind, UnpackOptions, stream, unpack};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::{Command, Group};
use crate::cli::{Cli, Target};
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};
use crate::progress::Progress;
use crate::render::fields;

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
    let partial = Partial::beside(&path)?;
    fetch(cli, &target, &partial.0).await?;
    if exists {
        remove(&path).map_err(|error| Error::other(format!("cannot replace {}: {error}", path.display())))?;
    }
    fs::rename(&partial.0, &path).map_err(|error| Error::other(format!("cannot create {}: {error}", path.display())))
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

/// A path for incomplete data, removed when this is dropped.
struct Partial(PathBuf);

impl Partial {
    fn beside(path: &Path) -> Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::usage(format!("{} cannot be written to", path.display())));
        };
        if !parent.is_dir() {
            return Err(Error::usage(format!("{} is not a directory", parent.display())));
        }
        let name = format!(".{}.partial-{}", name.to_string_lossy(), std::process::id());
        Ok(Self(parent.join(name)))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = remove(&self.0);
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
