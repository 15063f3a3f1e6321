//! Building archives entry by entry, and a place to unpack them.

mod any;
mod streams;
mod tars;
mod zips;

use std::io::{Cursor, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use ::tar::{EntryType, Header};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use tempfile::TempDir;

use super::*;
use crate::{PackOptions, SubPath, pack_tree, tree_digest};

/// A tar entry under construction.
#[derive(Debug)]
struct Item {
    name: Vec<u8>,
    kind: u8,
    link: Vec<u8>,
    data: Vec<u8>,
    mode: u32,
}

fn item(name: &str, kind: u8) -> Item {
    Item {
        name: name.into(),
        kind,
        link: vec![],
        data: vec![],
        mode: 0o644,
    }
}

fn file(name: &str, data: &str) -> Item {
    Item {
        data: data.into(),
        ..item(name, b'0')
    }
}

fn dir(name: &str) -> Item {
    Item {
        mode: 0o755,
        ..item(name, b'5')
    }
}

fn link(name: &str, text: &str) -> Item {
    Item {
        link: text.into(),
        ..item(name, b'2')
    }
}

fn hard(name: &str, target: &str) -> Item {
    Item {
        link: target.into(),
        ..item(name, b'1')
    }
}

fn header(entry: &Item) -> Header {
    let mut header = Header::new_gnu();
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..entry.name.len().min(100)].copy_from_slice(&entry.name[..entry.name.len().min(100)]);
    gnu.linkname[..entry.link.len().min(100)].copy_from_slice(&entry.link[..entry.link.len().min(100)]);
    header.set_entry_type(EntryType::new(entry.kind));
    header.set_mode(entry.mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(entry.data.len() as u64);
    header.set_cksum();
    header
}

fn tar_of(items: &[Item]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in items {
        bytes.extend_from_slice(header(entry).as_bytes());
        bytes.extend_from_slice(&entry.data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A record of a PAX header: its own length, key and value.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let length = (rest.len()..rest.len() + 10)
        .find(|length| length.to_string().len() + rest.len() == *length)
        .unwrap();
    format!("{length}{rest}")
}

fn sparse((key, value): (&str, &str)) -> String {
    record(&format!("GNU.sparse.{key}"), value)
}

struct Bench {
    temp: TempDir,
    destination: PathBuf,
}

fn bench() -> Bench {
    let temp = tempfile::tempdir().unwrap();
    let destination = temp.path().join("area/tree");
    std::fs::create_dir(temp.path().join("area")).unwrap();
    Bench { temp, destination }
}

impl Bench {
    fn unpack_with(&self, kind: ArchiveKind, bytes: &[u8], options: &UnpackOptions) -> Result<Unpacked> {
        unpack(kind, &mut Cursor::new(bytes), &self.destination, options)
    }

    fn unpack(&self, kind: ArchiveKind, bytes: &[u8]) -> Result<Unpacked> {
        self.unpack_with(kind, bytes, &UnpackOptions::default())
    }

    /// Everything in the area of the destination.
    fn leftovers(&self) -> usize {
        std::fs::read_dir(self.temp.path().join("area")).unwrap().count()
            + std::fs::read_dir(&self.temp).unwrap().count()
            - 1
    }
}

fn refused(kind: ArchiveKind, bytes: &[u8], options: &UnpackOptions) -> String {
    let bench = bench();
    let error = bench.unpack_with(kind, bytes, options).unwrap_err();
    assert_eq!(bench.leftovers(), 0, "something was left behind after: {error}");
    assert!(error.is_users_fault(), "{error:?}");
    error.to_string()
}

/// A zip entry under construction.
struct ZipItem {
    name: Vec<u8>,
    data: Vec<u8>,
    method: u16,
    mode: u32,
    flags: u16,
    local_name: Option<Vec<u8>>,
    crc_change: u32,
    size_change: u32,
    made_on: u8,
}

impl ZipItem {
    fn new(name: &str, data: &[u8]) -> Self {
        Self {
            name: name.into(),
            data: data.to_vec(),
            method: 8,
            mode: 0o100_644,
            flags: 0,
            local_name: None,
            crc_change: 0,
            size_change: 0,
            made_on: 3,
        }
    }
}

fn zip_of(items: &[ZipItem]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut central = Vec::new();
    for item in items {
        let packed = if item.method == 8 {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&item.data).unwrap();
            encoder.finish().unwrap()
        } else {
            item.data.clone()
        };
        let mut crc = flate2::Crc::new();
        crc.update(&item.data);
        let offset = bytes.len() as u32;
        let mut common = Vec::new();
        for field in [20, item.flags, item.method, 0, (44 << 9) | (1 << 5) | 1] {
            common.extend_from_slice(&field.to_le_bytes());
        }
        for field in [
            crc.sum() ^ item.crc_change,
            packed.len() as u32,
            (item.data.len() as u32).wrapping_add(item.size_change),
        ] {
            common.extend_from_slice(&field.to_le_bytes());
        }
        let local_name = item.local_name.as_ref().unwrap_or(&item.name);
        bytes.extend_from_slice(b"PK\x03\x04");
        bytes.extend_from_slice(&common);
        bytes.extend_from_slice(&(local_name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(local_name);
        bytes.extend_from_slice(&packed);
        central.extend_from_slice(b"PK\x01\x02");
        central.extend_from_slice(&[20, item.made_on]);
        central.extend_from_slice(&common);
        central.extend_from_slice(&(item.name.len() as u16).to_le_bytes());
        central.extend_from_slice(&[0; 8]);
        central.extend_from_slice(&(item.mode << 16).to_le_bytes());
        central.extend_from_slice(&offset.to_le_bytes());
        central.extend_from_slice(&item.name);
    }
    end_zip(bytes, &central, items.len() as u16)
}

fn end_zip(mut bytes: Vec<u8>, central: &[u8], entries: u16) -> Vec<u8> {
    let offset = bytes.len() as u32;
    bytes.extend_from_slice(central);
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    bytes.extend_from_slice(&entries.to_le_bytes());
    bytes.extend_from_slice(&entries.to_le_bytes());
    bytes.extend_from_slice(&(central.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes
}
