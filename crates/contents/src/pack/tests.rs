//! What packing takes in and leaves out.

use std::os::unix::fs::symlink;

use super::*;
use crate::{ArchiveKind, UnpackOptions, unpack};

/// Packs with the given options and gives the paths that come out, directories with `/`.
fn packed(work: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<Vec<String>> {
    let mut archive = Vec::new();
    work(&mut archive)?;
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    unpack(ArchiveKind::TarGz, &mut &archive[..], &out, &UnpackOptions::default())?;
    let mut paths = Paths(Vec::new());
    walk(&beneath::open_dir(&out, &SubPath::root())?, false, &mut paths)?;
    Ok(paths.0)
}

struct Paths(Vec<String>);

impl Visit for Paths {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Descend> {
        let end = if entry.kind() == FileType::Directory { "/" } else { "" };
        self.0.push(String::from_utf8_lossy(entry.path).into_owned() + end);
        Ok(Descend::Yes)
    }
}

fn sample() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    for directory in [".git", "dir/ignored_dir", "__MACOSX"] {
        std::fs::create_dir_all(temp.path().join(directory)).unwrap();
    }
    for file in [
        ".git/HEAD",
        "dir/f1",
        "dir/ignored_dir/x",
        "dir/._junk",
        "f2",
        "__MACOSX/x",
    ] {
        std::fs::write(temp.path().join(file), file).unwrap();
    }
    symlink("f2", temp.path().join("link")).unwrap();
    temp
}

fn tree(root: &Path, path: &str, options: &PackOptions) -> Result<Vec<String>> {
    packed(|out| pack_tree(root, &SubPath::parse(path)?, options, out))
}

#[test]
fn nothing_is_left_out_unless_asked() {
    let temp = sample();
    let all = tree(temp.path(), "", &PackOptions::default()).unwrap();
    let expected = [
        ".git/",
        ".git/HEAD",
        "__MACOSX/",
        "__MACOSX/x",
        "dir/",
        "dir/._junk",
        "dir/f1",
        "dir/ignored_dir/",
        "dir/ignored_dir/x",
        "f2",
        "link",
    ];
    assert_eq!(all, expected);

    let download = PackOptions {
        excludes: Excludes::default_ignored(),
        ..PackOptions::default()
    };
    let expected = ["dir/", "dir/f1", "dir/ignored_dir/", "dir/ignored_dir/x", "f2", "link"];
    assert_eq!(tree(temp.path(), "", &download).unwrap(), expected);
    assert_eq!(
        tree(temp.path(), "dir", &download).unwrap(),
        ["f1", "ignored_dir/", "ignored_dir/x"]
    );

    let skip = PackOptions {
        skip: vec![SubPath::parse("dir").unwrap(), SubPath::parse("f2").unwrap()],
        ..download
    };
    assert_eq!(tree(temp.path(), "", &skip).unwrap(), ["link"]);
}

#[test]
fn ignore_files_hold_for_their_directory_and_below() {
    let temp = sample();
    std::fs::write(temp.path().join(".tarignore"), "**/ignored_dir\nf2\n").unwrap();
    std::fs::write(temp.path().join("dir/.tarignore"), "f1\n").unwrap();
    std::fs::write(temp.path().join("f1"), "kept").unwrap();
    let options = PackOptions {
        ignore_file: Some(".tarignore".into()),
        excludes: Excludes::new([".git", "__MACOSX"]),
        ..PackOptions::default()
    };
    let expected = [".tarignore", "dir/", "dir/._junk", "dir/.tarignore", "f1", "link"];
    assert_eq!(tree(temp.path(), "", &options).unwrap(), expected);
}

#[test]
fn only_directories_are_packed_and_no_link_is_followed() {
    let temp = sample();
    let options = PackOptions::default();
    assert!(matches!(tree(temp.path(), "f2", &options), Err(Error::NotADirectory)));
    assert!(matches!(tree(temp.path(), "link", &options), Err(Error::Link)));
    assert!(matches!(tree(temp.path(), "gone", &options), Err(Error::NotFound)));
}

#[test]
fn dereferencing_stores_targets_and_refuses_loops() {
    let temp = sample();
    symlink("../../dir", temp.path().join("dir/ignored_dir/up")).unwrap();
    let options = PackOptions {
        dereference: true,
        ..PackOptions::default()
    };
    let error = tree(temp.path(), "", &options).unwrap_err().to_string();
    assert!(error.contains("is a link to a directory that contains it"), "{error}");

    std::fs::remove_file(temp.path().join("dir/ignored_dir/up")).unwrap();
    symlink("dir", temp.path().join("also")).unwrap();
    let mut archive = Vec::new();
    pack_tree(temp.path(), &SubPath::root(), &options, &mut archive).unwrap();
    let out = temp.path().join("out");
    unpack(ArchiveKind::TarGz, &mut &archive[..], &out, &UnpackOptions::default()).unwrap();
    assert_eq!(std::fs::read_to_string(out.join("link")).unwrap(), "f2");
    assert!(out.join("link").symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read_to_string(out.join("also/f1")).unwrap(), "dir/f1");

    symlink("nowhere", temp.path().join("broken")).unwrap();
    let error = tree(temp.path(), "", &options).unwrap_err().to_string();
    assert!(error.starts_with("Broken symlink"), "{error}");
}

#[test]
fn several_paths_lie_side_by_side_under_their_names() {
    let temp = sample();
    let paths = |names: &[&str]| names.iter().map(|name| temp.path().join(name)).collect::<Vec<_>>();
    let options = PackOptions {
        excludes: Excludes::new(["f*"]),
        ..PackOptions::default()
    };
    let both = paths(&["dir", "f2"]);
    let expected = ["dir/", "dir/._junk", "dir/ignored_dir/", "dir/ignored_dir/x"];
    assert_eq!(packed(|out| pack_paths(&both, &options, out)).unwrap(), expected);
    let link = paths(&["link"]);
    let refused = packed(|out| pack_paths(&link, &PackOptions::default(), out)).unwrap_err();
    assert_eq!(refused.to_string(), "Not following symlinks.");
    let followed = PackOptions {
        dereference: true,
        ..PackOptions::default()
    };
    assert_eq!(packed(|out| pack_paths(&link, &followed, out)).unwrap(), ["link"]);
    assert!(packed(|out| pack_paths(&paths(&["gone"]), &followed, out)).is_err());
}
