//! The bytes of an archive on their way in: counted, looked ahead into, decompressed member by member under the limit on
//! expansion.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;

use super::Limits;
use super::name::quoted;
use crate::{Error, Result};

/// The raw bytes, with look-ahead and a count of what was consumed.
pub struct Input<'s> {
    source: &'s mut dyn BufRead,
    /// Bytes taken from the source to look at; they come first.
    ahead: Vec<u8>,
    consumed: Rc<Cell<u64>>,
}

impl<'s> Input<'s> {
    pub fn new(source: &'s mut dyn BufRead) -> Self {
        Self {
            source,
            ahead: Vec::new(),
            consumed: Rc::new(Cell::new(0)),
        }
    }

    /// The next `count` bytes without consuming them; fewer at the end.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.ahead.len() < count {
            let available = retry(|| self.source.fill_buf().map(<[u8]>::len))?;
            if available == 0 {
                break;
            }
            let taken = available.min(count - self.ahead.len());
            self.ahead.extend_from_slice(&self.source.fill_buf()?[..taken]);
            self.source.consume(taken);
        }
        Ok(&self.ahead[..count.min(self.ahead.len())])
    }

    /// Reads to the end, so that a transfer that breaks off late is noticed.
    pub fn drain(&mut self) -> Result<()> {
        io::copy(self, &mut io::sink())
            .map(|_| ())
            .map_err(|error| explain(error, None))
    }
}

fn retry<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(out.len());
        out[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.ahead.is_empty() {
            self.source.fill_buf()
        } else {
            Ok(&self.ahead)
        }
    }

    fn consume(&mut self, amount: usize) {
        self.consumed.set(self.consumed.get() + amount as u64);
        if self.ahead.is_empty() {
            self.source.consume(amount);
        } else {
            self.ahead.drain(..amount.min(self.ahead.len()));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Gzip,
    Bzip2,
}

impl Codec {
    fn magic(self) -> &'static [u8] {
        match self {
            Self::Gzip => &[0x1f, 0x8b],
            Self::Bzip2 => b"BZh",
        }
    }
}

/// Decompresses all members one after another. What follows them and is no member is ignored.
pub struct Decoder<'s> {
    member: Member<'s>,
    codec: Codec,
    expansion: Expansion,
}

enum Member<'s> {
    Gzip(Box<GzDecoder<Input<'s>>>),
    Bzip2(BzDecoder<Input<'s>>),
    Ended(Input<'s>),
    /// Only while one state is exchanged for the next.
    Changing,
}

impl<'s> Decoder<'s> {
    /// Errors: [`Error::Archive`] when the input does not begin as the format does.
    pub fn new(mut input: Input<'s>, codec: Codec, limits: &Limits) -> Result<Self> {
        let magic = codec.magic();
        if input.peek(magic.len()).map_err(|error| explain(error, None))? != magic {
            let format = if codec == Codec::Gzip { "gzip" } else { "bzip2" };
            return Err(Error::Archive(format!("Not a {format} file.")));
        }
        let expansion = Expansion::new(input.consumed.clone(), limits);
        Ok(Self {
            member: Member::open(input, codec),
            codec,
            expansion,
        })
    }

    /// Reads the rest of the input behind the last member.
    pub fn drain(&mut self) -> Result<()> {
        match &mut self.member {
            Member::Ended(input) => input.drain(),
            _ => Ok(()),
        }
    }
}

impl<'s> Member<'s> {
    fn open(input: Input<'s>, codec: Codec) -> Self {
        match codec {
            Codec::Gzip => Self::Gzip(Box::new(GzDecoder::new(input))),
            Codec::Bzip2 => Self::Bzip2(BzDecoder::new(input)),
        }
    }

    fn into_input(self) -> Option<Input<'s>> {
        match self {
            Self::Gzip(decoder) => Some(decoder.into_inner()),
            Self::Bzip2(decoder) => Some(decoder.into_inner()),
            Self::Ended(input) => Some(input),
            Self::Changing => None,
        }
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let got = match &mut self.member {
                Member::Gzip(decoder) => decoder.read(out)?,
                Member::Bzip2(decoder) => decoder.read(out)?,
                Member::Ended(_) | Member::Changing => return Ok(0),
            };
            if got > 0 {
                self.expansion.add(got)?;
                return Ok(got);
            }
            let Some(mut input) = std::mem::replace(&mut self.member, Member::Changing).into_input() else {
                return Ok(0);
            };
            let magic = self.codec.magic();
            self.member = if input.peek(magic.len())? == magic {
                Member::open(input, self.codec)
            } else {
                Member::Ended(input)
            };
        }
    }
}

/// Watches how much larger the output is than the input.
pub struct Expansion {
    input: Rc<Cell<u64>>,
    output: u64,
    max_ratio: u64,
    floor: u64,
}

impl Expansion {
    pub fn new(input: Rc<Cell<u64>>, limits: &Limits) -> Self {
        Self {
            input,
            output: 0,
            max_ratio: limits.max_ratio,
            floor: limits.ratio_floor_bytes,
        }
    }

    /// Counts output; fails when it is out of proportion.
    pub fn add(&mut self, bytes: usize) -> io::Result<()> {
        self.output += bytes as u64;
        let allowed = self.input.get().saturating_mul(self.max_ratio);
        if self.max_ratio > 0 && self.output > self.floor && self.output > allowed {
            return Err(io::Error::other(Bomb { ratio: self.max_ratio }));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Bomb {
    ratio: u64,
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Archive expands more than {} times.", self.ratio)
    }
}

impl std::error::Error for Bomb {}

/// What a failed read says about the archive: damage, an early end, or trouble of the source itself. `entry` is what was
/// being read.
pub fn explain(error: io::Error, entry: Option<&[u8]>) -> Error {
    if let Some(bomb) = error.get_ref().and_then(|inner| inner.downcast_ref::<Bomb>()) {
        return Error::Archive(bomb.to_string());
    }
    match (error.kind(), entry) {
        (io::ErrorKind::UnexpectedEof, Some(name)) => {
            Error::Archive(format!("Archive ends in the middle of {}.", quoted(name)))
        }
        (io::ErrorKind::UnexpectedEof, None) => Error::Archive("Archive ends early.".to_owned()),
        (io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput, Some(name)) => {
            Error::Archive(format!("Checksum error in compressed data of {}.", quoted(name)))
        }
        (io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput, None) => {
            Error::Archive("Checksum error in compressed data.".to_owned())
        }
        _ => Error::io("read archive", error),
    }
}
