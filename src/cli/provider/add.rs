//! `agent-auth provider add`: a provider from the catalogue, from its endpoints, from its issuer, or an MCP server.
//! Owns: its arguments, and the draft that they describe.
//! Must not know: the rules of a draft; those are the broker's.

use std::{collections::BTreeMap, io::Read, path::PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use secrecy::SecretString;
use serde_json::Value;

use super::catalog::{UNCONFIRMED, steps, unknown};
use crate::{
    broker::{
        clients::redirect_uri::callback_address_of,
        context::Broker,
        error::BrokerError,
        providers::{
            create::create,
            draft::ProviderDraft,
            mcp::{McpDraft, connect},
        },
        rules::Fault,
    },
    catalog::{Catalog, Entry},
    cli::{
        api_key::TenantArgs,
        named::{named, pairs},
    },
    model::{
        actor::Act,
        client::ClientAuthentication,
        consent::Consent,
        options::{GrantType, OptionsDraft, TokenFormat},
        provider::ProviderType,
        subject::Tenant,
    },
    terminal::print,
};

pub(super) const EXAMPLES: &str = "\
Examples:

  A built-in provider (`agent-auth provider catalog` lists them):
    agent-auth provider add github --client-id ID --client-secret-file FILE
    agent-auth provider add microsoft --client-id ID --client-secret-file FILE --set tenant=common

  A second app at the same provider, under another id:
    agent-auth provider add github-bot --template github --client-id ID --client-secret-file FILE

  An MCP server, by its URL:
    agent-auth provider add tools --mcp https://mcp.example.com/mcp

  An authorization server with metadata, by its issuer:
    agent-auth provider add acme --issuer https://acme.example --client-id ID --client-secret-file FILE

  A static key, which each person enters on a page of this server:
    agent-auth provider add weather --grant-type api_key

  Any other provider, by its endpoints:
    agent-auth provider add acme --client-id ID --client-secret-file FILE --pkce \\
      --auth-url https://acme.example/authorize --token-url https://acme.example/token

Your values override the catalogue. `agent-auth provider check ID` then checks the endpoints and credentials.";

#[derive(Args, Debug)]
pub(in crate::cli) struct Add {
    /// The id that agents and the callback address use, e.g. github; without URLs also the name in the catalogue
    provider_id: String,
    /// The name in the catalogue, if it is not the id
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// A value that the catalogue entry needs, e.g. --set tenant=common; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// The display name
    #[arg(long)]
    name: Option<String>,
    /// The URL of an MCP server: nothing else is needed
    #[arg(long, value_name = "URL", conflicts_with_all = ["template", "auth_url", "token_url", "issuer"])]
    mcp: Option<String>,
    /// The issuer of an authorization server: its endpoints are read from its metadata (RFC 8414, OpenID Connect
    /// Discovery)
    #[arg(long, value_name = "URL", conflicts_with = "template")]
    issuer: Option<String>,
    /// How tokens are obtained: authorization_code, client_credentials (without a person) or api_key (a static key)
    #[arg(long, value_name = "TYPE", value_parser = named(&GrantType::NAMES))]
    grant_type: Option<GrantType>,
    /// The client id of your OAuth app there
    #[arg(long)]
    client_id: Option<String>,
    /// A file with the client secret, or - for standard input; absent for a public client. With api_key: the key that
    /// all users share; if absent, each person enters their own
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// The authorization endpoint
    #[arg(long, value_name = "URL")]
    auth_url: Option<String>,
    /// The token endpoint
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// The endpoint for refreshes, if it is not the token endpoint
    #[arg(long, value_name = "URL")]
    refresh_url: Option<String>,
    /// The userinfo endpoint, which identifies accounts
    #[arg(long, value_name = "URL")]
    userinfo_url: Option<String>,
    /// The revocation endpoint, if the provider is not built in
    #[arg(long, value_name = "URL")]
    revocation_url: Option<String>,
    /// The device authorization endpoint (RFC 8628), for consent on another device
    #[arg(long, value_name = "URL")]
    device_authorization_url: Option<String>,
    /// Send a code challenge (PKCE, S256); --pkce=false turns it off for a built-in provider
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pkce: Option<bool>,
    /// microsoft, salesforce, slack or x: applies provider-specific behavior
    #[arg(long = "type", value_name = "TYPE", value_parser = named(&ProviderType::NAMES))]
    provider_type: Option<ProviderType>,
    /// client_secret_post, client_secret_basic or none
    #[arg(long, value_name = "METHOD", value_parser = named(&ClientAuthentication::NAMES))]
    auth_method: Option<ClientAuthentication>,
    /// The separator between two scopes, if not a space, e.g. ,
    #[arg(long, value_name = "TEXT")]
    scope_separator: Option<String>,
    /// A scope to request when an agent names none; may be repeated
    #[arg(long = "default-scope", value_name = "SCOPE")]
    default_scopes: Vec<String>,
    /// A scope to request in addition to those an agent names; may be repeated
    #[arg(long = "always-scope", value_name = "SCOPE")]
    always_scopes: Vec<String>,
    /// The protected resource that the tokens are for (RFC 8707)
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// A parameter for every authorization URL, e.g. --param access_type=offline; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// A parameter for every token request; may be repeated
    #[arg(long = "token-param", value_name = "NAME=VALUE")]
    token_params: Vec<String>,
    /// The format of token requests: form or json
    #[arg(long, value_name = "FORMAT", value_parser = named(&TokenFormat::NAMES))]
    token_format: Option<TokenFormat>,
    /// The least strict consent for this provider: direct, confirm or verify; the setting CONSENT counts if it is stricter
    #[arg(long, value_name = "MODE", value_parser = named(&Consent::NAMES))]
    consent: Option<Consent>,
    /// An address of your application to which a browser may be sent after a consent; may be repeated
    #[arg(long = "return-url", value_name = "URL")]
    return_urls: Vec<String>,
    #[command(flatten)]
    tenant: TenantArgs,
}

pub(super) async fn run(add: Add, broker: &Broker) -> anyhow::Result<()> {
    let tenant = add.tenant.tenant(broker.store(), broker.clock.now()).await?;
    if add.mcp.is_some() {
        return connect_mcp(add, tenant, broker).await;
    }
    let entry = add.entry(&broker.catalog)?.cloned();
    let set: BTreeMap<String, String> = pairs("--set", &add.set)?;
    let provider_id = add.provider_id.clone();
    let draft = add.into_draft(entry.as_ref())?;
    let created = create(broker, tenant, draft, &Act::command_line()).await;
    let provider = created.map_err(|error| match error {
        BrokerError::Conflict(_) => anyhow!(
            "the workspace has a provider `{provider_id}` already; choose another id (with --template NAME), change it \
             with PATCH /v2/auth/providers/{provider_id}, or remove it with `agent-auth provider remove {provider_id}`"
        ),
        BrokerError::Faults(faults) => anyhow!("{}", faults.iter().map(argument_fault).collect::<Vec<_>>().join("\n")),
        error => error.into(),
    })?;
    let redirect_uri = callback_address_of(&broker.public_url, &provider);
    match provider.client.options.grant_type {
        GrantType::AuthorizationCode => {
            print(&format!("Added {provider_id}. Enter this redirect URI at the provider:\n{redirect_uri}"))?;
        }
        GrantType::ClientCredentials => print(&format!("Added {provider_id}."))?,
        // Neither client nor redirect URI: there is nothing to enter or to check.
        GrantType::ApiKey => return print(&format!("Added {provider_id}.")),
    }
    if let Some(entry) = entry {
        print("\nIf you have not created the app there yet:\n")?;
        let filled = entry.filled(&set).unwrap_or_else(|_| entry.clone());
        steps(&filled, &redirect_uri)?;
        if !entry.confirmed {
            print(&format!("\n{UNCONFIRMED}"))?;
        }
    }
    print(&format!("\n`agent-auth provider check {provider_id}` checks whether the provider accepts this client."))
}

async fn connect_mcp(add: Add, tenant: Tenant, broker: &Broker) -> anyhow::Result<()> {
    let provider_id = add.provider_id.clone();
    match connect(broker, tenant, add.into_mcp_draft()?, &Act::command_line()).await {
        Ok(provider) => {
            let issuer = provider.client.options.issuer.as_deref().unwrap_or(&provider.auth_url);
            print(&format!("Connected {provider_id}. Its authorization server is {issuer}."))?;
            match provider.client.options.default_scopes.join(" ") {
                scopes if scopes.is_empty() => Ok(()),
                scopes => print(&format!("An agent that names no scope requests: {scopes}")),
            }
        }
        Err(BrokerError::RegistrationRequired(needed)) => bail!(
            "the authorization server {} does not let clients register themselves. Register a client there by hand, with \
             the redirect URI {}. Then run `agent-auth provider remove {provider_id}`, and add it again with --client-id \
             and --client-secret-file",
            needed.issuer,
            needed.redirect_uri
        ),
        Err(error) => Err(error.into()),
    }
}

impl Add {
    fn into_mcp_draft(self) -> anyhow::Result<McpDraft> {
        Ok(McpDraft {
            client_secret: self.secret()?,
            name: self.name.or_else(|| Some(self.provider_id.clone())),
            provider_id: Some(self.provider_id),
            url: self.mcp,
            client_id: self.client_id,
            authentication: self.auth_method,
            grant_type: self.grant_type,
            ..McpDraft::default()
        })
    }

    /// True when the arguments themselves describe the provider.
    fn is_described(&self) -> bool {
        self.auth_url.is_some() || self.token_url.is_some() || self.issuer.is_some() || self.grant_type.is_some()
    }

    /// The entry that was requested, by name or by the absence of endpoints.
    fn entry<'c>(&self, catalog: &'c Catalog) -> anyhow::Result<Option<&'c Entry>> {
        let name = match &self.template {
            Some(template) => template,
            None if !self.is_described() => &self.provider_id,
            None => return Ok(None),
        };
        let Some(entry) = catalog.entry(name) else {
            let or = match self.template {
                None => " Or pass --template, --issuer, or --auth-url and --token-url.",
                Some(_) => "",
            };
            bail!("{}{or}", unknown(catalog, name));
        };
        let set = pairs::<BTreeMap<_, _>>("--set", &self.set)?;
        for (param, meaning) in &entry.params {
            if !set.contains_key(param) {
                bail!("{name} needs --set {param}=VALUE: {meaning}");
            }
        }
        if let Some(unexpected) = set.keys().find(|param| !entry.params.contains_key(*param)) {
            bail!("--set {unexpected}: {name} has no such placeholder; see `agent-auth provider catalog {name}`");
        }
        Ok(Some(entry))
    }

    fn into_draft(self, entry: Option<&Entry>) -> anyhow::Result<ProviderDraft> {
        let secret = self.secret()?;
        let public = secret.is_none().then_some(ClientAuthentication::None);
        let unnamed = || entry.is_none().then(|| self.provider_id.clone());
        Ok(ProviderDraft {
            name: self.name.clone().or_else(unnamed),
            provider_id: Some(self.provider_id),
            grant_type: self.grant_type,
            client_id: self.client_id,
            client_secret: secret,
            authentication: self.auth_method.or(public),
            auth_url: self.auth_url,
            token_url: self.token_url,
            userinfo_url: self.userinfo_url,
            revocation_url: self.revocation_url,
            uses_pkce: self.pkce,
            provider_type: self.provider_type.map(|family| family.as_str().to_owned()),
            authorization_params: optional_pairs("--param", &self.params)?,
            issuer: self.issuer,
            template: entry.map(|entry| entry.name.clone()),
            template_params: optional_pairs("--set", &self.set)?,
            options: OptionsDraft {
                device_authorization_url: self.device_authorization_url,
                refresh_url: self.refresh_url,
                scope_separator: self.scope_separator,
                default_scopes: Some(self.default_scopes).filter(|scopes| !scopes.is_empty()),
                always_scopes: Some(self.always_scopes).filter(|scopes| !scopes.is_empty()),
                resource: self.resource,
                token_params: optional_pairs("--token-param", &self.token_params)?,
                token_format: self.token_format,
                consent: self.consent,
                return_urls: Some(self.return_urls).filter(|urls| !urls.is_empty()),
                ..OptionsDraft::default()
            },
            ..ProviderDraft::default()
        })
    }

    fn secret(&self) -> anyhow::Result<Option<SecretString>> {
        let text = match &self.client_secret_file {
            None => return Ok(None),
            Some(path) if path.as_os_str() == "-" => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("cannot read the client secret")?;
                text
            }
            Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        };
        match text.trim_end_matches(['\r', '\n']) {
            "" => {
                bail!("--client-secret-file: there is no client secret in it; leave the option out for a public client")
            }
            secret => Ok(Some(SecretString::from(secret))),
        }
    }
}

/// The arguments that set a field of the draft, where their names differ.
const ARGUMENTS: [(&str, &str); 9] = [
    ("authorization_params", "--param"),
    ("client_secret", "--client-secret-file"),
    ("default_scopes", "--default-scope"),
    ("always_scopes", "--always-scope"),
    ("provider_id", "PROVIDER_ID"),
    ("template_params", "--set"),
    ("token_endpoint_auth_method", "--auth-method"),
    ("token_params", "--token-param"),
    ("uses_pkce", "--pkce"),
];

/// A fault of the draft, in the words of the command line: its arguments instead of the API's fields.
fn argument_fault(fault: &Fault) -> String {
    let field = fault.field();
    let named = ARGUMENTS.iter().find(|(name, _)| *name == field).map(|(_, argument)| (*argument).to_owned());
    let argument = named.unwrap_or_else(|| format!("--{}", field.replace('_', "-")));
    let name = fault.path.get(1).and_then(Value::as_str).map(|name| format!(" {name}")).unwrap_or_default();
    match fault.message.strip_prefix("Field required") {
        Some(condition) => format!("{argument}{name} is required{condition}"),
        None => format!("{argument}{name}: {}", fault.message),
    }
}

fn optional_pairs(flag: &str, given: &[String]) -> anyhow::Result<Option<BTreeMap<String, String>>> {
    if given.is_empty() { Ok(None) } else { pairs(flag, given).map(Some) }
}
