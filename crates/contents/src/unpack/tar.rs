//! Reading a tar stream, header by header, with nothing believed: sizes, checksums and extended headers are bounded.

use std::io::{ErrorKind, Read};

use tar::{EntryType, Header};

use super::input::explain;
use super::name::quoted;
use super::pax::{Pax, number, pairs};
use super::tree::{Attributes, Layout, TreeBuilder};
use crate::{Error, Result};

const BLOCK: usize = 512;
const MAX_EXTENSION: u64 = 1 << 20;
const MAX_PIECES: usize = 1_000_000;

/// Unpacks entries up to the end of the archive: two blocks of zeros, or the end of input between entries.
pub fn unpack(reader: &mut dyn Read, tree: &mut TreeBuilder<'_>) -> Result<()> {
    Unpacker {
        reader: Counted { reader, offset: 0 },
        tree,
        global: Pax::default(),
    }
    .run()
}

struct Counted<'r> {
    reader: &'r mut dyn Read,
    offset: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let got = self.reader.read(out)?;
        self.offset += got as u64;
        Ok(got)
    }
}

struct Unpacker<'r, 't, 'o> {
    reader: Counted<'r>,
    tree: &'t mut TreeBuilder<'o>,
    global: Pax,
}

/// What extension headers have said about the entry to come.
#[derive(Default)]
struct Pending {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl Unpacker<'_, '_, '_> {
    fn run(&mut self) -> Result<()> {
        let mut pending = Pending::default();
        let mut first = true;
        while let Some(header) = self.next_header(first)? {
            first = false;
            let number = self.tree.next_entry()?;
            match header.entry_type() {
                EntryType::GNULongName => pending.name = Some(self.long_text(&header, number)?),
                EntryType::GNULongLink => pending.link = Some(self.long_text(&header, number)?),
                EntryType::XHeader => {
                    let at = self.reader.offset;
                    let records = self.extension(&header, number)?;
                    pending
                        .pax
                        .get_or_insert_with(|| self.global.clone())
                        .read(&records, at)?;
                }
                EntryType::XGlobalHeader => {
                    let at = self.reader.offset;
                    let records = self.extension(&header, number)?;
                    self.global.read(&records, at)?;
                }
                kind => self.entry(&header, kind, std::mem::take(&mut pending))?,
            }
        }
        if pending.name.is_some() || pending.link.is_some() || pending.pax.is_some() {
            return Err(Error::Archive("Archive ends early.".to_owned()));
        }
        Ok(())
    }

    /// The next header block; `None` at the end of the archive.
    fn next_header(&mut self, first: bool) -> Result<Option<Header>> {
        let mut zeros = 0;
        loop {
            let at = self.reader.offset;
            let Some(block) = self.block()? else {
                return if at == 0 { Err(not_a_tar()) } else { Ok(None) };
            };
            if block.iter().all(|byte| *byte == 0) {
                zeros += 1;
                if zeros == 2 {
                    return Ok(None);
                }
                continue;
            }
            let header = Header::from_byte_slice(&block);
            if !has_right_checksum(header) {
                return Err(if first && zeros == 0 { not_a_tar() } else { damaged(at) });
            }
            return Ok(Some(header.clone()));
        }
    }

    /// One block; `None` at the end of input.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) if self.reader.offset < BLOCK as u64 => return Err(not_a_tar()),
                Ok(0) => return Err(explain(ErrorKind::UnexpectedEof.into(), None)),
                Ok(got) => filled += got,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(explain(error, None)),
            }
        }
        Ok(Some(block))
    }

    fn entry(&mut self, header: &Header, kind: EntryType, pending: Pending) -> Result<()> {
        let at = self.reader.offset - BLOCK as u64;
        let pax = pending.pax.unwrap_or_else(|| self.global.clone());
        let name = pax
            .sparse
            .name
            .clone()
            .or(pax.path)
            .or(pending.name)
            .unwrap_or_else(|| header_name(header));
        let link = pax
            .link
            .or(pending.link)
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let mode = header.mode().unwrap_or(0o644);
        let mtime = pax
            .mtime
            .unwrap_or_else(|| (header.mtime().ok().and_then(|t| t.try_into().ok()).unwrap_or(0), 0));
        let attributes = Attributes { mode, mtime };
        let size = match pax.size {
            Some(size) => size,
            None => header.entry_size().map_err(|_| damaged(at))?,
        };
        if i64::try_from(size).is_err() {
            return Err(damaged(at));
        }
        match kind {
            EntryType::Regular if header.as_bytes()[156] == 0 && name.ends_with(b"/") => {
                self.tree.directory(&name, attributes)
            }
            EntryType::Regular | EntryType::Continuous if pax.sparse.is_sparse() => {
                let mut left = size;
                let map = if pax.sparse.map_in_data {
                    self.map_in_data(&name, &mut left)?
                } else {
                    pax.sparse.map
                };
                self.sparse_file(&name, attributes, pax.sparse.size.unwrap_or(size), &map, left)?;
                self.pad(size)
            }
            EntryType::GNUSparse => {
                let (map, real_size) = self.old_sparse_map(header, &name)?;
                self.sparse_file(&name, attributes, real_size, &map, size)?;
                self.pad(size)
            }
            EntryType::Regular | EntryType::Continuous => {
                let layout = Layout { size, pieces: None };
                self.tree.file(&name, attributes, &layout, &mut self.reader)?;
                self.pad(size)
            }
            EntryType::Directory => self.tree.directory(&name, attributes),
            EntryType::Symlink => self.tree.symlink(&name, &link, attributes),
            EntryType::Link => self.tree.hard_link(&name, &link),
            EntryType::Char | EntryType::Block => self.tree.device(&name),
            EntryType::Fifo => {
                self.tree.skip();
                Ok(())
            }
            _ => {
                self.tree.skip();
                self.discard(size, &name)?;
                self.pad(size)
            }
        }
    }

    fn extension(&mut self, header: &Header, number: u64) -> Result<Vec<u8>> {
        let at = self.reader.offset - BLOCK as u64;
        let size = header.entry_size().map_err(|_| damaged(at))?;
        if size > MAX_EXTENSION {
            return Err(Error::Archive(format!("Header of entry {number} is too large.")));
        }
        let mut bytes = vec![0; size as usize];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|error| explain(error, None))?;
        self.pad(size)?;
        Ok(bytes)
    }

    /// A GNU long name: ends at the first NUL.
    fn long_text(&mut self, header: &Header, number: u64) -> Result<Vec<u8>> {
        let mut text = self.extension(header, number)?;
        if let Some(end) = text.iter().position(|byte| *byte == 0) {
            text.truncate(end);
        }
        Ok(text)
    }

    fn sparse_file(
        &mut self,
        name: &[u8],
        attributes: Attributes,
        size: u64,
        map: &[(u64, u64)],
        stored: u64,
    ) -> Result<()> {
        let mut end = 0;
        let mut total: u64 = 0;
        for (offset, length) in map {
            let next = offset
                .checked_add(*length)
                .filter(|next| *offset >= end && *next <= size);
            end = next.ok_or_else(|| sparse_damaged(name))?;
            total += length;
        }
        if total != stored || map.len() > MAX_PIECES || i64::try_from(size).is_err() {
            return Err(sparse_damaged(name));
        }
        self.tree.file(
            name,
            attributes,
            &Layout {
                size,
                pieces: Some(map),
            },
            &mut self.reader,
        )
    }

    /// The map of an old GNU sparse entry: four pieces in the header, then blocks of 21.
    fn old_sparse_map(&mut self, header: &Header, name: &[u8]) -> Result<(Vec<(u64, u64)>, u64)> {
        let bad = || sparse_damaged(name);
        let gnu = header.as_gnu().ok_or_else(bad)?;
        let size = gnu.real_size().map_err(|_| bad())?;
        let mut map = Vec::new();
        let mut add = |pieces: &[tar::GnuSparseHeader]| -> Result<()> {
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                map.push((piece.offset().map_err(|_| bad())?, piece.length().map_err(|_| bad())?));
            }
            if map.len() > MAX_PIECES { Err(bad()) } else { Ok(()) }
        };
        add(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let block = self
                .block()?
                .ok_or_else(|| explain(ErrorKind::UnexpectedEof.into(), Some(name)))?;
            let mut extension = tar::GnuExtSparseHeader::new();
            extension.as_mut_bytes().copy_from_slice(&block);
            add(&extension.sparse)?;
            more = extension.is_extended();
        }
        Ok((map, size))
    }

    /// The map of a PAX 1.0 sparse entry: decimal lines in whole blocks before the data.
    fn map_in_data(&mut self, name: &[u8], left: &mut u64) -> Result<Vec<(u64, u64)>> {
        let mut text: Vec<u8> = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        let mut wanted = 1;
        while numbers.len() < wanted {
            *left = left.checked_sub(BLOCK as u64).ok_or_else(|| sparse_damaged(name))?;
            let block = self
                .block()?
                .ok_or_else(|| explain(ErrorKind::UnexpectedEof.into(), Some(name)))?;
            text.extend_from_slice(&block);
            while numbers.len() < wanted
                && let Some(end) = text.iter().position(|byte| *byte == b'\n')
            {
                let value = number(&text[..end]).ok_or_else(|| sparse_damaged(name))?;
                text.drain(..=end);
                numbers.push(value);
                if numbers.len() == 1 {
                    let pieces = usize::try_from(value).ok().filter(|pieces| *pieces <= MAX_PIECES);
                    wanted = 1 + 2 * pieces.ok_or_else(|| sparse_damaged(name))?;
                }
            }
        }
        pairs(&numbers[1..]).ok_or_else(|| sparse_damaged(name))
    }

    fn discard(&mut self, size: u64, name: &[u8]) -> Result<()> {
        let copied = std::io::copy(&mut (&mut self.reader).take(size), &mut std::io::sink())
            .map_err(|error| explain(error, Some(name)))?;
        if copied < size {
            Err(explain(ErrorKind::UnexpectedEof.into(), Some(name)))
        } else {
            Ok(())
        }
    }

    /// Passes over the filling behind `size` bytes.
    fn pad(&mut self, size: u64) -> Result<()> {
        let rest = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        let mut filling = [0; BLOCK];
        self.reader
            .read_exact(&mut filling[..rest as usize])
            .map_err(|error| explain(error, None))
    }
}

/// The name in the header itself, with the prefix of the ustar format.
fn header_name(header: &Header) -> Vec<u8> {
    header.path_bytes().into_owned()
}

fn has_right_checksum(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let sum: u32 = bytes[..148]
        .iter()
        .chain(&bytes[156..])
        .map(|byte| u32::from(*byte))
        .sum::<u32>()
        + 8 * 32;
    header.cksum().is_ok_and(|stored| stored == sum)
}

fn not_a_tar() -> Error {
    Error::Archive("Not a tar archive.".to_owned())
}

fn damaged(at: u64) -> Error {
    Error::Archive(format!("Archive is damaged at byte {at}."))
}

fn sparse_damaged(name: &[u8]) -> Error {
    Error::Archive(format!("Sparse entry {} is damaged.", quoted(name)))
}
