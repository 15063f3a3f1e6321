//! Walking a tree in byte order of names without following links, and how much a tree holds.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Dir, FileType, Stat};
use rustix::io::Errno;

use crate::beneath::{self, OPEN_DIR, OPEN_FILE};
use crate::{Error, Result, SubPath};

/// How many directories of one path are held open; deeper ones are opened again when needed.
const OPEN_LEVELS: usize = 32;

/// What kind of thing an entry is.
pub type Kind = FileType;

/// One entry below the start of a walk.
pub struct Entry<'a> {
    /// Path from the start of the walk, components joined by `/`; empty for the start itself.
    pub path: &'a [u8],
    pub stat: Stat,
    pub(crate) dir: BorrowedFd<'a>,
    pub(crate) name: &'a OsStr,
}

impl Entry<'_> {
    pub fn kind(&self) -> Kind {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub fn name(&self) -> &OsStr {
        self.name
    }

    pub fn open_file(&self) -> Result<File> {
        beneath::open_in(self.dir, self.name, OPEN_FILE).map(File::from)
    }

    pub fn link_text(&self) -> Result<OsString> {
        beneath::read_link_in(self.dir, self.name)
    }
}

/// What a visitor says about a directory it has just seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descend {
    Yes,
    No,
}

/// Sees every entry below the start of a walk: parents before children, siblings in byte order of names.
pub trait Visit {
    /// An entry; the answer matters for directories only.
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Descend>;

    /// A directory that was descended into, after all it holds.
    fn leave(&mut self, _directory: &Entry<'_>) -> Result<()> {
        Ok(())
    }
}

struct Level {
    fd: Option<OwnedFd>,
    names: std::vec::IntoIter<OsString>,
    /// Length of the path of this directory.
    path_len: usize,
    /// Of this directory; `None` for the start.
    stat: Option<Stat>,
    name: OsString,
}

/// Walks everything below `start`, which is not visited itself. `live`: the tree may change meanwhile, so entries that
/// vanish are passed over.
pub fn walk(start: &OwnedFd, live: bool, visitor: &mut dyn Visit) -> Result<()> {
    let mut path: Vec<u8> = Vec::new();
    let mut levels = vec![Level {
        names: sorted_names(start)?,
        fd: Some(
            start
                .try_clone()
                .map_err(|source| Error::io("open directory", source))?,
        ),
        path_len: 0,
        stat: None,
        name: OsString::new(),
    }];
    while let Some(level) = levels.last_mut() {
        path.truncate(level.path_len);
        let Some(name) = level.names.next() else {
            leave(start, &mut levels, &path, visitor)?;
            continue;
        };
        reopen(start, level, &path)?;
        let Some(dir) = &level.fd else { continue };
        let stat = match beneath::stat_in(dir, &name) {
            Err(Error::NotFound) if live => continue,
            other => other?,
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        let entry = Entry {
            path: &path,
            stat,
            dir: dir.as_fd(),
            name: &name,
        };
        if visitor.entry(&entry)? == Descend::No || entry.kind() != FileType::Directory {
            continue;
        }
        let fd = match beneath::open_in(dir, &name, OPEN_DIR) {
            Err(Error::NotFound | Error::NotADirectory | Error::Link) if live => continue,
            other => other?,
        };
        let names = sorted_names(&fd)?;
        levels.push(Level {
            fd: Some(fd),
            names,
            path_len: path.len(),
            stat: Some(stat),
            name,
        });
        let open = levels.len();
        // The start's handle (level 0) stays; the others beyond the window are opened again on the way back.
        if open > OPEN_LEVELS + 1 {
            levels[open - OPEN_LEVELS].fd = None;
        }
    }
    Ok(())
}

fn leave(start: &OwnedFd, levels: &mut Vec<Level>, path: &[u8], visitor: &mut dyn Visit) -> Result<()> {
    let Some(done) = levels.pop() else { return Ok(()) };
    let (Some(parent), Some(stat)) = (levels.last_mut(), done.stat) else {
        return Ok(());
    };
    reopen(start, parent, &path[..parent.path_len])?;
    let Some(dir) = &parent.fd else { return Ok(()) };
    visitor.leave(&Entry {
        path,
        stat,
        dir: dir.as_fd(),
        name: &done.name,
    })
}

fn reopen(start: &OwnedFd, level: &mut Level, path: &[u8]) -> Result<()> {
    if level.fd.is_some() {
        return Ok(());
    }
    let mut dir = start
        .try_clone()
        .map_err(|source| Error::io("open directory", source))?;
    for component in path[..level.path_len].split(|byte| *byte == b'/') {
        dir = beneath::open_in(&dir, OsStr::from_bytes(component), OPEN_DIR)?;
    }
    level.fd = Some(dir);
    Ok(())
}

/// The names in a directory, without `.` and `..`, in byte order.
pub fn sorted_names(dir: &OwnedFd) -> Result<std::vec::IntoIter<OsString>> {
    let mut names = Vec::new();
    let failed = |errno: Errno| Error::io("read directory", errno);
    for entry in Dir::read_from(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => names.push(OsStr::from_bytes(name).to_owned()),
        }
    }
    names.sort_unstable();
    Ok(names.into_iter())
}

/// How much a file or tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sum of the `lstat` sizes of files, links and directories, the root included.
    pub bytes: u64,
    /// Entries, the root included.
    pub entries: u64,
}

impl Visit for Usage {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Descend> {
        self.entries += 1;
        if matches!(
            entry.kind(),
            FileType::RegularFile | FileType::Directory | FileType::Symlink
        ) {
            self.bytes += entry.stat.st_size as u64;
        }
        Ok(Descend::Yes)
    }
}

/// The size of the file, link or tree at `path` below `root`. Entries that vanish meanwhile do not count.
pub fn disk_usage(root: &Path, path: &SubPath) -> Result<Usage> {
    let found = beneath::find(root, path)?;
    let mut usage = Usage {
        bytes: found.stat.st_size as u64,
        entries: 1,
    };
    if found.file_type() == FileType::Directory {
        walk(&found.open()?, true, &mut usage)?;
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Paths(Vec<String>);

    impl Visit for Paths {
        fn entry(&mut self, entry: &Entry<'_>) -> Result<Descend> {
            self.0.push(String::from_utf8_lossy(entry.path).into_owned());
            Ok(if entry.name() == "closed" {
                Descend::No
            } else {
                Descend::Yes
            })
        }

        fn leave(&mut self, directory: &Entry<'_>) -> Result<()> {
            self.0.push(format!("</{}>", String::from_utf8_lossy(directory.path)));
            Ok(())
        }
    }

    #[test]
    fn a_walk_goes_in_byte_order_and_through_no_link() {
        let temp = tempfile::tempdir().unwrap();
        for directory in ["b/deep", "closed/x"] {
            std::fs::create_dir_all(temp.path().join(directory)).unwrap();
        }
        for file in ["B", "a", "b/deep/f", "b/a"] {
            std::fs::write(temp.path().join(file), "1").unwrap();
        }
        symlink("b", temp.path().join("link")).unwrap();
        let start = beneath::open_dir(temp.path(), &SubPath::root()).unwrap();
        let mut paths = Paths(Vec::new());
        walk(&start, false, &mut paths).unwrap();
        let expected = [
            "B",
            "a",
            "b",
            "b/a",
            "b/deep",
            "b/deep/f",
            "</b/deep>",
            "</b>",
            "closed",
            "link",
        ];
        assert_eq!(paths.0, expected);
    }
}
