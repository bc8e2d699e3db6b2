//! `agent-auth provider add`: a provider from the catalogue, or from its endpoints.
//! Owns: its arguments, and the body they make.
//! Must not know: the rules of that body; those are the API's.

use std::{collections::BTreeMap, io::Read, path::PathBuf};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Map, Value, json};

use super::{catalog::steps, mcp, outbound, unknown};
use crate::{
    app::public_url,
    broker::{clients::redirect_uri::callback_address, providers::mcp::McpServer},
    catalog::{Catalog, Entry},
    cli::api_key::TenantArgs,
    config::Settings,
    http::{mcp_server_of_json, provider_of_json},
    model::options::GrantType,
    outbound::address::AddressGuard,
    store::{Store, Tenant},
    terminal::print,
};

pub(super) const EXAMPLES: &str = "\
Examples:

  One of the catalogue (`agent-auth provider catalog` shows them all):
    agent-auth provider add github --client-id ID --client-secret-file FILE
    agent-auth provider add microsoft --client-id ID --client-secret-file FILE --set tenant=common

  A second app at the same provider, under another id:
    agent-auth provider add github-bot --template github --client-id ID --client-secret-file FILE

  An MCP server, by its address:
    agent-auth provider add tools --mcp https://mcp.example.com/mcp

  An authorization server with metadata, by its issuer:
    agent-auth provider add acme --issuer https://acme.example --client-id ID --client-secret-file FILE

  A static key, which each person is asked for on a page of this server:
    agent-auth provider add weather --grant-type api_key

  Any other provider, by its endpoints:
    agent-auth provider add acme --client-id ID --client-secret-file FILE --pkce \\
      --auth-url https://acme.example/authorize --token-url https://acme.example/token

What is said here counts more than what the catalogue says. `agent-auth provider check ID` then tells whether it is right.";

#[derive(Args, Debug)]
pub(in crate::cli) struct Add {
    /// The id that agents and the callback address use, e.g. github; without URLs also the name in the catalogue
    provider_id: String,
    /// The entry of the catalogue, if it is not the id
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// A value that the entry of the catalogue needs, e.g. --set tenant=common; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// The name for people
    #[arg(long)]
    name: Option<String>,
    /// The address of an MCP server: nothing else is needed
    #[arg(long, value_name = "URL", conflicts_with_all = ["template", "auth_url", "token_url", "issuer"])]
    mcp: Option<String>,
    /// The issuer of an authorization server: its endpoints are read from its metadata (RFC 8414, OpenID Connect Discovery)
    #[arg(long, value_name = "URL", conflicts_with = "template")]
    issuer: Option<String>,
    /// How tokens come about: authorization_code, client_credentials (without a person) or api_key (a static key)
    #[arg(long, value_name = "TYPE")]
    grant_type: Option<String>,
    /// The client id of your OAuth app there
    #[arg(long, required_unless_present_any = ["mcp", "grant_type"])]
    client_id: Option<String>,
    /// A file with the client secret, or - for standard input; absent for a public client. With api_key the key that all
    /// use; absent, each person is asked for their own
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// The authorization endpoint
    #[arg(long, value_name = "URL")]
    auth_url: Option<String>,
    /// The token endpoint
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// Where refresh tokens go, if not to the token endpoint
    #[arg(long, value_name = "URL")]
    refresh_url: Option<String>,
    /// Where the provider tells whose an access token is, so that accounts have a name
    #[arg(long, value_name = "URL")]
    userinfo_url: Option<String>,
    /// The revocation endpoint, if the provider is none of the well-known
    #[arg(long, value_name = "URL")]
    revocation_url: Option<String>,
    /// Where the authorization of a device begins (RFC 8628), for agents without a browser
    #[arg(long, value_name = "URL")]
    device_authorization_url: Option<String>,
    /// Send a code challenge (PKCE, S256); --pkce=false for none where the catalogue says yes
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pkce: Option<bool>,
    /// microsoft, salesforce, slack or x: habits of their own are met
    #[arg(long = "type", value_name = "TYPE")]
    provider_type: Option<String>,
    /// client_secret_post, client_secret_basic or none
    #[arg(long, value_name = "METHOD")]
    auth_method: Option<String>,
    /// What stands between two scopes, if not a space, e.g. ,
    #[arg(long, value_name = "TEXT")]
    scope_separator: Option<String>,
    /// A scope to ask for when an agent names none; may be repeated
    #[arg(long = "default-scope", value_name = "SCOPE")]
    default_scopes: Vec<String>,
    /// A scope to ask for beside whatever an agent names; may be repeated
    #[arg(long = "always-scope", value_name = "SCOPE")]
    always_scopes: Vec<String>,
    /// The protected resource the tokens are for (RFC 8707)
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// A parameter for every authorization URL, e.g. --param access_type=offline; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// A parameter for every token request; may be repeated
    #[arg(long = "token-param", value_name = "NAME=VALUE")]
    token_params: Vec<String>,
    /// How token requests are written: form or json
    #[arg(long, value_name = "FORMAT")]
    token_format: Option<String>,
    #[command(flatten)]
    tenant: TenantArgs,
}

pub(super) async fn run(
    add: &Add,
    store: &Store,
    catalog: &Catalog,
    settings: &Settings,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let outbound = outbound(settings)?;
    let tenant = add.tenant.tenant(store).await?;
    if let Some(url) = &add.mcp {
        let server = add.mcp_server(tenant, url, outbound.guard())?;
        return mcp::run(server, store, &outbound, settings, now).await;
    }
    let entry = add.entry(catalog)?;
    let body = add.body(entry)?;
    let provider = provider_of_json(&outbound, catalog, tenant, body, now).await.map_err(anyhow::Error::msg)?;
    store
        .create_provider(&provider)
        .await
        .with_context(|| format!("the provider {} was not registered", provider.provider_id))?;
    let redirect_uri = callback_address(&public_url(settings)?, &provider.provider_id);
    match provider.options.grant_type {
        GrantType::AuthorizationCode => {
            print(&format!("Registered {}. Enter this redirect URI there:\n{redirect_uri}", provider.provider_id))?;
        }
        GrantType::ClientCredentials | GrantType::ApiKey => print(&format!("Registered {}.", provider.provider_id))?,
    }
    if let Some(entry) = entry {
        print("\nThat is, unless you have done it already:\n")?;
        let filled = entry.filled(&pairs("--set", &add.set)?).unwrap_or_else(|_| entry.clone());
        steps(&filled, &redirect_uri)?;
    }
    print(&format!(
        "\n`agent-auth provider check {}` tells whether the provider takes this client.",
        provider.provider_id
    ))
}

impl Add {
    fn mcp_server(&self, tenant: Tenant, url: &str, guard: &AddressGuard) -> anyhow::Result<McpServer> {
        let body = json!({
            "provider_id": self.provider_id,
            "name": self.name.as_ref().unwrap_or(&self.provider_id),
            "mcp_server_url": url,
            "client_id": self.client_id,
            "client_secret": self.secret()?,
            "token_endpoint_auth_method": self.auth_method,
            "grant_type": self.grant_type,
        });
        mcp_server_of_json(guard, tenant, body).map_err(anyhow::Error::msg)
    }

    /// True when the arguments say themselves what the provider is like.
    fn is_described(&self) -> bool {
        [&self.auth_url, &self.token_url, &self.issuer, &self.grant_type].iter().any(|argument| argument.is_some())
    }

    /// The entry that was asked for, by name or by the absence of endpoints.
    fn entry<'c>(&self, catalog: &'c Catalog) -> anyhow::Result<Option<&'c Entry>> {
        let name = match &self.template {
            Some(template) => template,
            None if !self.is_described() => &self.provider_id,
            None => return Ok(None),
        };
        let Some(entry) = catalog.entry(name) else {
            let or = if self.template.is_none() {
                "; or give --template, --issuer, or --auth-url and --token-url"
            } else {
                ""
            };
            bail!("{}{or}", unknown(catalog, name));
        };
        let set = pairs::<BTreeMap<_, _>>("--set", &self.set)?;
        for (param, meaning) in &entry.params {
            if !set.contains_key(param) {
                bail!("{name} needs --set {param}=VALUE: {meaning}");
            }
        }
        if let Some(superfluous) = set.keys().find(|param| !entry.params.contains_key(*param)) {
            bail!(
                "--set {superfluous}: {name} has no such placeholder; `agent-auth provider catalog {name}` shows all"
            );
        }
        Ok(Some(entry))
    }

    fn body(&self, entry: Option<&Entry>) -> anyhow::Result<Value> {
        let secret = self.secret()?;
        let method = self.auth_method.clone().or_else(|| secret.is_none().then(|| "none".to_owned()));
        let map = |flag: &str, given: &[String]| -> anyhow::Result<Option<Value>> {
            let pairs: Map<String, Value> =
                pairs::<Vec<_>>(flag, given)?.into_iter().map(|(name, value)| (name, value.into())).collect();
            Ok((!given.is_empty()).then_some(Value::Object(pairs)))
        };
        let list = |given: &[String]| (!given.is_empty()).then(|| Value::from(given));
        let mut body = json!({
            "provider_id": self.provider_id,
            "template": entry.map(|entry| &entry.name),
            "template_params": map("--set", &self.set)?,
            "name": self.name,
            "client_id": self.client_id,
            "client_secret": secret,
            "auth_url": self.auth_url,
            "token_url": self.token_url,
            "issuer": self.issuer,
            "grant_type": self.grant_type,
            "device_authorization_url": self.device_authorization_url,
            "refresh_url": self.refresh_url,
            "userinfo_url": self.userinfo_url,
            "revocation_url": self.revocation_url,
            "uses_pkce": self.pkce,
            "provider_type": self.provider_type,
            "token_endpoint_auth_method": method,
            "scope_separator": self.scope_separator,
            "default_scopes": list(&self.default_scopes),
            "always_scopes": list(&self.always_scopes),
            "resource": self.resource,
            "authorization_params": map("--param", &self.params)?,
            "token_params": map("--token-param", &self.token_params)?,
            "token_format": self.token_format,
        });
        if let Value::Object(fields) = &mut body {
            fields.retain(|_, value| !value.is_null());
            if entry.is_none() {
                fields.entry("name").or_insert_with(|| self.provider_id.clone().into());
            }
        }
        Ok(body)
    }

    fn secret(&self) -> anyhow::Result<Option<String>> {
        let text = match &self.client_secret_file {
            None => return Ok(None),
            Some(path) if path.as_os_str() == "-" => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("the client secret cannot be read")?;
                text
            }
            Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        };
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn pairs<C: FromIterator<(String, String)>>(flag: &str, given: &[String]) -> anyhow::Result<C> {
    let split = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => bail!("{flag} {text}: expected NAME=VALUE"),
    };
    given.iter().map(split).collect()
}
