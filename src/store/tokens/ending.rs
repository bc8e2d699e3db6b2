//! Reporting refresh tokens that are about to expire.
//! Owns: that each is reported once after a consent, and only where a webhook gets it.
//! Must not know: how long before the end.

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    model::{
        actor::Act,
        audit::{Event, EventName},
        subject::Tenant,
    },
    store::{error::StoreError, handle::Store},
};

#[derive(sqlx::FromRow)]
struct EndingRow {
    id: Uuid,
    organization_id: String,
    workspace_id: String,
    provider_id: String,
    user_id: String,
    agent_id: String,
    account_label: Option<String>,
    scopes: Json<Vec<String>>,
    refresh_token_expires_at: DateTime<Utc>,
}

impl Store {
    /// Reports at most `limit` tokens of all tenants whose refresh token expires before `before` and that were created before
    /// `created_before`, unless refreshes move its end, and counts them.
    pub async fn report_ending(
        &self,
        before: DateTime<Utc>,
        created_before: DateTime<Utc>,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let webhook: Option<(i64,)> =
            self.db.query("SELECT CAST(1 AS BIGINT) FROM webhooks LIMIT 1").read().optional().await?;
        if webhook.is_none() {
            return Ok(0);
        }
        let mut tx = self.db.begin().await?;
        let ending: Vec<EndingRow> = tx
            .query(
                "UPDATE tokens SET ending_reported_at = $3
                 WHERE ending_reported_at IS NULL AND id IN (
                    SELECT t.id FROM tokens t
                    WHERE t.refresh_token_expires_at > $3 AND t.refresh_token_expires_at <= $1 AND t.created_at <= $2
                      AND t.state = 'active' AND t.ending_reported_at IS NULL AND NOT t.refresh_token_extends
                      AND EXISTS (
                        SELECT 1 FROM webhooks w
                        WHERE w.organization_id = t.organization_id AND w.workspace_id = t.workspace_id
                          AND w.disabled_at IS NULL)
                    ORDER BY t.refresh_token_expires_at LIMIT $4)
                 RETURNING id, organization_id, workspace_id,
                    (SELECT provider_id FROM providers p WHERE p.id = tokens.provider) AS provider_id, user_id, agent_id,
                    account_label, scopes, refresh_token_expires_at",
            )
            .bind(before)
            .bind(created_before)
            .bind(now)
            .bind(limit)
            .all()
            .await?;
        let many = ending.len() as u64;
        self.record(&mut tx, ending.into_iter().map(|row| row.event(now)).collect()).await?;
        tx.commit().await?;
        Ok(many)
    }
}

impl EndingRow {
    fn event(self, now: DateTime<Utc>) -> Event {
        let tenant = Tenant { organization: self.organization_id, workspace: self.workspace_id };
        let ends_at = self.refresh_token_expires_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        Event::new(EventName::TokenEndingSoon, &Act::service(), &tenant, now)
            .of(&self.user_id, &self.agent_id)
            .at_provider(&self.provider_id)
            .about_token(self.id)
            .with_scopes(&self.scopes)
            .of_account(self.account_label.as_deref())
            .with("refresh_token_expires_at", ends_at)
    }
}
