//! Explaining a token: its condition, why, and what to do about it.
//! Owns: the sentences.
//! Must not know: where they are shown.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::{
    model::{
        token::State,
        token_state::{Condition, TokenState},
    },
    store::tokens::lease::NOT_OPENED,
};

/// The error code of a token that ended because of a report.
pub const REPORTED: &str = "reported_invalid";
/// The error code of a token whose key was replaced in the provider's record. The next call gets the new key.
pub const REPLACED: &str = "key_replaced";

/// From when on an expiring refresh token is warned of.
const WARN_BEFORE: TimeDelta = TimeDelta::days(14);

/// The explanation of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Its condition.
    pub condition: Condition,
    /// Why, if there is a reason.
    pub why: Option<String>,
    /// What to do, in one sentence.
    pub what_to_do: String,
}

/// Explains the state of `token`.
#[must_use]
pub fn explain(token: &TokenState, now: DateTime<Utc>) -> Explanation {
    let condition = condition(token, now);
    Explanation { condition, why: why(token, condition), what_to_do: what_to_do(token, condition, now) }
}

fn condition(token: &TokenState, now: DateTime<Utc>) -> Condition {
    let ended = !token.has_refresh_token && token.expires_at.is_some_and(|at| at <= now);
    if token.state == State::ConsentNeeded || ended {
        Condition::ConsentNeeded
    } else if token.is_refreshing {
        Condition::Refreshing
    } else if token.refresh_failures > 0 {
        Condition::Failing
    } else {
        Condition::Active
    }
}

fn why(token: &TokenState, condition: Condition) -> Option<String> {
    let error = token.last_error.as_deref().unwrap_or("unknown");
    match condition {
        Condition::ConsentNeeded if token.state == State::Active => {
            Some("The access token expired, and the provider issued no refresh token.".into())
        }
        Condition::ConsentNeeded if error == REPORTED => {
            Some("An agent reported that an API refuses the access token, and there is no refresh token.".into())
        }
        Condition::ConsentNeeded if error == REPLACED => {
            Some("The key in the provider's record was replaced after this one was handed out.".into())
        }
        Condition::ConsentNeeded => Some(format!("The provider says that the grant is dead: {error}.")),
        Condition::Failing if error == NOT_OPENED => {
            Some("A stored secret that a refresh needs cannot be decrypted.".into())
        }
        Condition::Failing => Some(format!("The last refresh failed: {error}.")),
        Condition::Refreshing => Some("A refresh is running.".into()),
        Condition::Active => {
            let error = token.client_error.as_ref().filter(|_| token.has_refresh_token)?;
            Some(format!("The token is valid, but the provider refuses this server's client: {error}."))
        }
    }
}

fn what_to_do(token: &TokenState, condition: Condition, now: DateTime<Utc>) -> String {
    if condition == Condition::ConsentNeeded {
        return "Call authenticate again, and send the person to the url that it returns.".into();
    }
    if token.client_error.is_some() && token.has_refresh_token {
        return format!(
            "Correct the client_id or the client_secret of the provider {}; the grant is kept.",
            token.provider_id
        );
    }
    if condition == Condition::Refreshing {
        return "Nothing. Look again in a moment.".into();
    }
    let again = "have the person consent again (call authenticate with force_new)";
    if let Some(end) = token.refresh_token_expires_at.filter(|end| token.has_refresh_token && *end <= now + WARN_BEFORE)
    {
        return if end > now {
            format!("Before {}, when the refresh token expires, {again}.", moment(end))
        } else {
            format!("The refresh token expired at {}: {again}.", moment(end))
        };
    }
    match (condition, token.retry_at.filter(|at| *at > now), token.expires_at) {
        (Condition::Failing, Some(at), _) => {
            format!("Nothing. The grant is kept, and the next refresh is tried from {} on.", moment(at))
        }
        (Condition::Failing, None, _) if token.last_error.as_deref() == Some(NOT_OPENED) => {
            "Nothing. The grant is kept. The server's operator finds the secret in the log (sealed_value.not_opened), and \
             restores its encryption key or sets the client secret again."
                .into()
        }
        (Condition::Failing, None, _) => {
            "Nothing. The grant is kept, and the next refresh is tried at the next authenticate.".into()
        }
        (_, _, Some(end)) if !token.has_refresh_token => {
            format!("By {}, when the access token expires, {again}: there is no refresh token.", moment(end))
        }
        _ => "Nothing.".into(),
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use sqlx::types::Json;
    use uuid::Uuid;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn token() -> TokenState {
        TokenState {
            id: Uuid::nil(),
            provider_id: "acme".into(),
            account_label: None,
            state: State::Active,
            scopes: Json(vec![]),
            is_default: true,
            expires_at: Some(now() + TimeDelta::hours(1)),
            refresh_due_at: Some(now() + TimeDelta::minutes(55)),
            has_refresh_token: true,
            refresh_token_expires_at: None,
            is_refreshing: false,
            last_refreshed_at: None,
            last_error: None,
            last_error_at: None,
            refresh_failures: 0,
            retry_at: None,
            last_used_at: None,
            created_at: now(),
            updated_at: now(),
            client_error: None,
            client_error_at: None,
        }
    }

    #[test]
    fn of_a_token_that_is_well_there_is_nothing_to_say() {
        let nothing = Explanation { condition: Condition::Active, why: None, what_to_do: "Nothing.".into() };
        assert_eq!(explain(&token(), now()), nothing);
    }

    #[test]
    fn an_expired_token_without_a_refresh_token_needs_consent_whatever_its_record_says() {
        let expired = TokenState { has_refresh_token: false, expires_at: Some(now()), ..token() };
        let said = explain(&expired, now());
        assert_eq!(said.condition, Condition::ConsentNeeded);
        assert!(said.why.unwrap().contains("no refresh token"));
        let expired_but_refreshable = TokenState { expires_at: Some(now()), ..token() };
        assert_eq!(explain(&expired_but_refreshable, now()).condition, Condition::Active);
    }

    #[test]
    fn a_dead_grant_stays_dead_whatever_else_is_known() {
        let dead = TokenState {
            state: State::ConsentNeeded,
            is_refreshing: true,
            refresh_failures: 1,
            last_error: Some("invalid_grant".into()),
            client_error: Some("invalid_client".into()),
            ..token()
        };
        let said = explain(&dead, now());
        assert_eq!(said.condition, Condition::ConsentNeeded);
        assert!(said.why.unwrap().contains("invalid_grant"));
        assert!(said.what_to_do.contains("authenticate"), "{}", said.what_to_do);
    }

    #[test]
    fn a_failing_refresh_names_the_error_and_the_next_try() {
        let retry_at = Some(now() + TimeDelta::seconds(8));
        let failing =
            TokenState { refresh_failures: 3, last_error: Some("provider_timeout".into()), retry_at, ..token() };
        let said = explain(&failing, now());
        assert_eq!(said.condition, Condition::Failing);
        assert!(said.why.unwrap().contains("provider_timeout"));
        assert!(said.what_to_do.contains("2026-11-21T10:00:08Z"), "{}", said.what_to_do);
    }

    #[test]
    fn a_refused_client_is_the_operators_to_correct() {
        let refused = TokenState { client_error: Some("invalid_client".into()), ..token() };
        let said = explain(&refused, now());
        assert!(said.why.unwrap().contains("invalid_client"));
        assert!(said.what_to_do.contains("client_secret of the provider acme"), "{}", said.what_to_do);
        let never_refreshed = TokenState { has_refresh_token: false, expires_at: None, ..refused };
        assert_eq!(explain(&never_refreshed, now()).what_to_do, "Nothing.");
    }

    #[test]
    fn the_end_of_a_refresh_token_is_warned_of_two_weeks_before() {
        let ends_in = |days| TokenState { refresh_token_expires_at: Some(now() + TimeDelta::days(days)), ..token() };
        assert_eq!(explain(&ends_in(15), now()).what_to_do, "Nothing.");
        assert!(explain(&ends_in(13), now()).what_to_do.starts_with("Before 2026-12-04T10:00:00Z"));
        assert!(explain(&ends_in(-1), now()).what_to_do.starts_with("The refresh token expired"));
    }

    #[test]
    fn the_end_of_a_token_that_cannot_be_refreshed_is_told() {
        let last = TokenState { has_refresh_token: false, ..token() };
        assert!(explain(&last, now()).what_to_do.starts_with("By 2026-11-21T11:00:00Z"));
    }
}
