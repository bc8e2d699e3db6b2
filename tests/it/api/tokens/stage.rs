//! A token of Alice at a scripted provider, and what she asks about it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::caller::{Caller, asking};

pub const HOUR: u64 = 3600;

pub fn question() -> Value {
    asking("alice", &["read"])
}

pub fn an_hour() -> Value {
    json!({"access_token": "first", "refresh_token": "refresh-1", "expires_in": HOUR})
}

pub struct Stage {
    pub provider: AuthorizationServer,
    pub alice: Caller,
    pub id: String,
}

/// Alice's token, as this token response gave it.
pub async fn connected(app: &TestApp, answer: Value) -> Stage {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let alice = app.service_key().await.acting_for("alice");
    provider.answer_token(Reply::json(answer));
    alice.connect(&provider, &question()).await;
    let id = alice.tokens().await[0]["id"].as_str().unwrap().to_owned();
    Stage { provider, alice, id }
}

impl Stage {
    pub fn path(&self) -> String {
        format!("/v2/auth/tokens/{}", self.id)
    }

    pub async fn state(&self) -> Value {
        self.alice.get(&self.path()).await.expect(200)
    }

    pub async fn try_report(&self, body: Option<Value>) -> Answer {
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        self.alice.post_text(&format!("{}/report-invalid", self.path()), &text).await
    }

    /// Reports; gives the token to go on with.
    pub async fn refreshed(&self, body: Option<Value>) -> String {
        let answer = self.try_report(body).await.expect(200);
        assert_eq!(answer["status"], "refreshed", "{answer}");
        answer["token"].as_str().expect("a token").to_owned()
    }

    pub async fn needs_consent(&self, body: Option<Value>) {
        let answer = self.try_report(body).await.expect(200);
        assert_eq!(answer["status"], "consent_needed", "{answer}");
        assert!(answer.get("token").is_none(), "{answer}");
    }
}

pub fn moment(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("a moment: {value}"));
    DateTime::parse_from_rfc3339(text).expect("RFC 3339").to_utc()
}

pub fn refused() -> Reply {
    Reply::json(json!({"error": "invalid_grant"})).status(400)
}

pub fn unavailable() -> Reply {
    Reply::text("text/plain", "").status(503).header("retry-after", "7")
}
