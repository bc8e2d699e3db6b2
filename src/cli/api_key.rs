//! `agent-auth api-key`: managing keys, directly in the database.
//! Owns: its arguments and what it prints. A key is printed once, when it is created.
//! Must not know: how keys are checked.

use anyhow::bail;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::named::named;
use crate::{
    broker::{open::open_store, rules},
    clock::Clock,
    config::Settings,
    identity::api_keys::{self, NewKey},
    model::{
        actor::Act,
        api_key::{ApiKey, Kind, Role},
        consent::Consent,
        key_limits::KeyLimits,
        subject::Tenant,
    },
    store::handle::Store,
    terminal::{explain, one_line, print, print_json},
};

#[derive(Debug, Subcommand)]
pub(super) enum ApiKeyCommand {
    /// Create a key and print it once
    Create(Create),
    /// List all keys, without the keys themselves
    List {
        /// Print each key's record as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key; servers stop accepting it within AGENT_AUTH_API_KEY_CACHE_SECONDS
    Revoke {
        /// The key's id, as `list` prints it
        id: String,
    },
}

#[derive(Args, Debug)]
pub(super) struct Create {
    /// A name for the key, to recognize it in lists
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    name: String,
    /// admin: everything; agent: authenticate, wait, exists, list; viewer: list
    #[arg(long, value_enum, default_value_t = RoleArg::Agent)]
    role: RoleArg,
    /// personal: acts for one user; service: names its user in X-User-Id in each request
    #[arg(long, value_enum, default_value_t = KindArg::Service)]
    kind: KindArg,
    /// The user of a personal key
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// Limit the key to this provider; may be repeated
    #[arg(long, value_name = "PROVIDER_ID", value_parser = provider_id)]
    only_provider: Vec<String>,
    /// Limit the key to this agent; may be repeated. Its requests must name one of its agents
    #[arg(long, value_name = "AGENT_ID", value_parser = identifier)]
    only_agent: Vec<String>,
    /// Limit the key to this user; may be repeated
    #[arg(long, value_name = "USER_ID", value_parser = identifier)]
    only_user: Vec<String>,
    /// The least strict consent for requests of this key: confirm or verify. It can be stricter than the setting CONSENT
    /// and the provider's, never less strict
    #[arg(long, value_name = "MODE", value_parser = named(&Consent::NAMES))]
    consent: Option<Consent>,
    #[command(flatten)]
    tenant: TenantArgs,
    /// Days until the key expires; if absent, it does not expire
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=3650))]
    expires_in_days: Option<i64>,
}

/// Which tenant; if absent, the first of this database.
#[derive(Args, Debug, Clone)]
pub(super) struct TenantArgs {
    /// The organization; if absent, the first of this database
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    organization: Option<String>,
    /// The workspace; if absent, the first of this database
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    workspace: Option<String>,
}

impl TenantArgs {
    pub(super) async fn tenant(&self, store: &Store, now: DateTime<Utc>) -> anyhow::Result<Tenant> {
        let home = store.home_tenant(now).await?;
        Ok(Tenant {
            organization: self.organization.clone().unwrap_or(home.organization),
            workspace: self.workspace.clone().unwrap_or(home.workspace),
        })
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    Admin,
    Agent,
    Viewer,
}

#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
enum KindArg {
    Personal,
    Service,
}

pub(super) async fn run(command: ApiKeyCommand, settings: &Settings) -> anyhow::Result<()> {
    let clock = Clock::system();
    let store = open_store(settings, &clock).await?;
    let now = clock.now();
    match command {
        ApiKeyCommand::Create(create) => make(create, &store, now).await,
        ApiKeyCommand::List { json } => list(json, &store, now).await,
        ApiKeyCommand::Revoke { id } => {
            let Ok(id) = Uuid::try_parse(&id) else {
                bail!("`{id}` is not the id of a key; `agent-auth api-key list` shows the ids");
            };
            if !api_keys::revoke(&store, id, &Act::command_line(), now).await? {
                bail!("there is no active key with the id {id}; `agent-auth api-key list` shows all keys");
            }
            let seconds = settings.api_key_cache_seconds;
            print(&format!("Revoked {id}. Servers stop accepting it within {seconds} seconds."))
        }
    }
}

async fn make(create: Create, store: &Store, now: DateTime<Utc>) -> anyhow::Result<()> {
    match (create.kind, &create.user) {
        (KindArg::Personal, None) => bail!("a personal key acts for one user: add --user NAME"),
        (KindArg::Service, Some(_)) => {
            bail!("a service key names its user in each request: remove --user, or add --kind personal")
        }
        (KindArg::Personal, Some(user)) if !create.only_user.is_empty() && !create.only_user.contains(user) => {
            bail!("the key's own user {user} is outside its limits: add --only-user {user}, or leave --only-user out")
        }
        _ => {}
    }
    let new = NewKey {
        tenant: create.tenant.tenant(store, now).await?,
        name: create.name,
        role: match create.role {
            RoleArg::Admin => Role::Admin,
            RoleArg::Agent => Role::Agent,
            RoleArg::Viewer => Role::Viewer,
        },
        user: create.user,
        limits: limits(create.only_provider, create.only_agent, create.only_user),
        consent: create.consent,
        expires_at: create.expires_in_days.map(|days| now + TimeDelta::days(days)),
    };
    explain(&format!("organization {}, workspace {}", new.tenant.organization, new.tenant.workspace))?;
    let (key, record) = api_keys::create(store, new, &Act::command_line(), now).await?;
    explain(&format!("id {}; the key is shown only once:", record.id))?;
    print(key.expose_secret())
}

fn provider_id(text: &str) -> Result<String, String> {
    rules::provider_id(text).map(|()| text.to_owned()).map_err(|(_, problem)| problem)
}

fn identifier(text: &str) -> Result<String, String> {
    rules::identifier(text).map(|()| text.to_owned()).map_err(|(_, problem)| problem)
}

fn limits(providers: Vec<String>, agents: Vec<String>, users: Vec<String>) -> Option<KeyLimits> {
    let limit = |named: Vec<String>| (!named.is_empty()).then(|| named.into_iter().collect());
    let limits = KeyLimits { providers: limit(providers), agents: limit(agents), users: limit(users) };
    (limits != KeyLimits::default()).then_some(limits)
}

/// What narrows a key, as the options that make it so.
fn options(key: &ApiKey) -> String {
    let limits = key.limits.clone().unwrap_or_default();
    let named = [("provider", limits.providers), ("agent", limits.agents), ("user", limits.users)];
    let limits = named
        .into_iter()
        .flat_map(|(name, limit)| limit.into_iter().flatten().map(move |inside| format!("--only-{name} {inside}")));
    let consent = key.consent.map(|consent| format!("--consent {}", consent.as_str()));
    let options: Vec<String> = limits.chain(consent).collect();
    if options.is_empty() { String::new() } else { format!("\t{}", options.join(" ")) }
}

async fn list(json: bool, store: &Store, now: DateTime<Utc>) -> anyhow::Result<()> {
    let keys = api_keys::list(store).await?;
    if !json {
        explain("ID\tBEGINS WITH\tROLE\tKIND\tSTATE\tORGANIZATION/WORKSPACE\tNAME")?;
    }
    for key in keys {
        if json {
            print_json(&json_of(&key, now).to_string())?;
            continue;
        }
        let role = key.role.as_str();
        let kind = match (key.kind, &key.user_id) {
            (Kind::Personal, Some(user)) => format!("personal {}", one_line(user)),
            _ => "service".to_owned(),
        };
        let state = match (key.revoked_at, key.expires_at) {
            (Some(at), _) => format!("revoked {}", at.format("%F")),
            (None, Some(at)) if at <= now => format!("expired {}", at.format("%F")),
            (None, Some(at)) => format!("expires {}", at.format("%F")),
            (None, None) => "active".to_owned(),
        };
        print(&format!(
            "{}\t{}...\t{role}\t{kind}\t{state}\t{}/{}\t{}{}",
            key.id,
            key.prefix,
            one_line(&key.organization_id),
            one_line(&key.workspace_id),
            one_line(&key.name),
            options(&key)
        ))?;
    }
    Ok(())
}

fn json_of(key: &ApiKey, now: DateTime<Utc>) -> serde_json::Value {
    serde_json::json!({
        "id": key.id,
        "prefix": key.prefix,
        "name": key.name,
        "role": key.role.as_str(),
        "kind": key.kind.as_str(),
        "user_id": key.user_id,
        "organization_id": key.organization_id,
        "workspace_id": key.workspace_id,
        "limits": key.limits,
        "consent": key.consent.map(Consent::as_str),
        "is_active": key.is_valid(now),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    })
}
