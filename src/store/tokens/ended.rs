//! Reporting access tokens that expired and have no refresh token.
//! Owns: the table `ended_tokens_reported`; that each end is reported once.
//! Must not know: how long after the end.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    model::{
        actor::Act,
        audit::{Event, EventName, EventResult},
        options::{GrantType, ProviderOptions},
        subject::Tenant,
    },
    store::{error::StoreError, handle::Store},
};

/// The error code of a token that ended because it expired and there is no refresh token.
pub const EXPIRED: &str = "access_token_expired";
/// The same for people.
const WHY: &str = "the access token expired, and the provider issued no refresh token";

/// Which ends are reported, as points in time.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Those up to this.
    pub until: DateTime<Utc>,
    /// In the first look of the installation, those after this.
    pub first_since: DateTime<Utc>,
    /// When they are reported.
    pub now: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct EndedRow {
    id: Uuid,
    organization_id: String,
    workspace_id: String,
    provider_id: String,
    options: Json<ProviderOptions>,
    user_id: String,
    agent_id: String,
    account_label: Option<String>,
    scopes: Json<Vec<String>>,
    expires_at: DateTime<Utc>,
}

impl Store {
    /// Reports at most 200 tokens of all tenants that ended since the last one that was reported, and counts those that
    /// it looked at.
    ///
    /// A token that is renewed ends later than the last one that was reported, so it needs no mark of its own, and what was
    /// reported is not read again.
    pub async fn report_ended(&self, look: &Look) -> Result<usize, StoreError> {
        let mut tx = self.db.begin().await?;
        // Written, so that it is locked on both databases: replicas look one after the other.
        let (since, last): (DateTime<Utc>, Uuid) = tx
            .query(
                "UPDATE ended_tokens_reported SET id = id WHERE id = 1
                 RETURNING COALESCE(expires_at, $1), COALESCE(token, $2)",
            )
            .bind(look.first_since)
            .bind(Uuid::nil())
            .one()
            .await?;
        // Each is locked by a write that changes nothing, and examined again: a consent that renews it at the same moment is
        // either seen here, or reported after this. PostgreSQL finds the rows by their ids also when it plans for any values,
        // because it knows how many there are at most and cannot use the index for the outer condition.
        let mut ended: Vec<EndedRow> = tx
            .query(
                "UPDATE tokens SET refresh_failures = refresh_failures
                 WHERE state = 'active' AND refresh_token IS NULL AND COALESCE(expires_at <= $3, FALSE) AND id IN (
                    SELECT t.id FROM tokens t
                    WHERE t.state = 'active' AND t.refresh_token IS NULL
                      AND (t.expires_at, t.id) > ($1, $2) AND t.expires_at <= $3
                    ORDER BY t.expires_at, t.id LIMIT 200)
                 RETURNING id, organization_id, workspace_id,
                    (SELECT p.provider_id FROM providers p WHERE p.id = tokens.provider) AS provider_id,
                    (SELECT p.options FROM providers p WHERE p.id = tokens.provider) AS options, user_id, agent_id,
                    account_label, scopes, expires_at",
            )
            .bind(since)
            .bind(last)
            .bind(look.until)
            .all()
            .await?;
        ended.sort_unstable_by_key(|row| (row.expires_at, row.id));
        let many = ended.len();
        if let Some(row) = ended.last() {
            tx.query("UPDATE ended_tokens_reported SET expires_at = $1, token = $2 WHERE id = 1")
                .bind(row.expires_at)
                .bind(row.id)
                .execute()
                .await?;
        }
        // Our client gets another token by itself.
        ended.retain(|row| row.options.grant_type != GrantType::ClientCredentials);
        self.record(&mut tx, ended.into_iter().map(|row| row.event(look.now)).collect()).await?;
        tx.commit().await?;
        Ok(many)
    }
}

impl EndedRow {
    fn event(self, now: DateTime<Utc>) -> Event {
        let tenant = Tenant { organization: self.organization_id, workspace: self.workspace_id };
        Event::new(EventName::TokenConsentNeeded, &Act::service(), &tenant, now)
            .of(&self.user_id, &self.agent_id)
            .at_provider(&self.provider_id)
            .about_token(self.id)
            .with_scopes(&self.scopes)
            .of_account(self.account_label.as_deref())
            .with("reason", WHY)
            .ended(EventResult::Failed, EXPIRED)
    }
}
