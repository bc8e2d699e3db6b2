//! The charts of the overview: bars, each an hour high as what was counted in it, and the same in words.
//! Owns: where a bar is, and the words.
//! Must not know: where the numbers are from.

use chrono::{DateTime, Utc};

use crate::broker::audit::Hour;

/// How high the highest bar is. Bars are 10 apart.
const HIGHEST: i64 = 94;
/// Where the bars end.
const GROUND: i64 = 100;

/// A part of the bar of an hour.
pub(super) struct Bar {
    /// Its class in the stylesheet.
    pub(super) kind: &'static str,
    pub(super) x: usize,
    pub(super) y: i64,
    pub(super) height: i64,
    pub(super) said: String,
}

/// A chart.
pub(super) struct Chart {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) summary: String,
    /// Every hour in which there was anything, in words.
    pub(super) by_hour: String,
    pub(super) from: String,
    pub(super) bars: Vec<Bar>,
}

/// One of the things that are counted in a chart: its class, what it is called, and its number in an hour.
type Series = (&'static str, &'static str, fn(&Hour) -> i64);

/// What became of refreshes; nothing if there were none.
pub(super) fn charts(hours: &[Hour]) -> Vec<Chart> {
    let sum = |count: fn(&Hour) -> i64| hours.iter().map(count).sum::<i64>();
    let (refreshed, failed, ended) = (sum(|hour| hour.refreshed), sum(|hour| hour.failed), sum(|hour| hour.ended));
    if refreshed + failed + ended == 0 {
        return Vec::new();
    }
    let many = |count: i64, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    let refreshes: [Series; 1] = [("refreshed", "refreshed", |hour| hour.refreshed)];
    let failures: [Series; 2] =
        [("failed", "failed", |hour| hour.failed), ("ended", "need consent", |hour| hour.ended)];
    vec![
        chart(hours, "refreshes", "Refreshes", many(refreshed, "refresh", "refreshes"), &refreshes),
        chart(
            hours,
            "failures",
            "Failures",
            format!(
                "{} and will be tried again; {} a consent",
                many(failed, "refresh failed", "refreshes failed"),
                many(ended, "token came to need", "tokens came to need")
            ),
            &failures,
        ),
    ]
}

fn chart(hours: &[Hour], id: &'static str, title: &'static str, summary: String, series: &[Series]) -> Chart {
    let total = |hour: &Hour| series.iter().map(|(_, _, count)| count(hour)).sum::<i64>();
    let most = hours.iter().map(total).max().unwrap_or_default().max(1);
    let mut bars = Vec::new();
    for (place, hour) in hours.iter().enumerate() {
        let mut ground = GROUND;
        for (kind, said, count) in series {
            let count = count(hour);
            if count > 0 {
                // Even one among a million is seen.
                let height = count.saturating_mul(HIGHEST).checked_div(most).unwrap_or_default().max(2);
                ground -= height;
                let said = format!("{}: {count} {said}", clock(hour.begins));
                bars.push(Bar { kind, x: place * 10 + 1, y: ground, height, said });
            }
        }
    }
    let by_hour: Vec<&str> = bars.iter().map(|bar| bar.said.as_str()).collect();
    let by_hour = if by_hour.is_empty() { "None.".to_owned() } else { format!("{}.", by_hour.join("; ")) };
    let summary = if bars.len() > 1 { format!("{summary}; at most {most} in an hour") } else { summary };
    Chart { id, title, summary, by_hour, from: hours.first().map_or_else(String::new, |hour| clock(hour.begins)), bars }
}

fn clock(at: DateTime<Utc>) -> String {
    at.format("%H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn day(changed: &[(usize, i64, i64, i64)]) -> Vec<Hour> {
        let first = DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z").unwrap().to_utc();
        let mut hours: Vec<Hour> = (0..24)
            .map(|ago| Hour { begins: first + TimeDelta::hours(ago), refreshed: 0, failed: 0, ended: 0 })
            .collect();
        for (place, refreshed, failed, ended) in changed {
            let hour = &mut hours[*place];
            (hour.refreshed, hour.failed, hour.ended) = (*refreshed, *failed, *ended);
        }
        hours
    }

    #[test]
    fn a_day_without_anything_has_no_charts() {
        assert!(charts(&day(&[])).is_empty());
    }

    #[test]
    fn every_bar_is_inside_the_chart_and_even_one_is_seen() {
        let charts = charts(&day(&[(0, 1, 1, 1), (23, 1_000_000, 500_000, 500_000), (5, i64::MAX / 100, 0, 0)]));
        for bar in charts.iter().flat_map(|chart| &chart.bars) {
            assert!(bar.height >= 2 && bar.y >= 0 && bar.y + bar.height <= 100 && bar.x + 8 <= 240, "{}", bar.said);
        }
        assert_eq!(charts[1].by_hour.matches("12:00 UTC: 1 failed; 12:00 UTC: 1 need consent").count(), 1);
        assert_eq!((charts[0].bars.len(), charts[1].bars.len()), (3, 4));
    }
}
