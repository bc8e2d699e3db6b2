//! LangSmith: the providers of its Agent Auth, as its API lists them.
//! Owns: the request, and what the list lacks.
//! Must not know: what is done with a record.
//!
//! The list has neither client secrets nor tokens, and no other request gives out a refresh token. So providers can be
//! brought over with the secrets that the operator has, and grants cannot.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, bail};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use crate::{
    broker::transfer::records::{MovedProvider, Record},
    http::{api::provider_bodies::ProviderCreateRequest, body::JsonBody},
    outbound::{address::AddressGuard, client::Outbound},
    telemetry::metrics::Endpoint,
};

/// Where the hosted service is.
pub const HOSTED: &str = "https://api.host.langchain.com";
const PROVIDERS: &str = "/v2/auth/providers";

/// Lists the providers that the key can see.
///
/// # Errors
/// When there is no list, with what to do.
pub async fn list(
    outbound: &Outbound,
    base: &str,
    key: &SecretString,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<Value>> {
    let url = format!("{}{PROVIDERS}", base.trim_end_matches('/'));
    let url = Url::parse(&url).map_err(|_| anyhow!("LANGSMITH_API_URL is not a URL"))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let request = outbound.get(&url).context("LANGSMITH_API_URL")?.header("x-api-key", key.expose_secret());
    let answer =
        outbound.send(Endpoint::Identity, request, now).await.with_context(|| format!("{host} was not read"))?;
    match answer.status {
        200 => serde_json::from_slice(&answer.body).map_err(|_| anyhow!("{host} sent no list of providers")),
        401 | 403 => bail!("{host} does not accept LANGSMITH_API_KEY (status {})", answer.status),
        status => bail!("{host} answered with status {status}; LANGSMITH_API_URL is the address of Agent Auth's API"),
    }
}

/// The secrets of the clients, by `provider_id`, from a JSON object.
///
/// # Errors
/// When it is something else. Nothing of it is repeated.
pub fn client_secrets(text: &str) -> anyhow::Result<BTreeMap<String, SecretString>> {
    let secrets: BTreeMap<String, String> = serde_json::from_str(text)
        .map_err(|error| anyhow!("line {}: expected an object of provider ids and client secrets", error.line()))?;
    Ok(secrets.into_iter().map(|(provider_id, secret)| (provider_id, SecretString::from(secret))).collect())
}

/// The listed providers as records, each with its place.
#[must_use]
pub fn records(
    listed: Vec<Value>,
    secrets: &BTreeMap<String, SecretString>,
    guard: &AddressGuard,
) -> Vec<(String, Record)> {
    let records = (1..).zip(listed).map(|(position, one)| match one {
        Value::Object(one) => record(one, secrets, guard),
        _ => (format!("provider {position} of the list"), Record::Unusable("it is not an object".into())),
    });
    records.collect()
}

fn record(
    mut listed: Map<String, Value>,
    secrets: &BTreeMap<String, SecretString>,
    guard: &AddressGuard,
) -> (String, Record) {
    let text = |name: &str| listed.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (provider_id, mcp_server_url) = (text("provider_id"), text("mcp_server_url"));
    let place = format!("provider {provider_id}");
    let unless_here = |why: String| Record::UnlessHere { provider_id: provider_id.clone(), why };
    if listed.get("is_dynamic_client") == Some(&Value::Bool(true)) {
        let why = format!(
            "its client was registered by LangSmith for its own address; add it with `agent-auth provider add {provider_id} \
             --mcp {mcp_server_url}`"
        );
        return (place, unless_here(why));
    }
    match secrets.get(&provider_id) {
        Some(secret) => drop(listed.insert("client_secret".into(), secret.expose_secret().into())),
        None if text("token_endpoint_auth_method") == "none" => {}
        None => {
            let why = "LangSmith shows no client secrets; name it in --client-secrets-file".into();
            return (place, unless_here(why));
        }
    }
    let draft = ProviderCreateRequest::read(&JsonBody(Value::Object(listed)), guard);
    (place, Record::Provider(Box::new(MovedProvider { draft, restored: None })))
}
