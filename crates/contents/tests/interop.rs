//! Archives go to and from the system's own tar (part of every Debian installation).
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;

use contents::{ArchiveKind, PackOptions, SubPath, UnpackOptions, pack_tree, tree_digest, unpack};

fn tar(arguments: &[&str]) {
    let output = Command::new("tar").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn digest(root: &Path) -> String {
    tree_digest(root, &SubPath::root()).unwrap()
}

fn sample(root: &Path) {
    std::fs::create_dir_all(root.join("sub/empty")).unwrap();
    std::fs::write(root.join("sub/a file"), "hello").unwrap();
    std::fs::write(root.join(format!("sub/{}", "long".repeat(50))), "x").unwrap();
    std::fs::write(root.join("grüße 世界"), "y").unwrap();
    symlink("sub/a file", root.join("link")).unwrap();
    symlink("t".repeat(200), root.join("long link")).unwrap();
    std::fs::hard_link(root.join("sub/a file"), root.join("z hard")).unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    for piece in 0..40 {
        sparse.write_all_at(b"piece", piece * 100_000).unwrap();
    }
    sparse.set_len(5_000_000).unwrap();
}

#[test]
fn every_format_of_gnu_tar_is_understood() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    sample(&source);
    let expected = digest(&source);
    let archive = temp.path().join("archive.tar.gz");
    for (number, options) in [
        "--format=gnu",
        "--format=posix",
        "--format=gnu -S",
        "--format=posix -S",
        "--format=posix -S --sparse-version=0.0",
        "--format=posix -S --sparse-version=0.1",
        "--format=posix --numeric-owner -b 1",
    ]
    .into_iter()
    .enumerate()
    {
        let mut arguments: Vec<&str> = options.split(' ').collect();
        arguments.extend(["-czf", archive.to_str().unwrap(), "-C", source.to_str().unwrap(), "."]);
        tar(&arguments);
        let out = temp.path().join(format!("out{number}"));
        let bytes = std::fs::read(&archive).unwrap();
        unpack(ArchiveKind::TarGz, &mut &bytes[..], &out, &UnpackOptions::default())
            .unwrap_or_else(|error| panic!("{options}: {error}"));
        assert_eq!(digest(&out), expected, "{options}");
    }
}

#[test]
fn gnu_tar_understands_what_is_packed() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    sample(&source);
    let archive = temp.path().join("archive.tar.gz");
    let mut file = std::fs::File::create(&archive).unwrap();
    pack_tree(&source, &SubPath::root(), &PackOptions::default(), &mut file).unwrap();
    let out = temp.path().join("out");
    std::fs::create_dir(&out).unwrap();
    tar(&["-xzf", archive.to_str().unwrap(), "-C", out.to_str().unwrap()]);
    assert_eq!(digest(&out), digest(&source));
    let listing = Command::new("tar").arg("-tzf").arg(&archive).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    assert!(listing.starts_with("./\n"), "{listing}");
    assert!(listing.contains("\n./sub/\n./sub/a file\n"), "{listing}");
}
