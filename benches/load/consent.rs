//! Consents while it is measured: an authorization server that grants everything at once, and the browser.
//! Owns: the fake token endpoint, and coming back from the provider.
//! Must not know: who waits.

use std::net::Ipv4Addr;

use anyhow::{Context, ensure};
use axum::{Json, Router, routing::post};
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;

use super::{process::Replica, seed};

/// The authorization server. It ends with this program.
pub struct FakeProvider {
    pub url: String,
}

impl FakeProvider {
    pub async fn start() -> anyhow::Result<Self> {
        let grant = json!({ "access_token": "granted", "token_type": "Bearer", "expires_in": 3600 });
        let router = Router::new().route("/token", post(async move || Json(grant)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url })
    }
}

/// An authorization request that waits for its person.
pub struct Pending {
    pub auth_id: String,
    state: String,
}

/// Asks for a token of a user who has none.
pub async fn begin(replica: &Replica, user: &str) -> anyhow::Result<Pending> {
    let answer = replica.authenticate(user).await?;
    ensure!(answer["status"] == "pending", "not pending: {answer}");
    let url = Url::parse(answer["url"].as_str().context("no url")?)?;
    let state = url.query_pairs().find_map(|(name, value)| (name == "state").then(|| value.into_owned()));
    let auth_id = answer["auth_id"].as_str().context("no auth_id")?.to_owned();
    Ok(Pending { auth_id, state: state.context("no state")? })
}

/// Comes back from the provider with a code.
pub async fn come_back(replica: &Replica, pending: &Pending) -> anyhow::Result<()> {
    let (provider, state) = (seed::PROVIDER, &pending.state);
    let answer = replica.get(&format!("/host-oauth-callback/{provider}?code=a-code&state={state}")).await?;
    ensure!(answer.status == 303, "{} from the callback: {}", answer.status, String::from_utf8_lossy(&answer.body));
    Ok(())
}
