//! The store as the server uses it: uploads appear whole or not at all, and nothing is left lying about.
#![allow(clippy::unwrap_used)]

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use contents::{PackOptions, SubPath, Summary, pack_tree};
use domain::target_info::TargetType;
use domain::{ErrorKind, Uuid};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use storage::{MakePart, ReceiveOptions, Storage, StorageOptions};
use tempfile::TempDir;

struct Home {
    temp: TempDir,
    storage: Storage,
}

fn options() -> StorageOptions {
    StorageOptions {
        min_free_bytes: 0,
        min_free_percent: 0,
        ..StorageOptions::default()
    }
}

fn home() -> Home {
    let temp = tempfile::tempdir().unwrap();
    let storage = Storage::open(temp.path(), options()).unwrap();
    Home { temp, storage }
}

fn uuid(number: u8) -> Uuid {
    Uuid::from_random([number; 16])
}

fn path(text: &str) -> SubPath {
    SubPath::parse(text).unwrap()
}

fn body(bytes: &[u8]) -> impl Stream<Item = io::Result<Bytes>> + Unpin + use<> {
    let chunks: Vec<_> = bytes
        .chunks(1000)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    stream::iter(chunks)
}

fn named(filename: &str) -> ReceiveOptions {
    ReceiveOptions {
        filename: filename.into(),
        unpack: true,
        ..ReceiveOptions::default()
    }
}

impl Home {
    fn data(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    async fn upload(&self, uuid: &Uuid, filename: &str, bytes: &[u8]) -> domain::Result<storage::Published> {
        self.storage
            .receive(uuid, body(bytes), named(filename))
            .await?
            .publish()
            .await
    }

    /// Entries below staging (not counting this process's own directory) and trash, once background work is done.
    async fn assert_clean(&self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let leftovers: Vec<_> = ["staging", "trash"]
                .iter()
                .flat_map(|area| std::fs::read_dir(self.data().join(area)).unwrap())
                .map(|entry| entry.unwrap().path())
                .filter(|path| {
                    path.parent().unwrap().ends_with("trash") || std::fs::read_dir(path).unwrap().count() > 0
                })
                .collect();
            if leftovers.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "left over: {leftovers:?}");
            tokio::task::yield_now().await;
        }
    }

    fn bundles(&self) -> usize {
        std::fs::read_dir(self.data().join("bundles")).unwrap().count()
    }
}

async fn collect(stream: contents::ByteStream) -> io::Result<Vec<u8>> {
    stream
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
}

fn archive_of(files: &[(&str, &str)]) -> Vec<u8> {
    let temp = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = temp.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let mut archive = Vec::new();
    pack_tree(temp.path(), &SubPath::root(), &PackOptions::default(), &mut archive).unwrap();
    archive
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_in_and_comes_out() {
    let home = home();
    let bundle = uuid(1);
    let text: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let published = home.upload(&bundle, "data.bin", &text).await.unwrap();
    assert_eq!((published.is_dir, published.size), (false, 1_200_000));
    assert_eq!(
        published.digest.unwrap(),
        contents::file_digest(&mut &text[..]).unwrap()
    );
    let contents = home.storage.contents(&bundle);
    assert!(contents.exists().await.unwrap());
    let blob = contents.file(&SubPath::root()).await.unwrap();
    assert_eq!(blob.size(), 1_200_000);
    assert!(collect(blob.stream()).await.unwrap() == text);
    let blob = contents.file(&SubPath::root()).await.unwrap();
    assert_eq!(collect(blob.range_stream(4, 4)).await.unwrap(), 1u32.to_le_bytes());
    let blob = contents.file(&SubPath::root()).await.unwrap();
    let unpacked = collect(contents::gunzip_stream(blob.gzip_stream())).await.unwrap();
    assert!(unpacked == text);
    let info = contents.info(&SubPath::root(), 0).await.unwrap();
    assert_eq!(
        (info.name.as_str(), info.target_type, info.perm),
        (bundle.as_str(), TargetType::File, 0o644)
    );
    assert_eq!(info.resolved_target.unwrap().bundle_uuid, bundle.as_str());
    home.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_becomes_a_directory_and_is_read_by_path() {
    let home = home();
    let bundle = uuid(1);
    let archive = archive_of(&[("proj/a.txt", "hello world"), ("proj/.git/HEAD", "x"), ("b", "2")]);
    let published = home.upload(&bundle, "x.tar.gz", &archive).await.unwrap();
    assert!(published.is_dir);
    let contents = home.storage.contents(&bundle);
    assert_eq!(contents.size(&SubPath::root()).await.unwrap(), published.size);
    let summary = Summary {
        head: 50,
        ..Summary::default()
    };
    assert_eq!(
        contents.summary(&path("proj/a.txt"), &summary).await.unwrap(),
        "hello world\n"
    );
    let options = PackOptions {
        excludes: contents::Excludes::default_ignored(),
        ..PackOptions::default()
    };
    let packed = collect(contents.directory(&path("proj"), options).await.unwrap())
        .await
        .unwrap();
    home.upload(&uuid(2), "again.tgz", &packed).await.unwrap();
    let info = home.storage.contents(&uuid(2)).info(&SubPath::root(), 2).await.unwrap();
    let names: Vec<_> = info.contents.unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["a.txt"]);

    for (wanted, kind, message) in [
        (
            "nope",
            ErrorKind::NotFound,
            format!("Path 'nope' in bundle {bundle} not found"),
        ),
        (
            "b/x",
            ErrorKind::NotFound,
            format!("Path 'b/x' in bundle {bundle} not found"),
        ),
    ] {
        let error = contents.info(&path(wanted), 0).await.unwrap_err();
        assert_eq!((error.kind, error.message), (kind, message));
    }
    let error = contents.sub_path("../x").unwrap_err();
    assert_eq!(error.message, format!("{bundle}/../x is not inside the bundle."));
    let missing = home
        .storage
        .contents(&uuid(9))
        .info(&SubPath::root(), 0)
        .await
        .unwrap_err();
    assert_eq!(missing.message, format!("Path '' in bundle {} not found", uuid(9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_leaves_no_trace_and_the_old_contents() {
    let home = home();
    let bundle = uuid(1);
    home.upload(&bundle, "f", b"old").await.unwrap();
    let good = archive_of(&[("a", "1")]);
    let evil = {
        let mut tar = Vec::new();
        let options = PackOptions {
            gzip: false,
            ..PackOptions::default()
        };
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("xxxxxx"), "evil").unwrap();
        pack_tree(temp.path(), &SubPath::root(), &options, &mut tar).unwrap();
        let at = tar.windows(8).position(|window| window == b"./xxxxxx").unwrap();
        let sum = |tar: &[u8], at: usize| {
            let header = &tar[at..at + 512];
            header[..148]
                .iter()
                .chain(&header[156..])
                .map(|byte| u32::from(*byte))
                .sum::<u32>()
                + 256
        };
        tar[at..at + 8].copy_from_slice(b"../../xx");
        let text = format!("{:06o}\0 ", sum(&tar, at));
        tar[at + 148..at + 156].copy_from_slice(text.as_bytes());
        contents::gzip_bytes(&tar)
    };
    for (filename, bytes, max_bytes, expected) in [
        (
            "x.tar.gz",
            &evil[..],
            None,
            "Invalid archive upload: failed to unpack archive. Entry '../../xx' leaves the bundle.",
        ),
        (
            "x.tar.gz",
            &good[..good.len() - 5],
            None,
            "Invalid archive upload: failed to unpack archive. Archive ends early.",
        ),
        (
            "x.zip",
            b"no zip",
            None,
            "Invalid archive upload: failed to unpack .zip file. Not a zip file.",
        ),
        (
            "x.gz",
            b"text",
            None,
            "Invalid archive upload: failed to unpack archive. Not a gzip file.",
        ),
        ("f", b"0123456789", Some(5), "user disk quota exceeded"),
        ("x.tar.gz", &good, Some(100), "user disk quota exceeded"),
    ] {
        let options = ReceiveOptions {
            max_bytes,
            ..named(filename)
        };
        let error = home.storage.receive(&bundle, body(bytes), options).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage, "{error}");
        assert!(error.message.contains(expected), "{error}");
    }
    let staged = home.storage.receive(&bundle, body(b"new"), named("f")).await.unwrap();
    drop(staged);
    let staged = home.storage.receive(&bundle, body(b"new"), named("f")).await.unwrap();
    staged.discard().await;
    home.assert_clean().await;
    assert_eq!(
        std::fs::read(home.data().join("bundles").join(bundle.as_str())).unwrap(),
        b"old"
    );
    assert_eq!(home.bundles(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_the_machines_fault_and_stores_nothing() {
    let home = home();
    let good = archive_of(&[("a", &"text ".repeat(10_000))]);
    for filename in ["plain", "x.tar.gz", "x.zip", "x.gz"] {
        for part in [0, 10, good.len() / 2, good.len()] {
            let broken = body(&good[..part]).chain(stream::iter([Err(io::Error::other("connection reset"))]));
            let error = home
                .storage
                .receive(&uuid(1), broken, named(filename))
                .await
                .unwrap_err();
            if error.kind == ErrorKind::Usage {
                // Only what is no archive from its first bytes on is refused before the break is seen.
                assert!(error.message.contains("Not a"), "{filename} {part}: {error}");
            } else {
                assert_eq!(error.kind, ErrorKind::Internal);
                assert!(error.message.contains("connection reset"), "{filename} {part}: {error}");
            }
        }
    }
    // The future itself goes away.
    let endless = body(b"some").chain(stream::pending());
    let bundle = uuid(1);
    let transfer = home.storage.receive(&bundle, endless, named("plain"));
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(30), transfer)
            .await
            .is_err()
    );
    home.assert_clean().await;
    assert_eq!(home.bundles(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_replaces_in_one_step_and_deleting_removes() {
    let home = home();
    let bundle = uuid(1);
    home.upload(&bundle, "f", b"one").await.unwrap();
    home.upload(&bundle, "d.tar.gz", &archive_of(&[("a", "1")]))
        .await
        .unwrap();
    let contents = home.storage.contents(&bundle);
    assert_eq!(contents.kind(&SubPath::root()).await.unwrap().0, TargetType::Directory);
    home.upload(&bundle, "f", b"two").await.unwrap();
    assert_eq!(contents.kind(&SubPath::root()).await.unwrap(), (TargetType::File, 3));
    home.storage.delete(&bundle).await.unwrap();
    home.storage.delete(&bundle).await.unwrap();
    assert!(!contents.exists().await.unwrap());
    home.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_half_an_upload() {
    let home = home();
    let bundle = uuid(1);
    home.upload(&bundle, "f", &[b'0'; 1000]).await.unwrap();
    let contents = home.storage.contents(&bundle);
    let reader = tokio::spawn(async move {
        for _ in 0..200 {
            let mut blob = contents.file(&SubPath::root()).await.unwrap();
            let bytes = blob.read_range(0, 10_000).unwrap();
            assert_eq!(bytes.len(), 1000);
            assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        }
    });
    for round in 0..20u8 {
        home.upload(&bundle, "f", &[round; 1000]).await.unwrap();
    }
    reader.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_left_is_swept_and_a_living_one_is_left_alone() {
    let home = home();
    let stale = home.data().join("staging/dead/transfer/tree");
    std::fs::create_dir_all(&stale).unwrap();
    std::fs::set_permissions(&stale, PermissionsExt::from_mode(0o500)).unwrap();
    std::fs::write(home.data().join("staging/stray"), "x").unwrap();
    std::fs::write(home.data().join("trash/x"), "x").unwrap();
    let living = home
        .storage
        .receive(&uuid(1), body(b"in flight"), named("f"))
        .await
        .unwrap();
    let second = Storage::open(home.temp.path(), options()).unwrap();
    let published = living.publish().await.unwrap();
    assert_eq!(published.size, 9);
    assert!(second.contents(&uuid(1)).exists().await.unwrap());
    home.assert_clean().await;
    assert!(!stale.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_home_with_several_partitions_is_used_in_place() {
    let temp = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for bundles in [
        temp.path().join("partitions/default/bundles"),
        elsewhere.path().join("bundles"),
    ] {
        std::fs::create_dir_all(bundles).unwrap();
    }
    symlink(elsewhere.path(), temp.path().join("partitions/fast")).unwrap();
    std::fs::write(temp.path().join("partitions/README"), "not a partition").unwrap();
    std::fs::write(elsewhere.path().join("bundles").join(uuid(1).as_str()), "there").unwrap();
    std::fs::write(
        temp.path().join("partitions/default/bundles").join(uuid(2).as_str()),
        "here",
    )
    .unwrap();
    let storage = Storage::open(temp.path(), options()).unwrap();
    let names: Vec<_> = storage
        .partitions()
        .await
        .unwrap()
        .into_iter()
        .map(|partition| partition.name)
        .collect();
    assert_eq!(names, ["default", "fast"]);
    assert!(!temp.path().join("data").exists());
    for bundle in [uuid(1), uuid(2)] {
        assert!(storage.contents(&bundle).exists().await.unwrap());
        let staged = storage.receive(&bundle, body(b"replaced"), named("f")).await.unwrap();
        staged.publish().await.unwrap();
    }
    let replaced = elsewhere.path().join("bundles").join(uuid(1).as_str());
    assert_eq!(std::fs::read(replaced).unwrap(), b"replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_before_anything_is_written() {
    let temp = tempfile::tempdir().unwrap();
    let storage = Storage::open(
        temp.path(),
        StorageOptions {
            min_free_bytes: u64::MAX,
            ..StorageOptions::default()
        },
    )
    .unwrap();
    let error = storage.receive(&uuid(1), body(b"x"), named("f")).await.unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Unavailable, "Storage is full; try again later.")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn made_bundles_are_copies_that_stay_apart() {
    let home = home();
    home.upload(&uuid(1), "d.tar.gz", &archive_of(&[("sub/a", "1"), ("b", "22")]))
        .await
        .unwrap();
    home.upload(&uuid(2), "f", b"file").await.unwrap();
    let part = |child: &str, parent: u8, parent_path: &str| MakePart {
        child_path: path(child),
        parent: home.storage.contents(&uuid(parent)),
        parent_path: path(parent_path),
    };
    let make = |number: u8, parts: Vec<MakePart>, max: Option<u64>| {
        let storage = home.storage.clone();
        async move { storage.make(&uuid(number), parts, max).await?.publish().await }
    };
    let one = make(3, vec![part("", 1, "b")], None).await.unwrap();
    assert_eq!((one.is_dir, one.size), (false, 2));
    let whole = make(4, vec![part("", 1, "")], None).await.unwrap();
    assert!(whole.is_dir);
    make(5, vec![part("x/y", 1, "sub"), part("f", 2, "")], None)
        .await
        .unwrap();
    let made = home.storage.contents(&uuid(5));
    assert_eq!(made.file(&path("x/y/a")).await.unwrap().size(), 1);
    assert_eq!(made.file(&path("f")).await.unwrap().size(), 4);
    assert!(make(6, vec![], None).await.unwrap().is_dir);

    for (parts, max, message) in [
        (
            vec![part("", 1, "nope")],
            None,
            format!("Path 'nope' in bundle {} not found", uuid(1)),
        ),
        (
            vec![part("a", 8, "")],
            None,
            format!("Path '' in bundle {} not found", uuid(8)),
        ),
        (
            vec![part("a", 1, ""), part("a/b", 2, "")],
            None,
            "one lies inside the other".to_owned(),
        ),
        (vec![part("a", 2, "")], Some(3), "user disk quota exceeded".to_owned()),
    ] {
        let error = make(7, parts, max).await.unwrap_err();
        assert!(error.message.contains(&message), "{error}");
    }
    home.assert_clean().await;
    assert!(!home.storage.contents(&uuid(7)).exists().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_only_into_allowed_directories() {
    let home = home();
    let allowed = tempfile::tempdir().unwrap();
    std::fs::write(allowed.path().join("data.txt"), "linked").unwrap();
    symlink("/etc/passwd", allowed.path().join("escape")).unwrap();
    let storage = Storage::open(
        home.temp.path(),
        StorageOptions {
            link_roots: vec![allowed.path().into()],
            ..options()
        },
    )
    .unwrap();
    let link = |name: &str| format!("{}/{name}", allowed.path().display());
    let good = storage.contents_of(&uuid(1), Some(&link("data.txt")));
    assert_eq!(good.info(&SubPath::root(), 0).await.unwrap().name, "data.txt");
    assert_eq!(good.file(&SubPath::root()).await.unwrap().size(), 6);
    for bad in [
        &link("escape"),
        &link("missing"),
        &link("../../etc/passwd"),
        "/etc/passwd",
        "relative",
    ] {
        let error = storage
            .linked(&uuid(1), bad)
            .info(&SubPath::root(), 0)
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{bad}");
    }
    let none_allowed = home.storage.linked(&uuid(1), &link("data.txt"));
    assert!(!none_allowed.exists().await.unwrap());
    storage.delete(&uuid(1)).await.unwrap();
    assert!(Path::new(&link("data.txt")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_that_are_not_unpacked_stay_as_they_are() {
    let home = home();
    let archive = archive_of(&[("a", "1")]);
    let options = ReceiveOptions {
        filename: "x.tar.gz".into(),
        unpack: false,
        ..ReceiveOptions::default()
    };
    let staged = home.storage.receive(&uuid(1), body(&archive), options).await.unwrap();
    assert_eq!((staged.is_dir, staged.size), (false, archive.len() as u64));
    staged.publish().await.unwrap();
    assert_eq!(
        std::fs::read(home.data().join("bundles").join(uuid(1).as_str())).unwrap(),
        archive
    );
}
