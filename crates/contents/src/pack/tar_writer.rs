//! Writing a tar stream: GNU headers, long names in GNU records, sizes over 8 GiB in base 256.

use std::fs::File;
use std::io::{Read, Write};

use rustix::fs::{FileType, Stat};
use tar::{EntryType, Header};

use crate::stream::CHUNK;
use crate::{Error, Result};

const BLOCK: u64 = 512;

pub struct TarWriter<'w> {
    out: &'w mut dyn Write,
    live: bool,
    buffer: Vec<u8>,
}

impl<'w> TarWriter<'w> {
    pub fn new(out: &'w mut dyn Write, live: bool) -> Self {
        Self {
            out,
            live,
            buffer: vec![0; CHUNK],
        }
    }

    /// A directory or link, by the type in `stat`.
    pub fn entry(&mut self, name: &[u8], stat: &Stat, link: &[u8]) -> Result<()> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => EntryType::Directory,
            FileType::Symlink => EntryType::Symlink,
            _ => EntryType::Regular,
        };
        self.header(name, stat, kind, 0, link)
    }

    /// A regular file with the bytes it has now.
    pub fn file(&mut self, name: &[u8], stat: &Stat, mut file: File) -> Result<()> {
        let size = stat.st_size as u64;
        self.header(name, stat, EntryType::Regular, size, b"")?;
        let mut left = size;
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = file
                .read(&mut self.buffer[..want])
                .map_err(|error| Error::io("read file", error))?;
            let got = match got {
                0 if self.live => {
                    self.buffer[..want].fill(0);
                    want
                }
                0 => {
                    let shown = String::from_utf8_lossy(name);
                    return Err(Error::Usage(format!(
                        "{shown} became shorter while it was read; try again"
                    )));
                }
                got => got,
            };
            self.out.write_all(&self.buffer[..got]).map_err(sending)?;
            left -= got as u64;
        }
        self.pad(size)
    }

    /// Ends the archive.
    pub fn finish(self) -> Result<()> {
        self.out.write_all(&[0; 2 * BLOCK as usize]).map_err(sending)
    }

    fn header(&mut self, name: &[u8], stat: &Stat, kind: EntryType, size: u64, link: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(stat.st_uid.into());
        header.set_gid(stat.st_gid.into());
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        header.set_size(size);
        if let Some(gnu) = header.as_gnu_mut() {
            if !put(&mut gnu.name, name) {
                self.long_record(EntryType::GNULongName, name)?;
            }
            if !put(&mut gnu.linkname, link) {
                self.long_record(EntryType::GNULongLink, link)?;
            }
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes()).map_err(sending)
    }

    /// The full text of a name that does not fit into its field.
    fn long_record(&mut self, kind: EntryType, text: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let size = text.len() as u64 + 1;
        header.set_size(size);
        if let Some(gnu) = header.as_gnu_mut() {
            put(&mut gnu.name, b"././@LongLink");
        }
        header.set_cksum();
        for part in [&header.as_bytes()[..], text, &[0]] {
            self.out.write_all(part).map_err(sending)?;
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        let rest = (BLOCK - size % BLOCK) % BLOCK;
        self.out
            .write_all(&[0; BLOCK as usize][..rest as usize])
            .map_err(sending)
    }
}

/// Fills a header field; cuts what does not fit and says so.
fn put(field: &mut [u8; 100], text: &[u8]) -> bool {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    length == text.len()
}

fn sending(error: std::io::Error) -> Error {
    Error::io("write archive", error)
}
