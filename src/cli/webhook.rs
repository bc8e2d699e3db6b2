//! `agent-auth webhook`: where the events of a workspace are sent, directly in the database.
//! Owns: its arguments and what it prints. A secret is printed once, when its webhook is added.
//! Must not know: how messages are signed, or when they are sent.

use anyhow::{anyhow, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{api_key::TenantArgs, named::named};
use crate::{
    broker::{
        context::Broker,
        webhooks::{self, LISTED_MAX, Replayed, signature},
    },
    clock::Clock,
    config::Settings,
    model::{
        actor::Act,
        subject::Tenant,
        webhook::{DeliveryState, DeliverySummary, EventType, Webhook},
    },
    terminal::{explain, print, print_json, print_row},
};

/// What an empty column has.
const NOTHING: &str = "-";

#[derive(Debug, Subcommand)]
pub(super) enum WebhookCommand {
    /// Add a webhook and print its secret once
    Add {
        /// Where events are sent, e.g. https://app.example.com/webhooks/agent-auth
        url: String,
        /// Send only these types, separated by commas; if absent, all
        #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = named(&EventType::NAMES))]
        events: Vec<EventType>,
        #[command(flatten)]
        tenant: TenantArgs,
    },
    /// List the webhooks of the workspace, without their secrets
    List {
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        tenant: TenantArgs,
    },
    /// Send a signed message of the type webhook.test, and print the status of the response
    ///
    /// The exit code is 1 if the status is not 2xx.
    Test(One),
    /// List what was sent to a webhook, and what waits, the newest first
    Deliveries {
        #[command(flatten)]
        one: One,
        /// Only those in this state
        #[arg(long, value_name = "STATE", value_parser = named(&DeliveryState::NAMES))]
        state: Option<DeliveryState>,
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Send events again that were delivered or given up; a running server does it
    ///
    /// They have the same message ids as before. What waits for its next attempt is tried at once.
    Replay {
        #[command(flatten)]
        one: One,
        /// This message, as `deliveries` lists it
        #[arg(long, value_name = "MESSAGE_ID", conflicts_with_all = ["since", "dead"])]
        message: Option<String>,
        /// Events since this time, e.g. 2026-01-31T00:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<DateTime<Utc>>,
        /// Only those that were given up
        #[arg(long)]
        dead: bool,
    },
    /// Send events again to a webhook that was disabled because it answered 410
    Enable(One),
    /// Remove a webhook, with all that is yet to be sent there
    Remove(One),
}

/// Which webhook.
#[derive(Args, Debug)]
pub(super) struct One {
    /// The id of the webhook, as `list` prints it
    id: String,
    #[command(flatten)]
    tenant: TenantArgs,
}

impl One {
    async fn find(self, broker: &Broker) -> anyhow::Result<Webhook> {
        let none = || anyhow!("there is no webhook `{}`; `agent-auth webhook list` shows all webhooks", self.id);
        let id = Uuid::try_parse(&self.id).map_err(|_| none())?;
        let tenant = of(&self.tenant, broker).await?;
        let webhooks = webhooks::list(broker, &tenant).await?;
        webhooks.into_iter().find(|webhook| webhook.id == id).ok_or_else(none)
    }
}

async fn of(tenant: &TenantArgs, broker: &Broker) -> anyhow::Result<Tenant> {
    tenant.tenant(broker.store(), broker.clock.now()).await
}

pub(super) async fn run(command: WebhookCommand, settings: Settings) -> anyhow::Result<()> {
    let broker = &*Broker::open(settings, Clock::system()).await?;
    match command {
        WebhookCommand::Add { url, events, tenant } => {
            let tenant = of(&tenant, broker).await?;
            explain(&format!("organization {}, workspace {}", tenant.organization, tenant.workspace))?;
            let (webhook, secret) = webhooks::add(broker, &tenant, &url, &events, &Act::command_line()).await?;
            explain(&format!("id {}; the secret is shown only once:", webhook.id))?;
            print(secret.expose_secret())
        }
        WebhookCommand::List { json, tenant } => {
            let webhooks = webhooks::list(broker, &of(&tenant, broker).await?).await?;
            print_each(json, &webhooks, as_json, "ID\tURL\tEVENTS\tSTATE", |webhook| print_row(row(webhook)))
        }
        WebhookCommand::Test(one) => test(broker, &one.find(broker).await?).await,
        WebhookCommand::Deliveries { one, state, json } => {
            let deliveries = webhooks::deliveries(broker, &one.find(broker).await?, state).await?;
            print_each(
                json,
                &deliveries,
                delivery_as_json,
                "ID\tTYPE\tSTATE\tHAPPENED\tATTEMPTS\tLAST ERROR",
                |delivery| print_row(delivery_row(delivery)),
            )?;
            if deliveries.len() >= LISTED_MAX {
                explain(&format!("These are the newest {LISTED_MAX}; there may be more. --state STATE lists fewer."))?;
            }
            Ok(())
        }
        WebhookCommand::Replay { one, message, since, dead } => {
            let replayed = match (message, since) {
                (Some(message), _) => Replayed::One(signature::delivery_of(&message).ok_or_else(|| {
                    anyhow!("`{message}` is not a message id; `agent-auth webhook deliveries` shows the ids")
                })?),
                (None, Some(since)) => Replayed::Since(since, dead),
                (None, None) => bail!("say what is to be sent again: --message MESSAGE_ID or --since TIME"),
            };
            let webhook = one.find(broker).await?;
            let again = webhooks::replay(broker, &webhook, &replayed).await?;
            let events = if again == 1 { "event is" } else { "events are" };
            print(&format!("{again} {events} sent again by a running server."))?;
            if webhook.disabled_at.is_some() {
                explain("The webhook is disabled: run `agent-auth webhook enable`, or nothing is sent.")?;
            }
            Ok(())
        }
        WebhookCommand::Enable(one) => {
            let webhook = one.find(broker).await?;
            let id = webhook.id;
            if webhooks::enable(broker, &webhook, &Act::command_line()).await? {
                print(&format!("Enabled {id}. Events that it missed: `agent-auth webhook replay {id} --since TIME`."))
            } else {
                print(&format!("{id} is not disabled."))
            }
        }
        WebhookCommand::Remove(one) => {
            let webhook = one.find(broker).await?;
            webhooks::remove(broker, &webhook, &Act::command_line()).await?;
            print(&format!("Removed {}.", webhook.id))
        }
    }
}

async fn test(broker: &Broker, webhook: &Webhook) -> anyhow::Result<()> {
    let status = webhooks::test(broker, webhook).await.map_err(|error| anyhow!("{}: {error}", webhook.url))?.status;
    print(&format!("{status}"))?;
    if !(200..300).contains(&status) {
        bail!("{} answered {status}; a webhook has to answer 2xx", webhook.url);
    }
    Ok(())
}

fn print_each<T>(
    json: bool,
    rows: &[T],
    as_json: impl Fn(&T) -> Value,
    headings: &str,
    print_one: impl Fn(&T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if json {
        return rows.iter().try_for_each(|row| print_json(&as_json(row).to_string()));
    }
    explain(headings)?;
    rows.iter().try_for_each(print_one)
}

fn as_json(webhook: &Webhook) -> Value {
    json!({
        "id": webhook.id,
        "organization_id": webhook.tenant.organization,
        "workspace_id": webhook.tenant.workspace,
        "url": webhook.url,
        "events": webhook.events,
        "created_at": webhook.created_at,
        "disabled_at": webhook.disabled_at,
        "disabled_reason": webhook.disabled_reason,
    })
}

fn row(webhook: &Webhook) -> [String; 4] {
    let events = if webhook.events.is_empty() { "all events".to_owned() } else { webhook.events.join(",") };
    let state = match (webhook.disabled_at, &webhook.disabled_reason) {
        (Some(at), reason) => format!("disabled {} ({})", at.format("%F"), reason.as_deref().unwrap_or_default()),
        (None, _) => "active".to_owned(),
    };
    [webhook.id.to_string(), webhook.url.clone(), events, state]
}

fn delivery_as_json(delivery: &DeliverySummary) -> Value {
    json!({
        "message_id": signature::message_id(delivery.id),
        "type": delivery.event,
        "state": delivery.state().as_str(),
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.due_at,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "created_at": delivery.created_at,
        "delivered_at": delivery.delivered_at,
        "dead_at": delivery.dead_at,
    })
}

fn delivery_row(delivery: &DeliverySummary) -> [String; 6] {
    let state = delivery.state().as_str().to_owned();
    let at = delivery.created_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let id = signature::message_id(delivery.id);
    let error = delivery.last_error.clone().unwrap_or_else(|| NOTHING.to_owned());
    [id, delivery.event.clone(), state, at, delivery.attempts.to_string(), error]
}
