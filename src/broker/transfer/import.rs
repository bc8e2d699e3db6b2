//! Bringing in providers and grants, each of them once.
//! Owns: which provider a grant belongs to, what is not taken and why, and the order of the writes.
//! Must not know: the format the records come in.
//!
//! A run that is killed is repeated from the start: what it has brought in is recognized by its id and skipped. Grants are
//! written in batches, each with its ids and its audit events in one transaction.

use std::{collections::HashMap, sync::Arc};

use super::{
    records::{ImportReport, MovedProvider, NotTaken, Record, Restored},
    rules::{check, check_restored, usable_grant, with_response},
    seen::Seen,
};
use uuid::Uuid;

use crate::{
    broker::{
        context::Broker,
        error::BrokerError,
        providers::{
            create::{define, store},
            draft::ProviderDraft,
            list,
        },
        rules,
    },
    model::{
        actor::Act,
        grant::GrantRequest,
        moved_grant::MovedGrant,
        provider::Provider,
        subject::{Subject, Tenant},
    },
    store::{
        error::StoreError,
        imported_grants::{Brought, IncomingGrant},
    },
};

/// So many grants are written in one transaction.
const BATCH: usize = 100;
/// A batch that met another writer is tried so often.
const ATTEMPTS: usize = 3;

/// The provider that grants are brought in for.
#[derive(Clone)]
enum Known {
    Here(Box<Provider>),
    /// A dry run would have created it.
    Would(Box<Provider>),
    Refused(String),
    Nowhere,
}

/// A grant that is to be written.
struct Waiting {
    place: String,
    incoming: IncomingGrant,
}

/// A running import into one workspace.
pub struct Import {
    broker: Arc<Broker>,
    tenant: Tenant,
    dry_run: bool,
    act: Act,
    providers: HashMap<String, Known>,
    /// The grants of this run.
    seen: Seen,
    waiting: Vec<Waiting>,
    report: ImportReport,
}

impl Import {
    /// An import into this workspace. A dry run checks everything and changes nothing.
    #[must_use]
    pub fn new(broker: Arc<Broker>, tenant: Tenant, dry_run: bool, act: Act) -> Self {
        Self {
            broker,
            tenant,
            dry_run,
            act,
            providers: HashMap::new(),
            seen: Seen::default(),
            waiting: Vec::new(),
            report: ImportReport::default(),
        }
    }

    /// Takes the next record of the source; `place` says where it is there.
    ///
    /// # Errors
    /// [`BrokerError`] when nothing more can be written. A record that is not usable is not an error: it is in the report.
    pub async fn take(&mut self, place: String, record: Record) -> Result<(), BrokerError> {
        match record {
            Record::Provider(provider) => self.provider(place, *provider).await,
            Record::UnlessHere { provider_id, why } => self.needed(place, provider_id, why).await,
            Record::Grant(grant) => match self.admit(&place, *grant).await? {
                Ok(incoming) => {
                    self.waiting.push(Waiting { place, incoming });
                    if self.waiting.len() >= BATCH { self.write().await } else { Ok(()) }
                }
                Err(why) => {
                    self.refuse(place, why);
                    Ok(())
                }
            },
            Record::Unusable(why) => {
                self.refuse(place, why);
                Ok(())
            }
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn so_far(&self) -> &ImportReport {
        &self.report
    }

    fn refuse(&mut self, place: String, why: String) {
        self.report.not_taken.push(NotTaken { place, why });
    }

    async fn provider(&mut self, place: String, moved: MovedProvider) -> Result<(), BrokerError> {
        let provider_id = moved.draft.provider_id.clone().unwrap_or_default();
        let known = match self.here(&provider_id).await? {
            Some(here) => self.kept(here, &moved.draft),
            None => self.created(moved).await?,
        };
        if let Known::Refused(why) = &known {
            self.refuse(place, why.clone());
        }
        self.providers.insert(provider_id, known);
        Ok(())
    }

    /// A provider that has to be here.
    async fn needed(&mut self, place: String, provider_id: String, why: String) -> Result<(), BrokerError> {
        let known = match self.here(&provider_id).await? {
            Some(here) => self.kept(here, &ProviderDraft::default()),
            None => {
                self.refuse(place, why.clone());
                Known::Refused(why)
            }
        };
        self.providers.insert(provider_id, known);
        Ok(())
    }

    /// A provider that is here stays as it is. A refresh token belongs to the client that it was issued to (RFC 6749
    /// section 6), so grants of another client are of no use here.
    fn kept(&mut self, here: Provider, draft: &ProviderDraft) -> Known {
        match &draft.client_id {
            // Nothing of the draft is repeated: any of its values may be a secret that is in the wrong place.
            Some(client_id) if *client_id != here.client.id => Known::Refused(format!(
                "the workspace has the provider {} with another client ({}), and refresh tokens belong to the client that \
                 they were issued to. Bring it in under another id, or remove the provider that is here",
                here.provider_id, here.client.id
            )),
            _ => {
                self.report.providers_kept.push(here.provider_id.clone());
                Known::Here(Box::new(here))
            }
        }
    }

    async fn created(&mut self, moved: MovedProvider) -> Result<Known, BrokerError> {
        if let Some(Err(why)) = moved.restored.as_ref().map(check_restored) {
            return Ok(Known::Refused(why));
        }
        let event = moved.draft.creation();
        let mut provider = match define(&self.broker, self.tenant.clone(), moved.draft).await {
            Ok(provider) => provider,
            Err(BrokerError::Faults(faults)) => {
                let faults: Vec<_> =
                    faults.iter().map(|fault| format!("{}: {}", fault.field(), fault.message)).collect();
                return Ok(Known::Refused(faults.join("; ")));
            }
            Err(error @ BrokerError::Discovery { .. }) => {
                return Ok(Known::Refused(error.to_string().replace('\n', "; ")));
            }
            Err(error) => return Err(error),
        };
        if let Some(Restored { options, mcp_server_url, is_dynamic_client }) = moved.restored {
            provider.client.options = options;
            provider.mcp_server_url = mcp_server_url;
            provider.is_dynamic_client = is_dynamic_client;
        }
        let provider_id = provider.provider_id.clone();
        let known = if self.dry_run {
            Known::Would(Box::new(provider))
        } else {
            Known::Here(Box::new(store(&self.broker, provider, event, &self.act).await?))
        };
        self.report.providers_created.push(provider_id);
        Ok(known)
    }

    /// The grant as it is to be written, or why it is not taken.
    async fn admit(&mut self, place: &str, grant: MovedGrant) -> Result<Result<IncomingGrant, String>, BrokerError> {
        if let Err(why) = check(&grant) {
            return Ok(Err(why));
        }
        let provider = match self.known(&grant.provider_id).await? {
            Known::Here(provider) | Known::Would(provider) => provider,
            Known::Refused(why) => return Ok(Err(format!("its provider was not taken: {why}"))),
            Known::Nowhere => {
                let why = "there is no provider of its provider_id here; add it first with `agent-auth provider add`";
                return Ok(Err(why.into()));
            }
        };
        let grant = with_response(grant, &provider, &self.broker);
        let wanted = GrantRequest {
            provider: provider.id,
            subject: Subject {
                tenant: self.tenant.clone(),
                user_id: grant.user_id.clone(),
                agent_id: grant.agent_id.clone(),
            },
            ls_user_id: grant.ls_user_id.clone(),
            scopes: grant.scopes.clone(),
            is_default: grant.is_default,
            force_new: true,
        };
        let (source_id, agents) = (grant.source_id.clone(), grant.agents.clone());
        let usable = match usable_grant(grant, &provider, self.broker.clock.now()) {
            Ok(usable) => usable,
            Err(why) => return Ok(Err(why)),
        };
        let incoming = IncomingGrant { source_id, provider_id: provider.provider_id, wanted, grant: usable, agents };
        Ok(self.seen.meet(place, &incoming).map(|()| incoming))
    }

    /// The provider of this id. What is no id is not looked up: PostgreSQL refuses a statement with a NUL character.
    async fn here(&self, provider_id: &str) -> Result<Option<Provider>, BrokerError> {
        match rules::provider_id(provider_id) {
            Ok(()) => list::find(&self.broker, &self.tenant, provider_id).await,
            Err(_) => Ok(None),
        }
    }

    async fn known(&mut self, provider_id: &str) -> Result<Known, BrokerError> {
        if let Some(known) = self.providers.get(provider_id) {
            return Ok(known.clone());
        }
        let known = match self.here(provider_id).await? {
            Some(here) => Known::Here(Box::new(here)),
            None => Known::Nowhere,
        };
        self.providers.insert(provider_id.to_owned(), known.clone());
        Ok(known)
    }

    /// Writes the grants that wait for their batch.
    ///
    /// # Errors
    /// [`BrokerError`] when they cannot be written: then another run has to bring them in.
    pub async fn write(&mut self) -> Result<(), BrokerError> {
        let waiting = std::mem::take(&mut self.waiting);
        let (places, incoming): (Vec<String>, Vec<IncomingGrant>) =
            waiting.into_iter().map(|Waiting { place, incoming }| (place, incoming)).unzip();
        let brought = self.brought(&incoming).await?;
        for ((place, incoming), brought) in places.into_iter().zip(&incoming).zip(brought) {
            let brought = if self.dry_run { self.seen.rehearse(incoming, brought) } else { brought };
            match self.seen.why_not(incoming, brought) {
                Some(why) => self.refuse(place, why),
                None => self.count(place, incoming, brought),
            }
        }
        Ok(())
    }

    fn count(&mut self, place: String, incoming: &IncomingGrant, brought: Brought) {
        let Brought::In(token) = brought else {
            self.report.before += 1;
            return;
        };
        self.seen.brought_in(token, place);
        if incoming.grant.refresh_token.is_some() {
            self.report.taken += 1;
        } else {
            self.report.as_they_are += 1;
            self.report.without_expiry += u64::from(incoming.grant.expires_at.is_none());
        }
    }

    async fn brought(&self, incoming: &[IncomingGrant]) -> Result<Vec<Brought>, BrokerError> {
        let is_new = |provider_id: &str| matches!(self.providers.get(provider_id), Some(Known::Would(_)));
        let would_be_in = || Brought::In(Uuid::now_v7());
        // A provider that is not here yet has no grants, so nothing that is stored keeps these out.
        let (_, stored): (Vec<_>, Vec<_>) = incoming.iter().cloned().partition(|one| is_new(&one.provider_id));
        let mut stored = if stored.is_empty() { Vec::new() } else { self.brought_here(&stored).await? }.into_iter();
        let brought =
            incoming.iter().map(|one| if is_new(&one.provider_id) { Some(would_be_in()) } else { stored.next() });
        brought.collect::<Option<_>>().ok_or_else(|| BrokerError::Internal("a grant without a result".into()))
    }

    async fn brought_here(&self, incoming: &[IncomingGrant]) -> Result<Vec<Brought>, BrokerError> {
        match self.batch(incoming).await {
            Err(error) if error.is_about_values() => {}
            brought => return Ok(brought?),
        }
        // One of them is what the database does not store: the others are brought in without it.
        let mut brought = Vec::new();
        for one in incoming {
            match self.batch(std::slice::from_ref(one)).await {
                Err(error) if error.is_about_values() => brought.push(Brought::Refused),
                alone => brought.extend(alone?),
            }
        }
        Ok(brought)
    }

    async fn batch(&self, incoming: &[IncomingGrant]) -> Result<Vec<Brought>, StoreError> {
        let mut attempts = 1;
        loop {
            let now = self.broker.clock.now();
            match self.broker.store.bring_in(&self.tenant, incoming, self.dry_run, &self.act, now).await {
                Err(StoreError::Conflict) if attempts < ATTEMPTS => attempts += 1,
                brought => return brought,
            }
        }
    }
}
