//! A scripted LangSmith with a few callers, and an application that identifies its callers there.

use std::net::SocketAddr;
use std::ops::Deref;

use agent_auth::config::Settings;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::app::{Ready, TestApp};
use super::authorization_server::{AuthorizationServer, Reply, Request};
use super::caller::{Caller, with};
use super::database::Database;

pub const AUTH: &str = "/auth/public";
pub const ORGANIZATION: &str = "c2a9a5c2-0f1b-4f7e-9a53-2f6d1f1f0a01";
pub const WORKSPACE: &str = "7d3f4f0e-7a54-4f43-8f0c-5f0c1d5b2b02";
pub const OTHER_WORKSPACE: &str = "0b9f6a1c-4c1d-4b8e-bb0e-6b1a9c3d4e03";

pub const ALICES_KEY: &str = "lsv2_pt_a11ce000a11ce000a11ce000a11ce000_a11ce00000";
pub const BOBS_KEY: &str = "lsv2_pt_b0b00000b0b00000b0b00000b0b00000_b0b0000000";
pub const SERVICE_KEY: &str = "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";
/// Carol's, in the other workspace.
pub const FOREIGN_KEY: &str = "lsv2_pt_ca401000ca401000ca401000ca401000_ca40100000";
/// Alice's, in the workspace that the request names.
pub const ALICES_TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhdXRoLWFsaWNlIn0.c2lnbmVkLWJ5LWxhbmdzbWl0aA";
/// What alice's browser has.
pub const COOKIE: &str = "theme=dark; session=alice";

pub struct LangSmith(AuthorizationServer);

impl LangSmith {
    pub async fn start() -> Self {
        Self(AuthorizationServer::custom(answer).await)
    }

    pub fn endpoint(&self) -> String {
        self.0.at("")
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Every request is answered with this from now on.
    pub fn show(&self, reply: Reply) {
        self.0.show(AUTH, reply);
    }

    /// The next request is answered with this.
    pub fn answer_next(&self, reply: Reply) {
        self.0.answer(AUTH, reply);
    }

    /// Everything is as it was at the start.
    pub fn recover(&self) {
        self.0.hide(AUTH);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.0.all_requests()
    }

    pub fn count(&self) -> usize {
        self.requests().len()
    }
}

/// What LangSmith says of a personal key.
pub fn alice() -> Value {
    json!({
        "organization_id": ORGANIZATION,
        "tenant_id": WORKSPACE,
        "user_id": "auth-alice",
        "ls_user_id": "ls-alice",
        "user_email": "alice@example.com",
    })
}

/// What LangSmith says of a service key.
pub fn service() -> Value {
    with(alice(), json!({"user_id": null, "ls_user_id": null, "user_email": null}))
}

fn answer(request: &Request) -> Reply {
    let bearer = request.header("authorization").strip_prefix("Bearer ");
    let key = Some(request.header("x-api-key")).filter(|key| !key.is_empty()).or(bearer);
    let identity = match key {
        _ if request.method != "GET" || request.path != AUTH => {
            return Reply::json(json!({"detail": "Not Found"})).status(404);
        }
        Some(ALICES_KEY) => Some(alice()),
        Some(BOBS_KEY) => Some(with(alice(), json!({"user_id": "auth-bob", "ls_user_id": "ls-bob"}))),
        Some(FOREIGN_KEY) => {
            let carol = json!({"tenant_id": OTHER_WORKSPACE, "user_id": "auth-carol", "ls_user_id": "ls-carol"});
            Some(with(alice(), carol))
        }
        Some(SERVICE_KEY) => Some(service()),
        Some(ALICES_TOKEN) => {
            let workspace = Some(request.header("x-tenant-id")).filter(|id| !id.is_empty());
            Some(with(alice(), json!({"tenant_id": workspace})))
        }
        Some(_) => None,
        None if request.header("cookie") == COOKIE => Some(alice()),
        None => claims(request.header("x-service-key"))
            .map(|claims| with(service(), json!({"tenant_id": claims["tenant_id"], "user_id": claims["user_id"]}))),
    };
    identity.map_or_else(|| Reply::json(json!({"detail": "Invalid token"})).status(401), Reply::json)
}

/// A service JWT, as LangSmith's own services send it.
pub fn service_jwt(user: &str, workspace: &str) -> String {
    let claims = json!({"sub": "unspecified", "exp": 1_900_000_000, "user_id": user, "tenant_id": workspace});
    let signed = [json!({"alg": "HS256", "typ": "JWT"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = signed.join(".");
    let mut mac = Hmac::<Sha256>::new_from_slice(b"a secret that only LangSmith has").expect("any length");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn claims(jwt: &str) -> Option<Value> {
    let payload = jwt.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

pub struct WithLangSmith {
    app: TestApp,
    pub langsmith: LangSmith,
}

impl Ready for WithLangSmith {
    async fn on(database: Database) -> Self {
        Self::start_with(database, |_| ()).await
    }
}

impl WithLangSmith {
    pub async fn start_with(database: Database, change: impl FnOnce(&mut Settings)) -> Self {
        let langsmith = LangSmith::start().await;
        let app = TestApp::start_with(database, |settings| {
            "langsmith".clone_into(&mut settings.identity);
            settings.langsmith_endpoint = Some(langsmith.endpoint());
            change(settings);
        })
        .await;
        Self { app, langsmith }
    }

    pub fn alice(&self) -> Caller {
        self.anonymous().with_key(ALICES_KEY)
    }

    pub fn bob(&self) -> Caller {
        self.anonymous().with_key(BOBS_KEY)
    }

    pub fn service(&self) -> Caller {
        self.anonymous().with_key(SERVICE_KEY)
    }

    pub fn carol_elsewhere(&self) -> Caller {
        self.anonymous().with_key(FOREIGN_KEY)
    }
}

impl Deref for WithLangSmith {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}
