//! How dependencies appear in a run's directory: symbolic links, and what they are mounted at. Nothing here ever goes
//! through a link that the run itself may have planted.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use contents::SubPath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::runtime::{Mount, Runtime};

/// Directories that a dependency must not cover as a whole.
const RESERVED: [&str; 15] = [
    "/", "/proc", "/sys", "/dev", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/usr", "/usr/bin", "/usr/lib", "/var",
    "/run", "/tmp",
];

/// What has to be mounted and linked for a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub mounts: Vec<Mount>,
    /// Relative path in the run directory, text of the link.
    pub links: Vec<(String, PathBuf)>,
}

/// Says where the dependencies go: child path as given, place on this machine. An error fails the bundle.
pub fn plan(uuid: &str, dependencies: &[(String, PathBuf)], runtime: &dyn Runtime) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let add = |child_path: &str, host_path: &Path, plan: &mut Plan| {
        let job_path = runtime.dependency_path(uuid, child_path, host_path);
        plan.links.push((child_path.to_owned(), job_path.clone()));
        plan.mounts.push(Mount {
            host_path: host_path.to_owned(),
            job_path,
        });
    };
    for (child_path, host_path) in dependencies {
        let invalid = |why: &str| format!("Invalid dependency path {child_path}: {why}");
        if Path::new(child_path)
            .components()
            .any(|part| part == Component::ParentDir)
        {
            return Err(invalid("it must not contain .."));
        }
        if child_path.starts_with('/') {
            let job_path = absolute(uuid, child_path).ok_or_else(|| invalid("this place is reserved"))?;
            if !runtime.mounts_anywhere() {
                return Err(invalid(
                    "absolute paths need a container, and this worker runs plain processes",
                ));
            }
            plan.mounts.push(Mount {
                host_path: host_path.clone(),
                job_path,
            });
            continue;
        }
        let clean = SubPath::parse(child_path).map_err(|error| invalid(&error.to_string()))?;
        if !clean.is_root() {
            add(&clean.to_string(), host_path, &mut plan);
            continue;
        }
        let entries = fs::read_dir(host_path).map_err(|_| invalid("only a directory can be merged into the run"))?;
        let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        names.sort();
        for name in names {
            let text = name
                .to_str()
                .ok_or_else(|| invalid("it contains a name that is not UTF-8"))?;
            add(text, &host_path.join(&name), &mut plan);
        }
    }
    Ok(plan)
}

/// An absolute path without detours, unless it would cover something vital.
fn absolute(uuid: &str, child_path: &str) -> Option<PathBuf> {
    let clean: PathBuf = Path::new(child_path).components().collect();
    let own = Path::new("/").join(uuid);
    let reserved = RESERVED.iter().any(|place| clean == Path::new(place))
        || ["/proc", "/sys", "/dev"].iter().any(|place| clean.starts_with(place))
        || clean.starts_with(&own)
        || clean.starts_with(format!("/{uuid}_dependencies"));
    (!reserved).then_some(clean)
}

/// Makes a link in the run directory, and real directories above it. A link that is there already is replaced.
pub fn make(directory: &Path, path: &str, target: &Path) -> std::io::Result<()> {
    let sub = SubPath::parse(path).map_err(std::io::Error::other)?;
    let Some(name) = sub.file_name() else {
        return Err(std::io::Error::other("a link needs a name"));
    };
    let parent = open_parent(directory, &sub, true)?;
    let made = match rustix::fs::symlinkat(target, &parent, name) {
        Err(Errno::EXIST) if is_link(&parent, name) => rustix::fs::unlinkat(&parent, name, AtFlags::empty())
            .and_then(|()| rustix::fs::symlinkat(target, &parent, name)),
        other => other,
    };
    made.map_err(|error| std::io::Error::new(std::io::Error::from(error).kind(), format!("{path}: {error}")))
}

/// Writes a file of the run directory, without following any link.
pub fn write_file(directory: &Path, path: &SubPath, text: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let Some(name) = path.file_name() else {
        return Err(std::io::Error::other("a file needs a name"));
    };
    let parent = open_parent(directory, path, false)?;
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    file.set_len(0)?;
    (&file).write_all(text)
}

/// Removes a link, file or whole directory directly inside the run directory.
pub fn remove(directory: &Path, name: &str) -> std::io::Result<()> {
    let path = directory.join(name);
    let done = match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => contents::remove_tree(&path).map_err(std::io::Error::other),
        Ok(_) => fs::remove_file(&path),
        Err(error) => Err(error),
    };
    match done {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Opens the directory that holds the last component, component by component and without following links.
fn open_parent(directory: &Path, path: &SubPath, create: bool) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(directory, flags, Mode::empty())?;
    let parents = path.components().len().saturating_sub(1);
    for name in path.components().take(parents) {
        if create {
            match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        at = rustix::fs::openat(&at, name, flags, Mode::empty())?;
    }
    Ok(at)
}

fn is_link(directory: impl AsFd, name: &OsStr) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_places_that_matter_are_refused() {
        for (path, allowed) in [
            ("/foo/bar", true),
            ("/foo//./bar/", true),
            ("/usr/share/x", true),
            ("/", false),
            ("/etc", false),
            ("/etc/", false),
            ("/proc/1", false),
            ("/0x1", false),
            ("/0x1/data", false),
            ("/0x12", true),
            ("/0x1_dependencies/x", false),
        ] {
            assert_eq!(absolute("0x1", path).is_some(), allowed, "{path}");
        }
    }

    #[test]
    fn links_replace_links_and_never_lead_out() {
        let outside = tempfile::tempdir().unwrap();
        let run = tempfile::tempdir().unwrap();
        make(run.path(), "foo/bar", Path::new("/one")).unwrap();
        make(run.path(), "foo/bar", Path::new("/two")).unwrap();
        assert_eq!(fs::read_link(run.path().join("foo/bar")).unwrap(), Path::new("/two"));
        fs::write(run.path().join("file"), "mine").unwrap();
        assert!(make(run.path(), "file", Path::new("/x")).is_err());
        std::os::unix::fs::symlink(outside.path(), run.path().join("trap")).unwrap();
        assert!(make(run.path(), "trap/x", Path::new("/x")).is_err());
        assert!(make(run.path(), "../x", Path::new("/x")).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        remove(run.path(), "trap").unwrap();
        remove(run.path(), "foo").unwrap();
        remove(run.path(), "absent").unwrap();
        assert!(outside.path().exists() && !run.path().join("foo").exists());
    }

    #[test]
    fn writing_does_not_follow_planted_links() {
        let outside = tempfile::tempdir().unwrap();
        let run = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        fs::write(&secret, "kept").unwrap();
        std::os::unix::fs::symlink(&secret, run.path().join("message")).unwrap();
        let path = |text: &str| SubPath::parse(text).unwrap();
        assert!(write_file(run.path(), &path("message"), b"x").is_err());
        assert_eq!(fs::read_to_string(&secret).unwrap(), "kept");
        write_file(run.path(), &path("note"), b"longer text").unwrap();
        write_file(run.path(), &path("note"), b"hi").unwrap();
        assert_eq!(fs::read_to_string(run.path().join("note")).unwrap(), "hi");
        let fifo = std::process::Command::new("mkfifo")
            .arg(run.path().join("fifo"))
            .status()
            .unwrap();
        assert!(fifo.success());
        assert!(write_file(run.path(), &path("fifo"), b"x").is_err());
    }
}
