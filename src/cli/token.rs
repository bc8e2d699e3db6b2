//! `agent-auth token`: the tokens of a workspace, directly from the database.
//! Owns: its arguments and what it prints. A token itself is never printed.
//! Must not know: how tokens are obtained, refreshed or revoked.

use std::sync::Arc;

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{api_key::TenantArgs, named::named};
use crate::{
    broker::{
        context::Broker,
        tokens::{explain::Explanation, workspace},
    },
    http::api::admin_tokens::WorkspaceToken,
    model::{
        actor::Act,
        key_limits::Reach,
        token_state::{Condition, OwnedToken, TokenFilter},
    },
    terminal::{explain, one_line, print, print_json, print_row},
};

/// How many tokens are read at a time.
const AT_A_TIME: usize = 1000;
/// What `show` prints for a value that is not known, and `list` for an empty column.
const NOTHING: &str = "-";

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// List the tokens of all users of the workspace, newest first
    List(List),
    /// Show a token: whose it is, its state, why, and what to do
    Show {
        /// The token's id, as `list` prints it
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        tenant: TenantArgs,
    },
    /// Delete a token and revoke its grant at the provider
    Revoke {
        /// The token's id, as `list` prints it
        id: String,
        #[command(flatten)]
        tenant: TenantArgs,
    },
}

#[derive(Args, Debug)]
pub(super) struct List {
    /// Only tokens of this user
    #[arg(long, value_name = "USER_ID")]
    user: Option<String>,
    /// Only tokens for this agent
    #[arg(long, value_name = "AGENT_ID")]
    agent: Option<String>,
    /// Only tokens at this provider
    #[arg(long, value_name = "PROVIDER_ID")]
    provider: Option<String>,
    /// Only tokens in this state
    #[arg(long, value_name = "STATE", value_parser = named(&Condition::NAMES))]
    state: Option<Condition>,
    /// Print each token as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tenant: TenantArgs,
}

pub(super) async fn run(command: TokenCommand, broker: &Arc<Broker>) -> anyhow::Result<()> {
    let now = broker.clock.now();
    match command {
        TokenCommand::List(arguments) => list(arguments, broker).await,
        TokenCommand::Show { id, json, tenant } => {
            let tenant = tenant.tenant(broker.store(), now).await?;
            let id = token_id(&id)?;
            let token = workspace::get(broker, Reach::whole(&tenant), id).await?;
            let (token, explanation) = token.with_context(|| none(id))?;
            if json { print_json(&json_of(token, explanation)?) } else { show(&token, &explanation) }
        }
        TokenCommand::Revoke { id, tenant } => {
            let tenant = tenant.tenant(broker.store(), now).await?;
            let id = token_id(&id)?;
            let deletion = workspace::delete(broker, Reach::whole(&tenant), id, &Act::command_line()).await?;
            let deletion = deletion.with_context(|| none(id))?;
            broker.stop().await;
            print(&format!("Deleted {id}."))?;
            match (deletion.revoked, deletion.queued) {
                (0, 0) => print("Its grant cannot be revoked at the provider. If it must end, end it there by hand."),
                (_, 0) => print("Its grant is revoked at the provider."),
                _ => print("Its grant is still to be revoked at the provider; a running server does it."),
            }
        }
    }
}

async fn list(arguments: List, broker: &Broker) -> anyhow::Result<()> {
    let tenant = arguments.tenant.tenant(broker.store(), broker.clock.now()).await?;
    let filter = TokenFilter {
        user_id: arguments.user,
        agent_id: arguments.agent,
        provider_id: arguments.provider,
        condition: arguments.state,
    };
    if !arguments.json {
        explain("ID\tUSER\tAGENT\tPROVIDER\tACCOUNT\tSTATE\tEXPIRES\tLAST USED")?;
    }
    let mut before = None;
    loop {
        let page = workspace::page(broker, Reach::whole(&tenant), &filter, before, AT_A_TIME).await?;
        for (token, explanation) in page.tokens {
            if arguments.json {
                print_json(&json_of(token, explanation)?)?;
                continue;
            }
            let OwnedToken { user_id, agent_id, state, .. } = token;
            let row = [
                state.id.to_string(),
                user_id,
                text(&agent_id),
                state.provider_id,
                text(state.account_label.as_deref().unwrap_or_default()),
                explanation.condition.as_str().to_owned(),
                time(state.expires_at),
                time(state.last_used_at),
            ];
            print_row(row)?;
        }
        before = page.next;
        if before.is_none() {
            return Ok(());
        }
    }
}

fn show(token: &OwnedToken, explanation: &Explanation) -> anyhow::Result<()> {
    let state = &token.state;
    let scopes = state.scopes.join(" ");
    let rows = [
        ("id", state.id.to_string()),
        ("user", token.user_id.clone()),
        ("agent", text(&token.agent_id)),
        ("provider", state.provider_id.clone()),
        ("account", text(state.account_label.as_deref().unwrap_or_default())),
        ("state", explanation.condition.as_str().to_owned()),
        ("why", text(explanation.why.as_deref().unwrap_or_default())),
        ("what to do", explanation.what_to_do.clone()),
        ("scopes", text(&scopes)),
        ("default", if state.is_default { "yes" } else { "no" }.to_owned()),
        ("expires", time(state.expires_at)),
        ("refresh token", if state.has_refresh_token { "yes" } else { "no" }.to_owned()),
        ("last refreshed", time(state.last_refreshed_at)),
        ("last used", time(state.last_used_at)),
        ("created", time(Some(state.created_at))),
    ];
    for (name, value) in rows {
        print(&format!("{name:<15}{}", one_line(&value)))?;
    }
    Ok(())
}

fn json_of(token: OwnedToken, explanation: Explanation) -> anyhow::Result<String> {
    serde_json::to_string(&WorkspaceToken::new(token, explanation)).context("the token cannot be written as JSON")
}

fn token_id(id: &str) -> anyhow::Result<Uuid> {
    let Ok(id) = Uuid::try_parse(id) else {
        bail!("`{id}` is not the id of a token; `agent-auth token list` shows the ids");
    };
    Ok(id)
}

fn none(id: Uuid) -> String {
    format!("there is no token {id} in this workspace; `agent-auth token list` shows all tokens")
}

fn text(text: &str) -> String {
    if text.is_empty() { NOTHING.to_owned() } else { text.to_owned() }
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| NOTHING.to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
