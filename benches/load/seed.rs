//! The database that is measured against: one provider, and a token for each of many users.
//! Owns: that every token is stored by the library's own store.
//! Must not know: tables.

use agent_auth::{
    cipher::KeyRing,
    clock::Clock,
    model::{
        actor::Act,
        audit::EventName,
        client::{Client, ClientAuthentication},
        grant::{Grant, GrantRequest},
        provider::Provider,
        subject::{Subject, Tenant},
    },
    store::{db::Location, handle::Store, postgres::PostgresLocation},
};
use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use secrecy::SecretString;
use serde_json::Map;
use sqlx::{Connection, Executor, PgConnection};
use url::Url;

use super::consent::FakeProvider;

/// The provider's id on the wire.
pub const PROVIDER: &str = "bench";
/// The one scope of every token.
pub const SCOPE: &str = "read";
const CONNECTIONS: u32 = 8;
const TASKS: usize = 32;

/// Users `user-0`, `user-1`, ... with a token each.
pub async fn seed(database_url: &str, keys: &SecretString, provider: &FakeProvider, users: u32) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let location = Location::Postgres(PostgresLocation::new(in_a_hurry(database_url)?.into(), CONNECTIONS));
    let store = Store::open(&location, KeyRing::parse(keys)?, now).await?;
    let tenant = store.home_tenant(now).await?;
    let provider = registered(tenant, provider, now);
    store.create_provider(&provider, EventName::ProviderCreated, &Act::service()).await?;
    stream::iter(0..users)
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
    let client = Client {
        token_url: format!("{}/token", provider.url),
        ..Client::new("client".to_owned(), Some("a-client-secret".into()), ClientAuthentication::ClientSecretPost)
    };
    Provider {
        auth_url: format!("{}/authorize", provider.url),
        uses_pkce: true,
        ..Provider::new(tenant, PROVIDER.to_owned(), "Benchmark".to_owned(), client, now)
    }
}

/// A token that was stored yesterday.
async fn connect(store: &Store, provider: &Provider, number: u32, now: DateTime<Utc>) -> anyhow::Result<()> {
    let wanted = GrantRequest {
        provider: provider.id,
        subject: Subject {
            tenant: provider.tenant.clone(),
            user_id: format!("user-{number}"),
            agent_id: String::new(),
        },
        ls_user_id: None,
        scopes: vec![SCOPE.to_owned()],
        is_default: true,
        force_new: false,
    };
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
    store.keep_grant(&wanted, PROVIDER, &grant, &Act::service(), now - TimeDelta::days(1)).await?;
    Ok(())
}
