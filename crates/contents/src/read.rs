//! Reading one file of a tree: whole, or a range of its bytes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use domain::target_info::TargetType;
use rustix::fs::{FileType, Stat};

use crate::gzip::gzip_to;
use crate::stream::{self, ByteStream, CHUNK};
use crate::{Error, Result, SubPath, beneath};

pub(crate) fn target_type(kind: FileType) -> TargetType {
    match kind {
        FileType::RegularFile => TargetType::File,
        FileType::Directory => TargetType::Directory,
        FileType::Symlink => TargetType::Link,
        _ => TargetType::Other,
    }
}

/// What is at `path` below `root`, without following a link there, and its `lstat` size in bytes.
pub fn kind(root: &Path, path: &SubPath) -> Result<(TargetType, u64)> {
    let found = beneath::find(root, path)?;
    Ok((target_type(found.file_type()), found.stat.st_size as u64))
}

/// What is at a path, and of a regular file its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    File {
        /// At most as many as were asked for.
        bytes: Vec<u8>,
        /// Of the whole file.
        size: u64,
        /// As [`FileBlob::version`].
        version: String,
    },
    Directory,
    /// A link or a special file.
    Other,
}

/// The first `limit` bytes of what is at `path` below `root`; only [`Error::NotFound`] and failures of the disk are errors.
pub fn beginning(root: &Path, path: &SubPath, limit: u64) -> Result<Beginning> {
    match open_file(root, path) {
        Ok(mut blob) => Ok(Beginning::File {
            bytes: blob.read_range(0, limit)?,
            size: blob.size,
            version: blob.version,
        }),
        Err(Error::IsDirectory) => Ok(Beginning::Directory),
        Err(Error::Link | Error::Special) => Ok(Beginning::Other),
        Err(error) => Err(error),
    }
}

/// The version of the regular file at `path` below `root`, as [`FileBlob::version`], without opening it; none for anything
/// else.
pub fn version(root: &Path, path: &SubPath) -> Result<Option<String>> {
    let found = beneath::find(root, path)?;
    let is_file = found.file_type() == FileType::RegularFile;
    Ok(is_file.then(|| version_of(&found.stat)))
}

fn version_of(stat: &Stat) -> String {
    format!(
        "{:x}-{:x}-{:x}",
        stat.st_size,
        i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
        stat.st_ino
    )
}

/// Opens the regular file at `path` below `root`.
///
/// Errors: [`Error::NotFound`], [`Error::IsDirectory`], [`Error::Link`] when the last component is a link,
/// [`Error::Special`] for FIFOs, sockets and devices.
pub fn open_file(root: &Path, path: &SubPath) -> Result<FileBlob> {
    let (file, stat) = beneath::open_file(root, path)?;
    Ok(FileBlob {
        file,
        size: stat.st_size as u64,
        version: version_of(&stat),
    })
}

/// An open file and the size it had when it was opened; reads end there, also when it grows.
#[derive(Debug)]
pub struct FileBlob {
    file: File,
    size: u64,
    version: String,
}

impl FileBlob {
    /// Bytes at the time of opening.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size, time of modification and inode in one word: another word for another file, and for a file that was written
    /// to meanwhile.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn into_file(self) -> File {
        self.file
    }

    /// All bytes, in order.
    pub fn stream(self) -> ByteStream {
        let size = self.size;
        self.range_stream(0, size)
    }

    /// `length` bytes from `offset`; fewer, or none, at the end of the file.
    pub fn range_stream(mut self, offset: u64, length: u64) -> ByteStream {
        stream::produce(move |out| self.copy_range(offset, length, out))
    }

    /// All bytes as one gzip member.
    pub fn gzip_stream(self) -> ByteStream {
        let size = self.size;
        self.range_gzip_stream(0, size)
    }

    /// [`FileBlob::range_stream`] as one gzip member, also when there are no bytes.
    pub fn range_gzip_stream(mut self, offset: u64, length: u64) -> ByteStream {
        stream::produce(move |out| gzip_to(out, |encoder| self.copy_range(offset, length, encoder)))
    }

    /// As [`FileBlob::range_stream`], blocking, into memory: keep `length` small.
    pub fn read_range(&mut self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.copy_range(offset, length, &mut bytes)?;
        Ok(bytes)
    }

    fn copy_range(&mut self, offset: u64, length: u64, out: &mut dyn Write) -> Result<()> {
        let failed = |source| Error::io("read file", source);
        let mut left = self.size.saturating_sub(offset).min(length);
        if left == 0 {
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut buffer = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = self.file.read(&mut buffer[..want]).map_err(failed)?;
            if got == 0 {
                break;
            }
            out.write_all(&buffer[..got])
                .map_err(|source| Error::io("send file", source))?;
            left -= got as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_short_or_empty_at_the_end() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("f"), "0123456789").unwrap();
        for (offset, length, expected) in [
            (0, 10, "0123456789"),
            (0, 100, "0123456789"),
            (3, 4, "3456"),
            (8, 5, "89"),
            (10, 1, ""),
            (u64::MAX, 1, ""),
            (5, 0, ""),
            (0, u64::MAX, "0123456789"),
        ] {
            let mut blob = open_file(temp.path(), &SubPath::parse("f").unwrap()).unwrap();
            assert_eq!(
                blob.read_range(offset, length).unwrap(),
                expected.as_bytes(),
                "{offset}+{length}"
            );
        }
    }

    #[test]
    fn beginnings_and_versions_tell_what_is_there() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("f"), "0123456789").unwrap();
        std::fs::create_dir(temp.path().join("d")).unwrap();
        std::os::unix::fs::symlink("f", temp.path().join("l")).unwrap();
        let at = |path: &str| SubPath::parse(path).unwrap();
        let known = version(temp.path(), &at("f")).unwrap().unwrap();
        for (limit, expected) in [(0, ""), (3, "012"), (99, "0123456789")] {
            let expected = Beginning::File {
                bytes: expected.into(),
                size: 10,
                version: known.clone(),
            };
            assert_eq!(beginning(temp.path(), &at("f"), limit).unwrap(), expected);
        }
        assert_eq!(open_file(temp.path(), &at("f")).unwrap().version(), known);
        for (path, expected) in [("d", Beginning::Directory), ("l", Beginning::Other)] {
            assert_eq!(beginning(temp.path(), &at(path), 9).unwrap(), expected);
            assert_eq!(version(temp.path(), &at(path)).unwrap(), None);
        }
        assert!(matches!(beginning(temp.path(), &at("x"), 9), Err(Error::NotFound)));
        assert!(matches!(version(temp.path(), &at("f/x")), Err(Error::NotFound)));
        std::fs::write(temp.path().join("f"), "another").unwrap();
        assert_ne!(version(temp.path(), &at("f")).unwrap().unwrap(), known);
    }

    #[test]
    fn a_file_can_be_the_root() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("f");
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(open_file(&file, &SubPath::root()).unwrap().size(), 3);
        assert_eq!(kind(&file, &SubPath::root()).unwrap(), (TargetType::File, 3));
        assert!(matches!(
            open_file(&file, &SubPath::parse("x").unwrap()),
            Err(Error::NotFound)
        ));
    }
}
