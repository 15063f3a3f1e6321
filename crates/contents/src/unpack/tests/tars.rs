//! Good, odd, damaged and hostile tar archives.

use super::*;

#[test]
fn an_ordinary_archive_keeps_names_modes_times_and_links() {
    let bench = bench();
    let long = format!("dir/{}", "n".repeat(200));
    let archive = tar_of(&[
        dir("./"),
        Item {
            mode: 0o500,
            ..dir("./dir/")
        },
        Item {
            mode: 0o4755,
            ..file("./dir/run", "#!/bin/sh")
        },
        file("implied/parent/f", "x"),
        link("l", "/etc/passwd"),
        hard("again", "./dir/run"),
        Item {
            data: format!("{long}\0").into(),
            ..item("././@LongLink", b'L')
        },
        file("cut", "long name"),
        item("fifo", b'6'),
        file("old-style-dir/", ""),
    ]);
    let unpacked = bench.unpack(ArchiveKind::TarGz, &gz(&archive)).unwrap();
    assert_eq!((unpacked.is_dir, unpacked.skipped), (true, 1));
    let at = |path: &str| bench.destination.join(path);
    let run = std::fs::metadata(at("dir/run")).unwrap();
    assert_eq!((run.permissions().mode() & 0o7777, run.mtime()), (0o755, 1_000_000_000));
    let directory = std::fs::metadata(at("dir")).unwrap();
    assert_eq!(
        (directory.permissions().mode() & 0o7777, directory.mtime()),
        (0o700, 1_000_000_000)
    );
    assert_eq!(std::fs::read_link(at("l")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(std::fs::metadata(at("again")).unwrap().ino(), run.ino());
    assert_eq!(std::fs::read_to_string(at(&long)).unwrap(), "long name");
    assert_eq!(std::fs::read_to_string(at("implied/parent/f")).unwrap(), "x");
    assert!(!at("fifo").exists());
}

#[test]
fn hostile_and_damaged_tars_are_refused_and_leave_nothing() {
    let mut bad_checksum = tar_of(&[file("a", "1"), file("b", "2")]);
    bad_checksum[1024] ^= 1;
    let device = |kind| tar_of(&[item("dev/sda", kind)]);
    let huge_header = {
        let entry = Item {
            data: vec![b'x'; (1 << 20) + 1],
            ..item("pax", b'x')
        };
        tar_of(&[entry])
    };
    let mut impossible = header(&file("a", ""));
    impossible.as_old_mut().size = *b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    impossible.set_cksum();
    let long_link = "x".repeat(5000);
    for (archive, detail) in [
        (tar_of(&[file("../x", "1")]), "Entry '../x' leaves the bundle."),
        (
            tar_of(&[file("a/../../x", "1")]),
            "Entry 'a/../../x' leaves the bundle.",
        ),
        (tar_of(&[dir("../d")]), "Entry '../d' leaves the bundle."),
        (tar_of(&[link("../l", "a")]), "Entry '../l' leaves the bundle."),
        (tar_of(&[hard("../h", "a")]), "Entry '../h' leaves the bundle."),
        (tar_of(&[file("/etc/x", "1")]), "Entry '/etc/x' has an absolute path."),
        (tar_of(&[file("C:\\x", "1")]), "Entry 'C:\\x' has an absolute path."),
        (tar_of(&[file("", "1")]), "Entry 1 has an invalid name."),
        (tar_of(&[file(".", "1")]), "Entry 1 has an invalid name."),
        (
            tar_of(&[link("d", "/tmp"), file("d/x", "1")]),
            "Entry 'd/x' lies below symbolic link 'd'.",
        ),
        (
            tar_of(&[link("d", "."), file("d/x", "1")]),
            "Entry 'd/x' lies below symbolic link 'd'.",
        ),
        (
            tar_of(&[link("d", "/tmp"), dir("d")]),
            "'d' is both a directory and something else.",
        ),
        (
            tar_of(&[dir("d"), link("d", "/tmp")]),
            "'d' is both a directory and something else.",
        ),
        (
            tar_of(&[file("d", ""), file("d/x", "")]),
            "'d' is both a directory and something else.",
        ),
        (
            tar_of(&[hard("h", "/etc/passwd")]),
            "Hard link 'h' points outside the archive.",
        ),
        (
            tar_of(&[hard("h", "../x")]),
            "Hard link 'h' points outside the archive.",
        ),
        (
            tar_of(&[hard("h", "later"), file("later", "")]),
            "Hard link 'h' points to 'later', which is not an earlier file.",
        ),
        (
            tar_of(&[file("h", "x"), hard("h", "h")]),
            "Hard link 'h' points to 'h', which is not an earlier file.",
        ),
        (
            tar_of(&[dir("d"), hard("h", "d")]),
            "Hard link 'h' points to 'd', which is not an earlier file.",
        ),
        (
            tar_of(&[link("l", "/etc/passwd"), hard("h", "l")]),
            "Hard link 'h' points to 'l', which is not an earlier file.",
        ),
        (
            tar_of(&[link("d", "/etc"), hard("h", "d/passwd")]),
            "Hard link 'h' points to 'd/passwd', which is not an earlier file.",
        ),
        (device(b'3'), "Entry 'dev/sda' is a device."),
        (device(b'4'), "Entry 'dev/sda' is a device."),
        (
            tar_of(&[
                Item {
                    data: long_link.into(),
                    ..item("././@LongLink", b'K')
                },
                link("l", "x"),
            ]),
            "Link target of 'l' is longer than 4095 bytes.",
        ),
        (tar_of(&[link("l", "")]), "Link target of 'l' is invalid."),
        (huge_header, "Header of entry 1 is too large."),
        (impossible.as_bytes().to_vec(), "Archive is damaged at byte 0."),
        (bad_checksum, "Archive is damaged at byte 1024."),
        (b"just some text".to_vec(), "Not a tar archive."),
        (vec![], "Not a tar archive."),
        (vec![b'x'; 2000], "Not a tar archive."),
        (
            tar_of(&[file("abc", &"x".repeat(600))])[..900].to_vec(),
            "Archive ends in the middle of 'abc'.",
        ),
        (tar_of(&[file("abc", "x")])[..700].to_vec(), "Archive ends early."),
        (tar_of(&[file("a", "x")])[..1100].to_vec(), "Archive ends early."),
        (
            tar_of(&[Item {
                data: b"9 pathab\n".to_vec(),
                ..item("p", b'x')
            }]),
            "Archive is damaged at byte 512.",
        ),
    ] {
        let options = UnpackOptions::default();
        assert_eq!(refused(ArchiveKind::Tar, &archive, &options), detail);
        if !archive.is_empty() {
            assert_eq!(refused(ArchiveKind::TarGz, &gz(&archive), &options), detail);
        }
    }
}

#[test]
fn limits_are_enforced_before_bytes_are_written() {
    let limits = |limits: Limits| UnpackOptions {
        limits,
        ..UnpackOptions::default()
    };
    let three = tar_of(&[file("a", "x"), file("b", "x"), file("c", "x")]);
    let few = limits(Limits {
        max_entries: 2,
        ..Limits::default()
    });
    assert_eq!(
        refused(ArchiveKind::Tar, &three, &few),
        "Archive has more than 2 entries."
    );

    let zeros = gz(&tar_of(&[file("zeros", &"\0".repeat(4 << 20))]));
    let tight = limits(Limits {
        max_ratio: 100,
        ratio_floor_bytes: 1 << 20,
        ..Limits::default()
    });
    assert_eq!(
        refused(ArchiveKind::TarGz, &zeros, &tight),
        "Archive expands more than 100 times."
    );
    // Also when the zeros come after the archive's own end, where only the checksum is looked for.
    let mut trailing = tar_of(&[file("a", "x")]);
    trailing.resize(4 << 20, 0);
    assert_eq!(
        refused(ArchiveKind::TarGz, &gz(&trailing), &tight),
        "Archive expands more than 100 times."
    );
    assert_eq!(
        refused(ArchiveKind::Gz, &gz(&vec![0; 4 << 20]), &tight),
        "Archive expands more than 100 times."
    );
    let zip = zip_of(&[ZipItem::new("zeros", &vec![0; 4 << 20])]);
    assert_eq!(
        refused(ArchiveKind::Zip, &zip, &tight),
        "Archive expands more than 100 times."
    );

    let small = UnpackOptions {
        max_bytes: Some(2),
        ..UnpackOptions::default()
    };
    assert_eq!(refused(ArchiveKind::Tar, &three, &small), "more than 2 bytes");
    assert_eq!(refused(ArchiveKind::Gz, &gz(b"abc"), &small), "more than 2 bytes");
    let many_links = tar_of(&[file("a", "x"), hard("b", "a"), hard("c", "a")]);
    assert_eq!(refused(ArchiveKind::Tar, &many_links, &small), "more than 2 bytes");
    // A file that comes twice counts once.
    let same = tar_of(&[file("a", "x"), file("a", "x"), file("a", "xy")]);
    bench().unpack_with(ArchiveKind::Tar, &same, &small).unwrap();
}

#[test]
fn the_last_of_two_files_wins_and_links_are_replaced_not_followed() {
    let bench = bench();
    let outside = bench.temp.path().join("outside");
    std::fs::write(&outside, "untouched").unwrap();
    let text = outside.to_str().unwrap();
    let archive = tar_of(&[
        file("a", "old"),
        file("a", "new"),
        link("l", text),
        file("l", "mine"),
        dir("d"),
        dir("d"),
    ]);
    let unpacked = bench.unpack(ArchiveKind::Tar, &archive).unwrap();
    assert_eq!((unpacked.bytes, unpacked.entries), (7, 3));
    assert_eq!(std::fs::read_to_string(bench.destination.join("a")).unwrap(), "new");
    assert_eq!(std::fs::read_to_string(bench.destination.join("l")).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "untouched");
}

#[test]
fn devices_of_run_results_are_passed_over() {
    let options = UnpackOptions {
        skip_devices: true,
        ..UnpackOptions::default()
    };
    let unpacked = bench()
        .unpack_with(ArchiveKind::Tar, &tar_of(&[item("d", b'3'), item("s", b'Z')]), &options)
        .unwrap();
    assert_eq!((unpacked.skipped, unpacked.entries), (2, 0));
}

#[test]
fn pax_headers_give_long_names_sizes_and_times() {
    let long = format!("{}/{}", "p".repeat(150), "q".repeat(150));
    let records = record("path", &long) + &record("mtime", "1234567890.25") + &record("comment", "x");
    let archive = tar_of(&[
        Item {
            data: records.into(),
            ..item("pax", b'x')
        },
        file("short", "data"),
        file("next", "n"),
    ]);
    let bench = bench();
    bench.unpack(ArchiveKind::Tar, &archive).unwrap();
    let metadata = std::fs::metadata(bench.destination.join(&long)).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_234_567_890, 250_000_000));
    assert!(bench.destination.join("next").exists());

    let escaping = tar_of(&[
        Item {
            data: record("path", "../../x").into(),
            ..item("pax", b'x')
        },
        file("ok", ""),
    ]);
    let options = UnpackOptions::default();
    assert_eq!(
        refused(ArchiveKind::Tar, &escaping, &options),
        "Entry '../../x' leaves the bundle."
    );
    let linked = tar_of(&[
        Item {
            data: record("linkpath", "/etc/passwd").into(),
            ..item("pax", b'x')
        },
        hard("h", "f"),
    ]);
    assert_eq!(
        refused(ArchiveKind::Tar, &linked, &options),
        "Hard link 'h' points outside the archive."
    );
}

#[test]
fn sparse_files_of_every_form_are_expanded() {
    let expected: Vec<u8> = [&[0u8; 1000][..], b"data", &[0; 96]].concat();
    // Old GNU form.
    let mut old = header(&item("old", b'S'));
    let gnu = old.as_gnu_mut().unwrap();
    gnu.sparse[0].offset = *b"00000001750\0";
    gnu.sparse[0].numbytes = *b"00000000004\0";
    gnu.realsize = *b"00000002114\0";
    old.set_size(4);
    old.set_cksum();
    let mut archive = old.as_bytes().to_vec();
    archive.extend_from_slice(b"data");
    archive.resize(1024, 0);
    // PAX 0.1 and 1.0.
    let one = [
        ("major", "0"),
        ("realsize", "1100"),
        ("map", "1000,4"),
        ("name", "zero"),
    ]
    .map(sparse)
    .concat();
    let mut map = b"1\n1000\n4\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"data");
    let two = [("major", "1"), ("realsize", "1100"), ("name", "one")]
        .map(sparse)
        .concat();
    archive.extend(tar_of(&[
        Item {
            data: one.into(),
            ..item("p", b'x')
        },
        file("ignored", "data"),
        Item {
            data: two.into(),
            ..item("p", b'x')
        },
        Item {
            data: map,
            ..item("ignored", b'0')
        },
        file("after", "end"),
    ]));
    let bench = bench();
    bench.unpack(ArchiveKind::Tar, &archive).unwrap();
    for name in ["old", "zero", "one"] {
        assert_eq!(std::fs::read(bench.destination.join(name)).unwrap(), expected, "{name}");
    }
    assert_eq!(std::fs::read(bench.destination.join("after")).unwrap(), b"end");

    let bad = [("major", "0"), ("realsize", "1000"), ("map", "1000,4")]
        .map(sparse)
        .concat();
    let bad = tar_of(&[
        Item {
            data: bad.into(),
            ..item("p", b'x')
        },
        file("s", "data"),
    ]);
    assert_eq!(
        refused(ArchiveKind::Tar, &bad, &UnpackOptions::default()),
        "Sparse entry 's' is damaged."
    );
}
