//! Building a tree from the entries of an archive, through directory handles only: no name is ever resolved through a
//! link, so nothing outside the new directory can be touched whatever the entries say.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::input::explain;
use super::name::{components, is_absolute, normalise, quoted};
use super::{UnpackOptions, Unpacked};
use crate::beneath::{OPEN_DIR, open_in, stat_in};
use crate::stream::CHUNK;
use crate::{Error, Result};

/// Handles of directories kept open on the way to the current entry.
const OPEN_LEVELS: usize = 64;
/// Directories whose times wait for the end; beyond, times are set early and later entries may change them.
const WAITING_TIMES: usize = 16_384;
const MAX_LINK_TEXT: usize = 4095;
const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Permission bits and time of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    pub mode: u32,
    /// Seconds since the epoch and nanoseconds.
    pub mtime: (i64, u32),
}

impl Attributes {
    fn times(self) -> Timestamps {
        Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: self.mtime.0,
                tv_nsec: i64::from(self.mtime.1.min(999_999_999)) as _,
            },
        }
    }

    /// Setuid, setgid and sticky dropped, the bits in `kept` always there.
    fn mode(self, kept: u32) -> Mode {
        Mode::from_raw_mode((self.mode | kept) & 0o777)
    }
}

/// The bytes of a file: `length` bytes at each `offset`; everything else is zeros up to `size`.
pub struct Layout<'l> {
    pub size: u64,
    /// (offset, length); `None` for a file without holes.
    pub pieces: Option<&'l [(u64, u64)]>,
}

type Components = Vec<Vec<u8>>;

/// A tree under construction.
pub struct TreeBuilder<'o> {
    root: Rc<OwnedFd>,
    options: &'o UnpackOptions,
    /// The directories from the root to where the last entry was, with their names.
    open: Vec<(Vec<u8>, Rc<OwnedFd>)>,
    times: Vec<(Components, Attributes)>,
    unpacked: Unpacked,
    /// Entries seen, which also numbers them in messages.
    seen: u64,
    buffer: Vec<u8>,
}

impl<'o> TreeBuilder<'o> {
    /// Starts with a new directory.
    pub fn create(destination: &Path, options: &'o UnpackOptions) -> Result<Self> {
        let failed = |errno: Errno| Error::io(format!("make directory '{}'", destination.display()), errno);
        rustix::fs::mkdir(destination, Mode::from_raw_mode(0o755)).map_err(failed)?;
        let root = rustix::fs::open(destination, OPEN_DIR, Mode::empty()).map_err(failed)?;
        Ok(Self {
            root: Rc::new(root),
            options,
            open: Vec::new(),
            times: Vec::new(),
            unpacked: Unpacked {
                is_dir: true,
                ..Unpacked::default()
            },
            seen: 0,
            buffer: vec![0; CHUNK],
        })
    }

    /// Counts one more entry of the archive and gives its number, from 1.
    pub fn next_entry(&mut self) -> Result<u64> {
        self.seen += 1;
        let most = self.options.limits.max_entries;
        if most > 0 && self.seen > most {
            return Err(Error::Archive(format!("Archive has more than {most} entries.")));
        }
        Ok(self.seen)
    }

    pub fn skip(&mut self) {
        self.unpacked.skipped += 1;
    }

    /// A character or block device.
    pub fn device(&mut self, name: &[u8]) -> Result<()> {
        if self.options.skip_devices {
            self.skip();
            return Ok(());
        }
        Err(Error::Archive(format!("Entry {} is a device.", quoted(name))))
    }

    pub fn directory(&mut self, name: &[u8], attributes: Attributes) -> Result<()> {
        let path = self.components(name)?;
        let dir = self.descend(&path, name, true)?;
        rustix::fs::fchmod(&*dir, attributes.mode(0o700)).map_err(|errno| making(name, errno))?;
        if self.times.len() >= WAITING_TIMES {
            self.set_times()?;
        }
        self.times.push((path, attributes));
        Ok(())
    }

    /// A regular file; takes the bytes of its pieces from `content`.
    pub fn file(
        &mut self,
        name: &[u8],
        attributes: Attributes,
        layout: &Layout<'_>,
        content: &mut dyn Read,
    ) -> Result<()> {
        let (dir, last) = self.make_room(name)?;
        self.charge(layout.size)?;
        let fd = rustix::fs::openat(&*dir, OsStr::from_bytes(&last), NEW_FILE, Mode::from_raw_mode(0o600))
            .map_err(|errno| making(name, errno))?;
        let mut file = File::from(fd);
        match layout.pieces {
            None => self.copy(name, layout.size, content, &mut file)?,
            Some(pieces) => {
                for (offset, length) in pieces {
                    file.seek(SeekFrom::Start(*offset))
                        .map_err(|error| making(name, error))?;
                    self.copy(name, *length, content, &mut file)?;
                }
                file.set_len(layout.size).map_err(|error| making(name, error))?;
            }
        }
        rustix::fs::futimens(&file, &attributes.times()).map_err(|errno| making(name, errno))?;
        rustix::fs::fchmod(&file, attributes.mode(0o400)).map_err(|errno| making(name, errno))?;
        self.unpacked.entries += 1;
        Ok(())
    }

    pub fn symlink(&mut self, name: &[u8], text: &[u8], attributes: Attributes) -> Result<()> {
        if text.len() > MAX_LINK_TEXT {
            let detail = format!("Link target of {} is longer than {MAX_LINK_TEXT} bytes.", quoted(name));
            return Err(Error::Archive(detail));
        }
        if text.is_empty() || text.contains(&0) {
            return Err(Error::Archive(format!("Link target of {} is invalid.", quoted(name))));
        }
        let (dir, last) = self.make_room(name)?;
        self.charge(text.len() as u64)?;
        let last = OsStr::from_bytes(&last);
        rustix::fs::symlinkat(OsStr::from_bytes(text), &*dir, last).map_err(|errno| making(name, errno))?;
        rustix::fs::utimensat(&*dir, last, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| making(name, errno))?;
        self.unpacked.entries += 1;
        Ok(())
    }

    /// A further name of an earlier file of the same archive.
    pub fn hard_link(&mut self, name: &[u8], target: &[u8]) -> Result<()> {
        let outside = || Error::Archive(format!("Hard link {} points outside the archive.", quoted(name)));
        if is_absolute(target) || target.contains(&0) {
            return Err(outside());
        }
        let target_path = normalise(target).ok_or_else(outside)?;
        let no_file = || {
            let detail = format!(
                "Hard link {} points to {}, which is not an earlier file.",
                quoted(name),
                quoted(target)
            );
            Error::Archive(detail)
        };
        let Some((target_name, target_parents)) = target_path.split_last() else {
            return Err(no_file());
        };
        if self.components(name)? == target_path {
            return Err(no_file());
        }
        let target_dir = self.find_directory(target_parents).map_err(|_| no_file())?;
        let stat = stat_in(&target_dir, OsStr::from_bytes(target_name)).map_err(|_| no_file())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(no_file());
        }
        let (dir, last) = self.make_room(name)?;
        self.charge(stat.st_size as u64)?;
        let (from, to) = (OsStr::from_bytes(target_name), OsStr::from_bytes(&last));
        rustix::fs::linkat(&target_dir, from, &*dir, to, AtFlags::empty()).map_err(|errno| making(name, errno))?;
        self.unpacked.entries += 1;
        Ok(())
    }

    /// Sets the times of directories and ends.
    pub fn finish(mut self) -> Result<Unpacked> {
        self.set_times()?;
        Ok(self.unpacked)
    }

    fn components(&self, name: &[u8]) -> Result<Components> {
        components(name, self.seen, &self.options.limits)
    }

    /// Counts bytes before they are written.
    fn charge(&mut self, bytes: u64) -> Result<()> {
        self.unpacked.bytes = self.unpacked.bytes.saturating_add(bytes);
        match self.options.max_bytes {
            Some(limit) if self.unpacked.bytes > limit => Err(Error::TooBig { limit }),
            _ => Ok(()),
        }
    }

    /// Makes the directories above the entry and removes an earlier entry of its name, unless that is a directory.
    /// Gives the directory and the last component.
    fn make_room(&mut self, name: &[u8]) -> Result<(Rc<OwnedFd>, Vec<u8>)> {
        let mut path = self.components(name)?;
        let Some(last) = path.pop() else {
            return Err(Error::Archive(format!("Entry {} has an invalid name.", self.seen)));
        };
        let dir = self.descend(&path, name, false)?;
        let shown = OsStr::from_bytes(&last);
        match stat_in(&dir, shown) {
            Err(Error::NotFound) => {}
            Err(error) => return Err(error),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => return Err(two_kinds(name)),
            Ok(stat) => {
                rustix::fs::unlinkat(&dir, shown, AtFlags::empty()).map_err(|errno| making(name, errno))?;
                self.unpacked.bytes = self.unpacked.bytes.saturating_sub(stat.st_size as u64);
                self.unpacked.entries = self.unpacked.entries.saturating_sub(1);
            }
        }
        Ok((dir, last))
    }

    /// Opens the directory `path`, making what is missing, and keeps the way to it open. `itself`: `path` is the entry
    /// `name`, not the directory above it.
    fn descend(&mut self, path: &[Vec<u8>], name: &[u8], itself: bool) -> Result<Rc<OwnedFd>> {
        let common = self
            .open
            .iter()
            .zip(path)
            .take_while(|((open, _), wanted)| open == *wanted)
            .count();
        self.open.truncate(common);
        let mut dir = self.open.last().map_or(&self.root, |(_, dir)| dir).clone();
        for (depth, component) in path.iter().enumerate().skip(common) {
            let shown = OsStr::from_bytes(component);
            match rustix::fs::mkdirat(&*dir, shown, Mode::from_raw_mode(0o755)) {
                Ok(()) => self.unpacked.entries += 1,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(making(name, errno)),
            }
            dir = match open_in(&*dir, shown, OPEN_DIR) {
                Err(Error::Link | Error::NotADirectory) => {
                    let blocking = path[..=depth].join(&b'/');
                    let is_link = crate::beneath::read_link_in(&*dir, shown).is_ok();
                    return Err(if is_link && !(itself && depth + 1 == path.len()) {
                        let (name, link) = (quoted(name), quoted(&blocking));
                        Error::Archive(format!("Entry {name} lies below symbolic link {link}."))
                    } else {
                        two_kinds(&blocking)
                    });
                }
                other => Rc::new(other?),
            };
            if depth < OPEN_LEVELS {
                self.open.push((component.clone(), dir.clone()));
            }
        }
        Ok(dir)
    }

    /// Opens an existing directory without following links.
    fn find_directory(&self, path: &[Vec<u8>]) -> Result<OwnedFd> {
        let mut dir = self
            .root
            .try_clone()
            .map_err(|error| Error::io("open directory", error))?;
        for component in path {
            dir = open_in(&dir, OsStr::from_bytes(component), OPEN_DIR)?;
        }
        Ok(dir)
    }

    fn copy(&mut self, name: &[u8], size: u64, content: &mut dyn Read, file: &mut File) -> Result<()> {
        let mut left = size;
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = match content.read(&mut self.buffer[..want]) {
                Ok(0) => return Err(explain(std::io::ErrorKind::UnexpectedEof.into(), Some(name))),
                Ok(got) => got,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(explain(error, Some(name))),
            };
            file.write_all(&self.buffer[..got])
                .map_err(|error| making(name, error))?;
            left -= got as u64;
        }
        Ok(())
    }

    /// Sets the waiting times, deepest first.
    fn set_times(&mut self) -> Result<()> {
        let mut times = std::mem::take(&mut self.times);
        times.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        for (path, attributes) in times {
            let dir = self.find_directory(&path)?;
            rustix::fs::futimens(&dir, &attributes.times()).map_err(|errno| making(&path.join(&b'/'), errno))?;
        }
        Ok(())
    }
}

fn two_kinds(name: &[u8]) -> Error {
    let name = name.strip_suffix(b"/").unwrap_or(name);
    Error::Archive(format!("{} is both a directory and something else.", quoted(name)))
}

fn making(name: &[u8], error: impl Into<std::io::Error>) -> Error {
    Error::io(format!("write {}", quoted(name)), error)
}
