//! Bringing in providers and grants, each of them once.
//! Owns: which provider a grant belongs to, what is not taken and why, and the order of the writes.
//! Must not know: the format the records come in.
//!
//! A run that is killed is repeated from the start: what it has brought in is recognized by its id and skipped. Grants are
//! written in batches, each with its ids and its audit events in one transaction.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::rules::{check, usable_grant, with_response};
use crate::{
    broker::{
        context::Broker,
        error::BrokerError,
        providers::{
            create::{define, store},
            draft::ProviderDraft,
            list,
        },
    },
    model::{
        actor::Act,
        audit::EventName,
        grant::GrantRequest,
        moved_grant::MovedGrant,
        options::ProviderOptions,
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

/// What an import meets in its source.
pub enum Record {
    /// A provider.
    Provider(Box<MovedProvider>),
    /// A grant.
    Grant(Box<MovedGrant>),
    /// A provider that cannot be created from what is known of it, and why. If it is here, its grants are taken.
    UnlessHere {
        /// Its id here.
        provider_id: String,
        /// Why it cannot be created, and what to do.
        why: String,
    },
    /// Something that cannot be brought here, and why. No secret.
    Unusable(String),
}

/// A provider that comes from elsewhere.
#[derive(Debug, Default)]
pub struct MovedProvider {
    /// What is known of it.
    pub draft: ProviderDraft,
    /// What another installation of this program knows beyond a draft.
    pub restored: Option<Restored>,
}

/// What a record of a provider holds beyond a draft.
#[derive(Debug, Default)]
pub struct Restored {
    /// Its options, in place of those that the catalogue would give it.
    pub options: ProviderOptions,
    /// The MCP server it was discovered from.
    pub mcp_server_url: Option<String>,
    /// True when the client was registered by the program itself.
    pub is_dynamic_client: bool,
}

/// What was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// Where it is in its source.
    pub place: String,
    /// Why, in a sentence. No secret.
    pub why: String,
}

/// What an import has done so far; with a dry run, what it would have done.
#[derive(Clone, Debug, Default)]
pub struct ImportReport {
    /// Providers that were created.
    pub providers_created: Vec<String>,
    /// Providers that were here, and are as they were.
    pub providers_kept: Vec<String>,
    /// Grants that were taken and are refreshed before anybody gets them.
    pub taken: u64,
    /// Grants without a refresh token, which were taken as they are.
    pub as_they_are: u64,
    /// Of these, how many say nothing of when they expire.
    pub without_expiry: u64,
    /// Grants that an earlier run has taken.
    pub before: u64,
    /// What was not taken.
    pub not_taken: Vec<NotTaken>,
}

impl ImportReport {
    /// How many records were looked at.
    #[must_use]
    pub fn looked_at(&self) -> u64 {
        let providers = self.providers_created.len() + self.providers_kept.len() + self.not_taken.len();
        self.taken + self.as_they_are + self.before + providers as u64
    }
}

/// The provider that grants are brought in for.
#[derive(Clone)]
enum Known {
    Here(Box<Provider>),
    /// A dry run would have created it.
    Would(Box<Provider>),
    Refused(String),
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
    /// Where each id of this run is.
    seen: HashMap<String, String>,
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
            seen: HashMap::new(),
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

    /// Writes what is left, and says what was done.
    ///
    /// # Errors
    /// [`BrokerError`] when it cannot be written.
    pub async fn finish(mut self) -> Result<ImportReport, BrokerError> {
        self.write().await?;
        Ok(self.report)
    }

    fn refuse(&mut self, place: String, why: String) {
        self.report.not_taken.push(NotTaken { place, why });
    }

    async fn provider(&mut self, place: String, moved: MovedProvider) -> Result<(), BrokerError> {
        let provider_id = moved.draft.provider_id.clone().unwrap_or_default();
        let known = match list::find(&self.broker, &self.tenant, &provider_id).await? {
            Some(here) => self.kept(here, &moved.draft),
            None => self.created(moved).await?,
        };
        if let Known::Refused(why) = &known {
            self.refuse(place, format!("provider {provider_id}: {why}"));
        }
        self.providers.insert(provider_id, known);
        Ok(())
    }

    /// A provider that has to be here.
    async fn needed(&mut self, place: String, provider_id: String, why: String) -> Result<(), BrokerError> {
        let known = match list::find(&self.broker, &self.tenant, &provider_id).await? {
            Some(here) => self.kept(here, &ProviderDraft::default()),
            None => {
                self.refuse(place, format!("provider {provider_id}: {why}"));
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
            Some(client_id) if *client_id != here.client.id => Known::Refused(format!(
                "the workspace has a provider of that id with another client ({}); the refresh tokens belong to the \
                 client {client_id}. Bring it in under another id, or remove the provider that is here",
                here.client.id
            )),
            _ => {
                self.report.providers_kept.push(here.provider_id.clone());
                Known::Here(Box::new(here))
            }
        }
    }

    async fn created(&mut self, moved: MovedProvider) -> Result<Known, BrokerError> {
        let event = match moved.draft.issuer {
            Some(_) => EventName::ProviderDiscovered,
            None => EventName::ProviderCreated,
        };
        let mut provider = match define(&self.broker, self.tenant.clone(), moved.draft).await {
            Ok(provider) => provider,
            Err(error @ (BrokerError::Faults(_) | BrokerError::Discovery { .. })) => {
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
            Known::Refused(why) => return Ok(Err(format!("its provider {} was not taken: {why}", grant.provider_id))),
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
        match self.seen.entry(source_id.clone()) {
            Entry::Occupied(first) => Ok(Err(format!(
                "{} has the same id. Two grants of one user at one provider need an `id` each",
                first.get()
            ))),
            Entry::Vacant(free) => {
                free.insert(place.to_owned());
                let provider_id = provider.provider_id;
                Ok(Ok(IncomingGrant { source_id, provider_id, wanted, grant: usable, agents }))
            }
        }
    }

    async fn known(&mut self, provider_id: &str) -> Result<Known, BrokerError> {
        if let Some(known) = self.providers.get(provider_id) {
            return Ok(known.clone());
        }
        let known = match list::find(&self.broker, &self.tenant, provider_id).await? {
            Some(here) => Known::Here(Box::new(here)),
            None => Known::Refused(format!(
                "there is no provider of that id here; add it first with `agent-auth provider add {provider_id}`"
            )),
        };
        self.providers.insert(provider_id.to_owned(), known.clone());
        Ok(known)
    }

    /// Writes the grants that wait.
    async fn write(&mut self) -> Result<(), BrokerError> {
        let waiting = std::mem::take(&mut self.waiting);
        let (places, incoming): (Vec<String>, Vec<IncomingGrant>) =
            waiting.into_iter().map(|Waiting { place, incoming }| (place, incoming)).unzip();
        let brought = self.brought(&incoming).await?;
        for ((place, incoming), brought) in places.into_iter().zip(&incoming).zip(brought) {
            match brought {
                Brought::Before => self.report.before += 1,
                Brought::In if incoming.grant.refresh_token.is_some() => self.report.taken += 1,
                Brought::In => {
                    self.report.as_they_are += 1;
                    self.report.without_expiry += u64::from(incoming.grant.expires_at.is_none());
                }
                Brought::Occupied(token) => {
                    let (user_id, provider_id) = (&incoming.wanted.subject.user_id, &incoming.provider_id);
                    let account = match incoming.grant.account_id {
                        Some(_) => "of this account",
                        None => "of what may be the same account (name the account_id if it is another one)",
                    };
                    let why = format!(
                        "{user_id} has a token {account} at {provider_id} already ({token}), which was obtained here and \
                         is kept"
                    );
                    self.refuse(place, why);
                }
            }
        }
        Ok(())
    }

    async fn brought(&self, incoming: &[IncomingGrant]) -> Result<Vec<Brought>, BrokerError> {
        let is_new = |provider_id: &str| matches!(self.providers.get(provider_id), Some(Known::Would(_)));
        // A provider that is not here yet has no grants, so all of these would be taken.
        let (_, stored): (Vec<_>, Vec<_>) = incoming.iter().cloned().partition(|one| is_new(&one.provider_id));
        let mut stored = if stored.is_empty() { Vec::new() } else { self.brought_here(&stored).await? }.into_iter();
        let brought =
            incoming.iter().map(|one| if is_new(&one.provider_id) { Some(Brought::In) } else { stored.next() });
        brought.collect::<Option<_>>().ok_or_else(|| BrokerError::Internal("a grant without a result".into()))
    }

    async fn brought_here(&self, incoming: &[IncomingGrant]) -> Result<Vec<Brought>, BrokerError> {
        let mut attempts = 1;
        loop {
            let now = self.broker.clock.now();
            match self.broker.store.bring_in(&self.tenant, incoming, self.dry_run, &self.act, now).await {
                Err(StoreError::Conflict) if attempts < ATTEMPTS => attempts += 1,
                brought => return Ok(brought?),
            }
        }
    }
}
