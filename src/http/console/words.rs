//! Texts and times as the pages show them.
//! Owns: their words.
//! Must not know: HTML: the templates escape.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use url::form_urlencoded;

use crate::{
    http::browser::pages::text::{PERSON_CHARS, cleaned},
    model::token_state::Condition,
};

/// A text of others, cleaned and cut.
pub(in crate::http) fn shown(text: &str) -> String {
    cleaned(text, PERSON_CHARS).unwrap_or_default()
}

/// The same, in at most so many characters.
pub(in crate::http) fn shown_up_to(text: &str, limit: usize) -> String {
    cleaned(text, limit).unwrap_or_default()
}

/// The same, unless nothing remains.
pub(in crate::http) fn shown_if_any(text: &str) -> Option<String> {
    cleaned(text, PERSON_CHARS)
}

/// A moment, as people and programs read it.
pub(in crate::http) struct Moment {
    /// RFC 3339.
    pub(in crate::http) exact: String,
    /// Seen from now, such as `in 5 minutes`.
    pub(in crate::http) relative: String,
}

/// A moment, seen from `now`.
pub(in crate::http) fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> Moment {
    let is_past = at <= now;
    let span = if is_past { now - at } else { at - now };
    let many = |count: i64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    let relative = if span < TimeDelta::minutes(1) {
        if is_past { "just now".to_owned() } else { "in less than a minute".to_owned() }
    } else {
        let span = match (span.num_minutes(), span.num_hours(), span.num_days()) {
            (minutes, 0, _) => many(minutes, "minute"),
            (_, hours, 0 | 1) => many(hours, "hour"),
            (_, _, days) => many(days, "day"),
        };
        if is_past { format!("{span} ago") } else { format!("in {span}") }
    };
    Moment { exact: at.to_rfc3339_opts(SecondsFormat::Secs, true), relative }
}

/// The condition of a token, in words.
pub(in crate::http) fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::Active => "Active",
        Condition::Refreshing => "Refreshing",
        Condition::Failing => "Failing",
        Condition::ConsentNeeded => "Needs consent",
    }
}

/// A query of these pairs, without those whose value is empty; empty, or with its question mark.
pub(in crate::http) fn query(pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    let query = query.finish();
    if query.is_empty() { query } else { format!("?{query}") }
}

/// The value of that name in a query. PostgreSQL has no texts with NUL, so nothing has one.
pub(in crate::http) fn parameter(query: Option<&str>, name: &str) -> String {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let value = pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned());
    value.unwrap_or_default().replace('\0', "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_said_in_its_largest_unit() {
        let now = DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z").unwrap().to_utc();
        let said = |seconds: i64| moment(now + TimeDelta::seconds(seconds), now).relative;
        assert_eq!((said(0), said(30)), ("just now".to_owned(), "in less than a minute".to_owned()));
        assert_eq!((said(60), said(-3599)), ("in 1 minute".to_owned(), "59 minutes ago".to_owned()));
        assert_eq!((said(3600), said(-36 * 3600)), ("in 1 hour".to_owned(), "36 hours ago".to_owned()));
        assert_eq!(said(20 * 86400), "in 20 days");
        assert_eq!(moment(now, now).exact, "2026-03-01T12:00:00Z");
    }

    #[test]
    fn a_query_keeps_every_character_of_its_values() {
        assert_eq!(query(&[("a", ""), ("b", "")]), "");
        let made = query(&[("user", "ada&x=1 ü\"<"), ("state", "")]);
        assert_eq!(parameter(Some(&made[1..]), "user"), "ada&x=1 ü\"<");
        assert!(!made.contains('<') && !made.contains('"') && !made[1..].contains('&'));
    }
}
