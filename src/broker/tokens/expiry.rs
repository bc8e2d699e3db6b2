//! When a token expires, and from when on it is refreshed.
//! Owns: the leeway.
//! Must not know: clocks or providers.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

const LEEWAY_MIN: Duration = Duration::from_mins(1);
const LEEWAY_MAX: Duration = Duration::from_mins(5);

/// When a token that lives for `expires_in` from `now` expires and when it is due for refresh. Both unknown if the
/// lifetime is: such a token is used until the provider refuses it.
#[must_use]
pub fn of(expires_in: Option<Duration>, now: DateTime<Utc>) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let Some(lifetime) = expires_in else { return (None, None) };
    let after = |wait: Duration| TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait));
    (after(lifetime), after(lifetime.saturating_sub(leeway(lifetime))))
}

/// A tenth of the lifetime, within a minute and five; at most half of it, so that a short-lived token is not due the
/// moment it is made. Up to a tenth less at random, so that tokens made together are not refreshed together.
fn leeway(lifetime: Duration) -> Duration {
    let leeway = (lifetime / 10).clamp(LEEWAY_MIN, LEEWAY_MAX).min(lifetime / 2);
    leeway.mul_f64(1.0 - rand::random_range(0.0..0.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leeway_is_a_tenth_within_bounds_and_never_more_than_half() {
        for (lifetime, least, most) in [(10, 4, 5), (100, 45, 50), (600, 54, 60), (2000, 180, 200), (86_400, 270, 300)]
        {
            for _ in 0..100 {
                let leeway = leeway(Duration::from_secs(lifetime)).as_secs_f64();
                assert!(leeway >= f64::from(least) && leeway <= f64::from(most), "{lifetime}: {leeway}");
            }
        }
    }

    #[test]
    fn an_unknown_lifetime_is_never_due() {
        assert_eq!(of(None, "2026-01-01T00:00:00Z".parse().unwrap()), (None, None));
    }
}
