//! The languages of the pages that people see.
//! Owns: which there are, and which of them a browser's `Accept-Language` asks for.
//! Must not know: pages.

mod english;
mod german;
pub mod texts;

pub use english::ENGLISH;
use german::GERMAN;
use texts::Texts;

/// Every language. The first is used if a browser asks for none of them.
pub static LANGUAGES: [&Texts; 2] = [&ENGLISH, &GERMAN];

/// The language for an `Accept-Language` (RFC 9110 section 12.5.4), by the lookup of RFC 4647 section 3.4: `de-AT` finds
/// `de`.
#[must_use]
pub fn choose(accept_language: &str) -> &'static Texts {
    let mut ranges: Vec<(&str, u16)> = accept_language.split(',').filter_map(range).collect();
    // A stable order: of equal weights, the first counts.
    ranges.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    let found = ranges.iter().filter(|(_, weight)| *weight > 0).find_map(|(range, _)| lookup(range));
    found.unwrap_or(LANGUAGES[0])
}

/// A language range, and its weight in thousandths. `None` for one that cannot be read.
fn range(entry: &str) -> Option<(&str, u16)> {
    let mut parts = entry.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let weight = match parts.next() {
        None => 1000,
        Some(parameter) => weight(parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?)?,
    };
    parts.next().is_none().then_some((range, weight))
}

/// A weight in thousandths: from 0 to 1, with at most three decimals (RFC 9110 section 12.4.2).
fn weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// The language of a range, or of what remains of it without its last subtags.
fn lookup(range: &str) -> Option<&'static Texts> {
    if range == "*" {
        return Some(LANGUAGES[0]);
    }
    let mut rest = range;
    loop {
        if let Some(found) = LANGUAGES.into_iter().find(|texts| texts.tag.eq_ignore_ascii_case(rest)) {
            return Some(found);
        }
        rest = rest.rsplit_once('-')?.0;
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::{texts::Ago, *};

    #[test]
    fn the_language_is_the_one_that_the_browser_prefers() {
        for (accepted, tag) in [
            ("", "en"),
            ("de", "de"),
            ("DE-at", "de"),
            ("de-Latn-DE-1996", "de"),
            ("fr, de;q=0.5, en;q=0.9", "en"),
            ("fr;q=1, en;q=0.3, de;q=0.31", "de"),
            ("de;q=0.8,en;q=0.8", "de"),
            ("en;q=0,de;q=0.001", "de"),
            ("de;q=0", "en"),
            ("*", "en"),
            ("*;q=0.5, de;q=0.1", "en"),
            ("fr-CH, fr", "en"),
            ("de ; q=0.2 , en;Q=0.1", "de"),
            // What cannot be read counts for nothing.
            ("de;q=2, en;q=0.1", "en"),
            ("de;q=0.1234", "en"),
            ("de;q=-1", "en"),
            ("de;level=1", "en"),
            ("de;q=1;x=y", "en"),
            (",,;q=1,de", "de"),
            ("deutsch", "en"),
            ("de\u{e9}", "en"),
        ] {
            assert_eq!(choose(accepted).tag, tag, "{accepted}");
        }
    }

    #[test]
    fn dates_and_spans_are_written_as_in_the_language() {
        let at = Utc.with_ymd_and_hms(2026, 3, 7, 9, 5, 0).unwrap();
        let [english, german] = LANGUAGES.map(|texts| (texts.moment)(at));
        assert_eq!((english.as_str(), german.as_str()), ("7 March 2026, 09:05 UTC", "7. März 2026, 09:05 Uhr (UTC)"));
        for (ago, english, german) in [
            (Ago::Now, "just now", "gerade eben"),
            (Ago::Minutes(1), "1 minute ago", "vor 1 Minute"),
            (Ago::Hours(36), "36 hours ago", "vor 36 Stunden"),
            (Ago::Days(2), "2 days ago", "vor 2 Tagen"),
        ] {
            assert_eq!(LANGUAGES.map(|texts| (texts.ago)(ago)), [english, german]);
        }
    }

    #[test]
    fn every_language_names_the_user_where_english_does() {
        let named = |texts: &Texts| {
            let only_if = (texts.key.only_if)("Sample");
            [
                texts.connect.only_if,
                texts.key.stored,
                texts.key.stored_for_agent,
                &only_if,
                texts.people.link_shows,
                texts.people.link_only_if,
            ]
            .map(|text| text.matches("{user}").count())
        };
        for texts in LANGUAGES {
            assert_eq!(named(texts), [1, 1, 1, 1, 1, 2], "{}", texts.tag);
        }
    }
}
