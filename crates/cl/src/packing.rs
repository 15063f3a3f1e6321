//! Local files and directories as upload bodies.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use client::Body;
use contents::{ArchiveKind, ByteStream, Excludes, PackOptions, SubPath, pack_paths_stream, pack_tree_stream, stream};
use futures::StreamExt;

use crate::error::{Error, Result};
use crate::progress::Progress;

/// How local data is packed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Store what links point to.
    pub follow_links: bool,
    /// Patterns of what is left out.
    pub excludes: Vec<String>,
    /// Name of files with more patterns.
    pub ignore_file: Option<String>,
    /// Send archives to be stored as they are.
    pub keep_packed: bool,
    /// Compress a single plain file.
    pub compress: bool,
}

/// Data ready to be sent; nothing is read before [`Package::body`].
pub struct Package {
    /// File name the server is told; decides how it unpacks.
    pub filename: String,
    /// Whether the server unpacks.
    pub unpack: bool,
    /// Bytes to send, where that is known before.
    pub size: Option<u64>,
    source: Source,
}

enum Source {
    Directory(PathBuf, PackOptions),
    File(fs::File),
    Compressed(fs::File),
    Several(Vec<PathBuf>, PackOptions),
    Stdin,
}

/// An absolute path without `.`, `..` and `~`, by text only; `-` is standard input.
pub fn normalise(typed: &str, home: Option<&Path>, current: &Path) -> PathBuf {
    let path = match (typed.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(typed),
    };
    let mut normal = PathBuf::from("/");
    for component in current.join(path).components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::Normal(name) => normal.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

/// Standard input as a bundle of one file.
pub fn stdin() -> Package {
    Package {
        filename: "stdin".to_owned(),
        unpack: false,
        size: None,
        source: Source::Stdin,
    }
}

/// Looks at the paths (normalised, existing) and decides how they travel. All mistakes show here, before a bundle is
/// created.
pub fn package(paths: &[PathBuf], options: &Options) -> Result<Package> {
    let pack = PackOptions {
        gzip: true,
        excludes: Excludes::new(&options.excludes),
        ignore_file: options.ignore_file.as_ref().map(OsString::from),
        dereference: options.follow_links,
        ..PackOptions::default()
    };
    let paths = paths
        .iter()
        .map(|path| follow(path, options.follow_links))
        .collect::<Result<Vec<_>>>()?;
    let [path] = paths.as_slice() else {
        for path in &paths {
            readable(path)?;
        }
        let filename = "contents.tar.gz".to_owned();
        return Ok(Package {
            filename,
            unpack: true,
            size: None,
            source: Source::Several(paths, pack),
        });
    };
    let base = base_name(path);
    if path.is_dir() {
        readable(path)?;
        let source = Source::Directory(path.clone(), pack);
        return Ok(Package {
            filename: format!("{base}.tar.gz"),
            unpack: true,
            size: None,
            source,
        });
    }
    let (file, size) = open(path)?;
    let archive = ArchiveKind::from_name(&base).is_some();
    if options.compress && !archive {
        let source = Source::Compressed(file);
        return Ok(Package {
            filename: format!("{base}.gz"),
            unpack: true,
            size: None,
            source,
        });
    }
    Ok(Package {
        filename: base,
        unpack: archive && !options.keep_packed,
        size: Some(size),
        source: Source::File(file),
    })
}

impl Package {
    /// Whether the server makes a directory of it.
    pub fn becomes_directory(&self) -> bool {
        self.unpack && ArchiveKind::from_name(&self.filename).is_some_and(ArchiveKind::is_directory)
    }

    /// The bytes; `progress` counts them as they go.
    pub fn body(self, progress: &Progress) -> Body {
        let pieces: ByteStream = match self.source {
            Source::Directory(path, options) => pack_tree_stream(path, SubPath::root(), options),
            Source::Several(paths, options) => pack_paths_stream(paths, options),
            Source::File(file) => read(file),
            Source::Compressed(file) => contents::gzip_stream(read(file)),
            Source::Stdin => read(io::stdin()),
        };
        let progress = progress.clone();
        let counted = pieces.inspect(move |piece| {
            if let Ok(bytes) = piece {
                progress.add(bytes.len() as u64);
            }
        });
        Body::Stream(counted.boxed(), self.size)
    }
}

/// Last component of a path.
pub fn base_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(OsStr::new(""))
        .to_string_lossy()
        .into_owned()
}

fn read(mut source: impl io::Read + Send + 'static) -> ByteStream {
    stream::produce(move |out| match io::copy(&mut source, out) {
        Ok(_) => Ok(()),
        Err(error) => Err(contents::Error::io("read", error)),
    })
}

/// Resolves a path that is itself a link, if allowed.
fn follow(path: &Path, follow_links: bool) -> Result<PathBuf> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_symlink());
    if !is_link {
        return Ok(path.to_owned());
    }
    if !follow_links {
        return Err(Error::usage("Not following symlinks."));
    }
    fs::canonicalize(path).map_err(|_| Error::usage("Broken symlink"))
}

fn readable(path: &Path) -> Result<()> {
    let tried = if path.is_dir() {
        fs::read_dir(path).map(drop)
    } else {
        open(path).map(drop).map_err(io::Error::other)
    };
    tried.map_err(|error| Error::usage(format!("cannot read {}: {error}", path.display())))
}

fn open(path: &Path) -> Result<(fs::File, u64)> {
    let failed = |error: &io::Error| Error::usage(format!("cannot read {}: {error}", path.display()));
    // A FIFO or device would block or never end: look before opening.
    let metadata = fs::metadata(path).map_err(|error| failed(&error))?;
    if !metadata.is_file() {
        return Err(Error::usage(format!(
            "{} is neither a file nor a directory",
            path.display()
        )));
    }
    let file = fs::File::open(path).map_err(|error| failed(&error))?;
    Ok((file, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_are_normalised_by_text() {
        let normal = |typed: &str| normalise(typed, Some(Path::new("/home/mira")), Path::new("/srv/x"));
        for (typed, path) in [
            ("a", "/srv/x/a"),
            ("./a/", "/srv/x/a"),
            ("../b/../c", "/srv/c"),
            ("/etc//passwd", "/etc/passwd"),
            ("~/d", "/home/mira/d"),
            ("~", "/home/mira"),
            ("~other", "/srv/x/~other"),
            ("-weird", "/srv/x/-weird"),
            ("../../../..", "/"),
        ] {
            assert_eq!(normal(typed), Path::new(path), "{typed}");
        }
    }

    #[test]
    fn names_and_unpacking_follow_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("dir")).unwrap();
        for name in ["a.txt", "x.tar.gz", "y.gz", "z.tar"] {
            fs::write(path(name), "12345").unwrap();
        }
        let plain = Options::default();
        let packed = Options {
            keep_packed: true,
            ..Options::default()
        };
        let compressed = Options {
            compress: true,
            ..Options::default()
        };
        for (names, options, filename, unpack, size, directory) in [
            (&["dir"][..], &plain, "dir.tar.gz", true, None, true),
            (&["dir"], &packed, "dir.tar.gz", true, None, true),
            (&["x.tar.gz"], &plain, "x.tar.gz", true, Some(5), true),
            (&["x.tar.gz"], &packed, "x.tar.gz", false, Some(5), false),
            (&["y.gz"], &compressed, "y.gz", true, Some(5), false),
            (&["a.txt"], &compressed, "a.txt.gz", true, None, false),
            (&["a.txt"], &plain, "a.txt", false, Some(5), false),
            (&["z.tar"], &plain, "z.tar", false, Some(5), false),
            (&["a.txt", "dir"], &plain, "contents.tar.gz", true, None, true),
        ] {
            let paths: Vec<PathBuf> = names.iter().map(|name| path(name)).collect();
            let package = package(&paths, options).unwrap();
            assert_eq!(
                (
                    package.filename.as_str(),
                    package.unpack,
                    package.size,
                    package.becomes_directory()
                ),
                (filename, unpack, size, directory)
            );
        }
    }

    #[test]
    fn links_are_followed_only_on_demand() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("target.txt"), "x").unwrap();
        symlink("target.txt", dir.path().join("link")).unwrap();
        symlink("nowhere", dir.path().join("broken")).unwrap();
        let try_it = |name: &str, follow_links: bool| {
            package(
                &[dir.path().join(name)],
                &Options {
                    follow_links,
                    ..Options::default()
                },
            )
            .map(|package| package.filename)
            .map_err(|error| error.to_string())
        };
        assert_eq!(try_it("link", false), Err("UsageError: Not following symlinks.".into()));
        assert_eq!(try_it("link", true), Ok("target.txt".into()));
        assert_eq!(try_it("broken", true), Err("UsageError: Broken symlink".into()));
    }
}
