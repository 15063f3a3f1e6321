//! Compression, cut-off and trickling input, and the way there and back.

use super::*;

#[test]
fn compressed_streams_are_checked_to_their_end() {
    let options = UnpackOptions::default();
    let tar = tar_of(&[file("a", &"hello ".repeat(1000))]);
    let whole = gz(&tar);
    for cut in [1, 2, 10, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        let detail = refused(ArchiveKind::TarGz, &whole[..cut], &options);
        let expected = if cut < 2 { "Not a gzip file." } else { "Archive ends" };
        assert!(detail.starts_with(expected), "{cut}: {detail}");
    }
    let mut wrong_sum = whole.clone();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    assert_eq!(
        refused(ArchiveKind::TarGz, &wrong_sum, &options),
        "Checksum error in compressed data."
    );
    assert_eq!(refused(ArchiveKind::TarGz, b"text", &options), "Not a gzip file.");
    assert_eq!(refused(ArchiveKind::Gz, b"text", &options), "Not a gzip file.");
    assert_eq!(refused(ArchiveKind::TarBz2, b"text", &options), "Not a bzip2 file.");
    assert_eq!(refused(ArchiveKind::Bz2, b"", &options), "Not a bzip2 file.");
    assert_eq!(
        refused(ArchiveKind::TarGz, &gz(b"no tar"), &options),
        "Not a tar archive."
    );
}

#[test]
fn single_files_take_all_members_and_ignore_garbage() {
    let bz = |bytes: &[u8]| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    for (kind, archive) in [
        (ArchiveKind::Gz, [gz(b"one"), gz(b""), gz(b"two")].concat()),
        (ArchiveKind::Gz, [gz(b"onetwo"), b"garbage".to_vec()].concat()),
        (ArchiveKind::Gz, [gz(b"onetwo"), vec![0; 600]].concat()),
        (ArchiveKind::Bz2, [bz(b"one"), bz(b"two")].concat()),
    ] {
        let bench = bench();
        let unpacked = bench.unpack(kind, &archive).unwrap();
        assert_eq!(std::fs::read(&bench.destination).unwrap(), b"onetwo");
        assert_eq!((unpacked.is_dir, unpacked.bytes), (false, 6));
        assert_eq!(
            unpacked.digest.unwrap(),
            crate::file_digest(&mut &b"onetwo"[..]).unwrap()
        );
    }
    let bench = bench();
    bench
        .unpack(ArchiveKind::TarBz2, &bz(&tar_of(&[file("a", "x")])))
        .unwrap();
    assert!(bench.destination.join("a").exists());
}

/// A reader that gives one byte at a time.
struct Trickle<'b>(&'b [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(out.len());
        out[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl BufRead for Trickle<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        Ok(&self.0[..self.0.len().min(1)])
    }

    fn consume(&mut self, amount: usize) {
        self.0 = &self.0[amount..];
    }
}

#[test]
fn a_trickle_gives_the_same_result() {
    let tar = tar_of(&[file("a", "hello"), link("l", "a")]);
    let zip = zip_of(&[ZipItem::new("a", b"hello")]);
    for (kind, archive) in [
        (ArchiveKind::Tar, tar.clone()),
        (ArchiveKind::TarGz, [gz(&tar[..700]), gz(&tar[700..])].concat()),
        (ArchiveKind::Zip, zip),
    ] {
        let bench = bench();
        unpack(
            kind,
            &mut Trickle(&archive),
            &bench.destination,
            &UnpackOptions::default(),
        )
        .unwrap();
        assert_eq!(std::fs::read(bench.destination.join("a")).unwrap(), b"hello");
    }
}

#[test]
fn what_is_packed_unpacks_to_the_same_tree() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    let deep = (0..120).fold(source.clone(), |path, level| {
        path.join(format!("a rather long name {level}"))
    });
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(source.join("crazy (ain't it)"), "1").unwrap();
    std::fs::write(source.join("-AmMDnVl4s8"), "2").unwrap();
    std::fs::write(source.join("new\nline"), "3").unwrap();
    std::fs::write(deep.join("f"), vec![7; 100_000]).unwrap();
    std::fs::write(source.join("empty"), "").unwrap();
    std::fs::create_dir(source.join("empty dir")).unwrap();
    std::fs::set_permissions(source.join("empty"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("../outside", source.join("link")).unwrap();
    symlink("x".repeat(300), source.join("long link")).unwrap();
    let before = tree_digest(&source, &SubPath::root()).unwrap();
    for gzip in [false, true] {
        let mut archive = Vec::new();
        pack_tree(
            &source,
            &SubPath::root(),
            &PackOptions {
                gzip,
                ..PackOptions::default()
            },
            &mut archive,
        )
        .unwrap();
        let bench = bench();
        bench
            .unpack(if gzip { ArchiveKind::TarGz } else { ArchiveKind::Tar }, &archive)
            .unwrap();
        assert_eq!(tree_digest(&bench.destination, &SubPath::root()).unwrap(), before);
    }
}
