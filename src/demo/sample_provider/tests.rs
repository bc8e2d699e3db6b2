//! The sample provider's wire, driven through its router.
//! Owns what the cases share: a browser and a client in one.
//! Must not know how it remembers.

use std::{collections::HashMap, sync::Arc};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;
use tower::ServiceExt as _;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::client::{Client, SampleProvider};

mod api;
mod apps;
mod authorization;
mod token;

const CLIENT_ID: &str = "agent-auth demo";
const SECRET: &str = "s3cret/with:odd&signs";
const REDIRECT_URI: &str = "http://127.0.0.1:8080/host-oauth-callback/sample";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Of [`VERIFIER`] (RFC 7636, appendix B).
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

struct Browser {
    router: Router,
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The parameters that go back to the client.
    fn returned(&self) -> HashMap<String, String> {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
        let location = self.header("location");
        assert!(location.starts_with(&format!("{REDIRECT_URI}?")), "{location}");
        Url::parse(location).unwrap().query_pairs().into_owned().collect()
    }

    fn is_error(&self, status: StatusCode, error: &str) {
        assert_eq!((self.status, self.json()["error"].as_str()), (status, Some(error)), "{}", self.body);
        assert!(self.json()["error_description"].is_string());
        assert_eq!(self.header("cache-control"), "no-store");
    }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn basic_header() -> String {
    let encoded = |value: &str| byte_serialize(value.as_bytes()).collect::<String>();
    format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", encoded(CLIENT_ID), encoded(SECRET))))
}

impl Browser {
    fn new() -> Self {
        let provider = SampleProvider::new("http://127.0.0.1:8080/host-oauth-callback/".to_owned());
        provider.register(Client {
            id: CLIENT_ID.to_owned(),
            secret: SECRET.into(),
            name: "Some <app>".to_owned(),
            redirect_uri: REDIRECT_URI.to_owned(),
        });
        Self { router: Arc::new(provider).router() }
    }

    async fn send(&self, request: Request<Body>) -> Answered {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Answered { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// The authorization request with some parameters changed; None leaves one out.
    async fn authorize(&self, changes: &[(&str, Option<&str>)]) -> Answered {
        let mut parameters = HashMap::from([
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", REDIRECT_URI),
            ("state", "st&te=1"),
            ("scope", "profile files.read"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        for (name, value) in changes {
            match value {
                Some(value) => parameters.insert(name, value),
                None => parameters.remove(name),
            };
        }
        let pairs: Vec<_> = parameters.into_iter().collect();
        self.get(&format!("/authorize?{}", encoded(&pairs))).await
    }

    async fn get(&self, uri: &str) -> Answered {
        self.send(Request::get(uri).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, uri: &str, authorization: Option<&str>, pairs: &[(&str, &str)]) -> Answered {
        let mut request = Request::post(uri).header("content-type", "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        self.send(request.body(Body::from(encoded(pairs))).unwrap()).await
    }

    /// Opens the consent page and presses a button of its form.
    async fn decide(&self, decision: &str) -> Answered {
        let page = self.authorize(&[]).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        self.post("/decision", None, &[("request", request_of(&page)), ("decision", decision)]).await
    }

    async fn code(&self) -> String {
        self.decide("approve").await.returned()["code"].clone()
    }

    async fn exchange(&self, code: &str, verifier: &str) -> Answered {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", verifier),
            ("client_id", CLIENT_ID),
            ("client_secret", SECRET),
        ];
        self.post("/token", None, &form).await
    }

    async fn refresh(&self, refresh_token: &str) -> Answered {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.post("/token", Some(&basic_header()), &form).await
    }

    async fn me(&self, access_token: &str) -> Answered {
        self.call("/me", access_token).await
    }

    async fn call(&self, path: &str, access_token: &str) -> Answered {
        let request = Request::get(path).header("authorization", format!("Bearer {access_token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

fn request_of(page: &Answered) -> &str {
    let (_, rest) = page.body.split_once("name=\"request\" value=\"").unwrap();
    rest.split_once('"').unwrap().0
}

fn token_in(answer: &Answered, name: &str) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.json()[name].as_str().unwrap().to_owned()
}
