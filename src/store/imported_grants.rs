//! Grants that are brought in from elsewhere.
//! Owns: the table `imported_grants`, and that a grant becomes a token once, however often an import is run.
//! Must not know: where a grant comes from, or what its fields may be.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    connections::connect_imported,
    db::Tx,
    error::StoreError,
    handle::Store,
    seal::{TOKEN_ACCESS_TOKEN, TOKEN_REFRESH_TOKEN},
    tokens::{due::Candidate, row::Owner},
};
use crate::model::{
    actor::Act,
    audit::{Event, EventName},
    grant::{Grant, GrantRequest},
    moved_grant::{ID_BY_PERSON, ID_IN_FILE},
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

impl IncomingGrant {
    /// What it is remembered by: its id there, and whose it is. Two sources may have the same ids, such as 1, 2 and 3, and the
    /// grant of another person is another grant. A hash, because the length of an id has a limit.
    #[must_use]
    pub fn remembered_as(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.provider_id, &self.wanted.subject.user_id, &self.wanted.subject.agent_id] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        format!("{}{WHOSE}{}", self.source_id, hex::encode(&hash.finalize()[..16]))
    }

    /// True when a token of the same subject that came from elsewhere as `source_id` is of the same account, or may be:
    /// unless both accounts are known, only the source can say that they are two, by ids that it gave itself.
    #[must_use]
    pub fn may_be(&self, source_id: &str, account_id: Option<&str>) -> bool {
        match (account_id, self.grant.account_id.as_deref()) {
            (Some(held), Some(incoming)) => held == incoming,
            _ => {
                let (held, incoming) = (source_of(source_id), source_of(&self.source_id));
                held != incoming || held == source_of(ID_BY_PERSON)
            }
        }
    }
}

/// Between the id of a grant and the hash of whose it is.
const WHOSE: char = '#';

/// Which source gave this id.
fn source_of(source_id: &str) -> Option<&str> {
    source_id.split_once(':').map(|(source, _)| source)
}

/// What a grant is called where it comes from, from what it is remembered by.
pub(super) fn source_id_of(remembered: &str) -> &str {
    remembered.rsplit_once(WHOSE).map_or(remembered, |(source_id, _)| source_id)
}

/// What became of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// It is this token now.
    In(Uuid),
    /// An earlier run has brought it in.
    Before,
    /// An earlier run has brought in another one under its id, and that was not refreshed since. It is kept.
    Changed(Uuid),
    /// It is this token already: its user has the same secret at the same provider, or it was exported from this token.
    Held(Uuid),
    /// Its subject has a token of that account, or may have. It is kept.
    Occupied(Uuid),
    /// The database does not store such a value.
    Refused,
}

/// A token of the user that an incoming grant is for.
#[derive(sqlx::FromRow)]
struct Held {
    id: Uuid,
    agent_id: String,
    account_id: Option<String>,
    is_default: bool,
    remembered_as: Option<String>,
    access_token: Vec<u8>,
    refresh_token: Option<Vec<u8>>,
    generation: i64,
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
        let remembered = incoming.remembered_as();
        // First, so that another run that brings in the same grant at this moment waits here.
        if !claim(tx, tenant, &remembered, id, now).await? {
            let brought = brought_before(tx, tenant, &remembered).await?;
            // Only as it was brought in can it be compared: a refresh replaces secrets.
            let unused = brought.filter(|token| token.generation == 1);
            let changed = unused.filter(|token| self.has_secret_of(tenant, token, &incoming.grant) == Some(false));
            return Ok(changed.map_or(Brought::Before, |token| Brought::Changed(token.id)));
        }
        let held = held(tx, tenant, incoming).await?;
        if let Some(kept) = self.kept(tenant, &held, incoming) {
            release(tx, tenant, &remembered).await?;
            return Ok(kept);
        }
        let mut wanted = incoming.wanted.clone();
        // A default that a person chose here stays.
        wanted.is_default &= !held.iter().any(|token| token.is_default && token.agent_id == wanted.subject.agent_id);
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
        Ok(Brought::In(id))
    }

    /// What keeps a grant out: the same grant, whatever its id is; a token of the same account; where an account is
    /// unknown, one that was obtained here or in another way and may be of the same.
    fn kept(&self, tenant: &Tenant, held: &[Held], incoming: &IncomingGrant) -> Option<Brought> {
        let exported_from = incoming.source_id.strip_prefix(ID_IN_FILE).and_then(|id| Uuid::parse_str(id).ok());
        let is_same = |token: &&Held| {
            Some(token.id) == exported_from || self.has_secret_of(tenant, token, &incoming.grant) == Some(true)
        };
        if let Some(same) = held.iter().find(is_same) {
            return Some(Brought::Held(same.id));
        }
        let may_be = |token: &&Held| match (&token.remembered_as, &token.account_id, &incoming.grant.account_id) {
            (None, Some(held), Some(incoming)) => held == incoming,
            (None, ..) => true,
            (Some(remembered), account_id, _) => incoming.may_be(remembered, account_id.as_deref()),
        };
        let mut of_subject = held.iter().filter(|token| token.agent_id == incoming.wanted.subject.agent_id);
        of_subject.find(may_be).map(|token| Brought::Occupied(token.id))
    }

    /// Whether a token and a grant are one: by the refresh token, or by the access token if either has no other. `None`: the
    /// token cannot be opened.
    fn has_secret_of(&self, tenant: &Tenant, token: &Held, grant: &Grant) -> Option<bool> {
        let seal = self.row_seal(tenant, token.id, token.generation);
        if let (Some(sealed), Some(incoming)) = (&token.refresh_token, &grant.refresh_token) {
            let held = seal.open(TOKEN_REFRESH_TOKEN, sealed).ok()?;
            return Some(held.expose_secret() == incoming.expose_secret());
        }
        let (held, incoming) = (seal.open(TOKEN_ACCESS_TOKEN, &token.access_token).ok()?, &grant.access_token);
        Some(!held.expose_secret().is_empty() && held.expose_secret() == incoming.expose_secret())
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

/// The token that an earlier run made of a grant, if it is there still.
async fn brought_before(tx: &mut Tx, tenant: &Tenant, remembered: &str) -> Result<Option<Held>, StoreError> {
    tx.query(
        "SELECT t.id, t.agent_id, t.account_id, t.is_default, i.source_id AS remembered_as, t.access_token, t.refresh_token,
                t.generation
         FROM imported_grants i JOIN tokens t ON t.id = i.token
         WHERE i.organization_id = $1 AND i.workspace_id = $2 AND i.source_id = $3
           AND t.organization_id = $1 AND t.workspace_id = $2",
    )
    .within(tenant)
    .bind(remembered.to_owned())
    .optional()
    .await
}

/// The tokens of the user that an incoming grant is for, at its provider.
async fn held(tx: &mut Tx, tenant: &Tenant, incoming: &IncomingGrant) -> Result<Vec<Held>, StoreError> {
    tx.query(
        "SELECT t.id, t.agent_id, t.account_id, t.is_default, i.source_id AS remembered_as, t.access_token, t.refresh_token,
                t.generation
         FROM tokens t LEFT JOIN imported_grants i ON i.token = t.id
         WHERE t.organization_id = $1 AND t.workspace_id = $2 AND t.provider = $3 AND t.user_id = $4
         ORDER BY t.is_default DESC, t.created_at DESC",
    )
    .within(tenant)
    .bind(incoming.wanted.provider)
    .bind(incoming.wanted.subject.user_id.clone())
    .all()
    .await
}
