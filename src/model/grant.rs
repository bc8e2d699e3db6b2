//! Grants: what a provider gave, and what it was requested for.
//! Owns: both nouns.
//! Must not know: how a grant is obtained or stored.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::subject::Subject;

/// For whom a grant is requested, and how its token is stored.
#[derive(Clone, Debug)]
pub struct GrantRequest {
    /// The provider's record.
    pub provider: Uuid,
    /// Whose token it becomes.
    pub subject: Subject,
    /// The caller, as the platform names them.
    pub ls_user_id: Option<String>,
    /// The requested scopes.
    pub scopes: Vec<String>,
    /// Whether the token becomes the subject's default.
    pub is_default: bool,
    /// Whether a token of another account may stay beside it.
    pub force_new: bool,
}

/// What a provider granted, ready to be stored.
#[derive(Clone, Debug)]
pub struct Grant {
    /// What an agent sends to the provider's API.
    pub access_token: SecretString,
    /// The refresh token. `None` after a refresh keeps the one that is stored.
    pub refresh_token: Option<SecretString>,
    /// The granted scopes. `None` means those that were requested; after a refresh, those that are stored.
    pub scopes: Option<Vec<String>>,
    /// Other fields of the token response that the provider's API needs. No secrets.
    pub metadata: Map<String, Value>,
    /// The account at the provider, if it is known.
    pub account_id: Option<String>,
    /// The account's name for people.
    pub account_label: Option<String>,
    /// When the access token expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// From when on it is refreshed before it is handed out.
    pub refresh_due_at: Option<DateTime<Utc>>,
    /// When the refresh token expires, if the provider said so.
    pub refresh_token_expires_at: Option<DateTime<Utc>>,
}
