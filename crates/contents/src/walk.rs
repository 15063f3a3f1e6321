//! Walking a tree in byte order of names without following links, and what follows from it: how much a tree holds,
//! copying it, removing it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
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
    dir: BorrowedFd<'a>,
    name: &'a OsStr,
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

/// Copies the file or directory at `path` below `root` to `destination`, which must not exist: modes and times kept,
/// links copied as links, special files left out. Shares the bytes where the file system can.
///
/// Errors: [`Error::Link`] when the source itself is a link, [`Error::TooBig`] beyond `max_bytes`.
pub fn copy_tree(root: &Path, path: &SubPath, destination: &Path, max_bytes: Option<u64>) -> Result<Usage> {
    let found = beneath::find(root, path)?;
    let mut copy = Copy {
        destination,
        usage: Usage {
            bytes: found.stat.st_size as u64,
            entries: 1,
        },
        max_bytes,
    };
    match found.file_type() {
        FileType::RegularFile => {
            copy.usage.bytes = 0;
            copy.file(&File::from(found.open()?), &found.stat, destination)?;
        }
        FileType::Directory => {
            let start = found.open()?;
            make_directory(destination)?;
            walk(&start, false, &mut copy)?;
            set_times(destination, &found.stat)?;
            set_mode(destination, found.stat.st_mode | 0o700)?;
        }
        FileType::Symlink => return Err(Error::Link),
        _ => return Err(Error::Special),
    }
    Ok(copy.usage)
}

struct Copy<'a> {
    destination: &'a Path,
    usage: Usage,
    max_bytes: Option<u64>,
}

impl Copy<'_> {
    fn check_limit(&self) -> Result<()> {
        match self.max_bytes {
            Some(limit) if self.usage.bytes > limit => Err(Error::TooBig { limit }),
            _ => Ok(()),
        }
    }

    fn file(&mut self, source: &File, stat: &Stat, to: &Path) -> Result<()> {
        const STEP: u64 = 64 << 20;
        let failed = |source| Error::io(format!("copy to '{}'", to.display()), source);
        let mut target = File::create_new(to).map_err(failed)?;
        if rustix::fs::ioctl_ficlone(&target, source).is_ok() {
            self.usage.bytes += stat.st_size as u64;
            self.check_limit()?;
        } else {
            loop {
                let copied = std::io::copy(&mut source.take(STEP), &mut target).map_err(failed)?;
                self.usage.bytes += copied;
                self.check_limit()?;
                if copied < STEP {
                    break;
                }
            }
        }
        rustix::fs::futimens(&target, &times(stat)).map_err(|errno| failed(errno.into()))?;
        rustix::fs::fchmod(&target, Mode::from_raw_mode((stat.st_mode | 0o400) & 0o777))
            .map_err(|errno| failed(errno.into()))
    }
}

impl Visit for Copy<'_> {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Descend> {
        let to = self.destination.join(OsStr::from_bytes(entry.path));
        match entry.kind() {
            FileType::RegularFile => self.file(&entry.open_file()?, &entry.stat, &to)?,
            FileType::Directory => make_directory(&to)?,
            FileType::Symlink => {
                std::os::unix::fs::symlink(entry.link_text()?, &to)
                    .map_err(|source| Error::io(format!("make link '{}'", to.display()), source))?;
                set_times(&to, &entry.stat)?;
            }
            _ => return Ok(Descend::No),
        }
        self.usage.entries += 1;
        if entry.kind() != FileType::RegularFile {
            self.usage.bytes += entry.stat.st_size as u64;
        }
        Ok(Descend::Yes)
    }

    fn leave(&mut self, directory: &Entry<'_>) -> Result<()> {
        let to = self.destination.join(OsStr::from_bytes(directory.path));
        set_times(&to, &directory.stat)?;
        set_mode(&to, directory.stat.st_mode | 0o700)
    }
}

fn make_directory(path: &Path) -> Result<()> {
    std::fs::create_dir(path).map_err(|source| Error::io(format!("make directory '{}'", path.display()), source))
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode & 0o777), AtFlags::empty())
        .map_err(|errno| Error::io(format!("set mode of '{}'", path.display()), errno))
}

fn set_times(path: &Path, stat: &Stat) -> Result<()> {
    rustix::fs::utimensat(CWD, path, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Error::io(format!("set time of '{}'", path.display()), errno))
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as i64,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}

/// Removes a file, link or tree: never follows a link, never crosses into another file system, opens up read-only
/// directories. Nothing there is fine.
pub fn remove_tree(path: &Path) -> Result<()> {
    let found = match beneath::find(path, &SubPath::root()) {
        Err(Error::NotFound) => return Ok(()),
        other => other?,
    };
    if found.file_type() != FileType::Directory {
        return unlink(CWD, path.as_os_str(), AtFlags::empty());
    }
    // A directory without our permissions cannot be listed; failing is fine, opening reports it.
    let _ = set_mode(path, 0o700);
    walk(
        &found.open()?,
        true,
        &mut Remove {
            device: found.stat.st_dev,
        },
    )?;
    unlink(CWD, path.as_os_str(), AtFlags::REMOVEDIR)
}

struct Remove {
    device: u64,
}

impl Visit for Remove {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Descend> {
        if entry.stat.st_dev != self.device {
            return Err(Error::io(
                format!("remove '{}'", String::from_utf8_lossy(entry.path)),
                std::io::Error::other("another file system is mounted there"),
            ));
        }
        if entry.kind() == FileType::Directory {
            if entry.stat.st_mode & 0o700 != 0o700
                && let Ok(fd) = rustix::fs::openat(entry.dir, entry.name, OPEN_PATH, Mode::empty())
            {
                let through = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
                let _ = rustix::fs::chmodat(CWD, through.as_str(), Mode::RWXU, AtFlags::empty());
            }
            return Ok(Descend::Yes);
        }
        unlink(entry.dir, entry.name, AtFlags::empty())?;
        Ok(Descend::No)
    }

    fn leave(&mut self, directory: &Entry<'_>) -> Result<()> {
        unlink(directory.dir, directory.name, AtFlags::REMOVEDIR)
    }
}

const OPEN_PATH: OFlags = OFlags::PATH
    .union(OFlags::NOFOLLOW)
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

fn unlink(dir: impl AsFd, name: &OsStr, flags: AtFlags) -> Result<()> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::io(format!("remove '{}'", name.display()), errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

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

    #[test]
    fn a_very_deep_tree_is_walked_copied_and_removed() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        let deep = (0..100).fold(root.clone(), |path, level| path.join(format!("d{level}")));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("f"), "data").unwrap();
        std::fs::write(root.join("d0/z"), "data").unwrap();
        let usage = disk_usage(&root, &SubPath::root()).unwrap();
        assert_eq!(usage.entries, 103);
        let copy = temp.path().join("copy");
        let copied = copy_tree(&root, &SubPath::root(), &copy, None).unwrap();
        assert_eq!(copied.entries, 103);
        assert_eq!(disk_usage(&copy, &SubPath::root()).unwrap(), usage);
        remove_tree(&root).unwrap();
        assert!(!root.exists());
        remove_tree(&root).unwrap();
    }

    #[test]
    fn a_copy_keeps_modes_times_and_links() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(root.join("sub/run"), "#!").unwrap();
        std::fs::set_permissions(root.join("sub/run"), std::fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("/etc/passwd", root.join("sub/link")).unwrap();
        set_times(&root.join("sub/run"), &{
            let mut stat = beneath::stat_in(CWD, root.as_os_str()).unwrap();
            stat.st_mtime = 1_000_000_000;
            stat
        })
        .unwrap();
        let copy = temp.path().join("copy");
        copy_tree(&root, &SubPath::parse("sub").unwrap(), &copy, None).unwrap();
        let metadata = std::fs::metadata(copy.join("run")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o755);
        assert_eq!(std::os::unix::fs::MetadataExt::mtime(&metadata), 1_000_000_000);
        assert_eq!(std::fs::read_link(copy.join("link")).unwrap(), Path::new("/etc/passwd"));
        let link = SubPath::parse("sub/link").unwrap();
        assert!(matches!(
            copy_tree(&root, &link, &temp.path().join("x"), None),
            Err(Error::Link)
        ));
        let stopped = copy_tree(&root, &SubPath::root(), &temp.path().join("y"), Some(1));
        assert!(matches!(stopped, Err(Error::TooBig { limit: 1 })));
    }

    #[test]
    fn removing_opens_read_only_directories_and_follows_no_link() {
        let temp = tempfile::tempdir().unwrap();
        let kept = temp.path().join("kept");
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("f"), "1").unwrap();
        let root = temp.path().join("root");
        std::fs::create_dir_all(root.join("closed")).unwrap();
        std::fs::write(root.join("closed/f"), "1").unwrap();
        symlink(&kept, root.join("closed/link")).unwrap();
        std::fs::set_permissions(root.join("closed"), std::fs::Permissions::from_mode(0o500)).unwrap();
        remove_tree(&root).unwrap();
        assert!(!root.exists());
        assert!(kept.join("f").exists());
        symlink(&kept, temp.path().join("link")).unwrap();
        remove_tree(&temp.path().join("link")).unwrap();
        assert!(kept.join("f").exists());
    }
}
