//! `agent-auth api-key`: the operator's way to keys, straight to the database.
//! Owns: its arguments and what it prints. A key is printed once, when it is made.
//! Must not know: how keys are checked.

use anyhow::bail;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::{
    app::open_store,
    clock::Clock,
    config::Settings,
    identity::api_keys::{KeyWish, generate},
    store::{
        Store, Tenant,
        api_keys::{Kind, Role},
    },
    terminal::{explain, print},
};

#[derive(Debug, Subcommand)]
pub(super) enum ApiKeyCommand {
    /// Make a key and print it once
    Create(Create),
    /// List all keys, without the keys themselves
    List,
    /// Revoke a key; servers forget it within API_KEY_CACHE_SECONDS
    Revoke {
        /// The key's id, as `list` prints it
        id: Uuid,
    },
}

#[derive(Args, Debug)]
pub(super) struct Create {
    /// What the key is for, to recognise it in lists
    #[arg(long)]
    name: String,
    /// admin: everything; agent: authenticate, wait, exists, list; viewer: list
    #[arg(long, value_enum, default_value_t = RoleArg::Agent)]
    role: RoleArg,
    /// personal: speaks for one user; service: names its user in X-User-Id at each call
    #[arg(long, value_enum, default_value_t = KindArg::Service)]
    kind: KindArg,
    /// The user of a personal key
    #[arg(long)]
    user: Option<String>,
    #[command(flatten)]
    tenant: TenantArgs,
    /// Days until the key stops working by itself; never, if absent
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=3650))]
    expires_in_days: Option<i64>,
}

/// Which tenant; the one this database began with, if absent.
#[derive(Args, Debug, Clone)]
pub(super) struct TenantArgs {
    /// The organization; this database's first, if absent
    #[arg(long)]
    organization: Option<String>,
    /// The workspace; this database's first, if absent
    #[arg(long)]
    workspace: Option<String>,
}

impl TenantArgs {
    pub(super) async fn tenant(&self, store: &Store) -> anyhow::Result<Tenant> {
        let home = store.home_tenant(Clock::system().now()).await?;
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
    match command {
        ApiKeyCommand::Create(create) => make(create, &store, &clock).await,
        ApiKeyCommand::List => list(&store, clock.now()).await,
        ApiKeyCommand::Revoke { id } => {
            if !store.revoke_api_key(id, clock.now()).await? {
                bail!("there is no working key of the id {id}; `agent-auth api-key list` shows them all");
            }
            print(&format!("Revoked {id}. Servers forget it within {} seconds.", settings.api_key_cache_seconds))
        }
    }
}

async fn make(create: Create, store: &Store, clock: &Clock) -> anyhow::Result<()> {
    match (create.kind, &create.user) {
        (KindArg::Personal, None) => bail!("a personal key speaks for one user: add --user NAME"),
        (KindArg::Service, Some(_)) => {
            bail!("a service key names its user at each call: drop --user, or add --kind personal")
        }
        _ => {}
    }
    let now = clock.now();
    let wish = KeyWish {
        tenant: create.tenant.tenant(store).await?,
        name: create.name,
        role: match create.role {
            RoleArg::Admin => Role::Admin,
            RoleArg::Agent => Role::Agent,
            RoleArg::Viewer => Role::Viewer,
        },
        user: create.user,
        expires_at: create.expires_in_days.map(|days| now + TimeDelta::days(days)),
    };
    explain(&format!("organization {}, workspace {}", wish.tenant.organization, wish.tenant.workspace))?;
    let (key, record) = generate(wish, now);
    store.keep_api_key(&record).await?;
    explain(&format!("id {}; the key is shown this once:", record.key.id))?;
    print(key.expose_secret())
}

async fn list(store: &Store, now: DateTime<Utc>) -> anyhow::Result<()> {
    for key in store.api_keys().await? {
        let role = match key.role {
            Role::Admin => "admin",
            Role::Agent => "agent",
            Role::Viewer => "viewer",
        };
        let of = match (key.kind, &key.user_id) {
            (Kind::Personal, Some(user)) => format!("personal {user}"),
            _ => "service".to_owned(),
        };
        let state = match (key.revoked_at, key.expires_at) {
            (Some(at), _) => format!("revoked {}", at.format("%F")),
            (None, Some(at)) if at <= now => format!("expired {}", at.format("%F")),
            (None, Some(at)) => format!("expires {}", at.format("%F")),
            (None, None) => "works".to_owned(),
        };
        print(&format!(
            "{}\t{}...\t{role}\t{of}\t{state}\t{}/{}\t{}",
            key.id, key.prefix, key.organization_id, key.workspace_id, key.name
        ))?;
    }
    Ok(())
}
