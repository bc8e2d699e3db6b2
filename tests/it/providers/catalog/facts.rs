//! What each provider of the catalogue expects and answers, taken from its own documentation or clients.
//! Written independently of the catalogue, so that both can be compared.

/// How a provider takes revocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoking {
    /// RFC 7009, there.
    At(&'static str),
    /// DELETE with HTTP Basic of the client.
    GitHub(&'static str),
    /// The access token as Bearer, with this method.
    Bearer(&'static str, &'static str),
    /// The access token in JSON, with HTTP Basic of the client.
    Json(&'static str),
    /// Client and account in a form, with the client secret as Bearer.
    Account(&'static str),
    Not,
}

#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub name: &'static str,
    pub set: &'static [(&'static str, &'static str)],
    /// Paths of the authorization and the token endpoint.
    pub paths: (&'static str, &'static str),
    /// `scope` in the authorization URL when `a` and `b` are asked for.
    pub scope: &'static str,
    pub pkce: bool,
    pub params: &'static [(&'static str, &'static str)],
    pub basic: bool,
    pub json: bool,
    pub token_params: &'static [(&'static str, &'static str)],
    /// The token response to a code.
    pub granted: &'static str,
    /// The token response to a refresh. `None`: tokens of this provider are never refreshed.
    pub renewed: Option<&'static str>,
    /// Where the authorization of a device begins, if it has that.
    pub device: Option<&'static str>,
    /// Where refreshes go, and with which grant type.
    pub refresh: (&'static str, &'static str),
    pub revoking: Revoking,
}

const BY_THE_BOOK: Facts = Facts {
    name: "",
    set: &[],
    paths: ("", ""),
    scope: "a b",
    pkce: false,
    params: &[],
    basic: false,
    json: false,
    token_params: &[],
    granted: ROTATING,
    renewed: Some(ROTATED),
    device: None,
    refresh: ("", "refresh_token"),
    revoking: Revoking::Not,
};

const ROTATING: &str = r#"{"access_token":"t1","refresh_token":"r1","expires_in":3600,"token_type":"bearer"}"#;
const ROTATED: &str = r#"{"access_token":"t2","refresh_token":"r2","expires_in":3600,"token_type":"bearer"}"#;
/// The refresh token stays as it is.
const RENEWED: &str = r#"{"access_token":"t2","expires_in":3600,"token_type":"bearer"}"#;
const FOR_EVER: &str = r#"{"access_token":"t1","token_type":"bearer"}"#;

pub const FACTS: [Facts; 31] = [
    Facts {
        name: "airtable",
        paths: ("/oauth2/v1/authorize", "/oauth2/v1/token"),
        pkce: true,
        basic: true,
        granted: r#"{"access_token":"t1","refresh_token":"r1","token_type":"Bearer","scope":"a b","expires_in":3600,"refresh_expires_in":5184000}"#,
        ..BY_THE_BOOK
    },
    Facts {
        name: "asana",
        paths: ("/-/oauth_authorize", "/-/oauth_token"),
        pkce: true,
        granted: r#"{"access_token":"t1","token_type":"bearer","expires_in":3600,"refresh_token":"r1","data":{"id":1,"gid":"1","name":"A","email":"a@b.example"}}"#,
        renewed: Some(RENEWED),
        revoking: Revoking::At("/-/oauth_revoke"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "atlassian",
        paths: ("/authorize", "/oauth/token"),
        scope: "a b offline_access",
        params: &[("audience", "api.atlassian.com"), ("prompt", "consent")],
        granted: r#"{"access_token":"t1","refresh_token":"r1","expires_in":3600,"token_type":"Bearer","scope":"offline_access a b"}"#,
        ..BY_THE_BOOK
    },
    Facts {
        name: "bitbucket",
        paths: ("/site/oauth2/authorize", "/site/oauth2/access_token"),
        basic: true,
        granted: r#"{"access_token":"t1","scopes":"a b","token_type":"bearer","expires_in":7200,"state":"authorization_code","refresh_token":"r1"}"#,
        renewed: Some(RENEWED),
        ..BY_THE_BOOK
    },
    Facts {
        name: "box",
        paths: ("/api/oauth2/authorize", "/oauth2/token"),
        granted: r#"{"access_token":"t1","expires_in":4169,"restricted_to":[],"refresh_token":"r1","token_type":"bearer"}"#,
        revoking: Revoking::At("/oauth2/revoke"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "calendly",
        paths: ("/oauth/authorize", "/oauth/token"),
        pkce: true,
        granted: r#"{"token_type":"Bearer","access_token":"t1","refresh_token":"r1","scope":"a b","created_at":1548689183,"expires_in":7200}"#,
        revoking: Revoking::At("/oauth/revoke"),
        ..BY_THE_BOOK
    },
    Facts { name: "clickup", paths: ("/api", "/api/v2/oauth/token"), granted: FOR_EVER, renewed: None, ..BY_THE_BOOK },
    Facts {
        name: "discord",
        paths: ("/api/oauth2/authorize", "/api/oauth2/token"),
        pkce: true,
        granted: r#"{"access_token":"t1","token_type":"Bearer","expires_in":604800,"refresh_token":"r1","scope":"a b"}"#,
        revoking: Revoking::At("/api/oauth2/token/revoke"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "dropbox",
        paths: ("/oauth2/authorize", "/oauth2/token"),
        pkce: true,
        basic: true,
        params: &[("token_access_type", "offline")],
        granted: r#"{"access_token":"t1","token_type":"bearer","expires_in":14400,"refresh_token":"r1","scope":"a b","uid":"1","account_id":"dbid:1"}"#,
        renewed: Some(RENEWED),
        revoking: Revoking::Bearer("POST", "/2/auth/token/revoke"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "facebook",
        paths: ("/v22.0/dialog/oauth", "/v22.0/oauth/access_token"),
        scope: "a,b",
        granted: r#"{"access_token":"t1","token_type":"bearer","expires_in":5183944}"#,
        renewed: Some(r#"{"access_token":"t2","token_type":"bearer","expires_in":5183999}"#),
        refresh: ("/v22.0/oauth/access_token", "fb_exchange_token"),
        revoking: Revoking::Bearer("DELETE", "/me/permissions"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "figma",
        paths: ("/oauth", "/v1/oauth/token"),
        scope: "a,b",
        basic: true,
        granted: r#"{"user_id":1,"access_token":"t1","refresh_token":"r1","expires_in":7776000}"#,
        renewed: Some(RENEWED),
        refresh: ("/v1/oauth/refresh", "refresh_token"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "github",
        paths: ("/login/oauth/authorize", "/login/oauth/access_token"),
        pkce: true,
        granted: r#"{"access_token":"t1","expires_in":28800,"refresh_token":"r1","refresh_token_expires_in":15897600,"token_type":"bearer","scope":"a,b"}"#,
        revoking: Revoking::GitHub("/applications/the-client/grant"),
        device: Some("/login/device/code"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "gitlab",
        paths: ("/oauth/authorize", "/oauth/token"),
        pkce: true,
        granted: r#"{"access_token":"t1","token_type":"Bearer","expires_in":7200,"refresh_token":"r1","scope":"a b","created_at":1607635748}"#,
        revoking: Revoking::At("/oauth/revoke"),
        device: Some("/oauth/authorize_device"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "gitlab-self-managed",
        set: &[("host", "gitlab.acme.example")],
        paths: ("/oauth/authorize", "/oauth/token"),
        pkce: true,
        revoking: Revoking::At("/oauth/revoke"),
        device: Some("/oauth/authorize_device"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "google",
        paths: ("/o/oauth2/v2/auth", "/token"),
        pkce: true,
        params: &[("access_type", "offline"), ("prompt", "consent")],
        granted: r#"{"access_token":"t1","expires_in":3599,"refresh_token":"r1","scope":"b a","token_type":"Bearer"}"#,
        renewed: Some(r#"{"access_token":"t2","expires_in":3599,"scope":"b a","token_type":"Bearer"}"#),
        revoking: Revoking::At("/revoke"),
        device: Some("/device/code"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "hubspot",
        paths: ("/oauth/authorize", "/oauth/2026-03/token"),
        granted: r#"{"token_type":"bearer","refresh_token":"r1","access_token":"t1","hub_id":1,"user_id":2,"scopes":["a","b"],"expires_in":1800}"#,
        renewed: Some(r#"{"token_type":"bearer","refresh_token":"r1","access_token":"t2","expires_in":1800}"#),
        revoking: Revoking::At("/oauth/2026-03/token/revoke"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "intercom",
        paths: ("/oauth", "/auth/eagle/token"),
        granted: r#"{"token":"t1","access_token":"t1","token_type":"Bearer"}"#,
        renewed: None,
        ..BY_THE_BOOK
    },
    Facts {
        name: "linear",
        paths: ("/oauth/authorize", "/oauth/token"),
        scope: "a,b",
        pkce: true,
        params: &[("prompt", "consent")],
        granted: r#"{"access_token":"t1","token_type":"Bearer","expires_in":86399,"scope":"a b","refresh_token":"r1"}"#,
        revoking: Revoking::At("/oauth/revoke"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "linkedin",
        paths: ("/oauth/v2/authorization", "/oauth/v2/accessToken"),
        granted: r#"{"access_token":"t1","expires_in":5184000,"refresh_token":"r1","refresh_token_expires_in":31536000,"scope":"a,b"}"#,
        renewed: Some(
            r#"{"access_token":"t2","expires_in":5184000,"refresh_token":"r1","refresh_token_expires_in":26352000,"scope":"a,b"}"#,
        ),
        revoking: Revoking::At("/oauth/v2/revoke"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "microsoft",
        set: &[("tenant", "common")],
        paths: ("/common/oauth2/v2.0/authorize", "/common/oauth2/v2.0/token"),
        scope: "a b offline_access",
        pkce: true,
        params: &[("response_mode", "query")],
        granted: r#"{"token_type":"Bearer","scope":"a b","expires_in":3599,"ext_expires_in":3599,"access_token":"t1","refresh_token":"r1"}"#,
        device: Some("/common/oauth2/v2.0/devicecode"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "monday",
        paths: ("/oauth2/authorize", "/oauth2/token"),
        granted: r#"{"access_token":"t1","token_type":"Bearer","scope":"a b"}"#,
        renewed: None,
        ..BY_THE_BOOK
    },
    Facts {
        name: "notion",
        paths: ("/v1/oauth/authorize", "/v1/oauth/token"),
        basic: true,
        json: true,
        params: &[("owner", "user")],
        granted: r#"{"access_token":"t1","token_type":"bearer","refresh_token":"r1","bot_id":"b","workspace_id":"w","workspace_name":"W","owner":{"type":"user","user":{"id":"u"}}}"#,
        renewed: Some(r#"{"access_token":"t2","token_type":"bearer","refresh_token":"r2","bot_id":"b"}"#),
        revoking: Revoking::Json("/v1/oauth/revoke"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "reddit",
        paths: ("/api/v1/authorize", "/api/v1/access_token"),
        basic: true,
        params: &[("duration", "permanent")],
        granted: r#"{"access_token":"t1","token_type":"bearer","expires_in":86400,"scope":"a b","refresh_token":"r1"}"#,
        renewed: Some(RENEWED),
        revoking: Revoking::At("/api/v1/revoke_token"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "salesforce",
        set: &[("host", "acme.my.salesforce.com")],
        paths: ("/services/oauth2/authorize", "/services/oauth2/token"),
        scope: "a b refresh_token",
        pkce: true,
        granted: r#"{"access_token":"t1","refresh_token":"r1","signature":"s","scope":"a b refresh_token","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/1/2","token_type":"Bearer","issued_at":"1763800000000"}"#,
        renewed: Some(
            r#"{"access_token":"t2","signature":"s","scope":"a b refresh_token","id":"https://login.salesforce.com/id/1/2","token_type":"Bearer","issued_at":"1763810000000"}"#,
        ),
        revoking: Revoking::At("/services/oauth2/revoke"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "shopify",
        set: &[("shop", "acme")],
        paths: ("/admin/oauth/authorize", "/admin/oauth/access_token"),
        scope: "a,b",
        token_params: &[("expiring", "1")],
        granted: r#"{"access_token":"t1","expires_in":3600,"refresh_token":"r1","refresh_token_expires_in":7776000,"scope":"a,b"}"#,
        ..BY_THE_BOOK
    },
    Facts {
        name: "slack",
        paths: ("/oauth/v2/authorize", "/api/oauth.v2.access"),
        scope: "a,b",
        granted: r#"{"ok":true,"app_id":"A1","access_token":"t1","token_type":"bot","scope":"a,b","bot_user_id":"U0","refresh_token":"r1","expires_in":43200,"team":{"id":"T1","name":"Team"},"enterprise":null,"authed_user":{"id":"U1"},"is_enterprise_install":false}"#,
        renewed: Some(
            r#"{"ok":true,"access_token":"t2","expires_in":43200,"refresh_token":"r2","token_type":"bot","scope":"a,b","bot_user_id":"U0","app_id":"A1"}"#,
        ),
        revoking: Revoking::Bearer("POST", "/api/auth.revoke"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "spotify",
        paths: ("/authorize", "/api/token"),
        pkce: true,
        basic: true,
        granted: r#"{"access_token":"t1","token_type":"Bearer","scope":"a b","expires_in":3600,"refresh_token":"r1"}"#,
        renewed: Some(RENEWED),
        ..BY_THE_BOOK
    },
    Facts {
        name: "stripe",
        paths: ("/oauth/authorize", "/oauth/token"),
        granted: r#"{"access_token":"t1","livemode":false,"refresh_token":"r1","token_type":"bearer","stripe_publishable_key":"pk","stripe_user_id":"acct_1","scope":"a b"}"#,
        renewed: Some(
            r#"{"access_token":"t2","livemode":false,"refresh_token":"r1","token_type":"bearer","stripe_user_id":"acct_1","scope":"a b"}"#,
        ),
        revoking: Revoking::Account("/oauth/deauthorize"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "x",
        paths: ("/i/oauth2/authorize", "/2/oauth2/token"),
        scope: "a b offline.access",
        pkce: true,
        basic: true,
        granted: r#"{"token_type":"bearer","expires_in":7200,"access_token":"t1","scope":"a b offline.access","refresh_token":"r1"}"#,
        revoking: Revoking::At("/2/oauth2/revoke"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "zendesk",
        set: &[("subdomain", "acme")],
        paths: ("/oauth/authorizations/new", "/oauth/tokens"),
        pkce: true,
        token_params: &[("expires_in", "1800")],
        granted: r#"{"access_token":"t1","refresh_token":"r1","token_type":"bearer","scope":"a b","expires_in":1800,"refresh_token_expires_in":2592000}"#,
        revoking: Revoking::Bearer("DELETE", "/api/v2/oauth/tokens/current.json"),
        ..BY_THE_BOOK
    },
    Facts {
        name: "zoom",
        paths: ("/oauth/authorize", "/oauth/token"),
        scope: "a,b",
        pkce: true,
        basic: true,
        granted: r#"{"access_token":"t1","token_type":"bearer","refresh_token":"r1","expires_in":3599,"scope":"a b"}"#,
        revoking: Revoking::At("/oauth/revoke"),
        ..BY_THE_BOOK
    },
];

impl Facts {
    /// Where refresh tokens go.
    pub fn refresh_path(&self) -> &'static str {
        if self.refresh.0.is_empty() { self.paths.1 } else { self.refresh.0 }
    }
}
