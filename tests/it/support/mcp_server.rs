//! An MCP server and its authorization server, on one port.
//! Owns the documents it shows, which a test may change, and the record of what it was asked.
//! Must not know the application.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::caller::with;
use super::database::random_text;
use super::scripted::Scripted;
use super::served::Served;

/// One request it was sent.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub body: String,
}

impl Asked {
    /// A field of a form.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut fields = form_urlencoded::parse(self.body.as_bytes());
        fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
    }
}

#[derive(Default)]
struct Records {
    pages: Mutex<HashMap<String, Scripted>>,
    asked: Mutex<Vec<Asked>>,
}

pub struct McpServer {
    pub served: Served,
    records: Arc<Records>,
}

/// Where its documents are when everything is in order.
pub const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource/public/mcp";
pub const SERVER_METADATA: &str = "/.well-known/oauth-authorization-server";

impl McpServer {
    /// One that says nothing yet.
    pub async fn silent() -> Self {
        let records = Arc::new(Records::default());
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&records));
        Self { served: Served::start(routes).await, records }
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
        self.served.at(path)
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

    pub fn show(&self, path: &str, document: impl Into<Value>) {
        self.answer(path, Scripted::json(document));
    }

    pub fn answer(&self, path: &str, answer: Scripted) {
        self.records.pages.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub fn hide(&self, path: &str) {
        self.records.pages.lock().unwrap().remove(path);
    }

    /// What the MCP server itself answers to those who come without a token.
    pub fn challenge(&self, header: &str) {
        self.answer("/public/mcp", Scripted::text("text/plain", "").status(401).header("www-authenticate", header));
    }

    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.records.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// How often it was asked anything.
    pub fn times_asked(&self) -> usize {
        self.records.asked.lock().unwrap().len()
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

async fn answer(State(records): State<Arc<Records>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap_or_else(|_| Bytes::new());
    let body = String::from_utf8_lossy(&body).into_owned();
    records.asked.lock().unwrap().push(Asked { path: path.clone(), body: body.clone() });
    let page = records.pages.lock().unwrap().get(&path).cloned();
    let answer = page.unwrap_or_else(|| match path.as_str() {
        "/register" => Scripted::json(registered(&body)).status(201),
        "/token" => Scripted::json(json!({
            "access_token": random_text("access-"), "refresh_token": random_text("refresh-"),
            "token_type": "Bearer", "expires_in": 3600,
        })),
        _ => Scripted::text("text/html", "<h1>Not here</h1>").status(404),
    });
    answer.give(Arc::default()).await
}

/// What was asked for, with an id and a secret.
fn registered(body: &str) -> Value {
    let asked: Value = serde_json::from_str(body).expect("a registration is JSON");
    with(asked, json!({"client_id": random_text("client-"), "client_secret": random_text("secret-")}))
}
