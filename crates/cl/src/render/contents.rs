//! Contents of bundles on stdout: listings, files, links.

use std::time::Duration;

use client::{BlobOptions, ByteStream, Client};
use domain::size;
use domain::target_info::{TargetInfo, TargetType};
use futures::TryStreamExt;

use super::table::Table;
use crate::error::{Error, Result};
use crate::ui::Ui;

/// Lines shown longer than the server's default of 128 characters.
const MAX_LINE_LENGTH: u64 = 1 << 20;
/// How long the results of a run may be on their way to the store.
const MOVING: Duration = Duration::from_millis(300);

/// The info tree of a path, one level deep; `None` if there is nothing.
pub async fn info(client: &Client, uuid: &str, subpath: &str) -> Result<Option<TargetInfo>> {
    let Some(value) = client.contents_info(uuid, subpath, 1).await? else {
        return Ok(None);
    };
    serde_json::from_value(value).map(Some).map_err(|error| {
        let reason = format!("contents info that makes no sense ({error})");
        client::Error::BadAnswer {
            address: client.address().to_owned(),
            reason,
        }
        .into()
    })
}

/// What is shown of a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Excerpt {
    /// Lines from the start; 0 for none.
    pub head: u64,
    /// Lines from the end; 0 for none. With neither, everything is shown.
    pub tail: u64,
    /// What stands for the lines between.
    pub between: Option<&'static str>,
}

impl Excerpt {
    /// What the web terminal shows of a file: it cannot hold large ones.
    pub const WEB: Self = Self {
        head: 50,
        tail: 50,
        between: Some(
            "\n... truncated ...\n\n--Web CLI detected: only the first 50 and the last 50 lines of the file are shown--\n",
        ),
    };
}

/// Shows a path: the bytes of a file (only the first and last lines if asked), the listing of a directory, the text of
/// a link. False if there is nothing, which is shown as `<none>`.
pub async fn show(ui: &mut Ui, client: &Client, uuid: &str, subpath: &str, head: u64, tail: u64) -> Result<bool> {
    let excerpt = Excerpt {
        head,
        tail,
        between: None,
    };
    show_excerpt(ui, client, uuid, subpath, excerpt).await
}

/// [`show`], with a text for what is left out.
pub async fn show_excerpt(ui: &mut Ui, client: &Client, uuid: &str, subpath: &str, excerpt: Excerpt) -> Result<bool> {
    let Excerpt { head, tail, between } = excerpt;
    let Some(info) = info(client, uuid, subpath).await? else {
        ui.line("<none>")?;
        return Ok(false);
    };
    match info.target_type {
        TargetType::Directory => ui.text(listing(&info).render())?,
        TargetType::Link => ui.line(format!(" -> {}", info.link.as_deref().unwrap_or("")))?,
        TargetType::File => {
            let (uuid, subpath) = resolved(&info, uuid, subpath);
            let max_line_length = (head + tail > 0).then_some(MAX_LINE_LENGTH);
            let options = BlobOptions {
                head,
                tail,
                max_line_length,
                truncation_text: between.map(str::to_owned),
                ..BlobOptions::default()
            };
            let mut body = open(client, uuid, subpath, &options).await?;
            while let Some(piece) = body.try_next().await? {
                ui.bytes(&piece)?;
            }
        }
        TargetType::Other => return Err(Error::usage(format!("{subpath} is neither a file nor a directory"))),
    }
    Ok(true)
}

/// The bytes of a file that is there. A run that ends between two requests takes its files along to the store: then the
/// second try finds them.
async fn open(client: &Client, uuid: &str, subpath: &str, options: &BlobOptions) -> Result<ByteStream> {
    match client.blob(uuid, subpath, options).await {
        Err(error) if error.is_not_found() => tokio::time::sleep(MOVING).await,
        other => return Ok(other?.body),
    }
    Ok(client.blob(uuid, subpath, options).await?.body)
}

/// Where the contents really are, after dependencies were followed.
pub fn resolved<'a>(info: &'a TargetInfo, uuid: &'a str, subpath: &'a str) -> (&'a str, &'a str) {
    match &info.resolved_target {
        Some(target) => (&target.bundle_uuid, &target.subpath),
        None => (uuid, subpath),
    }
}

/// The table of a directory.
pub fn listing(info: &TargetInfo) -> Table {
    let mut entries: Vec<&TargetInfo> = info.contents.iter().flatten().collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut table = Table::new(["name", "perm", "size"]).right(&["size"]);
    for entry in entries {
        let name = match (&entry.link, entry.target_type) {
            (Some(link), TargetType::Link) => format!("{} -> {link}", entry.name),
            _ => entry.name.clone(),
        };
        let size = match entry.target_type {
            TargetType::File => size::format(entry.size as f64),
            TargetType::Directory => "dir".to_owned(),
            other => other.as_str().to_owned(),
        };
        let perm = if entry.perm == 0 {
            String::new()
        } else {
            format!("0o{:o}", entry.perm)
        };
        table.row(vec![name, perm, size]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn directories_are_listed_by_name() {
        let info = json!({"name": "model", "type": "directory", "contents": [
            {"name": "w.1", "type": "file", "size": 1200, "perm": 420},
            {"name": "sub", "type": "directory", "size": 4096, "perm": 493},
            {"name": "latest", "type": "link", "link": "w.1", "size": 3, "perm": 511}]});
        insta::assert_snapshot!(listing(&serde_json::from_value(info).unwrap()).render());
    }
}
