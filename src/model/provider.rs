//! Providers: authorization servers with our client registration there.
//! Owns: what a provider is.
//! Must not know: how one is created, stored, or called.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{client::Client, subject::Tenant};

/// A family of providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ProviderType {
    /// Microsoft Entra ID.
    Microsoft,
    /// Salesforce.
    Salesforce,
    /// Slack.
    Slack,
    /// X.
    X,
}

impl ProviderType {
    /// Every family, by its name on the wire.
    pub const NAMES: [(&'static str, Self); 4] =
        [("microsoft", Self::Microsoft), ("salesforce", Self::Salesforce), ("slack", Self::Slack), ("x", Self::X)];

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Microsoft => "microsoft",
            Self::Salesforce => "salesforce",
            Self::Slack => "slack",
            Self::X => "x",
        }
    }
}

/// A provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The record's id.
    pub id: Uuid,
    /// Who owns it.
    pub tenant: Tenant,
    /// The name that applications and callback addresses use.
    pub provider_id: String,
    /// What sets its callback address apart from those of other workspaces' providers with the same `provider_id`. Empty:
    /// it has the plain address.
    pub callback_tag: String,
    /// The name for people.
    pub name: String,
    /// Our client there.
    pub client: Client,
    /// The authorization endpoint.
    pub auth_url: String,
    /// The userinfo endpoint, if its record names one.
    pub userinfo_url: Option<String>,
    /// Whether a code challenge is sent (RFC 7636).
    pub uses_pkce: bool,
    /// `S256`, the only method that is sent.
    pub code_challenge_method: String,
    /// A family of providers with its own quirks.
    pub provider_type: Option<String>,
    /// Parameters added to every authorization URL.
    pub authorization_params: BTreeMap<String, String>,
    /// Redirect URIs of applications that receive the redirect themselves.
    pub allowed_redirect_uris: Vec<String>,
    /// The MCP server this provider was discovered from.
    pub mcp_server_url: Option<String>,
    /// True when we registered our client ourselves (RFC 7591).
    pub is_dynamic_client: bool,
    /// The error with which the token endpoint refused our client, until it accepts it again.
    pub client_error: Option<String>,
    /// Counts the writes of the record.
    pub generation: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl Provider {
    /// A new record that says nothing but whose it is, its names, and our client.
    #[must_use]
    pub fn new(tenant: Tenant, provider_id: String, name: String, client: Client, now: DateTime<Utc>) -> Self {
        Self {
            id: Uuid::now_v7(),
            tenant,
            provider_id,
            callback_tag: String::new(),
            name,
            client,
            auth_url: String::new(),
            userinfo_url: None,
            uses_pkce: false,
            code_challenge_method: "S256".into(),
            provider_type: None,
            authorization_params: BTreeMap::new(),
            allowed_redirect_uris: Vec::new(),
            mcp_server_url: None,
            is_dynamic_client: false,
            client_error: None,
            generation: 1,
            created_at: now,
            updated_at: now,
        }
    }
}

/// A provider for tests.
#[cfg(test)]
#[must_use]
pub fn example() -> Provider {
    use super::client::ClientAuthentication;

    let tenant = Tenant { organization: "o".into(), workspace: "w".into() };
    let client = Client {
        token_url: "https://p.example/token".into(),
        ..Client::new("client".into(), None, ClientAuthentication::None)
    };
    Provider {
        id: Uuid::nil(),
        auth_url: "https://p.example/authorize".into(),
        uses_pkce: true,
        ..Provider::new(tenant, "p".into(), "P".into(), client, DateTime::UNIX_EPOCH)
    }
}
