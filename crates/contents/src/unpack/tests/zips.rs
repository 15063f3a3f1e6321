//! Good, odd, damaged and hostile zip archives.

use super::*;

#[test]
fn a_zip_keeps_modes_links_and_times() {
    let bench = bench();
    let archive = zip_of(&[
        ZipItem {
            mode: 0o040_755,
            method: 0,
            ..ZipItem::new("proj/", b"")
        },
        ZipItem {
            mode: 0o100_755,
            ..ZipItem::new("proj/run", b"#!/bin/sh")
        },
        ZipItem {
            mode: 0o120_777,
            method: 0,
            ..ZipItem::new("proj/link", b"run")
        },
        ZipItem {
            mode: 0,
            method: 0,
            made_on: 0,
            ..ZipItem::new("win\\dows.txt", b"text")
        },
    ]);
    let unpacked = bench.unpack(ArchiveKind::Zip, &archive).unwrap();
    assert_eq!(unpacked.entries, 5);
    let at = |path: &str| bench.destination.join(path);
    assert_eq!(std::fs::read(at("proj/run")).unwrap(), b"#!/bin/sh");
    assert_eq!(
        std::fs::metadata(at("proj/run")).unwrap().permissions().mode() & 0o777,
        0o755
    );
    assert_eq!(std::fs::read_link(at("proj/link")).unwrap(), Path::new("run"));
    assert_eq!(std::fs::read(at("win/dows.txt")).unwrap(), b"text");
    let empty = super::bench();
    empty.unpack(ArchiveKind::Zip, &zip_of(&[])).unwrap();
    assert_eq!(std::fs::read_dir(&empty.destination).unwrap().count(), 0);
}

#[test]
fn hostile_and_damaged_zips_are_refused_and_leave_nothing() {
    let good = ZipItem::new("a", b"hello");
    let whole = zip_of(&[ZipItem::new("a", b"hello"), ZipItem::new("b", b"world")]);
    let overlapping = {
        // Two directory entries over one local entry, again and again.
        let one = zip_of(&[ZipItem {
            method: 0,
            ..ZipItem::new("a", &[b'x'; 100])
        }]);
        let central_at = one.len() - 22 - 47;
        let central = one[central_at..one.len() - 22].repeat(3);
        end_zip(one[..central_at].to_vec(), &central, 3)
    };
    for (archive, detail) in [
        (zip_of(&[ZipItem::new("../x", b"1")]), "Entry '../x' leaves the bundle."),
        (
            zip_of(&[ZipItem::new("/etc/x", b"1")]),
            "Entry '/etc/x' has an absolute path.",
        ),
        (
            zip_of(&[ZipItem {
                made_on: 0,
                ..ZipItem::new("..\\x", b"1")
            }]),
            "Entry '../x' leaves the bundle.",
        ),
        (
            zip_of(&[
                ZipItem {
                    mode: 0o120_777,
                    method: 0,
                    ..ZipItem::new("d", b"/tmp")
                },
                ZipItem::new("d/x", b"1"),
            ]),
            "Entry 'd/x' lies below symbolic link 'd'.",
        ),
        (
            zip_of(&[ZipItem {
                mode: 0o020_644,
                ..ZipItem::new("dev", b"")
            }]),
            "Entry 'dev' is a device.",
        ),
        (
            zip_of(&[ZipItem {
                flags: 1,
                ..ZipItem::new("a", b"1")
            }]),
            "Entry 'a' is encrypted.",
        ),
        (
            zip_of(&[ZipItem {
                method: 99,
                ..ZipItem::new("a", b"1")
            }]),
            "Entry 'a' uses compression method 99.",
        ),
        (
            zip_of(&[ZipItem {
                local_name: Some(b"b".to_vec()),
                ..ZipItem::new("a", b"1")
            }]),
            "Entry 'a' contradicts the zip directory.",
        ),
        (
            zip_of(&[ZipItem { crc_change: 1, ..good }]),
            "Checksum error in compressed data of 'a'.",
        ),
        (
            zip_of(&[ZipItem {
                size_change: 1,
                ..ZipItem::new("a", b"1")
            }]),
            "Archive ends in the middle of 'a'.",
        ),
        (
            zip_of(&[ZipItem {
                size_change: 0u32.wrapping_sub(1),
                ..ZipItem::new("a", b"12")
            }]),
            "Entry 'a' contradicts the zip directory.",
        ),
        (overlapping, "Zip entries overlap."),
        (whole[..whole.len() - 30].to_vec(), "Archive ends early."),
        (whole[..20].to_vec(), "Not a zip file."),
        (b"not a zip file at all, just text".to_vec(), "Not a zip file."),
        (vec![], "Not a zip file."),
    ] {
        assert_eq!(refused(ArchiveKind::Zip, &archive, &UnpackOptions::default()), detail);
    }
}
