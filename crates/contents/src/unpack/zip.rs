//! Reading a zip: the body is spooled to a nameless file, then the central directory decides, entry by entry, and the
//! local headers must agree with it. Nothing of it is held in memory but the current entry.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use bzip2::bufread::BzDecoder;
use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::input::{Expansion, Input, explain};
use super::name::quoted;
use super::tree::{Attributes, Layout, TreeBuilder};
use super::{UnpackOptions, Unpacked};
use crate::stream::CHUNK;
use crate::{Error, Result};

const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";
const END_LENGTH: u64 = 22;
const CENTRAL_SIGNATURE: [u8; 4] = *b"PK\x01\x02";
const CENTRAL_LENGTH: u64 = 46;
const LOCAL_SIGNATURE: [u8; 4] = *b"PK\x03\x04";
const LOCAL_LENGTH: u64 = 30;
const ZIP64_END_SIGNATURE: [u8; 4] = *b"PK\x06\x06";
const ZIP64_LOCATOR_SIGNATURE: [u8; 4] = *b"PK\x06\x07";
const MAX_LINK_TEXT: u64 = 4096;
/// More than the quota may be spooled, because a zip is not always smaller than what it holds.
const SPOOL_SLACK: u64 = 64 << 20;

/// Spools the input beside `destination` and unpacks it there.
pub fn unpack(mut input: Input<'_>, destination: &Path, options: &UnpackOptions) -> Result<Unpacked> {
    let place = destination.parent().unwrap_or(Path::new("."));
    let mut spool = tempfile::tempfile_in(place).map_err(|error| Error::io("make a temporary file", error))?;
    let most = options
        .max_bytes
        .map_or(u64::MAX, |limit| limit.saturating_add(SPOOL_SLACK));
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let got = input.read(&mut buffer).map_err(|error| explain(error, None))?;
        if got == 0 {
            break;
        }
        size += got as u64;
        if size > most {
            return Err(Error::TooBig {
                limit: options.max_bytes.unwrap_or(most),
            });
        }
        io::Write::write_all(&mut spool, &buffer[..got]).map_err(|error| Error::io("write spool", error))?;
    }
    drop(buffer);
    let mut tree = TreeBuilder::create(destination, options)?;
    Unzipper::new(spool, size, options).run(&mut tree)?;
    tree.finish()
}

struct Unzipper {
    file: File,
    size: u64,
    expansion: Expansion,
}

/// Where the central directory is.
struct Directory {
    offset: u64,
    size: u64,
    entries: u64,
}

/// One entry of the central directory.
#[derive(Debug)]
struct Entry {
    name: Vec<u8>,
    made_on: u8,
    flags: u16,
    method: u16,
    crc: u32,
    compressed: u64,
    size: u64,
    external: u32,
    offset: u64,
    mtime: i64,
}

impl Unzipper {
    fn new(file: File, size: u64, options: &UnpackOptions) -> Self {
        Self {
            file,
            size,
            expansion: Expansion::new(Rc::new(Cell::new(size)), &options.limits),
        }
    }

    fn run(&mut self, tree: &mut TreeBuilder<'_>) -> Result<()> {
        let directory = self.find_directory()?;
        let central = self.file.try_clone().map_err(reading)?;
        // The handle shares its position with the one that reads entries: remember where the directory reader is.
        let mut central = At {
            file: central,
            offset: directory.offset,
            end: directory.offset + directory.size,
        };
        let mut central = BufReader::with_capacity(64 << 10, &mut central);
        // Entries that share bytes need more room together than there is.
        let mut room = directory.offset;
        for _ in 0..directory.entries {
            let number = tree.next_entry()?;
            let entry = read_central(&mut central, number)?;
            let needed = entry.compressed.saturating_add(LOCAL_LENGTH + entry.name.len() as u64);
            room = room
                .checked_sub(needed)
                .ok_or_else(|| archive("Zip entries overlap."))?;
            self.entry(&entry, tree)?;
        }
        Ok(())
    }

    fn read_at(&mut self, offset: u64, length: u64) -> Result<Vec<u8>> {
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(damaged(offset));
        }
        let mut bytes = vec![0; length as usize];
        self.file.seek(SeekFrom::Start(offset)).map_err(reading)?;
        self.file.read_exact(&mut bytes).map_err(reading)?;
        Ok(bytes)
    }

    fn find_directory(&mut self) -> Result<Directory> {
        let window = self.size.min(END_LENGTH + u64::from(u16::MAX));
        let start = self.size - window;
        let tail = self.read_at(start, window)?;
        let last = tail
            .len()
            .checked_sub(END_LENGTH as usize)
            .ok_or_else(|| archive("Not a zip file."))?;
        let at = (0..=last)
            .rev()
            .find(|at| {
                let comment = u64::from(u16_at(&tail, at + 20));
                tail[*at..].starts_with(&END_SIGNATURE) && *at as u64 + END_LENGTH + comment == window
            })
            .ok_or_else(|| self.no_directory())?;
        let end = &tail[at..];
        let end_offset = start + at as u64;
        let (disk, start_disk) = (u16_at(end, 4), u16_at(end, 6));
        let mut directory = Directory {
            entries: u16_at(end, 10).into(),
            size: u32_at(end, 12).into(),
            offset: u32_at(end, 16).into(),
        };
        let here = u64::from(u16_at(end, 8));
        let is_zip64 = directory.entries == 0xffff || directory.size == 0xffff_ffff || directory.offset == 0xffff_ffff;
        if is_zip64 && let Some(real) = self.zip64_directory(end_offset)? {
            directory = real;
        } else if disk != 0 || start_disk != 0 || here != directory.entries {
            return Err(archive("Zip archive is split."));
        }
        let ends = directory
            .offset
            .checked_add(directory.size)
            .filter(|ends| *ends <= end_offset);
        ends.ok_or_else(|| damaged(end_offset))?;
        Ok(directory)
    }

    /// Why there is no end record: cut off, or never a zip.
    fn no_directory(&mut self) -> Error {
        match self.read_at(0, 4) {
            Ok(start) if start == LOCAL_SIGNATURE => archive("Archive ends early."),
            _ => archive("Not a zip file."),
        }
    }

    fn zip64_directory(&mut self, end_offset: u64) -> Result<Option<Directory>> {
        let Some(locator_offset) = end_offset.checked_sub(20) else {
            return Ok(None);
        };
        let locator = self.read_at(locator_offset, 20)?;
        if !locator.starts_with(&ZIP64_LOCATOR_SIGNATURE) {
            return Ok(None);
        }
        let record = self.read_at(u64_at(&locator, 8), 56)?;
        if !record.starts_with(&ZIP64_END_SIGNATURE) {
            return Err(damaged(u64_at(&locator, 8)));
        }
        if u32_at(&record, 16) != 0 || u32_at(&record, 20) != 0 || u64_at(&record, 24) != u64_at(&record, 32) {
            return Err(archive("Zip archive is split."));
        }
        Ok(Some(Directory {
            entries: u64_at(&record, 32),
            size: u64_at(&record, 40),
            offset: u64_at(&record, 48),
        }))
    }

    fn entry(&mut self, entry: &Entry, tree: &mut TreeBuilder<'_>) -> Result<()> {
        let name = &entry.name;
        if entry.flags & 1 != 0 || entry.flags & (1 << 13) != 0 {
            return Err(archive(format!("Entry {} is encrypted.", quoted(name))));
        }
        let unix_mode = if entry.made_on == 3 || entry.made_on == 19 {
            entry.external >> 16
        } else {
            0
        };
        let kind = unix_mode & 0o170_000;
        let mtime = (entry.mtime, 0);
        let attributes = |default: u32| Attributes {
            mode: if unix_mode == 0 { default } else { unix_mode },
            mtime,
        };
        match kind {
            0o040_000 => return tree.directory(name, attributes(0o755)),
            _ if name.ends_with(b"/") => return tree.directory(name, attributes(0o755)),
            0o020_000 | 0o060_000 => return tree.device(name),
            0o010_000 | 0o140_000 => {
                tree.skip();
                return Ok(());
            }
            _ => {}
        }
        let data = self.data_offset(entry)?;
        self.file.seek(SeekFrom::Start(data)).map_err(reading)?;
        let raw = BufReader::with_capacity(CHUNK, (&self.file).take(entry.compressed));
        let decoder: Box<dyn Read + '_> = match entry.method {
            0 if entry.compressed == entry.size => Box::new(raw),
            0 => return Err(contradiction(name)),
            8 => Box::new(DeflateDecoder::new(raw)),
            12 => Box::new(BzDecoder::new(raw)),
            method => {
                return Err(archive(format!(
                    "Entry {} uses compression method {method}.",
                    quoted(name)
                )));
            }
        };
        let mut checked = Checked {
            inner: decoder,
            crc: Crc::new(),
            expansion: &mut self.expansion,
        };
        if kind == 0o120_000 {
            if entry.size > MAX_LINK_TEXT {
                return Err(archive(format!(
                    "Link target of {} is longer than 4095 bytes.",
                    quoted(name)
                )));
            }
            let mut text = Vec::new();
            (&mut checked)
                .take(entry.size)
                .read_to_end(&mut text)
                .map_err(|error| explain(error, Some(name)))?;
            checked.finish(entry)?;
            return tree.symlink(name, &text, attributes(0o777));
        }
        tree.file(
            name,
            attributes(0o644),
            &Layout {
                size: entry.size,
                pieces: None,
            },
            &mut checked,
        )?;
        checked.finish(entry)
    }

    /// Where the bytes of an entry begin, after checking that its local header agrees with the directory.
    fn data_offset(&mut self, entry: &Entry) -> Result<u64> {
        let header = self.read_at(entry.offset, LOCAL_LENGTH)?;
        let (name_length, extra_length) = (u64::from(u16_at(&header, 26)), u64::from(u16_at(&header, 28)));
        let agrees = header.starts_with(&LOCAL_SIGNATURE)
            && u16_at(&header, 8) == entry.method
            && self
                .read_at(entry.offset + LOCAL_LENGTH, name_length)?
                .replace_backslashes(entry)
                == entry.name;
        let sizes_follow = u16_at(&header, 6) & 8 != 0;
        let sizes = (u32_at(&header, 18), u32_at(&header, 22));
        let fits = |local: u32, central: u64| local == u32::MAX || u64::from(local) == central;
        let sizes_agree = sizes_follow || (fits(sizes.0, entry.compressed) && fits(sizes.1, entry.size));
        if !agrees || !sizes_agree {
            return Err(contradiction(&entry.name));
        }
        let data = entry.offset + LOCAL_LENGTH + name_length + extra_length;
        if data.checked_add(entry.compressed).is_none_or(|end| end > self.size) {
            return Err(explain(io::ErrorKind::UnexpectedEof.into(), Some(&entry.name)));
        }
        Ok(data)
    }
}

/// A part of a file whose handle others move about.
struct At {
    file: File,
    offset: u64,
    end: u64,
}

impl Read for At {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let want = out
            .len()
            .min(usize::try_from(self.end - self.offset).unwrap_or(usize::MAX));
        self.file.seek(SeekFrom::Start(self.offset))?;
        let got = self.file.read(&mut out[..want])?;
        self.offset += got as u64;
        Ok(got)
    }
}

/// Counts and checks the bytes of one entry.
struct Checked<'e, 'f> {
    inner: Box<dyn Read + 'f>,
    crc: Crc,
    expansion: &'e mut Expansion,
}

impl Read for Checked<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(out)?;
        self.crc.update(&out[..got]);
        self.expansion.add(got)?;
        Ok(got)
    }
}

impl Checked<'_, '_> {
    /// Nothing may follow, and the checksum must be right.
    fn finish(mut self, entry: &Entry) -> Result<()> {
        let more = self
            .inner
            .read(&mut [0])
            .map_err(|error| explain(error, Some(&entry.name)))?;
        if more > 0 {
            return Err(contradiction(&entry.name));
        }
        if self.crc.sum() != entry.crc {
            return Err(archive(format!(
                "Checksum error in compressed data of {}.",
                quoted(&entry.name)
            )));
        }
        Ok(())
    }
}

/// Names of zips made on FAT or NTFS may use backslashes.
trait Backslashes {
    fn replace_backslashes(self, entry: &Entry) -> Vec<u8>;
}

impl Backslashes for Vec<u8> {
    fn replace_backslashes(mut self, entry: &Entry) -> Vec<u8> {
        if from_windows(entry.made_on) && !self.contains(&b'/') {
            self.iter_mut()
                .filter(|byte| **byte == b'\\')
                .for_each(|byte| *byte = b'/');
        }
        self
    }
}

fn from_windows(made_on: u8) -> bool {
    matches!(made_on, 0 | 10 | 11 | 14)
}

fn read_central(reader: &mut dyn BufRead, number: u64) -> Result<Entry> {
    let mut header = [0; CENTRAL_LENGTH as usize];
    reader.read_exact(&mut header).map_err(|error| explain(error, None))?;
    if !header.starts_with(&CENTRAL_SIGNATURE) {
        return Err(archive(format!("Zip directory is damaged at entry {number}.")));
    }
    let mut read = |length: u16| -> Result<Vec<u8>> {
        let mut bytes = vec![0; length.into()];
        reader.read_exact(&mut bytes).map_err(|error| explain(error, None))?;
        Ok(bytes)
    };
    let name = read(u16_at(&header, 28))?;
    let extra = read(u16_at(&header, 30))?;
    read(u16_at(&header, 32))?;
    let mut entry = Entry {
        name: Vec::new(),
        made_on: header[5],
        flags: u16_at(&header, 8),
        method: u16_at(&header, 10),
        mtime: dos_time(u16_at(&header, 14), u16_at(&header, 12)),
        crc: u32_at(&header, 16),
        compressed: u32_at(&header, 20).into(),
        size: u32_at(&header, 24).into(),
        external: u32_at(&header, 38),
        offset: u32_at(&header, 42).into(),
    };
    entry.name = name.replace_backslashes(&entry);
    if u16_at(&header, 34) != 0 && u16_at(&header, 34) != u16::MAX {
        return Err(archive("Zip archive is split."));
    }
    read_extra(&mut entry, &extra);
    Ok(entry)
}

/// The real sizes of zip64 and the exact time, where extra fields give them.
fn read_extra(entry: &mut Entry, mut extra: &[u8]) {
    while extra.len() >= 4 {
        let (id, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(mut field) = extra.get(4..4 + length) else {
            return;
        };
        match id {
            1 => {
                for value in [&mut entry.size, &mut entry.compressed, &mut entry.offset] {
                    if *value == u64::from(u32::MAX) && field.len() >= 8 {
                        *value = u64_at(field, 0);
                        field = &field[8..];
                    }
                }
            }
            0x5455 if field.len() >= 5 && field[0] & 1 != 0 => entry.mtime = i64::from(u32_at(field, 1) as i32),
            _ => {}
        }
        extra = &extra[4 + length..];
    }
}

/// Seconds since the epoch of a DOS date and time, read as UTC.
fn dos_time(date: u16, time: u16) -> i64 {
    let (year, month, day) = (
        i64::from(date >> 9) + 1980,
        i64::from(date >> 5 & 15),
        i64::from(date & 31),
    );
    // Days of the civil calendar, counted from March.
    let shifted = year - i64::from(month <= 2);
    let from_march = (month + 9) % 12;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * from_march + 2) / 5 + day - 1;
    let seconds = i64::from(time >> 11) * 3600 + i64::from(time >> 5 & 63) * 60 + i64::from(time & 31) * 2;
    (days - 719_468) * 86_400 + seconds
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn archive(detail: impl Into<String>) -> Error {
    Error::Archive(detail.into())
}

fn contradiction(name: &[u8]) -> Error {
    archive(format!("Entry {} contradicts the zip directory.", quoted(name)))
}

fn damaged(at: u64) -> Error {
    archive(format!("Archive is damaged at byte {at}."))
}

fn reading(error: io::Error) -> Error {
    Error::io("read spool", error)
}

#[cfg(test)]
mod tests {
    use super::dos_time;

    #[test]
    fn dos_times_are_read_as_utc() {
        // 2024-02-29 12:34:56
        assert_eq!(
            dos_time((44 << 9) + (2 << 5) + 29, (12 << 11) + (34 << 5) + 28),
            1_709_210_096
        );
        assert_eq!(dos_time((1 << 5) + 1, 0), 315_532_800);
    }
}
