//! The info tree: names, types, sizes and permissions of a path and of what lies below it.

use std::path::Path;

use domain::target_info::{TargetInfo, TargetType};
use rustix::fs::{FileType, Stat};

use crate::beneath::{self, OPEN_DIR};
use crate::read::target_type;
use crate::walk::sorted_names;
use crate::{Error, Result, SubPath};

/// One answer holds at most this many entries.
pub const MAX_INFO_ENTRIES: usize = 100_000;
/// ... and at most this many levels.
pub const MAX_INFO_DEPTH: u32 = 64;

/// Describes the entry at `path` below `root` with `depth` levels of children in byte order of names. The root itself
/// is called `root_name`. Links are described, never followed. `truncated` is set on the top entry when the limits cut
/// something off; `resolved_target` is left to the caller.
pub fn info(root: &Path, path: &SubPath, depth: u32, root_name: &str) -> Result<TargetInfo> {
    let found = beneath::find(root, path)?;
    let name = path
        .file_name()
        .map_or_else(|| root_name.to_owned(), |name| name.to_string_lossy().into_owned());
    let mut top = describe(name, &found.stat);
    match top.target_type {
        TargetType::Link => top.link = Some(found.link_text()?.to_string_lossy().into_owned()),
        TargetType::Directory if depth > 0 => {
            let mut budget = Budget {
                entries: MAX_INFO_ENTRIES,
                truncated: depth > MAX_INFO_DEPTH,
            };
            top.contents = Some(children(&found.open()?, depth.min(MAX_INFO_DEPTH), &mut budget)?);
            top.truncated = budget.truncated;
        }
        _ => {}
    }
    Ok(top)
}

struct Budget {
    entries: usize,
    truncated: bool,
}

fn children(dir: &std::os::fd::OwnedFd, depth: u32, budget: &mut Budget) -> Result<Vec<TargetInfo>> {
    let mut entries = Vec::new();
    for name in sorted_names(dir)? {
        if budget.entries == 0 {
            budget.truncated = true;
            break;
        }
        budget.entries -= 1;
        let stat = match beneath::stat_in(dir, &name) {
            // Running bundles change while they are listed.
            Err(Error::NotFound) => continue,
            other => other?,
        };
        let mut entry = describe(name.to_string_lossy().into_owned(), &stat);
        match entry.target_type {
            TargetType::Link => match beneath::read_link_in(dir, &name) {
                Ok(text) => entry.link = Some(text.to_string_lossy().into_owned()),
                Err(Error::NotFound) => continue,
                Err(error) => return Err(error),
            },
            TargetType::Directory if depth > 1 => match beneath::open_in(dir, &name, OPEN_DIR) {
                Ok(below) => entry.contents = Some(children(&below, depth - 1, budget)?),
                Err(Error::NotFound | Error::Link | Error::NotADirectory) => continue,
                Err(error) => return Err(error),
            },
            _ => {}
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn describe(name: String, stat: &Stat) -> TargetInfo {
    TargetInfo {
        name,
        target_type: target_type(FileType::from_raw_mode(stat.st_mode)),
        size: stat.st_size as u64,
        perm: stat.st_mode & 0o777,
        link: None,
        contents: None,
        resolved_target: None,
        truncated: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn depth_decides_how_far_a_listing_goes() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("b/c")).unwrap();
        std::fs::write(temp.path().join("b/c/deep"), "x").unwrap();
        std::fs::write(temp.path().join("a"), "hello").unwrap();
        std::fs::set_permissions(temp.path().join("a"), std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink("/etc/passwd", temp.path().join("l")).unwrap();

        let flat = info(temp.path(), &SubPath::root(), 0, "0xabc").unwrap();
        assert_eq!(
            (flat.name.as_str(), flat.target_type, flat.contents),
            ("0xabc", TargetType::Directory, None)
        );

        let one = info(temp.path(), &SubPath::root(), 1, "0xabc")
            .unwrap()
            .contents
            .unwrap();
        let names: Vec<_> = one.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "l"]);
        assert_eq!(
            (one[0].size, one[0].perm, one[0].target_type),
            (5, 0o640, TargetType::File)
        );
        assert_eq!(one[1].contents, None);
        assert_eq!((one[2].link.as_deref(), one[2].size), (Some("/etc/passwd"), 11));

        let three = info(temp.path(), &SubPath::parse("b").unwrap(), 3, "0xabc").unwrap();
        let below = three.contents.unwrap();
        let deep = &below[0].contents.as_ref().unwrap()[0];
        assert_eq!(deep.name, "deep");
        assert!(matches!(
            info(temp.path(), &SubPath::parse("l/x").unwrap(), 0, ""),
            Err(Error::NotFound)
        ));
        let link = info(temp.path(), &SubPath::parse("l").unwrap(), 5, "").unwrap();
        assert_eq!(link.target_type, TargetType::Link);
    }

    #[test]
    fn an_empty_directory_has_an_empty_list() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(
            info(temp.path(), &SubPath::root(), 1, "x").unwrap().contents,
            Some(vec![])
        );
    }
}
