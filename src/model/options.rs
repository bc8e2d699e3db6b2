//! What a provider needs beyond the published fields: words that the store, the broker and the wire use.
//! Owns: their names and defaults. They are kept together with the provider, and copied into each authorization request.
//! Must not know: how any of them is sent.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::consent::Consent;

/// What one provider does differently from RFC 6749, or adds to it. No secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderOptions {
    /// The entry of the catalogue it was made from.
    pub template: Option<String>,
    /// How its tokens are obtained. Set when a provider is created, and never changed: a person's token must not be
    /// renewed into one of the client.
    pub grant_type: GrantType,
    /// Where the authorization of a device begins (RFC 8628 section 3.1).
    pub device_authorization_url: Option<String>,
    /// The authorization server's issuer identifier (RFC 8414 section 2).
    pub issuer: Option<String>,
    /// Whether every authorization response has to name the issuer, because the server says it does (RFC 9207 section 3).
    pub iss_required: bool,
    /// Where refresh tokens go, if not to the token endpoint.
    pub refresh_url: Option<String>,
    /// What stands between two scopes; a space if absent.
    pub scope_separator: Option<String>,
    /// What is asked for when an agent names no scope.
    pub default_scopes: Vec<String>,
    /// Asked for beside whatever an agent names, because there is no refresh token without it.
    pub always_scopes: Vec<String>,
    /// The protected resource the tokens are for (RFC 8707 section 2), byte for byte.
    pub resource: Option<String>,
    /// Never send `resource`: some servers refuse it.
    pub omit_resource: bool,
    /// Added to every token request.
    pub token_params: BTreeMap<String, String>,
    /// How token requests are written.
    pub token_format: TokenFormat,
    /// Where there are no refresh tokens: the grant type, and parameter, by which an access token is exchanged for a
    /// new one (Facebook's `fb_exchange_token`).
    pub renewal_grant: Option<String>,
    /// Whether the provider signs, with our client secret, what it sends the browser back with (Shopify's `hmac`).
    pub signed_callback: bool,
    /// What the parameter of the client id is called, if not `client_id` (`TikTok`'s `client_key`).
    pub client_id_parameter: Option<String>,
    /// Where our client was registered (RFC 7591).
    pub registration_url: Option<String>,
    /// The scopes our client was registered for: a server may hold it to them.
    pub registered_scopes: Vec<String>,
    /// When the client secret stops working (RFC 7591 section 3.2.1).
    pub client_secret_expires_at: Option<DateTime<Utc>>,
    /// The least strict consent for this provider.
    pub consent: Option<Consent>,
    /// Where a browser may be sent after a consent, byte for byte.
    pub return_urls: Vec<String>,
}

/// A change of these options. `None` leaves an option as it is.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields of `ProviderOptions`")]
pub struct OptionsDraft {
    pub device_authorization_url: Option<String>,
    pub refresh_url: Option<String>,
    pub scope_separator: Option<String>,
    pub default_scopes: Option<Vec<String>>,
    pub always_scopes: Option<Vec<String>>,
    pub resource: Option<String>,
    pub omit_resource: Option<bool>,
    pub token_params: Option<BTreeMap<String, String>>,
    pub token_format: Option<TokenFormat>,
    pub consent: Option<Consent>,
    pub return_urls: Option<Vec<String>>,
}

impl OptionsDraft {
    /// The options that are one text each, by their names on the wire.
    #[must_use]
    pub fn texts(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("device_authorization_url", self.device_authorization_url.as_deref()),
            ("refresh_url", self.refresh_url.as_deref()),
            ("scope_separator", self.scope_separator.as_deref()),
            ("resource", self.resource.as_deref()),
        ]
    }

    /// The options that are lists of scopes.
    #[must_use]
    pub fn lists(&self) -> [(&'static str, Option<&[String]>); 2] {
        [("default_scopes", self.default_scopes.as_deref()), ("always_scopes", self.always_scopes.as_deref())]
    }

    /// The options that are parameters.
    #[must_use]
    pub fn maps(&self) -> [(&'static str, Option<&BTreeMap<String, String>>); 1] {
        [("token_params", self.token_params.as_ref())]
    }

    /// Applies the change to `options`.
    pub fn apply(self, options: &mut ProviderOptions) {
        fn set<T>(current: &mut T, new: Option<T>) {
            if let Some(new) = new {
                *current = new;
            }
        }
        options.device_authorization_url = self.device_authorization_url.or(options.device_authorization_url.take());
        options.refresh_url = self.refresh_url.or(options.refresh_url.take());
        options.scope_separator = self.scope_separator.or(options.scope_separator.take());
        options.resource = self.resource.or(options.resource.take());
        set(&mut options.default_scopes, self.default_scopes);
        set(&mut options.always_scopes, self.always_scopes);
        set(&mut options.omit_resource, self.omit_resource);
        set(&mut options.token_params, self.token_params);
        set(&mut options.token_format, self.token_format);
        set(&mut options.return_urls, self.return_urls);
        options.consent = self.consent.or(options.consent);
    }
}

/// How the tokens of a provider are obtained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// A person consents: in a browser that comes back here (RFC 6749 section 4.1), or on another device (RFC 8628).
    #[default]
    AuthorizationCode,
    /// Our client gets them for itself, without a person (RFC 6749 section 4.4).
    ClientCredentials,
    /// A static key: the workspace's own, kept as the client secret, or one that each person enters on a page of ours.
    ApiKey,
}

impl TokenFormat {
    /// Every format, by its name on the wire.
    pub const NAMES: [(&'static str, Self); 3] = [("form", Self::Form), ("json", Self::Json), ("query", Self::Query)];
}

impl GrantType {
    /// All of them, by their names on the wire.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("authorization_code", Self::AuthorizationCode),
        ("client_credentials", Self::ClientCredentials),
        ("api_key", Self::ApiKey),
    ];
}

/// How the parameters of a token request are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenFormat {
    /// As RFC 6749 says.
    #[default]
    Form,
    /// A JSON object.
    Json,
    /// In the query of the URL, for servers that read nothing else.
    Query,
}

impl ProviderOptions {
    /// The name of the parameter that holds the client id.
    #[must_use]
    pub fn client_id_parameter(&self) -> &str {
        self.client_id_parameter.as_deref().unwrap_or("client_id")
    }

    /// The resource to be named in requests, if any is.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref().filter(|_| !self.omit_resource)
    }
}
