//! Points in time in UTC and the four ways they are written on the wire (data-model 1.4, REST 1.6).

use std::fmt::{self, Write};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// A point in time in UTC with microseconds, as the database's naive `DATETIME` columns hold it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(DateTime);

impl UtcTime {
    /// The time of a number of seconds since 1970. Out-of-range values are clamped to the calendar's ends.
    pub fn from_unix(seconds: i64) -> Self {
        let seconds = seconds.clamp(Timestamp::MIN.as_second() + 1, Timestamp::MAX.as_second() - 1);
        let timestamp = Timestamp::from_second(seconds).expect("clamped into range");
        Self(TimeZone::UTC.to_datetime(timestamp))
    }

    /// Seconds since 1970, fraction dropped.
    pub fn unix(self) -> i64 {
        self.timestamp().as_second()
    }

    /// Parses ISO 8601 with or without zone (none means UTC) and SQL's form with a blank instead of the `T`.
    pub fn parse(text: &str) -> Result<Self> {
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Ok(Self(TimeZone::UTC.to_datetime(timestamp)));
        }
        text.parse::<DateTime>()
            .map(Self)
            .map_err(|_| Error::usage("Not a valid datetime."))
    }

    /// `2024-05-01T09:30:00+00:00`, with six digits of microseconds only when they are not zero (JSON:API attributes).
    pub fn iso_with_offset(self) -> String {
        format!("{}+00:00", self.iso_naive())
    }

    /// `2024-05-01T09:30:00` (interpretation results).
    pub fn iso_naive(self) -> String {
        self.format('T')
    }

    /// `2024-05-01 09:30:00` (database text).
    pub fn sql(self) -> String {
        self.format(' ')
    }

    /// `Wed May  1 09:30:00 2024` (`date_joined` and `last_login` of a user).
    pub fn ctime(self) -> String {
        self.0.strftime("%a %b %e %H:%M:%S %Y").to_string()
    }

    fn format(self, separator: char) -> String {
        let d = self.0;
        let mut text = format!(
            "{:04}-{:02}-{:02}{separator}{:02}:{:02}:{:02}",
            d.year(),
            d.month(),
            d.day(),
            d.hour(),
            d.minute(),
            d.second()
        );
        let micros = d.subsec_nanosecond() / 1000;
        if micros != 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, ".{micros:06}");
        }
        text
    }

    fn timestamp(self) -> Timestamp {
        TimeZone::UTC.to_timestamp(self.0).unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Debug for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso_with_offset())
    }
}

impl Serialize for UtcTime {
    /// Writes the form with offset.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.iso_with_offset())
    }
}

impl<'de> Deserialize<'de> for UtcTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// `YYYY-MM-DD HH:MM:SS` of Unix seconds in a time zone, with `.ffffff` only when there is a fraction. This is what the
/// command line prints for metadata dates; pass the user's zone.
pub fn format_date(unix_seconds: f64, zone: &TimeZone) -> String {
    let micros = (unix_seconds * 1e6).round();
    let Ok(timestamp) = Timestamp::from_microsecond(micros as i64) else {
        return unix_seconds.to_string();
    };
    let local = UtcTime(zone.to_datetime(timestamp));
    local.sql()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_is_written_as_the_contract_says() {
        let time = UtcTime::from_unix(1_714_555_800);
        assert_eq!(time.iso_with_offset(), "2024-05-01T09:30:00+00:00");
        assert_eq!(time.iso_naive(), "2024-05-01T09:30:00");
        assert_eq!(time.sql(), "2024-05-01 09:30:00");
        assert_eq!(time.ctime(), "Wed May  1 09:30:00 2024");
        assert_eq!(time.unix(), 1_714_555_800);
    }

    #[test]
    fn all_usual_forms_parse() {
        let expected = UtcTime::from_unix(1_714_555_800);
        for text in [
            "2024-05-01T09:30:00+00:00",
            "2024-05-01T11:30:00+02:00",
            "2024-05-01T09:30:00Z",
            "2024-05-01 09:30:00",
            "2024-05-01T09:30:00",
        ] {
            assert_eq!(UtcTime::parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(
            UtcTime::parse("2024-05-01 09:30:00.25").unwrap().iso_naive(),
            "2024-05-01T09:30:00.250000"
        );
        assert_eq!(
            UtcTime::parse("yesterday").unwrap_err().message,
            "Not a valid datetime."
        );
    }

    #[test]
    fn dates_print_in_the_given_zone() {
        assert_eq!(format_date(1_700_000_000.0, &TimeZone::UTC), "2023-11-14 22:13:20");
        assert_eq!(
            format_date(1_700_000_000.5, &TimeZone::UTC),
            "2023-11-14 22:13:20.500000"
        );
        assert_eq!(format_date(f64::MAX, &TimeZone::UTC), f64::MAX.to_string());
    }

    proptest! {
        #[test]
        fn any_number_of_seconds_is_a_time(seconds: i64, text in ".*") {
            let _ = UtcTime::from_unix(seconds).iso_naive();
            let _ = UtcTime::parse(&text);
        }
    }
}
