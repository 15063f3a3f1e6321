//! Removing files and trees.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::walk::{Descend, Entry, Visit, walk};
use crate::{Error, Result, SubPath, beneath};

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
    let _ = rustix::fs::chmodat(CWD, path, Mode::RWXU, AtFlags::empty());
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
                let through = format!("/proc/self/fd/{}", fd.as_raw_fd());
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
