//! Packing directories into tar archives, with nothing but the tree's own entries: parents before children, siblings in
//! byte order, links as links.

mod tar_writer;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Stat, statat};

use crate::beneath;
use crate::gzip::gzip_to;
use crate::stream::{self, ByteStream};
use crate::walk::{Descend, Entry, Visit, walk};
use crate::{Error, Excludes, Result, SubPath};
use tar_writer::TarWriter;

/// How a tree is packed.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// Gzip the tar.
    pub gzip: bool,
    /// Left out at any depth.
    pub excludes: Excludes,
    /// Left out exactly, relative to the packed directory.
    pub skip: Vec<SubPath>,
    /// Files of this name add patterns for the directory they are in and what is below it.
    pub ignore_file: Option<OsString>,
    /// Store what links point to instead of the links.
    pub dereference: bool,
    /// The tree may change meanwhile: pass over what vanishes, fill up with zeros what shrinks.
    pub live: bool,
}

impl Default for PackOptions {
    /// Everything in the tree, gzipped.
    fn default() -> Self {
        Self {
            gzip: true,
            excludes: Excludes::default(),
            skip: Vec::new(),
            ignore_file: None,
            dereference: false,
            live: false,
        }
    }
}

/// Packs the directory at `path` below `root`: the entry `./`, then its children as `./a`, `./sub/`, `./sub/b`.
/// Special files are left out, hard links become files of their own.
///
/// Errors: [`Error::NotADirectory`] and [`Error::Link`] besides those of reading and writing.
pub fn pack_tree(root: &Path, path: &SubPath, options: &PackOptions, out: &mut dyn Write) -> Result<()> {
    let start = beneath::open_dir(root, path)?;
    archive(options, out, |tar| {
        let stat = rustix::fs::fstat(&start).map_err(|errno| Error::io("stat", errno))?;
        tar.entry(b"./", &stat, b"")?;
        let real = root.join(OsStr::from_bytes(&path.as_bytes()));
        Packer::new(tar, options, false).directory(&start, b".", &real)
    })
}

/// Packs several files and directories side by side under their base names. Excludes match base names only. A path
/// that is itself a link is an error unless links are stored as what they point to.
pub fn pack_paths(paths: &[PathBuf], options: &PackOptions, out: &mut dyn Write) -> Result<()> {
    archive(options, out, |tar| {
        for path in paths {
            let mut packer = Packer::new(tar, options, true);
            let name = path
                .file_name()
                .ok_or_else(|| Error::Usage(format!("{} has no name", path.display())))?;
            if !options.excludes.matches_name(name.as_bytes()) {
                packer.top(name.as_bytes(), path)?;
            }
        }
        Ok(())
    })
}

/// [`pack_tree`] on the blocking pool, as a stream.
pub fn pack_tree_stream(root: PathBuf, path: SubPath, options: PackOptions) -> ByteStream {
    stream::produce(move |out| pack_tree(&root, &path, &options, out))
}

/// [`pack_paths`] on the blocking pool, as a stream.
pub fn pack_paths_stream(paths: Vec<PathBuf>, options: PackOptions) -> ByteStream {
    stream::produce(move |out| pack_paths(&paths, &options, out))
}

fn archive(
    options: &PackOptions,
    out: &mut dyn Write,
    work: impl FnOnce(&mut TarWriter<'_>) -> Result<()>,
) -> Result<()> {
    let write = |out: &mut dyn Write| {
        let mut tar = TarWriter::new(out, options.live);
        work(&mut tar)?;
        tar.finish()
    };
    if options.gzip { gzip_to(out, write) } else { write(out) }
}

struct Packer<'a, 'w> {
    tar: &'a mut TarWriter<'w>,
    options: &'a PackOptions,
    /// Match excludes by base name instead of by path.
    by_name: bool,
    /// Name in the archive of the directory being walked, and where it really is.
    prefix: Vec<u8>,
    real: PathBuf,
    /// Patterns from ignore files, with the directory (path below the walk's start) they hold for.
    ignores: Vec<(Vec<u8>, Excludes)>,
    /// Device and inode of the directories above, to refuse loops of links.
    above: Vec<(u64, u64)>,
}

impl<'a, 'w> Packer<'a, 'w> {
    fn new(tar: &'a mut TarWriter<'w>, options: &'a PackOptions, by_name: bool) -> Self {
        Self {
            tar,
            options,
            by_name,
            prefix: Vec::new(),
            real: PathBuf::new(),
            ignores: Vec::new(),
            above: Vec::new(),
        }
    }

    /// Packs everything below `start`, which is the directory `real`, under the name `prefix`.
    fn directory(&mut self, start: &OwnedFd, prefix: &[u8], real: &Path) -> Result<()> {
        let stat = rustix::fs::fstat(start).map_err(|errno| Error::io("stat", errno))?;
        let identity = (stat.st_dev as u64, stat.st_ino as u64);
        if self.above.contains(&identity) {
            return Err(Error::Usage(format!(
                "{} is a link to a directory that contains it",
                real.display()
            )));
        }
        self.above.push(identity);
        let outer_prefix = std::mem::replace(&mut self.prefix, prefix.to_vec());
        let outer_real = std::mem::replace(&mut self.real, real.to_owned());
        let outer_ignores = std::mem::take(&mut self.ignores);
        self.read_ignore_file(b"", real)?;
        walk(start, self.options.live, self)?;
        (self.prefix, self.real, self.ignores) = (outer_prefix, outer_real, outer_ignores);
        self.above.pop();
        Ok(())
    }

    /// A path given by the user.
    fn top(&mut self, name: &[u8], path: &Path) -> Result<()> {
        let flags = if self.options.dereference {
            AtFlags::empty()
        } else {
            AtFlags::SYMLINK_NOFOLLOW
        };
        let stat = statat(CWD, path, flags).map_err(|errno| Error::io(path.display().to_string(), errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => Err(Error::Usage("Not following symlinks.".to_owned())),
            FileType::RegularFile => {
                let file = std::fs::File::open(path).map_err(|e| Error::io(path.display().to_string(), e))?;
                self.tar.file(name, &stat, file)
            }
            FileType::Directory => {
                self.tar.entry(&[name, b"/"].concat(), &stat, b"")?;
                self.directory(&real_directory(path)?, name, path)
            }
            _ => Ok(()),
        }
    }

    fn is_excluded(&self, path: &[u8]) -> bool {
        let by_pattern = |excludes: &Excludes| {
            if self.by_name {
                excludes.matches_name(path)
            } else {
                excludes.matches(path)
            }
        };
        by_pattern(&self.options.excludes)
            || self.options.skip.iter().any(|skip| skip.as_bytes() == path)
            || self
                .ignores
                .iter()
                .any(|(place, excludes)| below(path, place).is_some_and(|rest| excludes.matches(rest)))
    }

    /// Takes in the ignore file of the directory `path` (below the walk's start), if it has one.
    fn read_ignore_file(&mut self, path: &[u8], real: &Path) -> Result<()> {
        let Some(name) = &self.options.ignore_file else {
            return Ok(());
        };
        let file = real.join(name);
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(file.display().to_string(), error)),
        };
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        self.ignores.push((path.to_vec(), Excludes::new(lines)));
        Ok(())
    }

    /// What a link points to, stored in place of the link.
    fn followed(&mut self, entry: &Entry<'_>, name: &[u8]) -> Result<()> {
        let real = self.real.join(OsStr::from_bytes(entry.path));
        let Ok(stat) = statat(CWD, &real, AtFlags::empty()) else {
            return Err(Error::Usage(format!("Broken symlink {}", real.display())));
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let file = std::fs::File::open(&real).map_err(|e| Error::io(real.display().to_string(), e))?;
                self.tar.file(name, &stat, file)
            }
            FileType::Directory => {
                self.tar.entry(&[name, b"/"].concat(), &stat, b"")?;
                let start = real_directory(&real)?;
                // The directories between the link and the walk's start count as above it, too.
                let depth = self.above.len();
                self.note_directories_above(entry)?;
                self.directory(&start, name, &real)?;
                self.above.truncate(depth);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn note_directories_above(&mut self, entry: &Entry<'_>) -> Result<()> {
        let relative = Path::new(OsStr::from_bytes(entry.path));
        for parent in relative.ancestors().skip(1) {
            let place = self.real.join(parent);
            let stat = rustix::fs::stat(&place).map_err(|errno| Error::io(place.display().to_string(), errno))?;
            self.above.push((stat.st_dev as u64, stat.st_ino as u64));
        }
        Ok(())
    }
}

impl Visit for Packer<'_, '_> {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Descend> {
        if self.is_excluded(entry.path) {
            return Ok(Descend::No);
        }
        let name = [&self.prefix[..], b"/", entry.path].concat();
        match entry.kind() {
            FileType::RegularFile => match entry.open_file() {
                Err(Error::NotFound | Error::Link) if self.options.live => {}
                file => self.tar.file(&name, &current(entry.stat, file.as_ref().ok()), file?)?,
            },
            FileType::Directory => {
                self.tar.entry(&[&name[..], b"/"].concat(), &entry.stat, b"")?;
                self.read_ignore_file(entry.path, &self.real.join(OsStr::from_bytes(entry.path)))?;
                return Ok(Descend::Yes);
            }
            FileType::Symlink if self.options.dereference => self.followed(entry, &name)?,
            FileType::Symlink => match entry.link_text() {
                Err(Error::NotFound) if self.options.live => {}
                text => self.tar.entry(&name, &entry.stat, text?.as_bytes())?,
            },
            _ => {}
        }
        Ok(Descend::No)
    }

    fn leave(&mut self, directory: &Entry<'_>) -> Result<()> {
        self.ignores.retain(|(place, _)| place != directory.path);
        Ok(())
    }
}

/// The attributes of the file that was opened, which may be a newer one of the same name.
fn current(stat: Stat, file: Option<&std::fs::File>) -> Stat {
    file.and_then(|file| rustix::fs::fstat(file).ok()).unwrap_or(stat)
}

/// The part of `path` below the directory `place`.
fn below<'p>(path: &'p [u8], place: &[u8]) -> Option<&'p [u8]> {
    if place.is_empty() {
        Some(path)
    } else {
        path.strip_prefix(place)?.strip_prefix(b"/")
    }
}

fn real_directory(path: &Path) -> Result<OwnedFd> {
    let file = std::fs::File::open(path).map_err(|error| Error::io(path.display().to_string(), error))?;
    Ok(file.into())
}

#[cfg(test)]
mod tests;
