//! Sizes in bytes: parsing `1.5g`, printing `1.5k` (scheduler section 10, cli section 6).

use crate::error::{Error, Result};

const UNITS: [&str; 5] = ["", "k", "m", "g", "t"];

/// Parses `3`, `3k`, `3.5g`, `.5t` (any case, powers of 1024) into bytes, truncated. A bare number must be an integer.
pub fn parse(text: &str) -> Result<i64> {
    let invalid = || Error::usage(format!("Invalid size: {text}, expected <number>[<k|m|g|t>]"));
    let last = text.chars().last().ok_or_else(invalid)?;
    if last.is_ascii_digit() {
        return text.trim().parse().map_err(|_| invalid());
    }
    let power = match last.to_ascii_lowercase() {
        'k' => 1,
        'm' => 2,
        'g' => 3,
        't' => 4,
        _ => return Err(invalid()),
    };
    let number = crate::lenient::parse_decimal(&text[..text.len() - 1]).ok_or_else(invalid)?;
    Ok((number * 1024f64.powi(power)) as i64)
}

/// Prints a size: `1023`, `1k`, `1.5k`, `390k`.
pub fn format(bytes: f64) -> String {
    format_units(bytes, "")
}

/// Prints a size as [`format`] does, but values below 1 KiB with the word `bytes`: `312 bytes`.
pub fn format_verbose(bytes: f64) -> String {
    format_units(bytes, " bytes")
}

fn format_units(bytes: f64, first_unit: &str) -> String {
    let mut value = if bytes.is_finite() { bytes } else { 0.0 };
    for (index, unit) in UNITS.iter().enumerate() {
        let last = index + 1 == UNITS.len();
        let unit = if index == 0 { first_unit } else { unit };
        if value < 100.0 && value.fract() != 0.0 {
            return format!("{value:.1}{unit}");
        }
        if value < 1024.0 || last {
            return format!("{}{unit}", value.trunc() as i64);
        }
        value /= 1024.0;
    }
    unreachable!("the last unit always returns")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_parse() {
        for (text, bytes) in [
            ("3", 3),
            ("3k", 3072),
            ("3K", 3072),
            ("3.5g", 3_758_096_384),
            (".5g", 536_870_912),
            ("-5", -5),
            ("0", 0),
            ("1.0001k", 1024),
            ("2t", 2_199_023_255_552),
        ] {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
        for text in [
            "", "3.5", "10mb", "k", "1d2h", "3 gb", "é", "infk", "nang", "0x3", "1e400t ",
        ] {
            let error = parse(text).unwrap_err().message;
            assert_eq!(error, format!("Invalid size: {text}, expected <number>[<k|m|g|t>]"));
        }
    }

    #[test]
    fn sizes_print() {
        for (bytes, text) in [
            (0.0, "0"),
            (1023.0, "1023"),
            (1024.0, "1k"),
            (1536.0, "1.5k"),
            (307_300.0, "300k"),
            (1_572_864.0, "1.5m"),
            (2_097_152.0, "2m"),
            (450_000_000_000_000.0, "409t"),
            (99.5, "99.5"),
            (2f64.powi(60), "1048576t"),
            (f64::NAN, "0"),
        ] {
            assert_eq!(format(bytes), text);
        }
        assert_eq!(format_verbose(312.0), "312 bytes");
        assert_eq!(format_verbose(99.5), "99.5 bytes");
        assert_eq!(format_verbose(1536.0), "1.5k");
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_without_panic(text in ".*") {
            let _ = parse(&text);
        }

        #[test]
        fn a_printed_size_parses_to_about_the_same(bytes in 0i64..1 << 50) {
            let text = format(bytes as f64);
            let parsed = if text.contains('.') && text.ends_with(|c: char| c.is_ascii_digit()) { bytes } else { parse(&text).unwrap() };
            prop_assert!((parsed - bytes).abs() as f64 <= bytes as f64 * 0.06 + 1.0);
        }
    }
}
