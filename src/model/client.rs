//! Our client at an authorization server: who we are there, and the endpoints that know us.
//! Owns: the client, and the names of the ways in which it authenticates.
//! Must not know: how a request is authenticated; that is `oauth/client_authentication.rs`.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::options::ProviderOptions;

/// Our client at an authorization server. An authorization request and a revocation keep a copy: what they were begun
/// with counts, whatever the provider's record says later.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client id; empty while nobody has registered a client there.
    pub id: String,
    /// The client secret, unless the client is public. With a static key: the key of the workspace.
    pub secret: Option<SecretString>,
    /// How it authenticates at the token endpoint and the revocation endpoint.
    pub authentication: ClientAuthentication,
    /// The token endpoint.
    pub token_url: String,
    /// The revocation endpoint, if the provider's record names one.
    pub revocation_url: Option<String>,
    /// What the provider needs beyond the published fields.
    pub options: ProviderOptions,
}

impl Client {
    /// A client whose endpoints are not known yet.
    #[must_use]
    pub fn new(id: String, secret: Option<SecretString>, authentication: ClientAuthentication) -> Self {
        Self {
            id,
            secret,
            authentication,
            token_url: String::new(),
            revocation_url: None,
            options: ProviderOptions::default(),
        }
    }
}

/// The client authentication method at a token endpoint (RFC 7591 section 2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = AuthMethod)]
pub enum ClientAuthentication {
    /// A public client.
    None,
    /// HTTP Basic.
    ClientSecretBasic,
    /// In the body.
    ClientSecretPost,
}

impl ClientAuthentication {
    /// Every method, by its name on the wire.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("none", Self::None),
        ("client_secret_basic", Self::ClientSecretBasic),
        ("client_secret_post", Self::ClientSecretPost),
    ];

    /// The method of a client that names none: `preferred` if it has a secret, none if it is public.
    #[must_use]
    pub fn unnamed(has_secret: bool, preferred: Self) -> Self {
        if has_secret { preferred } else { Self::None }
    }

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }
}
