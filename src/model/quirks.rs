//! Quirks: what a provider does differently from the RFCs, as data.
//! Owns: the nouns, and what each of them is where nothing is known of a provider.
//! Must not know: which provider has which quirk (the catalogue), or how one is applied (`oauth/`).

use std::collections::BTreeMap;

use serde::Deserialize;

/// How the token responses, the accounts and the errors of a provider are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Scopes that include other scopes.
    pub included_scopes: BTreeMap<String, Vec<String>>,
    /// A prefix with or without which the provider names one scope.
    pub scope_prefix: Option<String>,
    /// JSON pointers to objects of a token response that may contain the token, if the response itself does not.
    pub token_paths: Vec<String>,
    /// Fields of a token response that the provider's APIs need beside the token, and that are no secrets.
    pub metadata: Vec<String>,
    /// Where a token response names the account. The first that is complete is used.
    pub accounts: Vec<AccountPaths>,
    /// Error codes of the token endpoint that are not in an RFC.
    pub errors: ErrorCodes,
}

/// Where an account is named in a response.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountPaths {
    /// JSON pointers that together are the account's id. All of them must be there.
    pub id: Vec<String>,
    /// JSON pointers of which the first that is there names the account for people.
    #[serde(default)]
    pub label: Vec<String>,
}

/// Error codes that a provider uses beside those of the RFCs, by their meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorCodes {
    /// The grant is dead, and only a new consent helps.
    pub dead_grant: Vec<String>,
    /// Sentences that say the same of a refresh token, under a code that does not.
    pub dead_grant_texts: Vec<String>,
    /// Our client is wrong, and no grant.
    pub misconfigured_client: Vec<String>,
    /// Too many requests.
    pub rate_limited: Vec<String>,
    /// The client is right, and the code or refresh token is not known.
    pub unknown_grant: Vec<String>,
    /// The access token is dead.
    pub dead_access_token: Vec<String>,
}

/// What an authorization request to a provider needs, whatever the provider's record leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizationQuirks {
    /// Scopes that are always requested.
    pub always_scopes: Vec<String>,
    /// Parameters that are sent unless the record sets them.
    pub parameters: BTreeMap<String, String>,
    /// What separates scopes unless the record says it.
    pub scope_separator: Option<String>,
    /// A parameter that takes the place of `scope` when the record sets it.
    pub scope_parameter: Option<String>,
}

/// A userinfo endpoint: which account an access token is for, where the token response does not say.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Userinfo {
    /// Called with GET and the access token; the response is JSON. Empty in an entry whose endpoint is in the records.
    #[serde(default)]
    pub url: String,
    /// Scopes of which the grant must have one for the call to succeed. Empty: every grant will do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The `iss` of the provider's ID tokens, so that both ways give one account the same id.
    pub issuer: Option<String>,
    /// JSON pointers of which the first that is there is the account's id.
    #[serde(default = "id")]
    pub id: Vec<String>,
    /// JSON pointers of which the first that is there names the account for people.
    #[serde(default = "label")]
    pub label: Vec<String>,
}

impl Userinfo {
    /// An endpoint of which nothing but the address is known: `OpenID` Connect Core section 5.3.2, or an API that
    /// describes a person in its own way.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self { url: url.to_owned(), scopes: Vec::new(), issuer: None, id: id(), label: label() }
    }
}

fn id() -> Vec<String> {
    ["/sub", "/id", "/user_id"].map(str::to_owned).into()
}

fn label() -> Vec<String> {
    ["/email", "/preferred_username", "/login", "/username", "/name"].map(str::to_owned).into()
}

/// How grants are revoked at an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Revocation {
    /// The request, and the reading of its response.
    pub style: RevocationStyle,
    /// Whether it ends every grant of the account, and not one token.
    pub ends_account: bool,
    /// Error codes by which it says that the access token is dead.
    pub dead_access_token: Vec<String>,
}

/// A revocation request. All but the first and the last take the access token only, and only a live one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationStyle {
    /// POST of a form with the refresh token, and another with the access token (RFC 7009).
    #[default]
    Rfc7009,
    /// DELETE with HTTP Basic of the client, and the access token in JSON.
    Github,
    /// POST with the access token as Bearer and no body.
    PostBearer,
    /// DELETE with the access token as Bearer.
    DeleteBearer,
    /// DELETE with the access token in a header of its own.
    Shopify,
    /// POST with HTTP Basic of the client, and the access token in JSON.
    Notion,
    /// POST with the client secret as Bearer, and client and account in a form: no token goes there.
    Stripe,
}
