//! Moved grants: what is known of a grant that comes from another program or another installation, or goes there.
//! Owns: the noun.
//! Must not know: the format it is written in, or how it is stored.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value};

/// What the ids in files begin with.
pub const ID_IN_FILE: &str = "file:";
/// What an id begins with that stands for the person, because the grant had none of its own.
pub const ID_BY_PERSON: &str = "person:";
/// What the ids of Nango's connections begin with.
pub const ID_IN_NANGO: &str = "nango:";
/// What the ids of Auth0's identities begin with.
pub const ID_IN_AUTH0: &str = "auth0:";

/// A grant that comes from elsewhere, or goes there.
#[derive(Clone, Debug, Default)]
pub struct MovedGrant {
    /// What it is called there: the same grant has the same id in every run, and keeps it on its way through several
    /// installations. It begins with one of the words above. No secret.
    pub source_id: String,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The user, as the application names them.
    pub user_id: String,
    /// The agent; empty if the grant is for none in particular.
    pub agent_id: String,
    /// The user, as the platform names them.
    pub ls_user_id: Option<String>,
    /// The account at the provider, if it is known.
    pub account_id: Option<String>,
    /// The account's name for people.
    pub account_label: Option<String>,
    /// What an agent sends to the provider's API. `None`: only the refresh token is known.
    pub access_token: Option<SecretString>,
    /// The refresh token.
    pub refresh_token: Option<SecretString>,
    /// True when the access token is known to be a static key.
    pub is_static_key: bool,
    /// The provider's token response as JSON, if it was kept: it may say more than the other fields. Holds secrets.
    pub response: Option<SecretString>,
    /// The granted scopes.
    pub scopes: Vec<String>,
    /// Other fields of the token response that the provider's API needs. No secrets.
    pub metadata: Map<String, Value>,
    /// Whether it is preferred among several of the subject.
    pub is_default: bool,
    /// When the access token expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// When the refresh token expires.
    pub refresh_token_expires_at: Option<DateTime<Utc>>,
    /// Agents that are connected to it.
    pub agents: Vec<String>,
}
