//! Lifetimes: how long something lives by what a provider says, as seconds or as a time of expiry.
//! Owns: every way in which either is written, and which of them are mistakes.
//! Must not know: what lives that long.

use std::{ops::Range, time::Duration};

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::Value;

/// A lifetime beyond ten years is a mistake or "never": unknown.
const LIFETIME_MAX_SECONDS: f64 = 10.0 * 365.0 * 86_400.0;
/// Earlier and later times are mistakes: in seconds since 1970, from 2001 to 5138.
const EPOCH_SECONDS: Range<i64> = 1_000_000_000..100_000_000_000;
/// What a local time looks like; it counts as UTC.
const LOCAL_TIMES: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];

/// Seconds as a number, a fraction or text. What is not a positive, sane number is unknown: providers send 0 or a negative
/// number also for a token that does not expire, and to believe that it has expired would mean a refresh at every use.
pub(super) fn lifetime(value: Option<&Value>) -> Option<Duration> {
    let seconds = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    (1.0..=LIFETIME_MAX_SECONDS).contains(&seconds).then(|| Duration::from_secs_f64(seconds.floor()))
}

/// How long it is until the time that `expires_at` names: seconds, milliseconds, microseconds or nanoseconds since 1970, as a
/// number or as text, or a date of RFC 3339 or its relatives. Zero if it has passed; unknown if it is not a time of this age.
pub(super) fn left_until(value: &Value, now: DateTime<Utc>) -> Option<Duration> {
    let at = match value {
        Value::Number(number) => of_epoch(number.as_f64()?)?,
        Value::String(text) => match text.trim() {
            text if text.parse::<f64>().is_ok() => of_epoch(text.parse().ok()?)?,
            text => date(text)?,
        },
        _ => return None,
    };
    let left = (at - now).to_std().unwrap_or_default();
    (left.as_secs_f64() <= LIFETIME_MAX_SECONDS).then_some(left)
}

/// The magnitude says which unit it is: for times of this age, no two units overlap.
fn of_epoch(number: f64) -> Option<DateTime<Utc>> {
    #[expect(clippy::cast_possible_truncation, reason = "what is too large for an integer is not a time either")]
    let in_seconds = |units_per_second: f64| (number / units_per_second).floor() as i64;
    let seconds = [1.0, 1e3, 1e6, 1e9].into_iter().map(in_seconds).find(|seconds| EPOCH_SECONDS.contains(seconds))?;
    DateTime::from_timestamp(seconds, 0)
}

fn date(text: &str) -> Option<DateTime<Utc>> {
    let local = |format: &&str| NaiveDateTime::parse_from_str(text, format).ok().map(|time| time.and_utc());
    let with_offset = || Some(DateTime::parse_from_rfc2822(text).ok()?.to_utc());
    // Chrono's own reading takes a space for `T`, and offsets without a colon.
    let date = text.parse::<DateTime<Utc>>().ok().or_else(with_offset).or_else(|| LOCAL_TIMES.iter().find_map(local));
    date.filter(|date| EPOCH_SECONDS.contains(&date.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_expiry_is_read_in_every_way_it_is_written() {
        let now = "2026-11-27T10:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("1795777200", Some(3600)),
            ("1795777200.9", Some(3600)),
            ("1795777200000", Some(3600)),
            ("1795777200000000", Some(3600)),
            ("1795777200000000000", Some(3600)),
            ("\"1795777200000000\"", Some(3600)),
            ("\"1795777200\"", Some(3600)),
            ("\" 1795777200000 \"", Some(3600)),
            ("\"2026-11-27T11:00:00Z\"", Some(3600)),
            ("\"2026-11-27T11:00:00.000Z\"", Some(3600)),
            ("\"2026-11-27T12:00:00+01:00\"", Some(3600)),
            ("\"2026-11-27T12:00:00+0100\"", Some(3600)),
            ("\"2026-11-27 11:00:00 UTC\"", Some(3600)),
            ("\"2026-11-27T11:00:00\"", Some(3600)),
            ("\"2026-11-27 11:00:00.5\"", Some(3600)),
            ("\"Fri, 27 Nov 2026 11:00:00 GMT\"", Some(3600)),
            // Expired already.
            ("1795773599", Some(0)),
            ("1795773599000000000", Some(0)),
            ("\"2001-09-10T00:00:00Z\"", Some(0)),
            // Not a time, or not one of this age.
            ("0", None),
            ("-1", None),
            ("3600", None),
            ("1e300", None),
            ("179577720000", None),
            ("1795777200000000000000", None),
            ("\"1970-01-01T00:00:00Z\"", None),
            ("\"9999-12-31T23:59:59Z\"", None),
            ("\"2126-11-27T11:00:00Z\"", None),
            ("\"tomorrow\"", None),
            ("\"inf\"", None),
            ("\"\"", None),
            ("null", None),
            ("true", None),
            ("{}", None),
        ] {
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(left_until(&value, now).map(|left| left.as_secs()), seconds, "{value}");
        }
    }
}
