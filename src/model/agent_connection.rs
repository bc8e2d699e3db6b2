//! Agent connections: an agent's right to use a token that is not its own.
//! Owns: what a connection is.
//! Must not know: how one changes what `authenticate` answers.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

/// A connection, with the facts of its token.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct AgentConnection {
    /// The record's id.
    pub id: Uuid,
    /// The agent.
    pub agent_id: String,
    /// The token it may use.
    pub token: Uuid,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The account at the provider, for people.
    pub account_label: Option<String>,
    /// The token's granted scopes.
    pub scopes: Json<Vec<String>>,
    /// When the access token expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who created the connection.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}
