//! Opening things below a root without ever leaving it. Paths are walked one component at a time from a directory
//! handle, so neither `..` nor a symbolic link (also one swapped in meanwhile) can lead outside.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::{Error, Result, SubPath};

const MAX_LINKS: usize = 40;
const MAX_DEPTH: usize = 1024;
pub const OPEN_DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);
pub const OPEN_FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Something found below a root: its attributes and the directory that holds it.
pub struct Found {
    /// Holds the entry; `CWD`-relative for the root itself.
    place: Place,
    pub stat: Stat,
}

enum Place {
    In(OwnedFd, OsString),
    Root(OsString),
}

/// Finds `path` below `root`. Links on the way are followed as long as every step stays inside; the last component is
/// never followed, so a link is found as a link. The root itself is not followed either.
pub fn find(root: &Path, path: &SubPath) -> Result<Found> {
    let Some(name) = path.file_name() else {
        let name = root.as_os_str().to_owned();
        let stat = stat_in(CWD, &name)?;
        return Ok(Found {
            place: Place::Root(name),
            stat,
        });
    };
    let parent = open_parent(root, path)?;
    let stat = stat_in(&parent, name)?;
    Ok(Found {
        place: Place::In(parent, name.to_owned()),
        stat,
    })
}

impl Found {
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens the file or directory; refuses links and special files, also when one has replaced what was found.
    pub fn open(&self) -> Result<OwnedFd> {
        let flags = match self.file_type() {
            FileType::RegularFile => OPEN_FILE,
            FileType::Directory => OPEN_DIR,
            FileType::Symlink => return Err(Error::Link),
            _ => return Err(Error::Special),
        };
        match &self.place {
            Place::In(dir, name) => open_in(dir, name, flags),
            Place::Root(name) => open_in(CWD, name, flags),
        }
    }

    pub fn link_text(&self) -> Result<OsString> {
        match &self.place {
            Place::In(dir, name) => read_link_in(dir, name),
            Place::Root(name) => read_link_in(CWD, name),
        }
    }
}

/// Opens the regular file at `path` below `root`.
pub fn open_file(root: &Path, path: &SubPath) -> Result<(File, Stat)> {
    let found = find(root, path)?;
    if found.file_type() == FileType::Directory {
        return Err(Error::IsDirectory);
    }
    let fd = found.open()?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| Error::io("stat", errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::Special);
    }
    Ok((File::from(fd), stat))
}

/// Opens the directory at `path` below `root`.
pub fn open_dir(root: &Path, path: &SubPath) -> Result<OwnedFd> {
    let found = find(root, path)?;
    match found.file_type() {
        FileType::Directory => found.open(),
        FileType::Symlink => Err(Error::Link),
        _ => Err(Error::NotADirectory),
    }
}

pub fn open_in(dir: impl AsFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd> {
    openat(dir, name, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => Error::NotFound,
        Errno::LOOP => Error::Link,
        Errno::NOTDIR => Error::NotADirectory,
        Errno::NXIO => Error::Special,
        other => Error::io(format!("open {}", name.display()), other),
    })
}

pub fn stat_in(dir: impl AsFd, name: &OsStr) -> Result<Stat> {
    statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => Error::NotFound,
        other => Error::io(format!("stat {}", name.display()), other),
    })
}

pub fn read_link_in(dir: impl AsFd, name: &OsStr) -> Result<OsString> {
    let text = readlinkat(dir, name, Vec::new()).map_err(|errno| match errno {
        Errno::NOENT | Errno::INVAL => Error::NotFound,
        other => Error::io(format!("read link {}", name.display()), other),
    })?;
    Ok(OsString::from_vec(text.into_bytes()))
}

/// The directory that holds the last component of `path`, following links inside the root only.
fn open_parent(root: &Path, path: &SubPath) -> Result<OwnedFd> {
    let mut walk = vec![open_in(CWD, root.as_os_str(), OPEN_DIR).map_err(missing)?];
    let mut todo: VecDeque<OsString> = path.components().map(OsStr::to_owned).collect();
    todo.pop_back();
    let mut links = 0;
    while let Some(component) = todo.pop_front() {
        match component.as_bytes() {
            b"" | b"." => continue,
            b".." => {
                walk.pop();
                if walk.is_empty() {
                    return Err(Error::NotFound);
                }
                continue;
            }
            _ => {}
        }
        let here = walk.last().ok_or(Error::NotFound)?;
        match open_in(here, &component, OPEN_DIR) {
            Ok(next) if walk.len() < MAX_DEPTH => walk.push(next),
            Ok(_) => return Err(Error::NotFound),
            Err(Error::Link | Error::NotADirectory) => {
                links += 1;
                let text = read_link_in(here, &component)?;
                if links > MAX_LINKS || text.as_bytes().starts_with(b"/") {
                    return Err(Error::NotFound);
                }
                for part in text.as_bytes().split(|byte| *byte == b'/').rev() {
                    todo.push_front(OsStr::from_bytes(part).to_owned());
                }
            }
            Err(error) => return Err(error),
        }
    }
    walk.pop().ok_or(Error::NotFound)
}

fn missing(error: Error) -> Error {
    match error {
        Error::Link | Error::NotADirectory => Error::NotFound,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_inside_and_never_outside() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("secret"), "s").unwrap();
        let root = temp.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/f"), "hello").unwrap();
        for (target, link) in [
            ("a", "inside"),
            ("../a/b", "a/up"),
            ("/etc", "absolute"),
            ("..", "outside"),
            ("../root/a", "back"),
            ("loop2", "loop1"),
            ("loop1", "loop2"),
            ("a/b/f", "file"),
            ("a/missing", "dangling"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let open = |path: &str| -> Result<String> {
            let (mut file, _) = open_file(&root, &SubPath::parse(path)?)?;
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            Ok(text)
        };
        for path in ["a/b/f", "inside/b/f", "a/up/f", "inside/up/f"] {
            assert_eq!(open(path).unwrap(), "hello", "{path}");
        }
        for path in [
            "absolute/passwd",
            "outside/secret",
            "back/b/f",
            "loop1/x",
            "dangling/x",
            "file/x",
            "a/b/f/x",
            "nothing",
            "nothing/x",
        ] {
            assert!(matches!(open(path), Err(Error::NotFound)), "{path}: {:?}", open(path));
        }
        for path in ["absolute", "file", "dangling", "loop1"] {
            assert!(matches!(open(path), Err(Error::Link)), "{path}");
        }
        for path in ["", "a", "inside/b"] {
            assert!(matches!(open(path), Err(Error::IsDirectory)), "{path}");
        }
    }

    #[test]
    fn special_files_are_never_opened() {
        let temp = tempfile::tempdir().unwrap();
        let fifo = temp.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let path = SubPath::parse("fifo").unwrap();
        assert!(matches!(open_file(temp.path(), &path), Err(Error::Special)));
    }
}
