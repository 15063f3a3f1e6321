//! Digests of files and trees. A file's digest is what `b3sum` prints; a tree's is made of the digests of its children,
//! so a sub-directory can be verified alone. Owners, times and mode bits other than execute take no part.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::FileType;

use crate::walk::{Descend, Entry, Visit, walk};
use crate::{Error, Result, SubPath, beneath, stream::CHUNK};

const TREE_CONTEXT: &str = "codalab tree 1";

/// Digests the bytes of one file as they pass.
#[derive(Clone, Debug, Default)]
pub struct FileHasher(blake3::Hasher);

impl FileHasher {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// `blake3:` and 64 hex digits.
    pub fn finish(&self) -> String {
        format!("blake3:{}", self.0.finalize().to_hex())
    }
}

/// Digest of everything a reader gives.
pub fn file_digest(reader: &mut dyn Read) -> Result<String> {
    let mut hasher = FileHasher::new();
    hash_all(reader, &mut hasher)?;
    Ok(hasher.finish())
}

/// Digest of the file (`blake3:…`) or directory (`b3tree:…`) at `path` below `root`. Reads all of it.
///
/// Errors: [`Error::Link`] for a link, [`Error::Special`] for what is neither.
pub fn tree_digest(root: &Path, path: &SubPath) -> Result<String> {
    let found = beneath::find(root, path)?;
    if found.file_type() == FileType::RegularFile {
        return file_digest(&mut std::fs::File::from(found.open()?));
    }
    let mut tree = TreeHasher {
        levels: vec![BTreeMap::new()],
    };
    walk(&found.open()?, false, &mut tree)?;
    let top = tree.levels.pop().unwrap_or_default();
    Ok(format!("b3tree:{}", directory_digest(&top).to_hex()))
}

struct Child {
    kind: u8,
    size: u64,
    digest: blake3::Hash,
}

type Children = BTreeMap<Vec<u8>, Child>;

struct TreeHasher {
    /// The children seen so far of each directory on the way down.
    levels: Vec<Children>,
}

impl TreeHasher {
    fn add(&mut self, name: &[u8], child: Child) {
        if let Some(level) = self.levels.last_mut() {
            level.insert(name.to_vec(), child);
        }
    }
}

impl Visit for TreeHasher {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Descend> {
        let child = match entry.kind() {
            FileType::Directory => {
                self.levels.push(Children::new());
                return Ok(Descend::Yes);
            }
            FileType::RegularFile => {
                let mut hasher = FileHasher::new();
                let size = hash_all(&mut entry.open_file()?, &mut hasher)?;
                let kind = if entry.stat.st_mode & 0o111 == 0 { b'f' } else { b'x' };
                Child {
                    kind,
                    size,
                    digest: hasher.0.finalize(),
                }
            }
            FileType::Symlink => {
                let text = entry.link_text()?;
                Child {
                    kind: b'l',
                    size: text.len() as u64,
                    digest: blake3::hash(text.as_bytes()),
                }
            }
            _ => return Ok(Descend::No),
        };
        self.add(entry.name().as_bytes(), child);
        Ok(Descend::No)
    }

    fn leave(&mut self, directory: &Entry<'_>) -> Result<()> {
        if let Some(children) = self.levels.pop() {
            let child = Child {
                kind: b'd',
                size: 0,
                digest: directory_digest(&children),
            };
            self.add(directory.name().as_bytes(), child);
        }
        Ok(())
    }
}

fn directory_digest(children: &Children) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key(TREE_CONTEXT);
    for (name, child) in children {
        hasher.update(&[child.kind]);
        hasher.update(&(name.len() as u32).to_le_bytes());
        hasher.update(name);
        hasher.update(&child.size.to_le_bytes());
        hasher.update(child.digest.as_bytes());
    }
    hasher.finalize()
}

fn hash_all(reader: &mut dyn Read, hasher: &mut FileHasher) -> Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(got) => {
                hasher.update(&buffer[..got]);
                total += got as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::io("read file", source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_has_the_digest_that_b3sum_prints() {
        let empty = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(file_digest(&mut [].as_slice()).unwrap(), empty);
    }

    #[test]
    fn a_tree_digest_depends_on_names_bytes_links_and_execute_bits_only() {
        let temp = tempfile::tempdir().unwrap();
        let digest = |name: &str| tree_digest(&temp.path().join(name), &SubPath::root()).unwrap();
        let build = |name: &str| {
            let root = temp.path().join(name);
            std::fs::create_dir_all(root.join("sub")).unwrap();
            std::fs::write(root.join("sub/f"), "data").unwrap();
            symlink("f", root.join("sub/l")).unwrap();
            root
        };
        let (a, b) = (build("a"), build("b"));
        assert_eq!(digest("a"), digest("b"));
        assert_eq!(
            tree_digest(&a, &SubPath::parse("sub").unwrap()).unwrap(),
            digest("a/sub")
        );
        let before = digest("a");
        std::fs::write(a.join("sub/f"), "Data").unwrap();
        assert_ne!(digest("a"), before);
        std::fs::rename(b.join("sub/l"), b.join("sub/m")).unwrap();
        assert_ne!(digest("b"), before);
    }
}
