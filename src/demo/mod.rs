//! `agent-auth demo`: the whole product on one machine, with a sample provider; no account is needed.
//! Owns: starting the server and the sample provider at one address, and what is printed to try them.
//! Must not know: how either works.

mod connections;
mod console_link;
mod providers;
pub mod sample_provider;
mod secrets;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use axum::Router;
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;
use url::{Host, Url};

use self::{
    connections::USER,
    console_link::ConsoleLink,
    providers::{Endpoints, SAMPLE_PROVIDER},
    sample_provider::client::SampleProvider,
    secrets::{kept_secret, random_secret},
};
use crate::{
    broker::{
        clients::redirect_uri::is_this_machine,
        connect_links::{self, GOOD_FOR_SECONDS, NewLink},
        open::public_url,
    },
    clock::Clock,
    config::Settings,
    http::{self, app::App},
    model::{
        actor::{Act, ActorKind},
        api_key::ApiKey,
        consent::Consent,
        key_limits::Reach,
        subject::Tenant,
    },
    server::{self, lock_folder, protect_memory},
    terminal::print,
};

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
    if settings.log == "info" {
        // Some refreshes are meant to fail here, and the console shows them.
        settings.log = "warn,agent_auth::broker::tokens::refresh=error".into();
    }
    server::begin_telemetry(&settings)?;
    protect_memory();
    let listener = server::listen(&settings.listen).await?;
    // With port 0 the operating system chooses the port, which is known only now.
    let address = listener.local_addr().context("the listening address is unknown")?;
    settings.listen = address.to_string();
    let (own, public) = (reachable(address), public_url(&settings)?);
    settings.allow_private_upstreams = allowed(&settings.allow_private_upstreams, own.ip(), &public);
    let key = SecretString::from(format!("aauth_{}", random_secret().expose_secret()));
    settings.bootstrap_api_key = Some(key.clone());
    let _lock = lock_folder(&settings)?;
    let endpoints = Endpoints::new(&public, own);
    if settings.catalog_file.is_none() {
        settings.catalog_file = Some(endpoints.write_catalog(&settings.data_dir)?);
    }
    let secret = kept_secret(&settings.data_dir).context("the sample provider's secret")?;

    let app = server::start(settings, Clock::system()).await?;
    let sample = Arc::new(SampleProvider::new(format!("{public}/host-oauth-callback/")));
    let record = app.api_keys.look_up(key.expose_secret(), app.broker.clock.now()).await?;
    let record = record.ok_or_else(|| anyhow!("the API key of the demo is not valid"))?;
    let signs_in = app.broker.settings.console == "on" && is_for_this_machine(&public);
    let console = signs_in.then(|| ConsoleLink::new(&app, Arc::clone(&record)));
    let router = Router::new()
        .nest(SAMPLE_PROVIDER, Arc::clone(&sample).router())
        .merge(console.as_ref().map(ConsoleLink::router).unwrap_or_default())
        .fallback_service(http::router(Arc::clone(&app)));
    // Served from now on: what follows calls the sample provider as it would any other.
    let serving = tokio::spawn(server::run(Arc::clone(&app), listener, router));
    let ready = prepare(&app, &sample, &endpoints, &secret, &record).await;
    let printed = match ready {
        Ok(people) => print_commands(&public, &key, &way_to_console(&app, console.as_ref()), &people),
        Err(error) => Err(error),
    };
    if printed.is_err() {
        app.broker.shutdown.cancel();
    }
    serving.await.context("the server ended")?.and(printed)
}

/// Adds the sample provider and some connections, and makes the link to those of the demo's user.
async fn prepare(
    app: &App,
    sample: &SampleProvider,
    endpoints: &Endpoints,
    secret: &SecretString,
    key: &ApiKey,
) -> anyhow::Result<String> {
    let tenant = app.broker.home_tenant().await?;
    let act = Act::new(ActorKind::ApiKey, Some(key.id.to_string()));
    endpoints.add_providers(&app.broker, &tenant, sample, secret, &act).await?;
    // An application that has to confirm each consent would be missing.
    if app.broker.consent != Consent::Verify {
        connections::make(&app.broker, &tenant, sample, &act).await.context("the connections of the demo")?;
    }
    connect_link(app, &tenant, key, &act).await
}

async fn connect_link(app: &App, tenant: &Tenant, key: &ApiKey, act: &Act) -> anyhow::Result<String> {
    let link = NewLink {
        user_id: USER.into(),
        providers: None,
        scopes: Vec::new(),
        expires_in: GOOD_FOR_SECONDS,
        return_url: None,
        consent: Consent::default(),
        api_key: Some(key.id),
    };
    Ok(connect_links::create(&app.broker, Reach::whole(tenant), link, act).await?.url)
}

/// Where this process reaches its own listener.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

/// The setting `ALLOW_PRIVATE_UPSTREAMS` with the two addresses of the sample provider: for this server, and for people.
fn allowed(setting: &str, own: IpAddr, public_url: &str) -> String {
    if setting.trim() == "true" {
        return setting.to_owned();
    }
    let public = Url::parse(public_url).ok().and_then(|url| match url.host()? {
        Host::Domain(name) => Some(name.to_owned()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    });
    let named = Some(setting.trim()).filter(|setting| !setting.is_empty() && *setting != "false");
    let all = named.map(ToOwned::to_owned).into_iter().chain([own.to_string()]).chain(public);
    all.collect::<Vec<_>>().join(",")
}

/// Whether only browsers of this machine, or at the other end of a tunnel to it, use this address.
fn is_for_this_machine(public_url: &str) -> bool {
    Url::parse(public_url).is_ok_and(|url| is_this_machine(&url))
}

/// Where the console is, and how to sign in.
fn way_to_console(app: &App, link: Option<&ConsoleLink>) -> String {
    match link {
        Some(link) => format!(
            "{}\n             (signs you in once, in the next {} minutes; after that, sign in with the key)",
            link.url(),
            console_link::GOOD_FOR.as_secs() / 60
        ),
        None if app.broker.settings.console == "on" => {
            format!("{}/console (sign in with this key)", app.broker.public_url)
        }
        None => "off".to_owned(),
    }
}

fn print_commands(url: &str, key: &SecretString, console: &str, people: &str) -> anyhow::Result<()> {
    let key = key.expose_secret();
    let minutes = GOOD_FOR_SECONDS / 60;
    let provider = providers::DOCUMENTS;
    let scope = sample_provider::scopes::DOCUMENTS;
    print(&format!(
        r#"agent-auth demo: {url} (API documentation: {url}/docs)

API key:     {key}
Console:     {console}
Connections: {people}
             (those of the user "{USER}", as this person sees them; opens once, in the next {minutes} minutes)

1. An agent requests a token. The response is "pending", with a "url" for the person and an "auth_id":

  curl -s -X POST {url}/v2/auth/authenticate -H 'x-api-key: {key}' -H 'content-type: application/json' -d '{{"provider":"{provider}","scopes":["{scope}"],"user_id":"{USER}"}}'

2. You are the person: open that "url" in a browser, press Continue, and then Approve.

3. The agent waits and gets the token (replace AUTH_ID with the "auth_id" of the response):

  curl -s {url}/v2/auth/wait/AUTH_ID -H 'x-api-key: {key}'

4. It calls the provider's API with the token (replace TOKEN with the "token" of the response):

  curl -s {url}{SAMPLE_PROVIDER}/documents -H 'authorization: Bearer TOKEN'

Now the first command returns "completed" with the token at once: consent happens once. Press Ctrl-C to stop the demo."#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_provider_may_be_called_at_both_of_its_addresses() {
        let own: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(allowed("false", own, "https://demo.example.com/x"), "127.0.0.1,demo.example.com");
        assert_eq!(allowed("10.0.0.0/8", own, "http://[::1]:8080"), "10.0.0.0/8,127.0.0.1,::1");
        assert_eq!(allowed("true", own, "http://localhost:8080"), "true");
    }

    #[test]
    fn a_process_reaches_what_listens_on_every_address_through_loopback() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(reached("[::]:8080"), "[::1]:8080");
        assert_eq!(reached("192.168.1.2:8080"), "192.168.1.2:8080");
    }

    #[test]
    fn only_a_demo_of_this_machine_prints_a_link_that_signs_in() {
        for own in ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"] {
            assert!(is_for_this_machine(own), "{own}");
        }
        for others in ["https://demo.example.com", "http://192.168.1.2:8080", "http://localhost.example.com"] {
            assert!(!is_for_this_machine(others), "{others}");
        }
    }
}
