//! The state of a connection and its times, in the words of the person whose it is.
//! Owns: which text says what.
//! Must not know: HTML: the templates escape.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    http::browser::languages::texts::{Ago, PeopleTexts, Texts},
    model::token_state::Condition,
};

/// A moment that has passed, as people and programs read it.
pub(super) struct Moment {
    /// RFC 3339.
    pub(super) exact: String,
    /// The day and the time.
    pub(super) said: String,
    /// How long ago it was.
    pub(super) ago: String,
}

/// A moment that has passed, seen from `now`.
pub(super) fn moment(t: &Texts, at: DateTime<Utc>, now: DateTime<Utc>) -> Moment {
    Moment { exact: at.to_rfc3339_opts(SecondsFormat::Secs, true), said: (t.moment)(at), ago: (t.ago)(ago(at, now)) }
}

fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> Ago {
    let span = now - at;
    match (span.num_minutes(), span.num_hours(), span.num_days()) {
        (..=0, ..) => Ago::Now,
        (minutes, 0, _) => Ago::Minutes(minutes),
        (_, hours, 0 | 1) => Ago::Hours(hours),
        (_, _, days) => Ago::Days(days),
    }
}

/// Its state in one word.
pub(super) fn state(t: &PeopleTexts, condition: Condition) -> &'static str {
    match condition {
        Condition::Active | Condition::Refreshing => t.state_connected,
        Condition::Failing => t.state_interrupted,
        Condition::ConsentNeeded => t.state_ended,
    }
}

/// What that means, and what to do.
pub(super) fn what_to_do(t: &PeopleTexts, condition: Condition) -> &'static str {
    match condition {
        Condition::Active | Condition::Refreshing => t.do_nothing,
        Condition::Failing => t.do_wait,
        Condition::ConsentNeeded => t.do_reconnect,
    }
}

/// What is said after a form was taken, by the name in the address.
pub(super) fn notice(t: &PeopleTexts, done: &str) -> Option<&'static str> {
    match done {
        "connected" => Some(t.done_connected),
        "revoked" => Some(t.done_revoked),
        "revoking" => Some(t.done_revoking),
        "not-revocable" => Some(t.done_not_revocable),
        "gone" => Some(t.done_gone),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_time_that_has_passed_is_said_in_its_largest_unit() {
        let now = DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z").unwrap().to_utc();
        let said = |seconds: i64| ago(now - TimeDelta::seconds(seconds), now);
        assert_eq!([said(-5), said(0), said(59)], [Ago::Now; 3]);
        assert_eq!((said(60), said(3599)), (Ago::Minutes(1), Ago::Minutes(59)));
        assert_eq!((said(3600), said(47 * 3600), said(48 * 3600)), (Ago::Hours(1), Ago::Hours(47), Ago::Days(2)));
    }
}
