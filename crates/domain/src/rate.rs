//! Limits of the kind "so many in such a time", written `10/15m` in `config.json`.

use crate::duration;
use crate::error::{Error, Result};

/// So many things in so many seconds. Both are positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How many may happen at once.
    pub count: u32,
    /// After this many seconds of quiet all of them may happen again.
    pub seconds: f64,
}

impl Rate {
    /// `count` things in `seconds`.
    pub const fn new(count: u32, seconds: f64) -> Self {
        Self { count, seconds }
    }

    /// Parses `<count>/<duration>`; `off` means no limit.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(None);
        }
        let invalid = || {
            Error::usage(format!(
                "Invalid limit: {text}, expected <count>/<duration>, e.g. 10/15m, or off"
            ))
        };
        let (count, period) = text.split_once('/').ok_or_else(invalid)?;
        let count: u32 = count.trim().parse().map_err(|_| invalid())?;
        let seconds = duration::parse(period.trim()).map_err(|_| invalid())?;
        let sensible = count > 0 && (0.001..=1e9).contains(&seconds);
        if sensible {
            Ok(Some(Self { count, seconds }))
        } else {
            Err(invalid())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_a_count_and_a_duration() {
        for (text, expected) in [
            ("10/15m", Some(Rate::new(10, 900.0))),
            ("1/ 1h", Some(Rate::new(1, 3600.0))),
            ("5/30", Some(Rate::new(5, 30.0))),
            ("off", None),
            ("OFF", None),
        ] {
            assert_eq!(Rate::parse(text).unwrap(), expected, "{text}");
        }
        for bad in [
            "",
            "10",
            "0/1h",
            "-1/1h",
            "1/0s",
            "a/b",
            "1/1x",
            "1.5/1h",
            "1/inf",
            "4294967296/1h",
        ] {
            let message = Rate::parse(bad).unwrap_err().message;
            assert!(message.starts_with(&format!("Invalid limit: {bad}")), "{message}");
        }
    }
}
