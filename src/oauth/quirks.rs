//! What single providers do differently, as data.
//! Owns: the tables. Each row says what is added or read, never code.
//! Must not know: how the rows are applied.

/// A provider's habits at the authorization endpoint.
#[derive(Debug)]
pub struct AuthorizationQuirk {
    /// Matches the provider's `provider_type`, or the host of its authorization endpoint.
    pub applies_to: AppliesTo,
    /// Scopes without which there would be no refresh token.
    pub always_scopes: &'static [&'static str],
    /// Parameters sent unless the provider's record says otherwise.
    pub parameters: &'static [(&'static str, &'static str)],
    /// What stands between two scopes (RFC 6749 section 3.3 says a space).
    pub scope_separator: &'static str,
}

/// How a quirk finds its provider.
#[derive(Debug)]
pub enum AppliesTo {
    /// `provider_type` on the wire.
    Type(&'static str),
    /// The host of the authorization endpoint.
    Host(&'static str),
}

/// The habits we know. The first row that applies is used.
pub const AUTHORIZATION: &[AuthorizationQuirk] = &[
    AuthorizationQuirk {
        applies_to: AppliesTo::Type("microsoft"),
        always_scopes: &["offline_access"],
        parameters: &[],
        scope_separator: " ",
    },
    AuthorizationQuirk {
        applies_to: AppliesTo::Type("salesforce"),
        always_scopes: &["refresh_token"],
        parameters: &[],
        scope_separator: " ",
    },
    AuthorizationQuirk {
        applies_to: AppliesTo::Type("slack"),
        always_scopes: &[],
        parameters: &[],
        scope_separator: ",",
    },
    AuthorizationQuirk {
        applies_to: AppliesTo::Type("x"),
        always_scopes: &["offline.access"],
        parameters: &[],
        scope_separator: " ",
    },
    AuthorizationQuirk {
        applies_to: AppliesTo::Host("accounts.google.com"),
        always_scopes: &[],
        parameters: &[("access_type", "offline"), ("prompt", "consent")],
        scope_separator: " ",
    },
];

/// Error codes that mean that a grant is dead and only a new consent helps.
pub const DEAD_GRANT: &[&str] = &[
    "invalid_grant",
    "bad_refresh_token",
    "invalid_refresh_token",
    "token_revoked",
    "token_expired",
    "account_inactive",
    "interaction_required",
    "consent_required",
    "login_required",
    // Facebook, for every way in which a token is no longer good.
    "OAuthException",
];

/// Error codes that mean that our client is wrong, and no grant.
pub const MISCONFIGURED_CLIENT: &[&str] = &[
    "invalid_client",
    "unauthorized_client",
    "incorrect_client_credentials",
    "bad_client_secret",
    "invalid_client_id",
    "unsupported_grant_type",
];

/// Fields of a token response that an API of the provider needs beside the token, and that are no secrets.
pub const METADATA_FIELDS: &[&str] = &[
    "instance_url",
    "issued_at",
    "team",
    "enterprise",
    "is_enterprise_install",
    "bot_user_id",
    "app_id",
    "workspace_id",
    "workspace_name",
    "bot_id",
    "stripe_user_id",
    "account_id",
    "team_id",
    "uid",
    "api_domain",
    "api_server",
    "location",
    "hub_id",
    "portal_id",
    "realmId",
    "shop",
    "user_id",
];

/// Where a token response tells who the person is: pointers that together name the account, and pointers of which
/// the first that is there names it for people.
pub const ACCOUNTS: &[(&[&str], &[&str])] = &[
    // Slack: the workspace, and the person or the bot in it.
    (&["/team/id", "/authed_user/id"], &["/team/name"]),
    (&["/team/id", "/bot_user_id"], &["/team/name"]),
    // Notion.
    (&["/workspace_id", "/owner/user/id"], &["/owner/user/person/email", "/workspace_name"]),
    (&["/workspace_id", "/bot_id"], &["/workspace_name"]),
    // Stripe Connect.
    (&["/stripe_user_id"], &["/stripe_user_id"]),
    // Dropbox.
    (&["/account_id"], &["/account_id"]),
    // Salesforce: the identity URL.
    (&["/instance_url", "/id"], &["/instance_url"]),
    // Strava, Fitbit and others.
    (&["/athlete/id"], &["/athlete/username"]),
    (&["/user_id"], &[]),
];
