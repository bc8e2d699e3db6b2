//! Appending to the chain.
//! Owns: the statements that add events and move a chain's end. An append that fails fails its whole transaction.
//! Must not know: what the transaction does besides.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use secrecy::SecretString;
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    chain::{ChainEnd, ChainKey, Placed},
    columns::{Rows, event_columns},
};
use crate::{
    model::{
        audit::{Event, EventFields, EventName, RecordedEvent},
        outage::Outage,
        subject::Tenant,
        webhook::Report,
    },
    store::{
        db::{Query, Tx},
        error::StoreError,
        handle::Store,
        inserts::Inserts,
        seal::AUDIT_KEY,
        webhooks::outbox::{self, Numbered},
    },
    telemetry::metrics::{Consent, DeathCause, METRICS, NO_PROVIDER},
};

/// So many events are inserted at a time. A thousand would keep a processor of the database, and a thread of this program, for
/// milliseconds in which others wait for it.
const AT_ONCE: usize = 250;

/// The statements of SQLite.
static INSERTS: LazyLock<Inserts> = LazyLock::new(|| {
    let columns: Vec<&str> = event_columns!().split(',').map(str::trim).collect();
    Inserts::new("audit_events", &columns, &[250, 25, 5, 1])
});

/// An organization's chain, locked until the transaction ends.
pub(super) struct LockedChain {
    pub(super) organization: String,
    pub(super) key: ChainKey,
    pub(super) last: ChainEnd,
    pub(super) pruned: ChainEnd,
    /// Whether there is somewhere to report what happens.
    has_webhooks: bool,
}

/// The row of a chain that is locked.
#[derive(sqlx::FromRow)]
struct LockedRow {
    #[sqlx(flatten)]
    head: HeadRow,
    has_webhooks: bool,
}

#[derive(sqlx::FromRow)]
pub(super) struct HeadRow {
    id: Uuid,
    organization_id: String,
    workspace_id: String,
    audit_key: Vec<u8>,
    pub(super) sequence: i64,
    hash: Vec<u8>,
    pruned_to: i64,
    pruned_hash: Vec<u8>,
    mac: Vec<u8>,
}

/// The columns of a [`HeadRow`].
macro_rules! head_columns {
    () => {
        "id, organization_id, workspace_id, audit_key, sequence, hash, pruned_to, pruned_hash, mac"
    };
}
pub(super) use head_columns;

/// Events whose commit was not confirmed: where the last of them would be.
#[derive(Clone, Debug)]
pub struct Unconfirmed(ChainEnd);

/// Why events were not recorded.
#[derive(Debug)]
pub struct NotRecorded {
    /// The error.
    pub error: StoreError,
    /// Set when the commit may have happened all the same.
    pub unconfirmed: Option<Unconfirmed>,
}

impl From<StoreError> for NotRecorded {
    fn from(error: StoreError) -> Self {
        Self { error, unconfirmed: None }
    }
}

impl Store {
    /// Records events in a transaction that does what they say, and reports them to those who follow their workspaces. It
    /// is the last thing that a transaction does.
    ///
    /// # Errors
    /// [`StoreError::Audit`]: then the transaction must not be committed, and nothing is done. [`StoreError::Unavailable`]
    /// when another writer of the organization was in the way for too long.
    pub(in crate::store) async fn record(&self, tx: &mut Tx, events: Vec<Event>) -> Result<(), StoreError> {
        events.iter().for_each(count);
        let mut of_organization: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        for event in events {
            of_organization.entry(event.tenant.organization.clone()).or_default().push(event);
        }
        for (organization, events) in of_organization {
            self.record_and_report(tx, &organization, events).await.map_err(not_recorded)?;
        }
        Ok(())
    }

    async fn record_and_report(&self, tx: &mut Tx, organization: &str, events: Vec<Event>) -> Result<(), StoreError> {
        let chain = self.lock_chain(tx, organization).await?;
        let numbers = chain.last.sequence + 1..;
        let numbered = numbers
            .zip(&events)
            .filter_map(|(sequence, event)| Some(Numbered { report: Report::of(event)?, sequence, at: event.at }));
        let reports: Vec<Numbered> = numbered.collect();
        let has_webhooks = chain.has_webhooks;
        let recorded: Vec<RecordedEvent> = events.into_iter().map(RecordedEvent::new).collect();
        append(tx, chain, recorded.iter().map(RecordedEvent::fields)).await?;
        outbox::write(tx, &reports).await?;
        if has_webhooks && outbox::write_deliveries(tx, organization, &reports).await? {
            tx.wake_after_commit(Arc::clone(&self.outbox));
        }
        Ok(())
    }

    /// Records events of one organization that nothing else is written for, unless they are recorded already: `before` is
    /// an earlier attempt whose commit was not confirmed.
    ///
    /// # Errors
    /// [`NotRecorded`] says whether they may be recorded all the same.
    pub async fn record_alone<'e>(
        &self,
        organization: &str,
        events: impl ExactSizeIterator<Item = EventFields<'e>>,
        before: Option<&Unconfirmed>,
    ) -> Result<(), NotRecorded> {
        let mut tx = self.db.begin().await?;
        let last = async {
            let chain = self.lock_chain(&mut tx, organization).await?;
            // Only now: while the chain was not locked, the commit may still have been on its way.
            if let Some(before) = before
                && is_recorded(&mut tx, organization, before).await?
            {
                return Ok(chain.last);
            }
            append(&mut tx, chain, events).await
        };
        let last = last.await.map_err(not_recorded)?;
        tx.commit().await.map_err(|error| NotRecorded { error, unconfirmed: Some(Unconfirmed(last)) })
    }

    /// Locks the chain of an organization, and begins it if it has none.
    pub(super) async fn lock_chain(&self, tx: &mut Tx, organization: &str) -> Result<LockedChain, StoreError> {
        let locked = match lock_head(tx, organization).await? {
            Some(locked) => Some(locked),
            None => {
                self.begin_chain(tx, organization).await?;
                lock_head(tx, organization).await?
            }
        };
        match locked {
            Some(LockedRow { head, has_webhooks }) => Ok(LockedChain { has_webhooks, ..self.open_head(head)? }),
            None => Err(StoreError::Audit("its chain cannot be begun".into())),
        }
    }

    async fn begin_chain(&self, tx: &mut Tx, organization: &str) -> Result<(), StoreError> {
        let mut random = zeroize::Zeroizing::new([0_u8; 32]);
        rand::fill(&mut random[..]);
        let secret = SecretString::from(STANDARD_NO_PAD.encode(*random));
        let (id, owner, start) = (Uuid::now_v7(), owner_of_key(organization), ChainEnd::before_the_first());
        tx.query(
            "INSERT INTO audit_heads (id, organization_id, workspace_id, audit_key, sequence, hash, pruned_to,
                pruned_hash, mac)
             VALUES ($1, $2, $3, $4, $5, $6, $5, $6, $7) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .within(&owner)
        .bind(self.row_seal(&owner, id, 0).seal(AUDIT_KEY, &secret)?)
        .bind(start.sequence)
        .bind(start.hash.to_vec())
        .bind(ChainKey::new(&secret)?.mac(organization, &start, &start).to_vec())
        .execute()
        .await?;
        Ok(())
    }

    /// The chain, if its ends are those that this program wrote.
    pub(super) fn open_head(&self, head: HeadRow) -> Result<LockedChain, StoreError> {
        let opened = self.row_seal(&owner_of_key(&head.organization_id), head.id, 0).open(AUDIT_KEY, &head.audit_key);
        let secret = opened.map_err(|error| {
            StoreError::Audit(format!("the key of the chain of organization {}: {error}", head.organization_id))
        })?;
        let key = ChainKey::new(&secret)?;
        let end = |sequence, hash: &[u8]| Some(ChainEnd { sequence, hash: hash.try_into().ok()? });
        if head.workspace_id.is_empty()
            && let Some(last) = end(head.sequence, &head.hash)
            && let Some(pruned) = end(head.pruned_to, &head.pruned_hash)
            && key.is_mac(&head.organization_id, &last, &pruned, &head.mac)
        {
            return Ok(LockedChain { organization: head.organization_id, key, last, pruned, has_webhooks: false });
        }
        // Going on from here would cover up what was changed.
        let problem = "was changed by another program";
        Err(StoreError::Audit(format!("the end of the chain of organization {} {problem}", head.organization_id)))
    }
}

/// Gives the events their places in the chain and inserts them.
async fn append<'e>(
    tx: &mut Tx,
    mut chain: LockedChain,
    mut events: impl ExactSizeIterator<Item = EventFields<'e>>,
) -> Result<ChainEnd, StoreError> {
    let (many, mut added) = (events.len(), 0);
    while events.len() > 0 {
        let some = events.by_ref().take(AT_ONCE);
        let placed: Vec<Placed<'_>> = some.map(|event| chain.place(event)).collect();
        added += if tx.is_postgres() {
            Rows::new(&chain.organization, &placed)?.insert(tx).await?
        } else {
            INSERTS.insert(tx, &placed, bind_event).await?
        };
    }
    // A trigger can leave out a row without an error.
    if added != many as u64 {
        return Err(StoreError::Audit(format!("the database added {added} of {many} events")));
    }
    move_ends(tx, &chain).await?;
    Ok(chain.last)
}

impl LockedChain {
    /// Gives an event the next place.
    fn place<'e>(&mut self, event: EventFields<'e>) -> Placed<'e> {
        self.last = self.key.next(&self.last, &event);
        (event, self.last)
    }
}

/// Whether events are recorded whose commit was not confirmed.
async fn is_recorded(tx: &mut Tx, organization: &str, before: &Unconfirmed) -> Result<bool, StoreError> {
    let found: Option<(Vec<u8>,)> = tx
        .query("SELECT hash FROM audit_events WHERE organization_id = $1 AND sequence = $2")
        .bind(organization.to_owned())
        .bind(before.0.sequence)
        .optional()
        .await?;
    Ok(found.is_some_and(|(hash,)| hash == before.0.hash))
}

/// Whatever fails here fails the audit log, unless the whole database does: it is late, read-only or full. A missing right is
/// one of the audit log's own tables.
fn not_recorded(error: StoreError) -> StoreError {
    match error {
        error @ StoreError::Unavailable(Outage::Unreachable | Outage::Busy | Outage::ReadOnly | Outage::Full, _) => {
            error
        }
        error => {
            METRICS.audit_failures.increment();
            match error {
                error @ StoreError::Audit(_) => error,
                error => StoreError::Audit(error.to_string()),
            }
        }
    }
}

/// Counts what the metrics say of grants and consents. Every event of theirs comes by here, as the last thing that its
/// transaction does: a commit that fails and is repeated counts twice.
fn count(event: &Event) {
    let error = event.error.as_deref().unwrap_or_default();
    let consent = match event.name {
        EventName::ConsentBegun => Consent::Begun,
        EventName::ConsentCompleted => Consent::Completed,
        EventName::ConsentFailed => Consent::Failed,
        EventName::ConsentRefused if error == "access_denied" => Consent::Denied,
        EventName::ConsentRefused => Consent::Refused,
        EventName::TokenConsentNeeded => {
            let provider = METRICS.providers.of(event.provider_id.as_deref().unwrap_or(NO_PROVIDER));
            provider.deaths.of(DeathCause::of(error)).increment();
            return;
        }
        _ => return,
    };
    METRICS.consents.of(consent).increment();
}

/// The key belongs to the organization, not to one of its workspaces.
fn owner_of_key(organization: &str) -> Tenant {
    Tenant { organization: organization.to_owned(), workspace: String::new() }
}

async fn lock_head(tx: &mut Tx, organization: &str) -> Result<Option<LockedRow>, StoreError> {
    // Written, so that it is locked on both databases. An organization without webhooks costs a look into an index.
    tx.query(concat!(
        "UPDATE audit_heads SET sequence = sequence WHERE organization_id = $1 RETURNING ",
        head_columns!(),
        ", EXISTS (SELECT 1 FROM webhooks w WHERE w.organization_id = $1) AS has_webhooks"
    ))
    .bind(organization.to_owned())
    .optional()
    .await
}

pub(super) async fn move_ends(tx: &mut Tx, chain: &LockedChain) -> Result<(), StoreError> {
    let moved = tx
        .query(
            "UPDATE audit_heads SET sequence = $2, hash = $3, pruned_to = $4, pruned_hash = $5, mac = $6
         WHERE organization_id = $1",
        )
        .bind(chain.organization.clone())
        .bind(chain.last.sequence)
        .bind(chain.last.hash.to_vec())
        .bind(chain.pruned.sequence)
        .bind(chain.pruned.hash.to_vec())
        .bind(chain.key.mac(&chain.organization, &chain.last, &chain.pruned).to_vec())
        .execute()
        .await?;
    if moved == 1 { Ok(()) } else { Err(StoreError::Audit("the end of its chain did not move".into())) }
}

fn bind_event<'q>(query: Query<'q>, (event, place): &Placed<'_>) -> Query<'q> {
    let some = |text: Option<&str>| text.map(ToOwned::to_owned);
    query
        .bind(event.organization_id.to_owned())
        .bind(place.sequence)
        .bind(event.at)
        .bind(event.event.to_owned())
        .bind(event.result.to_owned())
        .bind(event.actor.to_owned())
        .bind(some(event.actor_id))
        .bind(event.workspace_id.to_owned())
        .bind(some(event.user_id))
        .bind(some(event.agent_id))
        .bind(some(event.provider_id))
        .bind(event.token_id)
        .bind(event.auth_id)
        .bind(Json(event.scopes.to_vec()))
        .bind(some(event.error))
        .bind(Json(event.details.clone()))
        .bind(some(event.request_id))
        .bind(some(event.address))
        .bind(place.hash.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cipher::KeyRing, clock::Clock, model::actor::Act, store::db::Location};

    #[tokio::test]
    async fn events_whose_commit_was_not_confirmed_are_recorded_once() {
        let (folder, now) = (tempfile::TempDir::new().unwrap(), Clock::system().now());
        let location = Location::Sqlite(folder.path().join("test.db"));
        let keys = KeyRing::parse(&KeyRing::generate()).unwrap();
        let store = Store::open(&location, keys, now).await.unwrap();
        let tenant = Tenant { organization: "org".into(), workspace: "ws".into() };
        let event = RecordedEvent::new(Event::new(EventName::TokenHandedOut, &Act::service(), &tenant, now));
        let events = vec![event.fields(); 3];
        store.record_alone("org", events.clone().into_iter(), None).await.unwrap();
        let last = store.verify_audit("org").await.unwrap().unwrap().last;
        let attempts = [
            (Unconfirmed(last), 3),
            (Unconfirmed(ChainEnd { hash: [0; 32], ..last }), 6),
            (Unconfirmed(ChainEnd { sequence: 100, ..last }), 9),
        ];
        for (before, expected) in attempts {
            store.record_alone("org", events.clone().into_iter(), Some(&before)).await.unwrap();
            let verified = store.verify_audit("org").await.unwrap().unwrap();
            assert_eq!((verified.events, verified.broken), (expected, None));
        }
    }
}
