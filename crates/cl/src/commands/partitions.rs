//! `cl bs-*`: the disks of the bundle store of an instance on this machine, whose home is this home. A partition is a
//! directory on some disk, linked into `partitions`; it holds bundles in `bundles`.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Command, Group, sanity_check};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Parsed};

pub const ADD: Command = Command {
    name: "bs-add-partition",
    aliases: &[],
    group: Group::Server,
    summary: "Keep bundles on another disk, too (on the server's machine).",
    arguments: || {
        vec![
            Argument::positional("name", Arity::One, "Name of the new partition."),
            Argument::positional("path", Arity::One, "Directory on the other disk."),
        ]
    },
    run: |cli, parsed| Box::pin(async move { add(cli, parsed) }),
    passes_on: false,
};

pub const REMOVE: Command = Command {
    name: "bs-rm-partition",
    aliases: &[],
    group: Group::Server,
    summary: "Stop keeping bundles on a disk (on the server's machine). Nothing on it is deleted.",
    arguments: || vec![Argument::positional("partition", Arity::One, "Name of the partition.")],
    run: |cli, parsed| Box::pin(async move { remove(cli, parsed) }),
    passes_on: false,
};

pub const LIST: Command = Command {
    name: "bs-ls-partitions",
    aliases: &[],
    group: Group::Server,
    summary: "List the disks that bundles are kept on (on the server's machine).",
    arguments: Vec::new,
    run: |cli, _: &Parsed| Box::pin(async move { list(cli) }),
    passes_on: false,
};

pub const CHECK: Command = Command {
    name: "bs-health-check",
    aliases: &[],
    group: Group::Server,
    summary: "Find what is left on the disks of deleted bundles (on the server's machine).",
    arguments: || vec![Argument::flag("force", "-f --force", "Delete it.")],
    run: |cli, _: &Parsed| {
        Box::pin(async move {
            sanity_check(cli, "bs-health-check")?;
            Err(Error::usage(
                "There is nothing to check by hand: the server removes what is left of deleted bundles, also of those \
                 whose removal was interrupted, when it starts.",
            ))
        })
    },
    passes_on: false,
};

/// Where the partitions of an instance are linked.
fn directory(home: &Path) -> PathBuf {
    home.join("partitions")
}

fn add(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    sanity_check(cli, "bs-add-partition")?;
    let name = parsed.text("name").unwrap_or_default();
    if !domain::name::is_name(name) {
        return Err(Error::usage(format!(
            "{name} cannot be the name of a partition: it must begin with a letter or _, and go on with letters, digits, \
             _, . and -"
        )));
    }
    let path = std::path::absolute(parsed.text("path").unwrap_or_default())
        .map_err(|_| Error::usage("The path of the partition is empty."))?;
    let link = directory(&cli.home.dir).join(name);
    cli.ui.notice(format!("Adding new partition as {}...", link.display()));
    let failed = |what: &Path, error: &std::io::Error| {
        Error::usage(format!("Could not add partition '{name}': {}: {error}", what.display()))
    };
    fs::create_dir_all(path.join("bundles")).map_err(|error| failed(&path, &error))?;
    fs::create_dir_all(directory(&cli.home.dir)).map_err(|error| failed(&link, &error))?;
    std::os::unix::fs::symlink(&path, &link).map_err(|error| failed(&link, &error))?;
    cli.ui
        .notice(format!("Successfully added partition '{name}' to the pool."));
    Ok(())
}

fn remove(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    sanity_check(cli, "bs-rm-partition")?;
    let name = parsed.text("partition").unwrap_or_default();
    let all = partitions(&cli.home.dir)?;
    let Some((_, link)) = all.iter().find(|(other, _)| other == name) else {
        return Err(Error::usage(format!(
            "There is no partition '{name}'; cl bs-ls-partitions lists them."
        )));
    };
    if all.len() == 1 {
        return cli.ui.line(format!(
            "'{name}' is the last partition; an instance needs at least one."
        ));
    }
    if !link.is_symlink() {
        return Err(Error::usage(format!(
            "Partition '{name}' is a directory of its own, {}, not a link to one. Move it to where it is to stay first.",
            link.display()
        )));
    }
    fs::remove_file(link).map_err(|error| Error::usage(format!("cannot remove {}: {error}", link.display())))?;
    cli.ui.line(format!(
        "Removed partition '{name}'. The bundles on it and the database are untouched: these bundles have no contents \
         until the partition is added again."
    ))
}

fn list(cli: &mut Cli) -> Result<()> {
    sanity_check(cli, "bs-ls-partitions")?;
    let all = partitions(&cli.home.dir)?;
    let number = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    cli.ui.line(number(all.len(), "partition"))?;
    for (name, path) in all {
        let bundles = fs::read_dir(path.join("bundles")).map_or(0, Iterator::count);
        let target = fs::canonicalize(&path).unwrap_or(path);
        cli.ui.line(format!("- {name:<16}"))?;
        cli.ui.line(format!("\tmountpoint: {}", target.display()))?;
        cli.ui.line(format!("\t{}", number(bundles, "bundle")))?;
    }
    Ok(())
}

/// Names and paths of the partitions, sorted.
fn partitions(home: &Path) -> Result<Vec<(String, PathBuf)>> {
    let directory = directory(home);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) => {
            return Err(Error::usage(format!(
                "{} has no partitions ({error}); is it the home of the instance?",
                home.display()
            )));
        }
    };
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(std::result::Result::ok)
        .filter(|entry| !entry.path().is_file())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    found.sort();
    Ok(found)
}
