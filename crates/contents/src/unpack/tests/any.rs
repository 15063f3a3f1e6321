//! Properties that hold for any bytes at all.

use proptest::prelude::*;

use super::*;

/// Whatever lies in the tree is a file, a directory or a link.
fn assert_harmless(path: &Path) {
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        assert!(kind.is_file() || kind.is_dir() || kind.is_symlink());
        if kind.is_dir() {
            assert_harmless(&entry.path());
        }
    }
}

fn any_item() -> impl Strategy<Value = Item> {
    let name = prop::sample::select(vec![
        "a", "b", "a/b", "../c", "/d", ".", "", "a/../b", "a/b/c", "b/", "e\u{1}",
    ]);
    let kind = prop::sample::select(b"0123456LKxgSZ".to_vec());
    let data = prop::collection::vec(any::<u8>(), 0..700);
    (name.clone(), kind, name, data, any::<u16>()).prop_map(|(name, kind, link, data, mode)| Item {
        data,
        link: link.into(),
        mode: mode.into(),
        ..item(name, kind)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn any_archive_fails_or_leaves_a_harmless_tree_that_packs_again(
        items in prop::collection::vec(any_item(), 0..8),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut archive = tar_of(&items);
        for (at, value) in flips {
            let at = at.index(archive.len());
            archive[at] = value;
        }
        let bench = bench();
        let options = UnpackOptions { max_bytes: Some(1 << 20), ..UnpackOptions::default() };
        if bench.unpack_with(ArchiveKind::Tar, &archive, &options).is_err() {
            prop_assert_eq!(bench.leftovers(), 0);
        } else {
            assert_harmless(&bench.destination);
            let mut again = Vec::new();
            pack_tree(&bench.destination, &SubPath::root(), &PackOptions::default(), &mut again).unwrap();
            super::bench().unpack(ArchiveKind::TarGz, &again).unwrap();
        }
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        at in any::<prop::sample::Index>(),
    ) {
        let mut zip = zip_of(&[ZipItem::new("a", b"hello"), ZipItem::new("b/c", b"world")]);
        for (offset, byte) in bytes.iter().take(3).enumerate() {
            let at = (at.index(zip.len()) + offset * 7) % zip.len();
            zip[at] = *byte;
        }
        let bench = bench();
        let options = UnpackOptions { max_bytes: Some(1 << 20), ..UnpackOptions::default() };
        if bench.unpack_with(ArchiveKind::Zip, &zip, &options).is_err() {
            prop_assert_eq!(bench.leftovers(), 0);
        }
        for kind in [ArchiveKind::Zip, ArchiveKind::Tar, ArchiveKind::TarGz, ArchiveKind::Bz2] {
            prop_assert!(super::bench().unpack(kind, &bytes).is_err());
        }
    }
}
