//! `agent-auth demo`: the whole job on one machine, with a sample provider and without any account.
//! Owns: putting the server and the sample provider together, and the commands to try them.
//! Must not know: how either works.

pub mod sample_provider;

use std::collections::BTreeMap;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;
use uuid::Uuid;

use self::sample_provider::SampleProvider;
use crate::{
    app::App,
    broker::clients::redirect_uri::callback_address,
    clock::Clock,
    config::Settings,
    http::serve,
    model::{client::ClientAuthentication, options::ProviderOptions},
    server::{self, lock_folder},
    store::providers::Provider,
    telemetry,
    terminal::print,
};

const PROVIDER_ID: &str = "sample";
const CLIENT_ID: &str = "agent-auth-demo";

/// Runs the demo until it is stopped. Without a folder of one's own everything is gone with it.
///
/// # Errors
/// One line that says what went wrong and what to do.
pub async fn demo(mut settings: Settings, keep_folder: bool) -> anyhow::Result<()> {
    let temporary = if keep_folder { None } else { Some(TempDir::new().context("no temporary folder can be made")?) };
    if let Some(folder) = &temporary {
        settings.data_dir = folder.path().to_owned();
    }
    settings.database_url = None;
    settings.encryption_keys = None;
    settings.allow_private_upstreams = "127.0.0.1".into();
    if settings.log == "info" {
        settings.log = "warn".into();
    }
    telemetry::log(&settings.log).context("AGENT_AUTH_LOG")?;
    let listener = server::listen(&settings.listen).await?;
    // A port of 0 is chosen by the machine, and only known now.
    settings.listen = listener.local_addr().context("the listening address is unknown")?.to_string();
    let key = SecretString::from(format!("aauth_{}", random_secret().expose_secret()));
    settings.bootstrap_api_key = Some(key.clone());
    let _lock = lock_folder(&settings)?;
    let app = App::start(settings, Clock::system()).await?;

    let secret = random_secret();
    let sample = SampleProvider::new(CLIENT_ID.into(), secret.clone(), callback_address(&app.public_url, PROVIDER_ID));
    let sample_listener = server::listen("127.0.0.1:0").await?;
    let sample_url = format!("http://{}", sample_listener.local_addr().context("the sample provider's address")?);
    tokio::spawn(serve::serve(sample_listener, sample.router(), 1000, app.shutdown.clone()));

    register(&app, &sample_url, secret).await?;
    tell(&app, &key)?;
    server::run(app, listener).await
}

async fn register(app: &App, sample_url: &str, secret: SecretString) -> anyhow::Result<()> {
    let now = app.clock.now();
    let tenant = app.store.home_tenant(now).await?;
    // In a folder that was used before, the provider is there with the last run's port and secret.
    app.store.delete_provider(&tenant, PROVIDER_ID, |_| None, now).await?;
    let provider = Provider {
        id: Uuid::now_v7(),
        tenant,
        provider_id: PROVIDER_ID.into(),
        name: "Sample provider".into(),
        client_id: CLIENT_ID.into(),
        client_secret: Some(secret),
        auth_url: format!("{sample_url}/authorize"),
        token_url: format!("{sample_url}/token"),
        userinfo_url: None,
        revocation_url: None,
        uses_pkce: true,
        code_challenge_method: "S256".into(),
        provider_type: None,
        token_endpoint_auth_method: ClientAuthentication::ClientSecretBasic,
        authorization_params: BTreeMap::new(),
        allowed_redirect_uris: Vec::new(),
        mcp_server_url: None,
        is_dynamic_client: false,
        options: ProviderOptions::default(),
        client_error: None,
        generation: 1,
        created_at: now,
        updated_at: now,
    };
    Ok(app.store.create_provider(&provider).await?)
}

fn tell(app: &App, key: &SecretString) -> anyhow::Result<()> {
    let (url, key) = (&app.public_url, key.expose_secret());
    print(&format!(
        r#"agent-auth demo: {url} (API documentation: {url}/docs)

API key:  {key}

1. An agent asks for a token. The answer is "pending", with a "url" for the person and an "auth_id":

  curl -s -X POST {url}/v2/auth/authenticate -H 'x-api-key: {key}' -H 'content-type: application/json' -d '{{"provider":"{PROVIDER_ID}","scopes":["profile.read"],"user_id":"you"}}'

2. You are the person: open that "url" in a browser and press Approve.

3. The agent waits and gets the token (put the answer's auth_id in place of AUTH_ID):

  curl -s {url}/v2/auth/wait/AUTH_ID -H 'x-api-key: {key}'

Now the first command answers "completed" with the token at once: consent happens once. Ctrl-C ends the demo."#
    ))
}

fn random_secret() -> SecretString {
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes);
    SecretString::from(URL_SAFE_NO_PAD.encode(bytes))
}
