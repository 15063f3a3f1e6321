//! `cl upload`: a bundle from local files, a text, a link or a URL.

use std::path::{Path, PathBuf};

use client::{Body, Client, Object, Query, UploadOptions, resource};
use contents::ArchiveKind;
use domain::BundleType;
use domain::name::default_bundle_name;
use serde_json::{Map, Value, json};

use super::{Command, Group};
use crate::bundle_metadata;
use crate::cli::{Cli, Worksheet, uuid_of};
use crate::error::{Error, Result};
use crate::packing::{self, Package};
use crate::parse::{Argument, Arity, Parsed};
use crate::progress::Progress;
use crate::render::fields;

/// From this size on, the quota is asked for before anything is sent, bytes.
const CHECK_QUOTA_FROM: u64 = 32 << 20;

pub const COMMAND: Command = Command {
    name: "upload",
    aliases: &["up"],
    group: Group::Bundles,
    summary: "Create a bundle from files or directories, a text or a URL.\n\
              Everything in a directory is uploaded; leave out what is not wanted with -x (e.g., -x .git).",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    let mut arguments = vec![
        Argument::positional(
            "path",
            Arity::Any,
            "Files and directories, or one URL; - is standard input.",
        ),
        Argument::option(
            "contents",
            "-c --contents",
            Arity::One,
            "Text that becomes the contents.",
        ),
        Argument::flag("follow_symlinks", "-L --follow-symlinks", "Upload what links point to."),
        Argument::option(
            "exclude_patterns",
            "-x --exclude-patterns",
            Arity::Any,
            "Leave out files that match.",
        ),
        Argument::option(
            "ignore",
            "-i --ignore",
            Arity::One,
            "Name of files with patterns to leave out.",
        ),
        Argument::flag("git", "-g --git", "The URL is a git repository to clone."),
        Argument::flag("pack", "-p --pack", "Store archives as they are."),
        Argument::flag(
            "force_compression",
            "-z --force-compression",
            "Compress a single file on the way.",
        ),
        Argument::flag("link", "-l --link", "Register the path, do not copy."),
        Argument::flag(
            "use_azure_blob_beta",
            "-a --use-azure-blob-beta",
            "Legacy storage switch.",
        ),
        Argument::worksheet(),
    ];
    arguments.extend(bundle_metadata::arguments(BundleType::Dataset));
    arguments
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let paths = parsed.list("path");
    let text = parsed.text("contents");
    let urls = paths.iter().filter(|path| is_url(path)).count();
    if paths.is_empty() && text.is_none() {
        return Err(Error::usage("Nothing to upload."));
    }
    if !paths.is_empty() && text.is_some() {
        return Err(Error::usage(
            "Upload does not support mixing a content string (-c) and paths (files, directories or URLs).",
        ));
    }
    if parsed.has("link") && paths.len() != 1 {
        return Err(Error::usage("Only a single path can be uploaded with --link."));
    }
    if urls > 0 && urls < paths.len() {
        return Err(Error::usage("URLs and local files cannot be uploaded into one bundle."));
    }
    if urls > 1 {
        return Err(Error::usage("Only one URL can be specified per bundle."));
    }
    if cli.is_web() {
        let is_absolute_link = parsed.has("link") && paths.iter().all(|path| path.starts_with('/'));
        if urls < paths.len() && !is_absolute_link {
            return Err(Error::usage("Local file paths not allowed without a filesystem."));
        }
    }
    if parsed.has("link") {
        return link(cli, parsed, &paths[0]).await;
    }
    if let Some(text) = text {
        return upload_text(cli, parsed, text).await;
    }
    if urls == 1 {
        return fetch_url(cli, parsed, &paths[0]).await;
    }
    upload_files(cli, parsed, paths).await
}

async fn link(cli: &mut Cli, parsed: &Parsed, path: &str) -> Result<()> {
    let target = current_dir()?.join(path).to_string_lossy().into_owned();
    let mut metadata = metadata(cli, parsed, &inferred_name(&[path.to_owned()]))?;
    metadata.insert("link_url".to_owned(), Value::from(target));
    metadata.insert("link_format".to_owned(), Value::from("raw"));
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let uuid = create(&worksheet, metadata, false).await?;
    cli.ui.line(uuid)
}

async fn upload_text(cli: &mut Cli, parsed: &Parsed, text: &str) -> Result<()> {
    let metadata = metadata(cli, parsed, &inferred_name(&[]))?;
    let options = options(parsed, &metadata, "contents".to_owned(), false);
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let uuid = create(&worksheet, metadata, false).await?;
    worksheet
        .client
        .upload(&uuid, &options, Body::Bytes(text.to_owned().into()))
        .await?;
    cli.ui.line(uuid)
}

async fn fetch_url(cli: &mut Cli, parsed: &Parsed, url: &str) -> Result<()> {
    let mut metadata = metadata(cli, parsed, &inferred_name(&[url.to_owned()]))?;
    metadata.insert("source_url".to_owned(), Value::from(url));
    let store = store_of(&metadata);
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let uuid = create(&worksheet, metadata, false).await?;
    let query = Query::new()
        .with("urls", url)
        .flag("git", parsed.has("git"))
        .with("state_on_success", "ready")
        .flag("finalize_on_success", true)
        .flag("finalize_on_failure", true)
        .flag("use_azure_blob_beta", parsed.has("use_azure_blob_beta"))
        .with("store", store);
    worksheet.client.put_contents(&uuid, query, Body::Empty).await?;
    cli.ui.line(uuid)
}

async fn upload_files(cli: &mut Cli, parsed: &Parsed, paths: &[String]) -> Result<()> {
    let mut metadata = metadata(cli, parsed, &inferred_name(paths))?;
    let package = package(cli, parsed, paths)?;
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let store = store_of(&metadata);
    let store = if store.is_empty() {
        None
    } else {
        Some(store_uuid(&worksheet.client, &store).await?)
    };
    if let Some(size) = package.size.filter(|size| *size >= CHECK_QUOTA_FROM) {
        check_quota(&worksheet.client, size).await?;
    }
    cli.ui.notice("Preparing upload archive...");
    if let Some(ignore) = parsed.text("ignore") {
        cli.ui
            .notice(format!("Excluding files and directories specified by {ignore}."));
    }
    if let Some(name) = metadata.get("name").and_then(Value::as_str)
        && !parsed.has("pack")
        && let Some((stem, _)) = ArchiveKind::split_name(name)
    {
        let stem = stem.to_owned();
        metadata.insert("name".to_owned(), Value::from(stem));
    }
    let options = options(parsed, &metadata, package.filename.clone(), package.unpack);
    let uuid = create(&worksheet, metadata, true).await?;
    announce(&worksheet.client, &uuid, store.as_deref(), package.becomes_directory()).await?;
    cli.ui.notice(format!(
        "Uploading {} ({uuid}) to {}",
        package.filename,
        worksheet.client.address()
    ));
    let progress = Progress::new("Sent", package.size, cli.ui.is_watched());
    let sent = worksheet.client.upload(&uuid, &options, package.body(&progress)).await;
    cli.ui.notice_part(&progress.finish());
    sent?;
    cli.ui.line(uuid)
}

/// Looks at the local paths; everything that can be wrong with them shows here.
fn package(cli: &Cli, parsed: &Parsed, paths: &[String]) -> Result<Package> {
    if paths.iter().any(|path| path == "-") {
        if paths.len() > 1 {
            return Err(Error::usage(
                "Standard input (-) cannot be uploaded together with other paths.",
            ));
        }
        return Ok(packing::stdin());
    }
    let current = current_dir()?;
    let home = cli.environment.get("HOME").map(PathBuf::from);
    let paths: Vec<PathBuf> = paths
        .iter()
        .map(|path| packing::normalise(path, home.as_deref(), &current))
        .collect();
    for path in &paths {
        if std::fs::symlink_metadata(path).is_err() {
            return Err(Error::usage(format!(
                "upload got non-existent path:: {}",
                path.display()
            )));
        }
    }
    let options = packing::Options {
        follow_links: parsed.has("follow_symlinks"),
        excludes: parsed.list("exclude_patterns").to_vec(),
        ignore_file: parsed.text("ignore").map(str::to_owned),
        keep_packed: parsed.has("pack"),
        compress: parsed.has("force_compression"),
    };
    packing::package(&paths, &options)
}

/// Asks where the contents will go, which also records the place.
async fn announce(client: &Client, uuid: &str, store: Option<&str>, is_directory: bool) -> Result<()> {
    // Only uploads through the server are offered, so nothing else may be granted.
    let query = Query::new().flag("need_bypass", false).flag("is_dir", is_directory);
    let attributes = json!({"bundle_uuid": uuid, "bundle_store_uuid": store});
    let location = resource("bundle_locations", None, attributes, json!({}));
    client
        .create(&format!("bundles/{uuid}/locations/"), query, vec![location])
        .await?;
    Ok(())
}

async fn check_quota(client: &Client, size: u64) -> Result<()> {
    let user = client.fetch_one("user", Query::new()).await?;
    let number = |key: &str| user.get(key).and_then(Value::as_f64);
    if let (Some(quota), Some(used)) = (number("disk_quota"), number("disk_used"))
        && used + size as f64 > quota
    {
        return Err(Error::usage(format!(
            "Upload aborted. User disk quota exceeded. ({} needed, {} left) Delete bundles with cl rm, or ask the \
             administrators of the instance for more.",
            domain::size::format(size as f64),
            domain::size::format((quota - used).max(0.0)),
        )));
    }
    Ok(())
}

fn metadata(cli: &Cli, parsed: &Parsed, name: &str) -> Result<Map<String, Value>> {
    let metadata = bundle_metadata::collect(BundleType::Dataset, parsed, name)?;
    if parsed.has("edit") {
        cli.needs_files("--edit")?;
        bundle_metadata::edit(BundleType::Dataset, metadata, &cli.environment)
    } else {
        Ok(metadata)
    }
}

fn options(parsed: &Parsed, metadata: &Map<String, Value>, filename: String, unpack: bool) -> UploadOptions {
    UploadOptions {
        filename: Some(filename),
        unpack,
        state_on_success: Some("ready".to_owned()),
        finalize_on_failure: true,
        store: store_of(metadata),
        use_azure_blob_beta: Some(parsed.has("use_azure_blob_beta")),
    }
}

async fn create(worksheet: &Worksheet, metadata: Map<String, Value>, wait_for_upload: bool) -> Result<String> {
    let mut query = Query::new().with("worksheet", worksheet.uuid.clone());
    if wait_for_upload {
        query = query.flag("wait_for_upload", true);
    }
    let attributes = json!({"bundle_type": "dataset", "metadata": metadata});
    let bundle = resource("bundles", None, attributes, json!({}));
    let created = worksheet.client.create("bundles", query, vec![bundle]).await?;
    created_uuid(&worksheet.client, &created)
}

/// The uuid of the one bundle that was created.
pub fn created_uuid(client: &Client, created: &[Object]) -> Result<String> {
    match created {
        [bundle] => uuid_of(client, bundle),
        other => {
            let reason = format!("{} bundles created instead of one", other.len());
            Err(client::Error::BadAnswer {
                address: client.address().to_owned(),
                reason,
            }
            .into())
        }
    }
}

/// The uuid of the bundle store of a name.
pub async fn store_uuid(client: &Client, name: &str) -> Result<String> {
    let query = Query::new()
        .include(&["uuid", "storage_type", "url"])
        .with("name", name);
    let store = client.fetch_one("bundle_stores", query).await?;
    Ok(fields::text(store.get("uuid"))
        .unwrap_or_else(|| fields::field(&store, "id"))
        .to_owned())
}

fn store_of(metadata: &Map<String, Value>) -> String {
    metadata
        .get("store")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn inferred_name(paths: &[String]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| match path.as_str() {
            "-" => "stdin".to_owned(),
            url if is_url(url) => url.rsplit('/').next().unwrap_or_default().to_owned(),
            path => packing::base_name(&packing::normalise(path, None, Path::new("/"))),
        })
        .collect();
    default_bundle_name(None, &names.join("-"))
}

fn is_url(path: &str) -> bool {
    ["http://", "https://", "ftp://"]
        .iter()
        .any(|scheme| path.starts_with(scheme))
}

fn current_dir() -> Result<PathBuf> {
    std::env::current_dir().map_err(|error| Error::other(format!("the current directory is gone ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_paths() {
        for (paths, name) in [
            (&["data/a.txt"][..], "a.txt"),
            (&["dir/"], "dir"),
            (&["2020.csv"], "_2020.csv"),
            (&["https://h/x/y.html"], "y.html"),
            (&["https://h/x/"], "_"),
            (&[], "_"),
            (&["a", "b c"], "a-b-c"),
            (&["-"], "stdin"),
            (&["x.tar.gz"], "x.tar.gz"),
        ] {
            let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
            assert_eq!(inferred_name(&paths), name);
        }
    }
}
