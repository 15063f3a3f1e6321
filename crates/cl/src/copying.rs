//! Copying bundles between instances, uuid and contents included.

use client::{BlobOptions, Body, Client, Object, Query, UploadOptions, resource};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::error::Result;
use crate::progress::Progress;
use crate::render::fields::{bundle, bundle_name, field};

/// Copies a bundle to the destination, on the given worksheet or detached. One that is not final is passed over; the
/// result says whether the destination has the bundle now. Nothing is done if it has it already.
pub async fn copy(
    cli: &mut Cli,
    source: &Client,
    uuid: &str,
    destination: &Client,
    worksheet: Option<&str>,
) -> Result<bool> {
    let info = source.fetch_one(&format!("bundles/{uuid}"), Query::new()).await?;
    let state = field(&info, "state").to_owned();
    if !matches!(state.as_str(), "ready" | "failed" | "killed") {
        cli.ui.line(format!(
            "Not copying {} because it has non-final state {state}",
            bundle(&info)
        ))?;
        return Ok(false);
    }
    cli.ui.line(format!("Copying {}...", bundle(&info)))?;
    let query = Query::new()
        .with_option("worksheet", worksheet)
        .flag("detached", worksheet.is_none())
        .flag("wait_for_upload", true);
    destination
        .create(
            "bundles",
            query,
            vec![resource("bundles", Some(uuid), attributes(&info), json!({}))],
        )
        .await?;
    let Some(contents) = source.contents_info(uuid, "", 0).await? else {
        let nothing = upload(None, false, &state);
        destination.upload(uuid, &nothing, Body::Empty).await?;
        return Ok(true);
    };
    let is_directory = contents.get("type").and_then(Value::as_str) == Some("directory");
    let download = source.blob(uuid, "", &BlobOptions::default()).await?;
    let progress = Progress::new("Copied", None, cli.ui.is_watched());
    let counter = progress.clone();
    let pieces = download
        .body
        .inspect_ok(move |piece| counter.add(piece.len() as u64))
        .map_err(std::io::Error::from);
    let suffix = if is_directory { ".tar.gz" } else { "" };
    let options = upload(Some(format!("{}{suffix}", bundle_name(&info))), is_directory, &state);
    let sent = destination
        .upload(uuid, &options, Body::Stream(pieces.boxed(), None))
        .await;
    cli.ui.notice_part(&progress.finish());
    sent?;
    Ok(true)
}

/// Whether an instance knows the bundle.
pub async fn exists(client: &Client, uuid: &str) -> Result<bool> {
    match client.fetch_one(&format!("bundles/{uuid}"), Query::new()).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn upload(filename: Option<String>, unpack: bool, state: &str) -> UploadOptions {
    UploadOptions {
        filename,
        unpack,
        state_on_success: Some(state.to_owned()),
        finalize_on_failure: true,
        store: String::new(),
        use_azure_blob_beta: None,
    }
}

/// What is sent of a fetched bundle: its own fields, without relationships.
fn attributes(info: &Object) -> Value {
    let keep = [
        "uuid",
        "bundle_type",
        "command",
        "metadata",
        "dependencies",
        "frozen",
        "is_anonymous",
    ];
    Value::Object(
        keep.iter()
            .filter_map(|key| Some(((*key).to_owned(), info.get(*key)?.clone())))
            .collect(),
    )
}
