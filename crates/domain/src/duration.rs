//! Durations in seconds: parsing `1.5h`, printing `1h30m` (scheduler section 10, cli section 6).

use crate::error::{Error, Result};

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;
const YEAR: f64 = 365.0 * DAY;

/// Parses `3`, `3.5`, `90m`, `1d` into seconds. Units: s, m, h, d, y (365 days). Compound values are refused.
pub fn parse(text: &str) -> Result<f64> {
    let invalid = || Error::usage(format!("Invalid duration: {text}, expected <number>[<s|m|h|d|y>]"));
    let last = text.chars().last().ok_or_else(invalid)?;
    let (number, unit) = match last.to_ascii_lowercase() {
        's' => (&text[..text.len() - 1], 1.0),
        'm' => (&text[..text.len() - 1], MINUTE),
        'h' => (&text[..text.len() - 1], HOUR),
        'd' => (&text[..text.len() - 1], DAY),
        'y' => (&text[..text.len() - 1], YEAR),
        _ => (text, 1.0),
    };
    Ok(crate::lenient::parse_decimal(number).ok_or_else(invalid)? * unit)
}

/// Prints seconds with two units: `0.0s`, `1m40s`, `2h46m`, `1d0h`, `1y0d`. Negative input counts as zero.
pub fn format(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    let whole = |value: f64| value.trunc() as i64;
    if seconds < MINUTE {
        format!("{seconds:.1}s")
    } else if seconds < HOUR {
        format!("{}m{}s", whole(seconds / MINUTE), whole(seconds % MINUTE))
    } else if seconds < DAY {
        format!("{}h{}m", whole(seconds / HOUR), whole(seconds % HOUR / MINUTE))
    } else if seconds < YEAR {
        format!("{}d{}h", whole(seconds / DAY), whole(seconds % DAY / HOUR))
    } else {
        format!("{}y{}d", whole(seconds / YEAR), whole(seconds % YEAR / DAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_parse() {
        for (text, seconds) in [
            ("3", 3.0),
            ("3.5", 3.5),
            ("3s", 3.0),
            ("90m", 5400.0),
            ("1d", 86400.0),
            ("2H", 7200.0),
            ("1y", 31_536_000.0),
        ] {
            assert!((parse(text).unwrap() - seconds).abs() < 1e-9, "{text}");
        }
        for text in ["", "1d2h", "s", "10mb", "-", "é", "nan", "inf", "1_0"] {
            let error = parse(text).unwrap_err().message;
            assert_eq!(
                error,
                format!("Invalid duration: {text}, expected <number>[<s|m|h|d|y>]")
            );
        }
    }

    #[test]
    fn durations_print() {
        for (seconds, text) in [
            (0.0, "0.0s"),
            (-5.0, "0.0s"),
            (59.94, "59.9s"),
            (75.0, "1m15s"),
            (100.0, "1m40s"),
            (10_000.0, "2h46m"),
            (86_400.0, "1d0h"),
            (31_536_000.0, "1y0d"),
        ] {
            assert_eq!(format(seconds), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_without_panic(text in ".*") {
            let _ = parse(&text);
        }
    }
}
