//! Unpacking archives that nobody trusts: whatever the bytes are, the result is a tree whose every path is inside the
//! destination and which holds only files, directories and links, or an error that names the entry.

mod input;
mod name;
mod pax;
mod tar;
mod tree;
mod zip;

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::stream::CHUNK;
use crate::{ArchiveKind, Error, FileHasher, Result, remove_tree};
use input::{Codec, Decoder, Input};
use tree::TreeBuilder;

/// Bounds on what an archive may unpack to; 0 = no bound.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_entries: u64,
    /// Output may be this many times the input...
    pub max_ratio: u64,
    /// ... once it exceeds this many bytes.
    pub ratio_floor_bytes: u64,
    pub max_depth: usize,
    /// Length of a path in bytes.
    pub max_path: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entries: 10_000_000,
            max_ratio: 2000,
            ratio_floor_bytes: 1 << 30,
            max_depth: 256,
            max_path: 4096,
        }
    }
}

/// How an archive is unpacked.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnpackOptions {
    pub limits: Limits,
    /// Bytes that files and links may hold together; beyond them [`Error::TooBig`].
    pub max_bytes: Option<u64>,
    /// Pass over device nodes and count them, instead of refusing the archive: for results of runs.
    pub skip_devices: bool,
}

/// What an archive held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    pub is_dir: bool,
    /// Bytes of all files and link texts.
    pub bytes: u64,
    /// Entries made.
    pub entries: u64,
    /// FIFOs, sockets and unknown things that were passed over.
    pub skipped: u64,
    /// Digest of a single file.
    pub digest: Option<String>,
}

/// Unpacks the archive that `source` gives to `destination`, which must not exist: a new directory, or for `.gz` and
/// `.bz2` a new file. Reads `source` to its end. On any error nothing is left at `destination`.
///
/// Errors: [`Error::Archive`] with the entry's name or the byte offset; [`Error::TooBig`]; [`Error::Io`] when reading
/// `source` or writing fails.
pub fn unpack(
    kind: ArchiveKind,
    source: &mut dyn BufRead,
    destination: &Path,
    options: &UnpackOptions,
) -> Result<Unpacked> {
    let outcome = unpack_kind(kind, source, destination, options);
    if outcome.is_err()
        && let Err(error) = remove_tree(destination)
    {
        tracing::warn!(path = %destination.display(), %error, "cannot remove a half unpacked archive");
    }
    outcome
}

fn unpack_kind(
    kind: ArchiveKind,
    source: &mut dyn BufRead,
    destination: &Path,
    options: &UnpackOptions,
) -> Result<Unpacked> {
    let mut input = Input::new(source);
    match kind {
        ArchiveKind::Zip => zip::unpack(input, destination, options),
        ArchiveKind::Tar => {
            let unpacked = unpack_tar(&mut BufReader::new(&mut input), destination, options)?;
            input.drain()?;
            Ok(unpacked)
        }
        ArchiveKind::TarGz => unpack_tar_in(Decoder::new(input, Codec::Gzip, &options.limits)?, destination, options),
        ArchiveKind::TarBz2 => unpack_tar_in(
            Decoder::new(input, Codec::Bzip2, &options.limits)?,
            destination,
            options,
        ),
        ArchiveKind::Gz => unpack_file(Decoder::new(input, Codec::Gzip, &options.limits)?, destination, options),
        ArchiveKind::Bz2 => unpack_file(
            Decoder::new(input, Codec::Bzip2, &options.limits)?,
            destination,
            options,
        ),
    }
}

fn unpack_tar_in(decoder: Decoder<'_>, destination: &Path, options: &UnpackOptions) -> Result<Unpacked> {
    let mut reader = BufReader::with_capacity(CHUNK, decoder);
    let unpacked = unpack_tar(&mut reader, destination, options)?;
    // The checksum comes at the very end, after the tar's own end.
    std::io::copy(&mut reader, &mut std::io::sink()).map_err(|error| input::explain(error, None))?;
    reader.into_inner().drain()?;
    Ok(unpacked)
}

fn unpack_tar(reader: &mut dyn Read, destination: &Path, options: &UnpackOptions) -> Result<Unpacked> {
    let mut tree = TreeBuilder::create(destination, options)?;
    tar::unpack(reader, &mut tree)?;
    tree.finish()
}

/// One compressed file.
fn unpack_file(mut decoder: Decoder<'_>, destination: &Path, options: &UnpackOptions) -> Result<Unpacked> {
    let failed = |error| Error::io(format!("write '{}'", destination.display()), error);
    let mut file = File::create_new(destination).map_err(failed)?;
    let mut hasher = FileHasher::new();
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let got = decoder.read(&mut buffer).map_err(|error| input::explain(error, None))?;
        if got == 0 {
            break;
        }
        bytes += got as u64;
        if let Some(limit) = options.max_bytes.filter(|limit| bytes > *limit) {
            return Err(Error::TooBig { limit });
        }
        hasher.update(&buffer[..got]);
        file.write_all(&buffer[..got]).map_err(failed)?;
    }
    decoder.drain()?;
    file.set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
    Ok(Unpacked {
        is_dir: false,
        bytes,
        entries: 1,
        skipped: 0,
        digest: Some(hasher.finish()),
    })
}

#[cfg(test)]
mod tests;
