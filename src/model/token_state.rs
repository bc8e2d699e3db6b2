//! The state of a token: what is known of its grant and its refreshes, without any secret.
//! Owns: these facts, the names of a token's conditions, and how tokens are selected by them.
//! Must not know: what follows from them; that is `broker/tokens/explain.rs`.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::token::State;

/// The condition of a token, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is handed out, and refreshed when it is due.
    Active,
    /// A refresh is running.
    Refreshing,
    /// The last refresh failed; the grant is kept.
    Failing,
    /// Only a new consent helps.
    ConsentNeeded,
}

impl Condition {
    /// Every condition with its name.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("active", Self::Active),
        ("refreshing", Self::Refreshing),
        ("failing", Self::Failing),
        ("consent_needed", Self::ConsentNeeded),
    ];

    /// The condition of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, condition)| *condition)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, condition)| *condition == self).map_or("active", |(name, _)| name)
    }
}

/// What is known of a token.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct TokenState {
    /// The record's id.
    pub id: Uuid,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The account at the provider, for people.
    pub account_label: Option<String>,
    /// Whether the grant lives.
    pub state: State,
    /// The granted scopes.
    pub scopes: Json<Vec<String>>,
    /// Whether it is preferred among several of the subject.
    pub is_default: bool,
    /// When the access token expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// From when on it is refreshed before it is handed out.
    pub refresh_due_at: Option<DateTime<Utc>>,
    /// Whether there is a refresh token.
    pub has_refresh_token: bool,
    /// When the refresh token expires, if the provider said so.
    pub refresh_token_expires_at: Option<DateTime<Utc>>,
    /// Whether a refresh is under way, here or on another replica.
    pub is_refreshing: bool,
    /// When its secrets were last replaced.
    pub last_refreshed_at: Option<DateTime<Utc>>,
    /// The code of the last failure since then.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<DateTime<Utc>>,
    /// How many refreshes failed in a row.
    pub refresh_failures: i64,
    /// Before when no further one is tried.
    pub retry_at: Option<DateTime<Utc>>,
    /// When it was last handed out.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// The code with which the provider refuses our client, if it does.
    pub client_error: Option<String>,
    /// Since when.
    pub client_error_at: Option<DateTime<Utc>>,
}

/// A token of a workspace, with whose it is.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OwnedToken {
    /// The user.
    pub user_id: String,
    /// The user in LangSmith, if the application named one.
    pub ls_user_id: Option<String>,
    /// The agent it is for; empty if it is for no particular one.
    pub agent_id: String,
    /// What is known of it.
    #[sqlx(flatten)]
    pub state: TokenState,
}

/// Which tokens of a workspace. `None` is no filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFilter {
    /// Those of this user (as `user_id` or `ls_user_id`).
    pub user_id: Option<String>,
    /// Those for this agent.
    pub agent_id: Option<String>,
    /// Those at this provider, by its name on the wire.
    pub provider_id: Option<String>,
    /// Those in this condition.
    pub condition: Option<Condition>,
}
