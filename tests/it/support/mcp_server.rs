//! An MCP server and its authorization server, on one port.
//! A test may change each of its documents.

use serde_json::{Value, json};

use super::authorization_server::{AuthorizationServer, Reply, Request};
use super::caller::with;
use super::database::random_text;

pub struct McpServer(AuthorizationServer);

/// Where its documents are when everything is in order.
pub const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource/public/mcp";
pub const SERVER_METADATA: &str = "/.well-known/oauth-authorization-server";

impl McpServer {
    /// One without any document.
    pub async fn silent() -> Self {
        Self(AuthorizationServer::custom(answer).await)
    }

    /// One whose documents are all there and right.
    pub async fn start() -> Self {
        let server = Self::silent().await;
        let challenge = format!(r#"Bearer resource_metadata="{}""#, server.at(RESOURCE_METADATA));
        server.challenge(&challenge);
        server.show(RESOURCE_METADATA, server.resource_metadata());
        server.show(SERVER_METADATA, server.server_metadata());
        server
    }

    pub fn at(&self, path: &str) -> String {
        self.0.at(path)
    }

    pub fn port(&self) -> u16 {
        self.0.address().port()
    }

    pub fn url(&self) -> String {
        self.at("/public/mcp")
    }

    pub fn resource_metadata(&self) -> Value {
        json!({"resource": self.url(), "authorization_servers": [self.at("")], "scopes_supported": ["read", "write"]})
    }

    pub fn server_metadata(&self) -> Value {
        json!({
            "issuer": self.at(""),
            "authorization_endpoint": self.at("/authorize"),
            "token_endpoint": self.at("/token"),
            "registration_endpoint": self.at("/register"),
            "revocation_endpoint": self.at("/revoke"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
        })
    }

    /// Every request to `path` is answered with this document from now on.
    pub fn show(&self, path: &str, document: impl Into<Value>) {
        self.answer(path, Reply::json(document));
    }

    /// Every request to `path` is answered like this from now on.
    pub fn answer(&self, path: &str, reply: Reply) {
        self.0.show(path, reply);
    }

    pub fn hide(&self, path: &str) {
        self.0.hide(path);
    }

    /// What the MCP server itself answers to those who come without a token.
    pub fn challenge(&self, header: &str) {
        self.answer("/public/mcp", Reply::text("text/plain", "").status(401).header("www-authenticate", header));
    }

    pub fn requests(&self, path: &str) -> Vec<Request> {
        self.0.requests(path)
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.0.all_requests().len()
    }

    /// What connects this server.
    pub fn connection(&self) -> Value {
        json!({"provider_id": "acme", "name": "Acme's tools", "mcp_server_url": self.url()})
    }

    /// The same with more.
    pub fn connection_with(&self, more: Value) -> Value {
        with(self.connection(), more)
    }
}

fn answer(request: &Request) -> Reply {
    match request.path.as_str() {
        "/register" => Reply::json(registered(request)).status(201),
        "/token" => Reply::json(json!({
            "access_token": random_text("access-"), "refresh_token": random_text("refresh-"),
            "token_type": "Bearer", "expires_in": 3600,
        })),
        _ => Reply::text("text/html", "<h1>Not here</h1>").status(404),
    }
}

/// What was asked for, with an id and a secret.
fn registered(request: &Request) -> Value {
    with(request.json(), json!({"client_id": random_text("client-"), "client_secret": random_text("secret-")}))
}
