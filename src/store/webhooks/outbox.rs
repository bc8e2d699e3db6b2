//! The outbox: what is reported is written in the transaction of what it reports.
//! Owns: which webhooks of an organization get a report, and the statements that write it.
//! Must not know: which audit events are reported, or who follows them.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::records::{WebhookRow, webhook_columns};
use crate::{
    model::{subject::Tenant, webhook::Report},
    store::{
        db::{Query, Tx},
        error::StoreError,
        inserts::{Inserts, place_of},
    },
};

/// In the order in which they are bound.
const EVENT: [&str; 6] = ["organization_id", "workspace_id", "sequence", "event", "payload", "at"];

static EVENTS: LazyLock<Inserts> = LazyLock::new(|| Inserts::new("reported_events", &EVENT, &[50, 1]));

/// In the order in which they are bound.
const DELIVERY: [&str; 10] = [
    "id",
    "organization_id",
    "workspace_id",
    "webhook",
    "sequence",
    "ordering_key",
    "event",
    "payload",
    "due_at",
    "created_at",
];

/// What must wait for an earlier delivery is due with the last of those.
static DELIVERIES: LazyLock<Inserts> = LazyLock::new(|| {
    Inserts::with_values("webhook_deliveries", &DELIVERY, &[50, 1], |column, first| {
        let place = |column| place_of(column, &DELIVERY, first);
        match column {
            "due_at" => format!(
                "COALESCE((SELECT max(due_at) FROM webhook_deliveries
                    WHERE webhook = {} AND ordering_key = {} AND due_at > {due}), {due})",
                place("webhook"),
                place("ordering_key"),
                due = place("due_at"),
            ),
            column => place(column),
        }
    })
});

/// A report with its place in the order of the organization's events.
pub(in crate::store) struct Numbered {
    pub(in crate::store) report: Report,
    pub(in crate::store) sequence: i64,
    pub(in crate::store) at: DateTime<Utc>,
}

/// A report for one webhook.
struct Addressed<'r> {
    webhook: Uuid,
    numbered: &'r Numbered,
}

/// Writes reports of one organization for those who follow its events. Called with the organization's chain locked, so that
/// the numbers are in the order of the commits: who has read one number has missed none before it.
pub(in crate::store) async fn write(tx: &mut Tx, reports: &[Numbered]) -> Result<(), StoreError> {
    EVENTS.insert(tx, reports, bind_event).await?;
    Ok(())
}

/// Writes reports of one organization for every webhook that wants them, and returns whether there is one.
pub(in crate::store) async fn write_deliveries(
    tx: &mut Tx,
    organization: &str,
    reports: &[Numbered],
) -> Result<bool, StoreError> {
    if reports.is_empty() {
        return Ok(false);
    }
    let webhooks: Vec<WebhookRow> = tx
        .query(concat!(
            "SELECT ",
            webhook_columns!(),
            " FROM webhooks WHERE organization_id = $1 AND disabled_at IS NULL"
        ))
        .bind(organization.to_owned())
        .all()
        .await?;
    let mut rows = Vec::new();
    for webhook in webhooks.into_iter().map(WebhookRow::webhook) {
        let wanted = |numbered: &&Numbered| {
            let Report { kind, tenant, .. } = &numbered.report;
            *tenant == webhook.tenant && webhook.wants(*kind)
        };
        rows.extend(reports.iter().filter(wanted).map(|numbered| Addressed { webhook: webhook.id, numbered }));
    }
    DELIVERIES.insert(tx, &rows, bind_delivery).await?;
    Ok(!rows.is_empty())
}

fn bind_event<'q>(query: Query<'q>, Numbered { report, sequence, at }: &Numbered) -> Query<'q> {
    query
        .within(&report.tenant)
        .bind(*sequence)
        .bind(report.kind.as_str().to_owned())
        .bind(report.payload.clone())
        .bind(*at)
}

fn bind_delivery<'q>(query: Query<'q>, row: &Addressed<'_>) -> Query<'q> {
    let Addressed { webhook, numbered: Numbered { report, sequence, at } } = row;
    let Report { kind, tenant, ordering_key, payload } = report;
    let tenant: &Tenant = tenant;
    query
        .bind(Uuid::now_v7())
        .within(tenant)
        .bind(*webhook)
        .bind(*sequence)
        .bind(ordering_key.clone())
        .bind(kind.as_str().to_owned())
        .bind(payload.clone())
        .bind(*at)
        .bind(*at)
}
