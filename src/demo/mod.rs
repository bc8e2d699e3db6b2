//! `agent-auth demo`: the whole flow on one machine, with a sample provider; no account is needed.
//! Owns: starting the server and the sample provider, and the commands to try them.
//! Must not know: how either works.

pub mod sample_provider;

use std::sync::Arc;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

use self::sample_provider::client::SampleProvider;
use crate::{
    broker::{
        clients::redirect_uri::callback_address_of,
        context::Broker,
        providers::{create::create, delete::delete, draft::ProviderDraft},
    },
    clock::Clock,
    config::Settings,
    http::serve,
    model::{actor::Act, client::ClientAuthentication},
    server::{self, lock_folder, protect_memory},
    terminal::print,
};

const PROVIDER_ID: &str = "sample";
const CLIENT_ID: &str = "agent-auth-demo";

/// Runs the demo until it is stopped. All data is then deleted, unless a data folder was given.
///
/// # Errors
/// One line that says what went wrong and what to do.
pub async fn demo(mut settings: Settings, keep_folder: bool) -> anyhow::Result<()> {
    let temporary = if keep_folder { None } else { Some(TempDir::new().context("cannot create a temporary folder")?) };
    if let Some(folder) = &temporary {
        settings.data_dir = folder.path().to_owned();
    }
    settings.database_url = None;
    settings.encryption_keys = None;
    settings.allow_private_upstreams = "127.0.0.1".into();
    if settings.log == "info" {
        settings.log = "warn".into();
    }
    server::begin_telemetry(&settings)?;
    protect_memory();
    let listener = server::listen(&settings.listen).await?;
    // With port 0 the operating system chooses the port, which is known only now.
    settings.listen = listener.local_addr().context("the listening address is unknown")?.to_string();
    let key = SecretString::from(format!("aauth_{}", random_secret().expose_secret()));
    settings.bootstrap_api_key = Some(key.clone());
    let _lock = lock_folder(&settings)?;
    let app = server::start(settings, Clock::system()).await?;
    let broker = &app.broker;

    let secret = random_secret();
    let sample_listener = server::listen("127.0.0.1:0").await?;
    let sample_url = format!("http://{}", sample_listener.local_addr().context("the sample provider's address")?);
    let redirect_uri = add_provider(broker, &sample_url, secret.clone()).await?;
    let sample = SampleProvider::new(CLIENT_ID.into(), secret, redirect_uri);
    let (leaving, stop) = (Arc::clone(&app.leaving), broker.shutdown.clone());
    tokio::spawn(serve::serve(sample_listener, sample.router(), 1000, leaving, stop));
    print_commands(&broker.public_url, &key)?;
    server::run(app, listener).await
}

/// Adds the sample provider, and returns the redirect URI to register there.
async fn add_provider(broker: &Arc<Broker>, sample_url: &str, secret: SecretString) -> anyhow::Result<String> {
    let tenant = broker.home_tenant().await?;
    // In a data folder of an earlier run the provider exists, with that run's port and secret.
    let act = Act::service();
    delete(broker, &tenant, PROVIDER_ID, &act).await?;
    let draft = ProviderDraft {
        provider_id: Some(PROVIDER_ID.into()),
        name: Some("Sample provider".into()),
        client_id: Some(CLIENT_ID.into()),
        client_secret: Some(secret),
        authentication: Some(ClientAuthentication::ClientSecretBasic),
        auth_url: Some(format!("{sample_url}/authorize")),
        token_url: Some(format!("{sample_url}/token")),
        uses_pkce: Some(true),
        ..ProviderDraft::default()
    };
    let provider = create(broker, tenant, draft, &act).await?;
    Ok(callback_address_of(&broker.public_url, &provider))
}

fn print_commands(url: &str, key: &SecretString) -> anyhow::Result<()> {
    let key = key.expose_secret();
    print(&format!(
        r#"agent-auth demo: {url} (API documentation: {url}/docs)

API key:  {key}
Console:  {url}/console (sign in with this key)

1. An agent requests a token. The response is "pending", with a "url" for the person and an "auth_id":

  curl -s -X POST {url}/v2/auth/authenticate -H 'x-api-key: {key}' -H 'content-type: application/json' -d '{{"provider":"{PROVIDER_ID}","scopes":["profile.read"],"user_id":"you"}}'

2. You are the person: open that "url" in a browser, press Continue, and then Approve.

3. The agent waits and gets the token (replace AUTH_ID with the "auth_id" of the response):

  curl -s {url}/v2/auth/wait/AUTH_ID -H 'x-api-key: {key}'

Now the first command returns "completed" with the token at once: consent happens once. Press Ctrl-C to stop the demo."#
    ))
}

fn random_secret() -> SecretString {
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes);
    SecretString::from(URL_SAFE_NO_PAD.encode(bytes))
}
