//! Tokens: the stored grant of one subject at one provider.
//! Owns: what a token is, opened and in lists.
//! Must not know: when one is due, or how it is refreshed.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use super::subject::Subject;

/// Whether a grant is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// It is, as far as we know.
    Active,
    /// The provider said that the grant is dead: only a new consent helps.
    ConsentNeeded,
}

/// A token, opened.
#[derive(Clone, Debug)]
pub struct Token {
    /// The record's id.
    pub id: Uuid,
    /// Whose it is.
    pub subject: Subject,
    /// The provider's record.
    pub provider: Uuid,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The account at the provider, for people.
    pub account_label: Option<String>,
    /// What an agent sends to the provider's API.
    pub access_token: SecretString,
    /// Whether there is a refresh token.
    pub has_refresh_token: bool,
    /// The granted scopes.
    pub scopes: Vec<String>,
    /// Other fields of the token response that the provider's API needs, such as `instance_url`. No secrets.
    pub metadata: Map<String, Value>,
    /// Whether it is preferred among several of the subject.
    pub is_default: bool,
    /// Whether the grant is alive.
    pub state: State,
    /// When the access token expires; unknown if the provider did not say.
    pub expires_at: Option<DateTime<Utc>>,
    /// From when on it is refreshed before it is handed out.
    pub refresh_due_at: Option<DateTime<Utc>>,
    /// When the access token was obtained.
    pub obtained_at: DateTime<Utc>,
    /// No refresh is tried before this, because one failed.
    pub retry_at: Option<DateTime<Utc>>,
    /// When it was last handed out, as far as that is stored yet.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Counts the writes of the secrets.
    pub generation: i64,
}

/// The `token_type` in the metadata of a token that is a static key. No provider's response can set it.
const STATIC_KEY: (&str, &str) = ("token_type", "api_key");

impl Token {
    /// The metadata of a token that is a static key.
    #[must_use]
    pub fn static_key_metadata() -> Map<String, Value> {
        Map::from_iter([(STATIC_KEY.0.to_owned(), STATIC_KEY.1.into())])
    }

    /// True when the token is a static key. It has no scopes: it has the rights of its owner.
    #[must_use]
    pub fn is_static_key(&self) -> bool {
        self.metadata.get(STATIC_KEY.0).is_some_and(|kind| kind == STATIC_KEY.1)
    }

    /// True when the token is good for all of these scopes.
    #[must_use]
    pub fn covers(&self, scopes: &[String]) -> bool {
        scopes.iter().all(|scope| self.scopes.contains(scope)) || self.is_static_key()
    }
}

/// A token in a list. No secret is opened for it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct TokenSummary {
    /// The record's id.
    pub id: Uuid,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The account at the provider, for people.
    pub account_label: Option<String>,
    /// The granted scopes.
    pub scopes: Json<Vec<String>>,
    /// When the access token expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether it is preferred among several of the subject.
    pub is_default: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A change of what a person may set on a token. `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct TokenChange {
    /// A new label, or no label.
    pub account_label: Option<Option<String>>,
    /// Whether it is the default.
    pub is_default: Option<bool>,
}
