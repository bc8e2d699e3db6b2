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
    // HubSpot: a person has one id in all of their portals.
    (&["/hub_id", "/user_id"], &["/hub_id"]),
    // Strava, Fitbit and others.
    (&["/athlete/id"], &["/athlete/username"]),
    (&["/user_id"], &[]),
];

/// Where a provider tells whose an access token is, for those whose token responses do not.
#[derive(Debug)]
pub struct UserinfoQuirk {
    /// The hosts of its token endpoint.
    pub token_hosts: &'static [&'static str],
    /// What is asked with GET and the access token, and answers in JSON.
    pub url: &'static str,
    /// The scopes of which the grant must have one, or asking is in vain; empty where every grant may ask.
    pub scopes: &'static [&'static str],
    /// What stands as `iss` in the provider's id tokens, so that both ways name an account alike.
    pub issuer: Option<&'static str>,
    /// Pointers of which the first that is there is the account's id.
    pub id: &'static [&'static str],
    /// Pointers of which the first that is there names it for people.
    pub labels: &'static [&'static str],
}

/// A `userinfo_url` of a provider's record: `OpenID` Connect Core section 5.3.2, or an API's own idea of a person.
pub const USERINFO_ELSEWHERE: UserinfoQuirk = UserinfoQuirk {
    token_hosts: &[],
    url: "",
    scopes: &[],
    issuer: None,
    id: &["/sub", "/id", "/user_id"],
    labels: &["/email", "/preferred_username", "/login", "/username", "/name"],
};

/// The providers we know. (Those with an id token or an account in the token response are asked nothing.)
pub const USERINFO: &[UserinfoQuirk] = &[
    UserinfoQuirk {
        token_hosts: &["github.com"],
        url: "https://api.github.com/user",
        scopes: &[],
        issuer: None,
        id: &["/id"],
        labels: &["/login"],
    },
    UserinfoQuirk {
        token_hosts: &["oauth2.googleapis.com", "accounts.google.com", "www.googleapis.com"],
        url: "https://openidconnect.googleapis.com/v1/userinfo",
        scopes: &[
            "openid",
            "email",
            "profile",
            "https://www.googleapis.com/auth/userinfo.email",
            "https://www.googleapis.com/auth/userinfo.profile",
        ],
        issuer: Some("https://accounts.google.com"),
        id: &["/sub"],
        labels: &["/email", "/name"],
    },
    UserinfoQuirk {
        token_hosts: &["login.microsoftonline.com"],
        url: "https://graph.microsoft.com/v1.0/me",
        scopes: &[
            "User.Read",
            "User.ReadWrite",
            "https://graph.microsoft.com/User.Read",
            "https://graph.microsoft.com/User.ReadWrite",
        ],
        issuer: None,
        id: &["/id"],
        labels: &["/mail", "/userPrincipalName"],
    },
    UserinfoQuirk {
        token_hosts: &["gitlab.com"],
        url: "https://gitlab.com/api/v4/user",
        scopes: &["read_user", "read_api", "api"],
        issuer: Some("https://gitlab.com"),
        id: &["/id"],
        labels: &["/email", "/username"],
    },
    UserinfoQuirk {
        token_hosts: &["discord.com", "discordapp.com"],
        url: "https://discord.com/api/users/@me",
        scopes: &["identify"],
        issuer: None,
        id: &["/id"],
        labels: &["/email", "/username"],
    },
    UserinfoQuirk {
        token_hosts: &["accounts.spotify.com"],
        url: "https://api.spotify.com/v1/me",
        scopes: &[],
        issuer: None,
        id: &["/id"],
        labels: &["/email", "/display_name"],
    },
    UserinfoQuirk {
        token_hosts: &["api.x.com", "api.twitter.com"],
        url: "https://api.x.com/2/users/me",
        scopes: &["users.read"],
        issuer: None,
        id: &["/data/id"],
        labels: &["/data/username"],
    },
    UserinfoQuirk {
        token_hosts: &["auth.atlassian.com"],
        url: "https://api.atlassian.com/me",
        scopes: &["read:me"],
        issuer: None,
        id: &["/account_id"],
        labels: &["/email", "/name"],
    },
    UserinfoQuirk {
        token_hosts: &["api.figma.com"],
        url: "https://api.figma.com/v1/me",
        scopes: &["current_user:read", "files:read", "file_read"],
        issuer: None,
        id: &["/id"],
        labels: &["/email", "/handle"],
    },
    UserinfoQuirk {
        token_hosts: &["airtable.com"],
        url: "https://api.airtable.com/v0/meta/whoami",
        scopes: &[],
        issuer: None,
        id: &["/id"],
        labels: &["/email"],
    },
    UserinfoQuirk {
        token_hosts: &["api.box.com"],
        url: "https://api.box.com/2.0/users/me",
        scopes: &[],
        issuer: None,
        id: &["/id"],
        labels: &["/login"],
    },
];

/// Where the well-known revoke grants, by the host of their token endpoint (or the end of it, after a dot): an address,
/// or a path on that host. The client id stands for `{client_id}`. Microsoft, Atlassian, Bitbucket, Figma,
/// Spotify and others have no such endpoint. Shopify's takes the whole app from the shop, from everybody who uses it
/// there: so it is not asked unless a provider's record names it.
pub const REVOCATION: &[(&str, &str)] = &[
    ("oauth2.googleapis.com", "/revoke"),
    ("www.googleapis.com", "https://oauth2.googleapis.com/revoke"),
    ("accounts.google.com", "https://oauth2.googleapis.com/revoke"),
    ("github.com", "https://api.github.com/applications/{client_id}/grant"),
    ("slack.com", "/api/auth.revoke"),
    ("api.dropboxapi.com", "/2/auth/token/revoke"),
    ("api.dropbox.com", "https://api.dropboxapi.com/2/auth/token/revoke"),
    ("www.dropbox.com", "https://api.dropboxapi.com/2/auth/token/revoke"),
    ("graph.facebook.com", "/me/permissions"),
    ("discord.com", "/api/oauth2/token/revoke"),
    ("api.linear.app", "/oauth/revoke"),
    ("zoom.us", "/oauth/revoke"),
    ("gitlab.com", "/oauth/revoke"),
    ("login.salesforce.com", "/services/oauth2/revoke"),
    ("test.salesforce.com", "/services/oauth2/revoke"),
    (".my.salesforce.com", "/services/oauth2/revoke"),
    ("api.box.com", "/oauth2/revoke"),
    ("app.asana.com", "/-/oauth_revoke"),
    ("api.x.com", "/2/oauth2/revoke"),
    ("api.twitter.com", "https://api.x.com/2/oauth2/revoke"),
    ("www.reddit.com", "/api/v1/revoke_token"),
    ("www.linkedin.com", "/oauth/v2/revoke"),
    ("api.notion.com", "/v1/oauth/revoke"),
    ("connect.stripe.com", "/oauth/deauthorize"),
    (".zendesk.com", "/api/v2/oauth/tokens/current.json"),
];

/// Revocation endpoints that are none of RFC 7009, by the end of their path or a part of it.
pub const REVOCATION_HABITS: &[(RevocationPath, RevocationHabit)] = &[
    (RevocationPath::Contains("/applications/"), RevocationHabit::GitHub),
    (RevocationPath::EndsWith("/auth.revoke"), RevocationHabit::PostBearer),
    (RevocationPath::EndsWith("/2/auth/token/revoke"), RevocationHabit::PostBearer),
    (RevocationPath::EndsWith("/permissions"), RevocationHabit::DeleteBearer),
    (RevocationPath::EndsWith("/oauth/tokens/current.json"), RevocationHabit::DeleteBearer),
    (RevocationPath::EndsWith("/admin/api_permissions/current.json"), RevocationHabit::Shopify),
    (RevocationPath::EndsWith("/v1/oauth/revoke"), RevocationHabit::Notion),
    (RevocationPath::EndsWith("/oauth/deauthorize"), RevocationHabit::Stripe),
];

/// How a habit finds its endpoint.
#[derive(Clone, Copy, Debug)]
pub enum RevocationPath {
    /// By a part of the path.
    Contains(&'static str),
    /// By the end of the path.
    EndsWith(&'static str),
}

/// How a grant is revoked where RFC 7009 is not known. Each of them but Stripe takes the access token only, and only a
/// live one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationHabit {
    /// DELETE with HTTP Basic of the client, and the access token in JSON (GitHub).
    GitHub,
    /// POST with the access token as Bearer and no body (Slack, Dropbox).
    PostBearer,
    /// DELETE with the access token as Bearer (Facebook, Zendesk).
    DeleteBearer,
    /// DELETE with the access token in a header of its own. It takes the app from the shop.
    Shopify,
    /// POST with HTTP Basic of the client, and the access token in JSON. Only where the token endpoint is sent JSON, too:
    /// the path is a common one.
    Notion,
    /// POST with the client secret as Bearer, and client and account in a form: no token goes there.
    Stripe,
}

/// The version of Notion's API whose revocation endpoint we know: every request names one.
pub const NOTION_VERSION: &str = "2025-09-03";

/// Part of the sentence by which Stripe says that the account is not, or no longer, connected to the platform. The code
/// beside it is the same as for a wrong client.
pub const STRIPE_NOT_CONNECTED: &str = "not connected";

/// Error codes by which Slack (in `error`) and Facebook (in `error.code`) say that an access token is not good any more.
pub const DEAD_ACCESS_TOKEN: &[&str] =
    &["token_revoked", "token_expired", "account_inactive", "invalid_auth", "not_authed", "102", "190"];
