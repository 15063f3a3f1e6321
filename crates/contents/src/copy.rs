//! Copying files and trees.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Stat, Timespec, Timestamps, UTIME_OMIT};

use crate::walk::{Descend, Entry, Visit, walk};
use crate::{Error, Result, SubPath, Usage, beneath};

/// Copies the file or directory at `path` below `root` to `destination`, which must not exist: modes and times kept,
/// links copied as links, special files left out. Shares the bytes where the file system can.
///
/// `check` hears again and again how many bytes were copied so far, and may end the copy with an error. Errors also:
/// [`Error::Link`] when the source itself is a link.
pub fn copy_tree(
    root: &Path,
    path: &SubPath,
    destination: &Path,
    check: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Usage> {
    let found = beneath::find(root, path)?;
    let mut copy = Copy {
        destination,
        usage: Usage {
            bytes: found.stat.st_size as u64,
            entries: 1,
        },
        check,
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
    check: &'a mut dyn FnMut(u64) -> Result<()>,
}

impl Copy<'_> {
    fn file(&mut self, source: &File, stat: &Stat, to: &Path) -> Result<()> {
        const STEP: u64 = 64 << 20;
        let failed = |source| Error::io(format!("copy to '{}'", to.display()), source);
        let mut target = File::create_new(to).map_err(failed)?;
        if rustix::fs::ioctl_ficlone(&target, source).is_ok() {
            self.usage.bytes += stat.st_size as u64;
            (self.check)(self.usage.bytes)?;
        } else {
            loop {
                let copied = std::io::copy(&mut source.take(STEP), &mut target).map_err(failed)?;
                self.usage.bytes += copied;
                (self.check)(self.usage.bytes)?;
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
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{disk_usage, remove_tree};
    use std::os::unix::fs::{PermissionsExt, symlink};

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
        let copied = copy_tree(&root, &SubPath::root(), &copy, &mut |_| Ok(())).unwrap();
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
        copy_tree(&root, &SubPath::parse("sub").unwrap(), &copy, &mut |_| Ok(())).unwrap();
        let metadata = std::fs::metadata(copy.join("run")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o755);
        assert_eq!(std::os::unix::fs::MetadataExt::mtime(&metadata), 1_000_000_000);
        assert_eq!(std::fs::read_link(copy.join("link")).unwrap(), Path::new("/etc/passwd"));
        let link = SubPath::parse("sub/link").unwrap();
        assert!(matches!(
            copy_tree(&root, &link, &temp.path().join("x"), &mut |_| Ok(())),
            Err(Error::Link)
        ));
        let mut check = |bytes| {
            if bytes > 1 {
                Err(Error::TooBig { limit: 1 })
            } else {
                Ok(())
            }
        };
        let stopped = copy_tree(&root, &SubPath::root(), &temp.path().join("y"), &mut check);
        assert!(matches!(stopped, Err(Error::TooBig { limit: 1 })));
    }
}
