//! The bodies of `/v2/auth/providers` as the API's description tells them.
//! Owns: their fields and what is said of each.
//! Must not know: how they are read; that is `providers.rs`.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use crate::model::options::{GrantType, TokenFormat};

/// A provider to create.
#[derive(ToSchema)]
#[schema(as = OAuthProviderCreateRequest)]
#[expect(dead_code, reason = "describes the body that `read_new` reads")]
pub struct ProviderCreateRequest {
    /// Plain characters; unique in the workspace. Part of the callback address.
    provider_id: String,
    /// May be absent beside `template`.
    name: String,
    /// May be absent with `grant_type: "api_key"`.
    client_id: String,
    /// With `grant_type: "api_key"` the key that the whole workspace uses; without it each person is asked for their own.
    client_secret: Option<String>,
    /// How tokens come about; `authorization_code` if absent. Cannot be changed later.
    grant_type: Option<GrantType>,
    /// Where the authorization of a device begins (RFC 8628), for `grant: "device"`.
    device_authorization_url: Option<String>,
    /// The authorization endpoint: https, or http to a host in `ALLOW_PRIVATE_UPSTREAMS`. May be absent beside `template`,
    /// and with another `grant_type` than `authorization_code`.
    auth_url: String,
    /// The token endpoint: likewise, but needed with `client_credentials`.
    token_url: String,
    /// Where the provider tells whose an access token is (an OIDC userinfo endpoint, or JSON with an `id`). Asked after
    /// a consent whose token response names nobody. Known providers need none.
    userinfo_url: Option<String>,
    /// The revocation endpoint (RFC 7009), where grants are revoked when their tokens are deleted here. Known providers
    /// need none.
    revocation_url: Option<String>,
    #[schema(default = false, required = false)]
    uses_pkce: bool,
    /// `S256` is what is sent, whatever is asked for.
    #[schema(default = "S256", required = false)]
    code_challenge_method: String,
    provider_type: Option<ProviderType>,
    #[schema(default = "client_secret_post", required = false)]
    token_endpoint_auth_method: AuthMethod,
    /// Added to every authorization URL. The protocol's own parameters cannot be set here. Each stands over that of the
    /// template, or of the provider that the token endpoint is known to be.
    #[schema(required = false)]
    authorization_params: BTreeMap<String, String>,
    #[schema(required = false)]
    allowed_redirect_uris: Vec<String>,
    /// The issuer of an authorization server with metadata (RFC 8414 or `OpenID` Connect Discovery): its endpoints and what
    /// it knows are read from there, except for what stands in this body. Then `auth_url` and `token_url` may be absent.
    issuer: Option<String>,
    /// The name of an entry of the catalogue (`agent-auth provider catalog`). It says everything that this body does
    /// not; then `name`, `auth_url` and `token_url` may be absent. Without it the token endpoint's host or the
    /// `provider_type` still lets well-known providers be known by their habits.
    template: Option<String>,
    /// Values for the placeholders of the template, e.g. `{"tenant": "common"}`.
    template_params: Option<BTreeMap<String, String>>,
    /// Where refresh tokens go, if not to `token_url`.
    refresh_url: Option<String>,
    /// What stands between two scopes; a space if absent.
    scope_separator: Option<String>,
    /// Asked for when an agent names no scope.
    default_scopes: Option<Vec<String>>,
    /// Asked for beside whatever an agent names.
    always_scopes: Option<Vec<String>>,
    /// The protected resource the tokens are for (RFC 8707).
    resource: Option<String>,
    /// Never send `resource`.
    omit_resource: Option<bool>,
    /// Added to every token request. No secrets: they are shown.
    token_params: Option<BTreeMap<String, String>>,
    /// How token requests are written; `form` if absent.
    token_format: Option<TokenFormat>,
}

/// How our client authenticates.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes a field of the body")]
pub enum AuthMethod {
    /// A public client.
    None,
    /// HTTP Basic.
    ClientSecretBasic,
    /// In the body.
    ClientSecretPost,
}

/// A family of providers.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes a field of the body")]
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

/// A change of a provider: what is absent or null stays.
#[derive(ToSchema)]
#[schema(as = OAuthProviderUpdateRequest)]
#[expect(dead_code, reason = "describes the body that `update` reads")]
pub struct ProviderUpdateRequest {
    token_endpoint_auth_method: Option<AuthMethod>,
    name: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    auth_url: Option<String>,
    token_url: Option<String>,
    userinfo_url: Option<String>,
    revocation_url: Option<String>,
    uses_pkce: Option<bool>,
    code_challenge_method: Option<String>,
    authorization_params: Option<BTreeMap<String, String>>,
    allowed_redirect_uris: Option<Vec<String>>,
    /// Takes over what that entry of the catalogue says, except for what stands in this body.
    template: Option<String>,
    template_params: Option<BTreeMap<String, String>>,
    device_authorization_url: Option<String>,
    refresh_url: Option<String>,
    scope_separator: Option<String>,
    default_scopes: Option<Vec<String>>,
    always_scopes: Option<Vec<String>>,
    resource: Option<String>,
    omit_resource: Option<bool>,
    token_params: Option<BTreeMap<String, String>>,
    token_format: Option<TokenFormat>,
}
