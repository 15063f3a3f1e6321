//! PAX extended headers: the records that matter for unpacking.

use crate::{Error, Result};

const MAX_PIECES: usize = 1_000_000;

/// What extended headers say about the next entry (or, from a global header, about all that follow).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub mtime: Option<(i64, u32)>,
    pub sparse: Sparse,
}

/// GNU sparse records, in the three forms that exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    /// Form 1.0: the map lies before the data.
    pub map_in_data: bool,
    pub size: Option<u64>,
    pub name: Option<Vec<u8>>,
    /// Forms 0.0 and 0.1.
    pub map: Vec<(u64, u64)>,
    offset: Option<u64>,
}

impl Pax {
    /// Adds the records of one header. `at`: byte offset of the header in the archive, for messages.
    pub fn read(&mut self, mut records: &[u8], at: u64) -> Result<()> {
        let damaged = || Error::Archive(format!("Archive is damaged at byte {at}."));
        while !records.is_empty() {
            let blank = records.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
            let length = number(&records[..blank])
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(damaged)?;
            let record = records.get(blank + 1..length).ok_or_else(damaged)?;
            let record = record.strip_suffix(b"\n").ok_or_else(damaged)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(damaged)?;
            self.record(&record[..equals], &record[equals + 1..])
                .ok_or_else(damaged)?;
            records = &records[length..];
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            b"GNU.sparse.major" => self.sparse.map_in_data = value == b"1",
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.size = Some(number(value)?),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.offset" => self.sparse.offset = Some(number(value)?),
            b"GNU.sparse.numbytes" => self.sparse.map.push((self.sparse.offset.take()?, number(value)?)),
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> = value.split(|byte| *byte == b',').map(number).collect();
                self.sparse.map = pairs(&numbers?)?;
            }
            _ => {}
        }
        (self.sparse.map.len() <= MAX_PIECES).then_some(())
    }
}

impl Sparse {
    pub fn is_sparse(&self) -> bool {
        self.map_in_data || (self.size.is_some() && !self.map.is_empty())
    }
}

pub fn pairs(numbers: &[u64]) -> Option<Vec<(u64, u64)>> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[offset, length]| (*offset, *length)).collect())
}

/// A decimal number.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds with an optional sign and fraction.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    match (whole.starts_with('-'), nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_read_and_nonsense_is_damage() {
        let mut pax = Pax::default();
        pax.read(b"11 path=ab\n21 mtime=1234.500000\n11 size=99\n", 0).unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"ab"[..]));
        assert_eq!(pax.mtime, Some((1234, 500_000_000)));
        for nonsense in [
            "x",
            "5",
            "99 path=ab\n",
            "10 path=abc",
            "9 pathab\n",
            "0 a=b\n",
            "3 \n",
            "11 size=-5\n",
        ] {
            let error = Pax::default().read(nonsense.as_bytes(), 512).unwrap_err().to_string();
            assert_eq!(error, "Archive is damaged at byte 512.", "{nonsense:?}");
        }
    }

    #[test]
    fn times_may_be_negative_and_fractional() {
        for (text, expected) in [
            ("1.5", (1, 500_000_000)),
            ("-1.5", (-2, 500_000_000)),
            ("7", (7, 0)),
            ("3.1234567899", (3, 123_456_789)),
        ] {
            assert_eq!(time(text.as_bytes()), Some(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[0-9 =a\\n]{0,60}") {
            let _ = Pax::default().read(&bytes, 0);
            let _ = Pax::default().read(text.as_bytes(), 0);
        }
    }
}
