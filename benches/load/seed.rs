//! The database that is measured against: one provider, and a token for each of many users.
//! Owns: that every token was kept by the library's own store, as a consent of yesterday keeps it.
//! Must not know: tables.

use agent_auth::{
    cipher::KeyRing,
    client_authentication::ClientAuthentication,
    clock::Clock,
    store::{
        Store, Subject, Tenant,
        authorization_requests::{AuthorizationRequest, Status},
        db::Location,
        grants::Grant,
        providers::Provider,
    },
};
use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use secrecy::SecretString;
use serde_json::Map;
use sqlx::{Connection, Executor, PgConnection};
use url::Url;
use uuid::Uuid;

use super::consent::FakeProvider;

/// Users `user-0`, `user-1`, ... with a token each.
pub const USERS: u32 = 100_000;
/// The provider's id on the wire.
pub const PROVIDER: &str = "bench";
/// The one scope of every token.
pub const SCOPE: &str = "read";
const CONNECTIONS: u32 = 8;
const TASKS: usize = 32;

pub async fn seed(database_url: &str, keys: &SecretString, provider: &FakeProvider) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let location = Location::Postgres(in_a_hurry(database_url)?.into(), CONNECTIONS);
    let store = Store::open(&location, KeyRing::parse(keys)?, now).await?;
    let tenant = store.home_tenant(now).await?;
    let provider = registered(tenant, provider, now);
    store.create_provider(&provider).await?;
    stream::iter(0..USERS)
        .map(|number| connect(&store, &provider, number, now))
        .buffer_unordered(TASKS)
        .try_collect::<()>()
        .await?;
    // What autovacuum would else do in the middle of a measurement.
    let mut connection = PgConnection::connect(database_url).await?;
    connection.execute("VACUUM ANALYZE").await?;
    connection.execute("CHECKPOINT").await?;
    Ok(())
}

/// The same database, for a session that need not survive a crash.
fn in_a_hurry(database_url: &str) -> anyhow::Result<String> {
    let mut url = Url::parse(database_url).context("the database's URL")?;
    url.query_pairs_mut().append_pair("options[synchronous_commit]", "off");
    Ok(url.into())
}

fn registered(tenant: Tenant, provider: &FakeProvider, now: DateTime<Utc>) -> Provider {
    Provider {
        id: Uuid::now_v7(),
        tenant,
        provider_id: PROVIDER.to_owned(),
        name: "Benchmark".to_owned(),
        client_id: "client".to_owned(),
        client_secret: Some("a-client-secret".into()),
        auth_url: format!("{}/authorize", provider.url),
        token_url: format!("{}/token", provider.url),
        uses_pkce: true,
        code_challenge_method: "S256".to_owned(),
        provider_type: None,
        token_endpoint_auth_method: ClientAuthentication::ClientSecretPost,
        authorization_params: std::collections::BTreeMap::new(),
        allowed_redirect_uris: Vec::new(),
        mcp_server_url: None,
        is_dynamic_client: false,
        options: agent_auth::provider_options::ProviderOptions::default(),
        revocation_url: None,
        userinfo_url: None,
        client_error: None,
        generation: 1,
        created_at: now,
        updated_at: now,
    }
}

/// A consent from its beginning to the kept token. It happened yesterday, so that nothing of it is news to replicas
/// that look for consents that just ended.
async fn connect(store: &Store, provider: &Provider, number: u32, now: DateTime<Utc>) -> anyhow::Result<()> {
    let then = now - TimeDelta::days(1);
    let request = AuthorizationRequest {
        id: Uuid::new_v4(),
        subject: Subject {
            tenant: provider.tenant.clone(),
            user_id: format!("user-{number}"),
            agent_id: String::new(),
        },
        ls_user_id: None,
        provider: provider.id,
        provider_id: provider.provider_id.clone(),
        client_id: provider.client_id.clone(),
        client_secret: provider.client_secret.clone(),
        token_endpoint_auth_method: provider.token_endpoint_auth_method,
        token_url: provider.token_url.clone(),
        redirect_uri: "http://localhost/callback".to_owned(),
        code_verifier: None,
        device: None,
        scopes: vec![SCOPE.to_owned()],
        is_default: true,
        force_new: false,
        status: Status::Pending,
        code_hash: None,
        taken_at: None,
        revocation_url: None,
        options: agent_auth::provider_options::ProviderOptions::default(),
        token: None,
        error: None,
        error_description: None,
        expires_at: then + TimeDelta::minutes(10),
    };
    let mut state_hash = [0; 32];
    state_hash[..4].copy_from_slice(&number.to_be_bytes());
    store.create_authorization_request(&request, state_hash, then).await?;
    let taken = store.take_authorization_request(state_hash, PROVIDER, state_hash, then).await?;
    let grant = Grant {
        // As long as the access tokens of large providers.
        access_token: format!("access-{number:0180}").into(),
        refresh_token: Some(format!("refresh-{number:090}").into()),
        scopes: None,
        metadata: Map::new(),
        account_id: None,
        account_label: Some(format!("user-{number}@example.com")),
        expires_at: Some(now + TimeDelta::days(30)),
        refresh_due_at: Some(now + TimeDelta::days(29)),
        refresh_token_expires_at: None,
    };
    let kept = store.keep_grant(&taken.context("the request is taken")?, &grant, request.expires_at, then).await?;
    kept.map(drop).context("the token is kept")
}
