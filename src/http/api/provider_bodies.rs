//! The requests of `/v2/auth/providers`: the OpenAPI description is generated from these structs, and bodies are read into
//! them.
//! Owns: their fields, and the order in which a body is read.
//! Must not know: which fields a provider needs; that is `broker/providers/definition.rs`.

use std::collections::BTreeMap;

use secrecy::SecretString;
use utoipa::ToSchema;

use crate::{
    broker::{
        providers::draft::{ProviderDraft, check_text},
        rules::{Fault, PARAMETERS_MAX, REDIRECT_URIS_MAX, SCOPES_MAX},
    },
    http::body::{Fields, JsonBody, literal_error},
    model::{
        client::ClientAuthentication,
        consent::Consent,
        options::{GrantType, OptionsDraft, TokenFormat},
        provider::ProviderType,
    },
    outbound::address::AddressGuard,
};

/// A provider to create.
#[derive(ToSchema)]
#[schema(
    as = OAuthProviderCreateRequest,
    example = json!({
        "provider_id": "github",
        "name": "GitHub",
        "client_id": "Iv1.8a61f9b3a7aba766",
        "client_secret": "secret from the provider",
        "auth_url": "https://github.com/login/oauth/authorize",
        "token_url": "https://github.com/login/oauth/access_token",
    }),
)]
pub struct ProviderCreateRequest {
    /// Plain characters; unique in the workspace. Part of the callback address.
    #[schema(value_type = String, required = true)]
    provider_id: Option<String>,
    /// Optional with `template`.
    #[schema(value_type = String, required = true)]
    name: Option<String>,
    /// Optional with `grant_type: "api_key"`.
    #[schema(value_type = String, required = true)]
    client_id: Option<String>,
    /// With `grant_type: "api_key"`, the key that the whole workspace uses; if absent, each person enters their own.
    client_secret: Option<String>,
    /// How tokens are obtained; `authorization_code` if absent. Cannot be changed later.
    grant_type: Option<GrantType>,
    /// The device authorization endpoint (RFC 8628), for `grant: "device"`.
    device_authorization_url: Option<String>,
    /// The authorization endpoint: https, or http to a host in `ALLOW_PRIVATE_UPSTREAMS`. Optional with `template`,
    /// and with another `grant_type` than `authorization_code`.
    #[schema(value_type = String, required = true)]
    auth_url: Option<String>,
    /// The token endpoint. The same rules apply, but it is required with `client_credentials`.
    #[schema(value_type = String, required = true)]
    token_url: Option<String>,
    /// The endpoint that identifies the account of an access token (OIDC userinfo, or JSON with an `id`). It is called
    /// after a consent if the token response names no account. Known providers have one built in.
    userinfo_url: Option<String>,
    /// The revocation endpoint (RFC 7009), where grants are revoked when their tokens are deleted. Known providers
    /// have one built in.
    revocation_url: Option<String>,
    #[schema(value_type = bool, default = false, required = false)]
    uses_pkce: Option<bool>,
    /// `S256` is always sent; `plain` is accepted for compatibility.
    #[schema(value_type = String, default = "S256", required = false)]
    pub code_challenge_method: Option<String>,
    provider_type: Option<ProviderType>,
    #[schema(value_type = ClientAuthentication, default = "client_secret_post", required = false)]
    token_endpoint_auth_method: Option<ClientAuthentication>,
    /// Added to every authorization URL. The protocol's own parameters cannot be set here. They override those of
    /// the template, or of the known provider that the token endpoint belongs to.
    #[schema(value_type = BTreeMap<String, String>, required = false)]
    authorization_params: Option<BTreeMap<String, String>>,
    #[schema(value_type = Vec<String>, required = false)]
    allowed_redirect_uris: Option<Vec<String>>,
    /// The issuer of an authorization server with metadata (RFC 8414 or `OpenID` Connect Discovery): its endpoints and
    /// capabilities are read from there; values in this body override them. Then `auth_url` and `token_url` are
    /// optional.
    issuer: Option<String>,
    /// The name of an entry of the catalogue (`agent-auth provider catalog`). It supplies every value that this body
    /// does not; `name`, `auth_url` and `token_url` are then optional. Without it, well-known providers are recognized
    /// by the host of the token endpoint or by `provider_type`, and their provider-specific behaviour is applied.
    template: Option<String>,
    /// Values for the placeholders of the template, e.g. `{"tenant": "common"}`.
    template_params: Option<BTreeMap<String, String>>,
    /// The endpoint for refreshes, if it is not `token_url`.
    refresh_url: Option<String>,
    /// The separator between two scopes; a space if absent.
    scope_separator: Option<String>,
    /// Requested when an agent names no scope.
    default_scopes: Option<Vec<String>>,
    /// Requested in addition to the scopes that an agent names.
    always_scopes: Option<Vec<String>>,
    /// The protected resource that the tokens are for (RFC 8707).
    resource: Option<String>,
    /// Never send `resource`.
    omit_resource: Option<bool>,
    /// Added to every token request. Do not put secrets here: they are shown in responses.
    token_params: Option<BTreeMap<String, String>>,
    /// The format of token requests; `form` if absent.
    token_format: Option<TokenFormat>,
    /// The least strict consent for this provider. The server's setting and the API key's count if they are stricter.
    consent: Option<Consent>,
    /// Addresses of applications to which a browser may be sent after a consent (`return_url`), compared byte by byte.
    return_urls: Option<Vec<String>>,
}

/// A change of a provider. Fields that are absent or null keep their values.
#[derive(ToSchema)]
#[schema(as = OAuthProviderUpdateRequest, example = json!({"client_secret": "the new secret"}))]
pub struct ProviderUpdateRequest {
    token_endpoint_auth_method: Option<ClientAuthentication>,
    name: Option<String>,
    client_id: Option<String>,
    /// Also needed, as it is, to change an endpoint of a provider that has one.
    client_secret: Option<String>,
    /// Confirms a change of endpoints that exposes this number of grants, if it does not bring the stored
    /// `client_secret`. The 409 without it states the number.
    #[schema(value_type = Option<u64>)]
    expose_grants: Option<i64>,
    auth_url: Option<String>,
    token_url: Option<String>,
    userinfo_url: Option<String>,
    revocation_url: Option<String>,
    uses_pkce: Option<bool>,
    /// `S256` is always sent; `plain` is accepted for compatibility.
    pub code_challenge_method: Option<String>,
    authorization_params: Option<BTreeMap<String, String>>,
    allowed_redirect_uris: Option<Vec<String>>,
    /// Applies the values of this catalogue entry; values in this body override them.
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
    consent: Option<Consent>,
    return_urls: Option<Vec<String>>,
}

/// Reads the fields of one body.
struct Reader<'b> {
    fields: Fields<'b>,
    guard: &'b AddressGuard,
}

impl<'b> Reader<'b> {
    fn of(body: &'b JsonBody, guard: &'b AddressGuard) -> Self {
        Self { fields: Fields::of_body(body), guard }
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        let guard = self.guard;
        self.fields.optional_text(name, &|text| check_text(name, text, guard))
    }

    fn texts(&mut self, name: &'static str, max: usize) -> Option<Vec<String>> {
        let guard = self.guard;
        self.fields.optional_texts(name, max, &|text| check_text(name, text, guard))
    }

    fn map(&mut self, name: &'static str) -> Option<BTreeMap<String, String>> {
        let guard = self.guard;
        self.fields.optional_map(name, PARAMETERS_MAX, &|text| check_text(name, text, guard))
    }

    /// `plain` is accepted, and S256 is sent: every server that supports PKCE supports it (RFC 7636 section 4.2).
    fn challenge_method(&mut self) -> Option<String> {
        self.fields.optional_text("code_challenge_method", &|text| {
            if ["S256", "plain"].contains(&text) { Ok(()) } else { Err(literal_error(["S256"])) }
        })
    }
}

impl ProviderCreateRequest {
    /// Reads the body of `POST /v2/auth/providers`. Faults of single fields are in the draft.
    #[must_use]
    pub fn read(body: &JsonBody, guard: &AddressGuard) -> ProviderDraft {
        let mut reader = Reader::of(body, guard);
        let issuer = reader.text("issuer");
        let request = Self {
            template: reader.text("template"),
            template_params: reader.map("template_params"),
            grant_type: reader.fields.optional_name("grant_type", &GrantType::NAMES),
            token_endpoint_auth_method: reader
                .fields
                .optional_name("token_endpoint_auth_method", &ClientAuthentication::NAMES),
            code_challenge_method: reader.challenge_method(),
            provider_id: reader.text("provider_id"),
            client_id: reader.text("client_id"),
            client_secret: reader.text("client_secret"),
            allowed_redirect_uris: reader.texts("allowed_redirect_uris", REDIRECT_URIS_MAX),
            name: reader.text("name"),
            auth_url: reader.text("auth_url"),
            token_url: reader.text("token_url"),
            userinfo_url: reader.text("userinfo_url"),
            revocation_url: reader.text("revocation_url"),
            // With an issuer, its metadata says it where the body does not, and null is no word of the body.
            uses_pkce: match issuer {
                Some(_) => reader.fields.optional_boolean("uses_pkce"),
                None => reader.fields.boolean_if_named("uses_pkce"),
            },
            provider_type: reader.fields.optional_name("provider_type", &ProviderType::NAMES),
            authorization_params: reader.map("authorization_params"),
            device_authorization_url: reader.text("device_authorization_url"),
            refresh_url: reader.text("refresh_url"),
            scope_separator: reader.text("scope_separator"),
            resource: reader.text("resource"),
            default_scopes: reader.texts("default_scopes", SCOPES_MAX),
            always_scopes: reader.texts("always_scopes", SCOPES_MAX),
            omit_resource: reader.fields.optional_boolean("omit_resource"),
            token_params: reader.map("token_params"),
            token_format: reader.fields.optional_name("token_format", &TokenFormat::NAMES),
            consent: reader.fields.optional_name("consent", &Consent::NAMES),
            return_urls: reader.texts("return_urls", REDIRECT_URIS_MAX),
            issuer,
        };
        let nulls = ["provider_id", "client_id", "name", "auth_url", "token_url"];
        let nulls = nulls.into_iter().filter(|name| reader.fields.is_null(name)).collect();
        ProviderDraft { nulls, ..request.into_draft(reader.fields.into_faults()) }
    }

    fn into_draft(self, unreadable: Vec<Fault>) -> ProviderDraft {
        ProviderDraft {
            provider_id: self.provider_id,
            name: self.name,
            grant_type: self.grant_type,
            client_id: self.client_id,
            client_secret: self.client_secret.map(SecretString::from),
            authentication: self.token_endpoint_auth_method,
            auth_url: self.auth_url,
            token_url: self.token_url,
            userinfo_url: self.userinfo_url,
            revocation_url: self.revocation_url,
            uses_pkce: self.uses_pkce,
            provider_type: self.provider_type.map(|family| family.as_str().to_owned()),
            authorization_params: self.authorization_params,
            allowed_redirect_uris: self.allowed_redirect_uris,
            issuer: self.issuer,
            template: self.template,
            template_params: self.template_params,
            options: OptionsDraft {
                device_authorization_url: self.device_authorization_url,
                refresh_url: self.refresh_url,
                scope_separator: self.scope_separator,
                default_scopes: self.default_scopes,
                always_scopes: self.always_scopes,
                resource: self.resource,
                omit_resource: self.omit_resource,
                token_params: self.token_params,
                token_format: self.token_format,
                consent: self.consent,
                return_urls: self.return_urls,
            },
            expose_grants: None,
            unreadable,
            nulls: Vec::new(),
        }
    }
}

impl ProviderUpdateRequest {
    /// Reads the body of `PATCH /v2/auth/providers/{provider_id}`. Faults of single fields are in the draft.
    #[must_use]
    pub fn read(body: &JsonBody, guard: &AddressGuard) -> ProviderDraft {
        let mut reader = Reader::of(body, guard);
        let request = Self {
            template: reader.text("template"),
            template_params: reader.map("template_params"),
            name: reader.text("name"),
            client_id: reader.text("client_id"),
            auth_url: reader.text("auth_url"),
            token_url: reader.text("token_url"),
            userinfo_url: reader.text("userinfo_url"),
            revocation_url: reader.text("revocation_url"),
            uses_pkce: reader.fields.optional_boolean("uses_pkce"),
            allowed_redirect_uris: reader.texts("allowed_redirect_uris", REDIRECT_URIS_MAX),
            authorization_params: reader.map("authorization_params"),
            device_authorization_url: reader.text("device_authorization_url"),
            refresh_url: reader.text("refresh_url"),
            scope_separator: reader.text("scope_separator"),
            resource: reader.text("resource"),
            default_scopes: reader.texts("default_scopes", SCOPES_MAX),
            always_scopes: reader.texts("always_scopes", SCOPES_MAX),
            omit_resource: reader.fields.optional_boolean("omit_resource"),
            token_params: reader.map("token_params"),
            token_format: reader.fields.optional_name("token_format", &TokenFormat::NAMES),
            consent: reader.fields.optional_name("consent", &Consent::NAMES),
            return_urls: reader.texts("return_urls", REDIRECT_URIS_MAX),
            code_challenge_method: reader.challenge_method(),
            token_endpoint_auth_method: reader
                .fields
                .optional_name("token_endpoint_auth_method", &ClientAuthentication::NAMES),
            client_secret: reader.text("client_secret"),
            expose_grants: reader.fields.optional_integer("expose_grants", i64::MAX),
        };
        // Not a published field: it may be repeated, but not changed.
        let grant_type = reader.fields.optional_name("grant_type", &GrantType::NAMES);
        ProviderDraft { grant_type, ..request.into_draft(reader.fields.into_faults()) }
    }

    fn into_draft(self, unreadable: Vec<Fault>) -> ProviderDraft {
        ProviderDraft {
            name: self.name,
            client_id: self.client_id,
            client_secret: self.client_secret.map(SecretString::from),
            authentication: self.token_endpoint_auth_method,
            auth_url: self.auth_url,
            token_url: self.token_url,
            userinfo_url: self.userinfo_url,
            revocation_url: self.revocation_url,
            uses_pkce: self.uses_pkce,
            authorization_params: self.authorization_params,
            allowed_redirect_uris: self.allowed_redirect_uris,
            template: self.template,
            template_params: self.template_params,
            expose_grants: self.expose_grants.map(i64::unsigned_abs),
            options: OptionsDraft {
                device_authorization_url: self.device_authorization_url,
                refresh_url: self.refresh_url,
                scope_separator: self.scope_separator,
                default_scopes: self.default_scopes,
                always_scopes: self.always_scopes,
                resource: self.resource,
                omit_resource: self.omit_resource,
                token_params: self.token_params,
                token_format: self.token_format,
                consent: self.consent,
                return_urls: self.return_urls,
            },
            unreadable,
            ..ProviderDraft::default()
        }
    }
}
