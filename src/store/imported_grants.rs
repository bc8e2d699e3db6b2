//! Grants that are brought in from elsewhere.
//! Owns: the table `imported_grants`, and that a grant becomes a token once, however often an import is run.
//! Must not know: where a grant comes from, or what its fields may be.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    connections::connect_imported,
    db::Tx,
    error::StoreError,
    handle::Store,
    tokens::{due::Candidate, row::Owner},
};
use crate::model::{
    actor::Act,
    audit::{Event, EventName},
    grant::{Grant, GrantRequest},
    subject::Tenant,
};

/// A grant to bring in.
#[derive(Clone, Debug)]
pub struct IncomingGrant {
    /// What it is called where it comes from.
    pub source_id: String,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// Whose token it becomes.
    pub wanted: GrantRequest,
    /// The grant.
    pub grant: Grant,
    /// Agents to connect to it.
    pub agents: Vec<String>,
}

/// What became of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// It is a token now.
    In,
    /// An earlier run has brought it in.
    Before,
    /// Its subject has a token of that account, or may have: it was obtained here, and is kept.
    Occupied(Uuid),
}

/// A token of the subject that an incoming grant is for.
#[derive(sqlx::FromRow)]
struct Held {
    id: Uuid,
    account_id: Option<String>,
    is_default: bool,
    is_imported: bool,
}

impl Store {
    /// Brings in grants of one tenant, all in one transaction, and says what became of each. With `rehearse` nothing is
    /// written in the end.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a token of a subject was stored at the same moment: try again.
    pub async fn bring_in(
        &self,
        tenant: &Tenant,
        incoming: &[IncomingGrant],
        rehearse: bool,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Vec<Brought>, StoreError> {
        let changes =
            incoming.iter().map(|one| self.token_changes.of(one.wanted.provider, &one.wanted.subject.user_id));
        let _changing: Vec<_> = changes.collect();
        let (mut brought, mut events) = (Vec::new(), Vec::new());
        let mut tx = self.db.begin().await?;
        for (place, one) in (0..).zip(incoming) {
            // Each a moment after the one before it: of several tokens of a subject the newest is preferred, and that must
            // always be the same one.
            let now = now + TimeDelta::microseconds(place);
            brought.push(self.bring_one(&mut tx, tenant, one, &mut events, act, now).await?);
        }
        if !rehearse {
            if !events.is_empty() {
                self.record(&mut tx, events).await?;
            }
            tx.commit().await?;
        }
        Ok(brought)
    }

    async fn bring_one(
        &self,
        tx: &mut Tx,
        tenant: &Tenant,
        incoming: &IncomingGrant,
        events: &mut Vec<Event>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Brought, StoreError> {
        let id = Uuid::now_v7();
        // First, so that another run that brings in the same grant at this moment waits here.
        if !claim(tx, tenant, &incoming.source_id, id, now).await? {
            return Ok(Brought::Before);
        }
        let held = held(tx, tenant, incoming).await?;
        if let Some(occupant) = occupant(&held, incoming.grant.account_id.as_deref()) {
            release(tx, tenant, &incoming.source_id).await?;
            return Ok(Brought::Occupied(occupant));
        }
        let mut wanted = incoming.wanted.clone();
        // A default that a person chose here stays.
        wanted.is_default &= !held.iter().any(|token| token.is_default);
        self.insert_token(tx, &wanted, id, &incoming.grant, now).await?;
        let event = Event::new(EventName::TokenImported, act, tenant, now).of_subject(&wanted.subject);
        let event = event.at_provider(&incoming.provider_id).about_token(id).with_scopes(&wanted.scopes);
        events.push(event.with("source_id", &incoming.source_id));
        for agent_id in &incoming.agents {
            let owner = Owner {
                provider: wanted.provider,
                provider_id: incoming.provider_id.clone(),
                user_id: wanted.subject.user_id.clone(),
            };
            events.push(connect_imported(tx, tenant, agent_id, id, owner, act, now).await?);
        }
        Ok(Brought::In)
    }

    /// At most `limit` imported tokens of a tenant that were not refreshed yet and can be, from after the token `after`.
    pub async fn imported_not_refreshed(
        &self,
        tenant: &Tenant,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<Candidate>, StoreError> {
        let found: Vec<(Uuid, Uuid, i64)> = self
            .db
            .query(
                "SELECT t.id, t.provider, t.generation
                 FROM imported_grants i JOIN tokens t ON t.id = i.token
                 WHERE i.organization_id = $1 AND i.workspace_id = $2
                   AND t.organization_id = $1 AND t.workspace_id = $2 AND i.token > $3
                   AND t.state = 'active' AND t.refresh_token IS NOT NULL AND t.last_refreshed_at IS NULL
                 ORDER BY i.token LIMIT $4",
            )
            .within(tenant)
            .bind(after)
            .bind(limit)
            .read()
            .all()
            .await?;
        let candidate =
            |(token, provider, generation)| Candidate { tenant: tenant.clone(), token, provider, generation };
        Ok(found.into_iter().map(candidate).collect())
    }
}

/// Notes that this grant is brought in. `false`: it was before.
async fn claim(
    tx: &mut Tx,
    tenant: &Tenant,
    source_id: &str,
    token: Uuid,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let claimed = tx
        .query(
            "INSERT INTO imported_grants (organization_id, workspace_id, source_id, token, imported_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (organization_id, workspace_id, source_id) DO NOTHING",
        )
        .within(tenant)
        .bind(source_id.to_owned())
        .bind(token)
        .bind(now)
        .execute()
        .await?;
    Ok(claimed > 0)
}

async fn release(tx: &mut Tx, tenant: &Tenant, source_id: &str) -> Result<(), StoreError> {
    tx.query("DELETE FROM imported_grants WHERE organization_id = $1 AND workspace_id = $2 AND source_id = $3")
        .within(tenant)
        .bind(source_id.to_owned())
        .execute()
        .await?;
    Ok(())
}

/// The tokens of the subject that an incoming grant is for.
async fn held(tx: &mut Tx, tenant: &Tenant, incoming: &IncomingGrant) -> Result<Vec<Held>, StoreError> {
    let subject = &incoming.wanted.subject;
    tx.query(
        "SELECT t.id, t.account_id, t.is_default, i.token IS NOT NULL AS is_imported
         FROM tokens t LEFT JOIN imported_grants i ON i.token = t.id
         WHERE t.organization_id = $1 AND t.workspace_id = $2 AND t.provider = $3 AND t.user_id = $4 AND t.agent_id = $5
         ORDER BY t.is_default DESC, t.created_at DESC",
    )
    .within(tenant)
    .bind(incoming.wanted.provider)
    .bind(subject.user_id.clone())
    .bind(subject.agent_id.clone())
    .all()
    .await
}

/// The token that keeps a grant out: one of the same account; where an account is unknown, one that was obtained here and
/// may be of the same. What was imported does not keep out another grant of an unknown account: their ids say that they
/// are two.
fn occupant(held: &[Held], account_id: Option<&str>) -> Option<Uuid> {
    let keeps_out = |token: &&Held| match (token.account_id.as_deref(), account_id) {
        (Some(held), Some(incoming)) => held == incoming,
        _ => !token.is_imported,
    };
    held.iter().find(keeps_out).map(|token| token.id)
}
