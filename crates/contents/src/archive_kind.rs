//! Which file names are archives. Only the name decides, never the bytes.

/// An archive that is unpacked on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    Tar,
    TarGz,
    TarBz2,
    Zip,
    /// One compressed file.
    Gz,
    /// One compressed file.
    Bz2,
}

/// Tested in this order; the first suffix that fits wins.
const SUFFIXES: [(&str, ArchiveKind); 6] = [
    (".tar.gz", ArchiveKind::TarGz),
    (".tgz", ArchiveKind::TarGz),
    (".tar.bz2", ArchiveKind::TarBz2),
    (".zip", ArchiveKind::Zip),
    (".gz", ArchiveKind::Gz),
    (".bz2", ArchiveKind::Bz2),
];

impl ArchiveKind {
    /// The kind that a file name announces, case-sensitively; `.tar`, `.xz`, `.TGZ` and the rest are ordinary files
    /// (a plain [`ArchiveKind::Tar`] is therefore never announced by a name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::split_name(name).map(|(_, kind)| kind)
    }

    /// The name without its archive suffix, and the kind: `a.b.tar.gz` gives (`a.b`, tar.gz).
    pub fn split_name(name: &str) -> Option<(&str, Self)> {
        SUFFIXES
            .iter()
            .find_map(|(suffix, kind)| name.strip_suffix(suffix).map(|stem| (stem, *kind)))
    }

    /// True when unpacking gives a directory, false when it gives one file.
    pub fn is_directory(self) -> bool {
        !matches!(self, Self::Gz | Self::Bz2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_suffix_decides() {
        let cases = [
            ("x.tar.gz", Some(("x", ArchiveKind::TarGz))),
            ("x.tgz", Some(("x", ArchiveKind::TarGz))),
            ("x.tar.bz2", Some(("x", ArchiveKind::TarBz2))),
            ("x.zip", Some(("x", ArchiveKind::Zip))),
            ("log.1.gz", Some(("log.1", ArchiveKind::Gz))),
            ("log.bz2", Some(("log", ArchiveKind::Bz2))),
            (".gz", Some(("", ArchiveKind::Gz))),
            ("x.tar", None),
            ("x.TGZ", None),
            ("x.xz", None),
            ("x.tar.xz", None),
            ("tar.gz.txt", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(ArchiveKind::split_name(name), expected, "{name}");
        }
    }
}
