//! Candidates for the values of arguments.

use client::{Client, Query};
use domain::id::is_uuid_prefix;
use domain::target_info::TargetType;

use crate::cli::{Cli, Worksheet};
use crate::commands::{COMMANDS, Command};
use crate::error::Result;
use crate::parse::{Argument, Kind as ValueKind};
use crate::render::contents;
use crate::render::fields::{bundle_name, field, related};

/// What the values of an argument are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// These words.
    Words(Vec<String>),
    /// Local files.
    Files,
    /// Aliases of instances.
    Instances,
    /// Worksheets.
    Worksheets,
    /// Bundles, and what is in them; `keyed`: `key:` may stand before.
    Targets { keyed: bool },
    /// Whole bundles.
    Bundles,
    /// Groups.
    Groups,
    /// Nothing that could be guessed.
    Unknown,
}

impl Kind {
    /// Of an argument of a command of which `typed` has been typed already.
    pub fn of(command: &Command, argument: &Argument, typed: &[String]) -> Self {
        let words = |words: &[&str]| Self::Words(words.iter().map(|&word| word.to_owned()).collect());
        if let ValueKind::Choice(choices) = argument.kind {
            return words(choices);
        }
        match (command.name, argument.dest.as_ref()) {
            ("add", "item_spec") => match typed.iter().find(|word| !word.starts_with('-')).map(String::as_str) {
                Some("bundle") => Self::Targets { keyed: false },
                Some("worksheet") => Self::Worksheets,
                _ => Self::Unknown,
            },
            ("help", "command") => Self::Words(COMMANDS.iter().map(|command| command.name.to_owned()).collect()),
            ("store", "command") => words(&["add", "ls", "rm"]),
            ("upload", "path") | ("wedit" | "netcat", "file") | (_, "output_path" | "mountpoint") => Self::Files,
            ("wls", "address") | ("logout", "alias") | ("alias", "name") => Self::Instances,
            (_, "permission_spec") => words(&["none", "read", "all"]),
            (_, "group_spec") => Self::Groups,
            (_, "bundle_spec") => Self::Bundles,
            ("run" | "make", "target_spec") => Self::Targets { keyed: true },
            (_, "target_spec") => Self::Targets { keyed: false },
            (_, dest) if dest.ends_with("worksheet_spec") || dest == "dest_worksheet" => Self::Worksheets,
            _ => Self::Unknown,
        }
    }
}

/// Candidates that may begin with `partial`. `worksheet`: the one chosen by an option.
pub async fn find_candidates(
    cli: &mut Cli,
    kind: &Kind,
    partial: &str,
    worksheet: Option<&str>,
) -> Result<Vec<String>> {
    match kind {
        Kind::Words(words) => Ok(words.clone()),
        Kind::Files | Kind::Unknown => Ok(Vec::new()),
        Kind::Instances => aliases(cli),
        Kind::Worksheets => worksheets(cli, partial).await,
        Kind::Bundles => targets(cli, partial, worksheet, false).await,
        Kind::Targets { keyed } => {
            let (key, rest) = match partial.split_once(':') {
                Some((key, rest)) if *keyed && !rest.starts_with(':') => partial.split_at(key.len() + 1),
                _ => ("", partial),
            };
            let found = targets(cli, rest, worksheet, true).await?;
            Ok(found.into_iter().map(|word| format!("{key}{word}")).collect())
        }
        Kind::Groups => groups(cli, partial).await,
    }
}

fn aliases(cli: &mut Cli) -> Result<Vec<String>> {
    if cli.is_web() {
        return Ok(Vec::new());
    }
    Ok(cli.settings()?.aliases().into_iter().map(|(name, _)| name).collect())
}

async fn worksheets(cli: &mut Cli, partial: &str) -> Result<Vec<String>> {
    let (instance, rest) = match partial.split_once("::") {
        Some((instance, _)) => partial.split_at(instance.len() + 2),
        None => ("", partial),
    };
    let client = if instance.is_empty() {
        cli.current_client()?
    } else {
        let address = cli.address(instance.trim_end_matches("::"))?;
        cli.client(&address)?
    };
    let mut found = Vec::new();
    if instance.is_empty() && !is_uuid_like(rest) {
        found.extend(aliases(cli)?.into_iter().map(|name| format!("{name}::")));
    }
    let keyword = match rest {
        "" => ".mine".to_owned(),
        rest if is_uuid_like(rest) => format!("uuid={rest}%"),
        rest => rest.to_owned(),
    };
    // Aliases are known without the server.
    let Ok(sheets) = client
        .fetch_list("worksheets", Query::new().with("keywords", keyword))
        .await
    else {
        return Ok(found);
    };
    let key = if is_uuid_like(rest) { "uuid" } else { "name" };
    found.extend(sheets.iter().map(|sheet| format!("{instance}{}", field(sheet, key))));
    Ok(found)
}

/// Bundles on a worksheet by name, any bundle by uuid, and with `inside` what is in a bundle.
async fn targets(cli: &mut Cli, partial: &str, worksheet: Option<&str>, inside: bool) -> Result<Vec<String>> {
    let (place, rest) = match partial.split_once("//") {
        Some((place, _)) => partial.split_at(place.len() + 2),
        None => ("", partial),
    };
    let worksheet = if place.is_empty() {
        match partial.split_once("::") {
            Some(_) => return Ok(Vec::new()),
            None => cli.worksheet(worksheet).await?,
        }
    } else {
        cli.worksheet(Some(place.trim_end_matches('/'))).await?
    };
    let found = match rest.rsplit_once('/') {
        Some((directory, _)) if inside => entries(cli, directory, &worksheet).await?,
        Some(_) => Vec::new(),
        None if is_uuid_like(rest) => uuids(&worksheet.client, rest).await?,
        None => names(&worksheet).await?,
    };
    Ok(found.into_iter().map(|word| format!("{place}{word}")).collect())
}

async fn names(worksheet: &Worksheet) -> Result<Vec<String>> {
    let path = format!("worksheets/{}", worksheet.uuid);
    let query = Query::new().include(&["items", "items.bundle"]);
    let sheet = worksheet.client.fetch_one(&path, query).await?;
    let items = related(&sheet, "items");
    let bundles = items.iter().filter_map(|item| item.get("bundle")?.as_object());
    Ok(bundles
        .map(bundle_name)
        .filter(|name| !name.starts_with('<'))
        .map(str::to_owned)
        .collect())
}

async fn uuids(client: &Client, prefix: &str) -> Result<Vec<String>> {
    let query = Query::new().with("keywords", format!("uuid={prefix}%"));
    let found = client.fetch_list("bundles", query).await?;
    Ok(found.iter().map(|bundle| field(bundle, "uuid").to_owned()).collect())
}

/// Entries of a directory inside a bundle; directories end in a slash.
async fn entries(cli: &mut Cli, directory: &str, worksheet: &Worksheet) -> Result<Vec<String>> {
    let target = cli.target(directory, worksheet, true).await?;
    let Some(info) = contents::info(&target.client, &target.uuid, &target.subpath).await? else {
        return Ok(Vec::new());
    };
    let entries = info.contents.into_iter().flatten().map(|entry| {
        let slash = if entry.target_type == TargetType::Directory {
            "/"
        } else {
            ""
        };
        format!("{directory}/{}{slash}", entry.name)
    });
    Ok(entries.collect())
}

async fn groups(cli: &mut Cli, partial: &str) -> Result<Vec<String>> {
    let key = if is_uuid_like(partial) { "id" } else { "name" };
    let groups = cli.current_client()?.fetch_list("groups", Query::new()).await?;
    Ok(groups.iter().map(|group| field(group, key).to_owned()).collect())
}

fn is_uuid_like(partial: &str) -> bool {
    is_uuid_prefix(partial) || domain::id::is_uuid(partial)
}
