//! The records of webhooks.
//! Owns: the table `webhooks`, whose secrets are sealed.
//! Must not know: what is sent there.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use uuid::Uuid;

use crate::{
    model::{
        actor::Act,
        audit::{Event, EventName},
        subject::Tenant,
        webhook::Webhook,
    },
    store::{error::StoreError, handle::Store, seal::WEBHOOK_SECRET},
};

#[derive(sqlx::FromRow)]
pub(super) struct WebhookRow {
    id: Uuid,
    organization_id: String,
    workspace_id: String,
    url: String,
    events: String,
    created_at: DateTime<Utc>,
    disabled_at: Option<DateTime<Utc>>,
    disabled_reason: Option<String>,
}

/// The columns of a [`WebhookRow`].
macro_rules! webhook_columns {
    () => {
        "id, organization_id, workspace_id, url, events, created_at, disabled_at, disabled_reason"
    };
}
pub(super) use webhook_columns;

impl WebhookRow {
    pub(super) fn webhook(self) -> Webhook {
        Webhook {
            id: self.id,
            tenant: Tenant { organization: self.organization_id, workspace: self.workspace_id },
            url: self.url,
            events: self.events.split_whitespace().map(ToOwned::to_owned).collect(),
            created_at: self.created_at,
            disabled_at: self.disabled_at,
            disabled_reason: self.disabled_reason,
        }
    }
}

impl Store {
    /// Stores a new webhook with the secret that signs what it is sent.
    pub async fn create_webhook(&self, webhook: &Webhook, secret: &SecretString, act: &Act) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        tx.query(
            "INSERT INTO webhooks (id, organization_id, workspace_id, url, secret, events, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(webhook.id)
        .within(&webhook.tenant)
        .bind(webhook.url.clone())
        .bind(self.row_seal(&webhook.tenant, webhook.id, 0).seal(WEBHOOK_SECRET, secret)?)
        .bind(webhook.events.join(" "))
        .bind(webhook.created_at)
        .execute()
        .await?;
        let event = about_webhook(EventName::WebhookCreated, webhook, act, webhook.created_at);
        self.record(&mut tx, vec![event]).await?;
        tx.commit().await
    }

    /// The webhooks of a workspace, the oldest first.
    pub async fn webhooks(&self, tenant: &Tenant) -> Result<Vec<Webhook>, StoreError> {
        let rows: Vec<WebhookRow> = self
            .db
            .query(concat!(
                "SELECT ",
                webhook_columns!(),
                " FROM webhooks WHERE organization_id = $1 AND workspace_id = $2 ORDER BY created_at, id"
            ))
            .within(tenant)
            .read()
            .all()
            .await?;
        Ok(rows.into_iter().map(WebhookRow::webhook).collect())
    }

    /// A webhook of a workspace.
    pub async fn webhook(&self, tenant: &Tenant, id: Uuid) -> Result<Option<Webhook>, StoreError> {
        let row: Option<WebhookRow> = self
            .db
            .query(concat!(
                "SELECT ",
                webhook_columns!(),
                " FROM webhooks WHERE organization_id = $1 AND workspace_id = $2 AND id = $3"
            ))
            .within(tenant)
            .bind(id)
            .read()
            .optional()
            .await?;
        Ok(row.map(WebhookRow::webhook))
    }

    /// The secret of a webhook; `None` if it was removed.
    pub async fn webhook_secret(&self, webhook: &Webhook) -> Result<Option<SecretString>, StoreError> {
        let sealed: Option<(Vec<u8>,)> = self
            .db
            .query("SELECT secret FROM webhooks WHERE organization_id = $1 AND workspace_id = $2 AND id = $3")
            .within(&webhook.tenant)
            .bind(webhook.id)
            .read()
            .optional()
            .await?;
        let seal = self.row_seal(&webhook.tenant, webhook.id, 0);
        Ok(sealed.map(|(sealed,)| seal.open(WEBHOOK_SECRET, &sealed)).transpose()?)
    }

    /// Deletes a webhook with all of its deliveries, and returns whether there was one.
    pub async fn delete_webhook(&self, webhook: &Webhook, act: &Act, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let deleted = tx
            .query("DELETE FROM webhooks WHERE organization_id = $1 AND workspace_id = $2 AND id = $3")
            .within(&webhook.tenant)
            .bind(webhook.id)
            .execute()
            .await?;
        if deleted > 0 {
            self.record(&mut tx, vec![about_webhook(EventName::WebhookDeleted, webhook, act, now)]).await?;
        }
        tx.commit().await?;
        Ok(deleted > 0)
    }

    /// Disables a webhook, and gives up what it was to be sent. Nothing more is written for it.
    pub async fn disable_webhook(&self, webhook: &Webhook, reason: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        let disabled = tx
            .query(
                "UPDATE webhooks SET disabled_at = $4, disabled_reason = $5
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND disabled_at IS NULL",
            )
            .within(&webhook.tenant)
            .bind(webhook.id)
            .bind(now)
            .bind(reason.to_owned())
            .execute()
            .await?;
        tx.query(
            "UPDATE webhook_deliveries
             SET due_at = NULL, dead_at = $4, last_error = $5, owner = NULL, leased_until = NULL
             WHERE organization_id = $1 AND workspace_id = $2 AND webhook = $3 AND due_at IS NOT NULL",
        )
        .within(&webhook.tenant)
        .bind(webhook.id)
        .bind(now)
        .bind(reason.to_owned())
        .execute()
        .await?;
        if disabled > 0 {
            let event = about_webhook(EventName::WebhookDisabled, webhook, &Act::service(), now);
            self.record(&mut tx, vec![event.with("reason", reason)]).await?;
        }
        tx.commit().await
    }

    /// Lets a disabled webhook be sent events again, and returns whether it was disabled.
    pub async fn enable_webhook(&self, webhook: &Webhook, act: &Act, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let enabled = tx
            .query(
                "UPDATE webhooks SET disabled_at = NULL, disabled_reason = NULL
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND disabled_at IS NOT NULL",
            )
            .within(&webhook.tenant)
            .bind(webhook.id)
            .execute()
            .await?;
        if enabled > 0 {
            self.record(&mut tx, vec![about_webhook(EventName::WebhookEnabled, webhook, act, now)]).await?;
        }
        tx.commit().await?;
        Ok(enabled > 0)
    }
}

/// An event about a webhook. Only the host of its URL is recorded: a path or a query may hold a secret.
fn about_webhook(name: EventName, webhook: &Webhook, act: &Act, now: DateTime<Utc>) -> Event {
    let event = Event::new(name, act, &webhook.tenant, now).with("webhook_id", webhook.id);
    match url::Url::parse(&webhook.url).ok().and_then(|url| url.host_str().map(ToOwned::to_owned)) {
        Some(host) => event.with("host", host),
        None => event,
    }
}
