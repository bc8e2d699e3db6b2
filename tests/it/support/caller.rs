//! A caller: an API key, perhaps acting for a user, or nobody. It sends requests and does the usual flows.

use std::net::IpAddr;

use agent_auth::http::address::Peer;
use axum::Router;
use axum::body::Body;
use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use axum::response::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use url::{Position, Url};

use super::answer::Answer;
use super::authorization_server::{AuthorizationServer, Reply};
use super::stream::Stream;

#[derive(Clone)]
pub struct Caller {
    router: Router,
    headers: HeaderMap,
    peer: Option<IpAddr>,
}

/// An authorization request that waits for a person.
#[derive(Debug, Clone)]
pub struct Pending {
    pub url: String,
    pub auth_id: String,
}

impl Pending {
    pub fn parameter(&self, name: &str) -> Option<String> {
        let url = Url::parse(&self.url).expect("a URL");
        let mut found = url.query_pairs().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.into_owned());
        assert!(found.next().is_none(), "{name} twice in {}", self.url);
        value
    }

    pub fn state(&self) -> String {
        self.parameter("state").expect("a state")
    }
}

impl Caller {
    pub fn anonymous(router: Router) -> Self {
        // As every client of HTTP/1.1 does.
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("agent-auth.example"))]);
        Self { router, headers, peer: None }
    }

    /// The same caller with one header more (or another value of it).
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        let name: HeaderName = name.parse().expect("a header name");
        other.headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
        other
    }

    /// The same caller with a further value of a header, whatever its bytes are.
    pub fn with_also(&self, name: &str, value: &[u8]) -> Self {
        let mut other = self.clone();
        let name: HeaderName = name.parse().expect("a header name");
        other.headers.append(name, HeaderValue::from_bytes(value).expect("a header value"));
        other
    }

    /// The same caller without a header.
    pub fn without_header(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.headers.remove(name);
        other
    }

    /// The same caller over a connection from this address.
    pub fn at_address(&self, address: &str) -> Self {
        Self { peer: Some(address.parse().expect("an address")), ..self.clone() }
    }

    pub fn with_key(&self, key: &str) -> Self {
        self.with("x-api-key", key)
    }

    /// The API key that it sends.
    pub fn key(&self) -> String {
        self.headers["x-api-key"].to_str().expect("a text").to_owned()
    }

    pub fn acting_for(&self, user: &str) -> Self {
        self.with("x-user-id", user)
    }

    pub async fn send(&self, method: Method, path: &str, body: Body) -> Answer {
        let (parts, body) = self.respond(method, path, body).await.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.expect("a whole body").to_bytes(),
        }
    }

    /// Opens a stream, which must be accepted.
    pub async fn follow(&self, path: &str) -> Stream {
        let response = self.respond(Method::GET, path, Body::empty()).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{path}");
        Stream::read(response.into_body())
    }

    async fn respond(&self, method: Method, path: &str, body: Body) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        request.headers_mut().expect("a sound request").extend(self.headers.clone());
        if let Some(peer) = self.peer {
            request.extensions_mut().expect("a sound request").insert(Peer(peer));
        }
        let request = request.body(body).expect("a sound request");
        self.router.clone().oneshot(request).await.expect("the router never fails")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Body::empty()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, Body::empty()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string()).await
    }

    pub async fn post_text(&self, path: &str, body: &str) -> Answer {
        self.with("content-type", "application/json").send(Method::POST, path, Body::from(body.to_owned())).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.with("content-type", "application/json").send(Method::PATCH, path, Body::from(body.to_string())).await
    }

    /// A browser: no API key.
    pub fn browser(&self) -> Self {
        Self::anonymous(self.router.clone()).with("accept", "text/html")
    }

    /// A browser follows this address: no API key, whatever the host.
    pub async fn visit(&self, url: &Url) -> Answer {
        self.browser().get(&url[Position::BeforePath..Position::AfterQuery]).await
    }

    /// Registers `provider` as `acme`.
    pub async fn register(&self, provider: &AuthorizationServer) -> Value {
        self.register_as(provider.definition("acme")).await
    }

    pub async fn register_as(&self, definition: Value) -> Value {
        self.post("/v2/auth/providers", &definition).await.expect(200)
    }

    pub async fn try_authenticate(&self, body: &Value) -> Answer {
        self.post("/v2/auth/authenticate", body).await
    }

    pub async fn authenticate(&self, body: &Value) -> Value {
        self.try_authenticate(body).await.expect(200)
    }

    /// Asks and must be sent to the provider.
    pub async fn begin(&self, body: &Value) -> Pending {
        let answer = self.authenticate(body).await;
        assert_eq!(answer["status"], "pending", "answer: {answer}");
        assert!(answer["token"].is_null(), "pending has no token: {answer}");
        Pending {
            url: answer["url"].as_str().expect("a url").to_owned(),
            auth_id: answer["auth_id"].as_str().expect("an auth_id").to_owned(),
        }
    }

    /// Asks and must be given a token at once.
    pub async fn token(&self, body: &Value) -> String {
        let answer = self.authenticate(body).await;
        assert_eq!(answer["status"], "completed", "answer: {answer}");
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// The whole journey: ask, consent in the browser, be answered; gives the access token.
    pub async fn connect(&self, provider: &AuthorizationServer, body: &Value) -> String {
        let pending = self.begin(body).await;
        self.come_back(&provider.consent(&pending.url)).await;
        let answer = self.wait(&pending.auth_id).await;
        assert_eq!(answer["status"], "completed", "answer: {answer}");
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// Begins a new consent and comes back with a code; the provider answers its exchange with `answer`.
    pub async fn exchange(&self, provider: &AuthorizationServer, body: Value, answer: Reply) -> (Pending, Answer) {
        let pending = self.begin(&with(body, json!({"force_new": true}))).await;
        provider.answer_token(answer);
        let page = self.visit(&provider.consent(&pending.url)).await;
        assert_ne!(page.status.as_u16(), 500, "{}", page.text());
        (pending, page)
    }

    /// The browser comes back from the provider and must end on a page of success.
    pub async fn come_back(&self, callback: &Url) -> Answer {
        let answer = self.visit(callback).await;
        assert_eq!(answer.status.as_u16(), 303, "body: {}", answer.text());
        let clean = Url::parse(answer.header("location")).expect("an absolute location");
        let page = self.visit(&clean).await;
        page.expect_html(200);
        page
    }

    pub async fn wait(&self, auth_id: &str) -> Value {
        self.get(&format!("/v2/auth/wait/{auth_id}?timeout=20")).await.expect(200)
    }

    /// How the authorization request stands right now.
    pub async fn look(&self, auth_id: &str) -> Value {
        self.get(&format!("/v2/auth/wait/{auth_id}?timeout=0")).await.expect(200)
    }

    pub async fn tokens(&self) -> Vec<Value> {
        let answer = self.get("/v2/auth/tokens").await.expect(200);
        answer.as_array().expect("a list").clone()
    }

    /// The tokens of that user; with a service key.
    pub async fn tokens_of(&self, user: &str) -> Vec<Value> {
        self.acting_for(user).tokens().await
    }

    pub async fn has_token(&self) -> bool {
        let answer = self.get("/v2/auth/tokens/exists?provider_id=acme").await.expect(200);
        answer["has_token"].as_bool().expect("true or false")
    }

    /// Connects the stored token to the agent; gives the connection.
    pub async fn connect_agent(&self, agent: &str, token_id: &Value) -> Value {
        let body = json!({"oauth_token_id": token_id});
        self.post(&format!("/v2/auth/agents/{agent}/connections"), &body).await.expect(201)
    }
}

/// A provider that is accepted, and whose endpoints nothing listens at.
pub fn acme() -> Value {
    json!({
        "provider_id": "acme",
        "name": "Acme Inc.",
        "client_id": "client-1",
        "auth_url": "https://acme.example/authorize",
        "token_url": "https://acme.example/token",
    })
}

/// `user` asks `acme` for `scopes`.
pub fn asking(user: &str, scopes: &[&str]) -> Value {
    json!({"provider": "acme", "scopes": scopes, "user_id": user})
}

/// `base` with the fields of `more` set or replaced.
pub fn with(mut base: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("more fields come as an object") };
    base.as_object_mut().expect("an object").extend(more);
    base
}

/// `base` without that field.
pub fn without(mut base: Value, field: &str) -> Value {
    base.as_object_mut().expect("an object").remove(field);
    base
}
