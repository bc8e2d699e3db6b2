//! Taking providers and grants out.
//! Owns: that an export is recorded before anything leaves, and which grants are worth taking.
//! Must not know: the format, or how it is encrypted.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    broker::{
        audit::record, consent::client_credentials::credential_of, context::Broker, error::BrokerError, providers::list,
    },
    model::{
        actor::Act,
        audit::{Event, EventName},
        key_limits::Reach,
        moved_grant::MovedGrant,
        provider::Provider,
        subject::Tenant,
    },
};

/// So many grants are read at a time.
const PAGE: i64 = 500;

/// What leaves.
pub enum Exported {
    /// A provider, with its client secret.
    Provider(Box<Provider>),
    /// A grant.
    Grant(Box<MovedGrant>),
    /// Something whose secrets cannot be opened, and why.
    NotOpened(String),
}

/// A running export of one workspace: the providers first, then the grants.
pub struct Export {
    broker: Arc<Broker>,
    tenant: Tenant,
    provider_ids: VecDeque<String>,
    /// Providers whose tokens are obtained without a person: they are obtained again.
    without_person: HashSet<String>,
    grants: VecDeque<Exported>,
    after: Uuid,
}

impl Export {
    /// Records that everything is about to leave for these recipients, and begins.
    ///
    /// # Errors
    /// [`BrokerError::Audit`]: then nothing leaves.
    pub async fn begin(
        broker: Arc<Broker>,
        tenant: Tenant,
        recipients: &[String],
        act: &Act,
    ) -> Result<Self, BrokerError> {
        let providers = list::list(&broker, Reach::whole(&tenant)).await?;
        let grants = broker.store.count_living_grants(&tenant).await?;
        let event = Event::new(EventName::WorkspaceExported, act, &tenant, broker.clock.now());
        let event = event.with("providers", providers.len()).with("grants", grants);
        record(&broker, event.with("recipients", recipients.join(" "))).await?;
        let provider_ids = providers.into_iter().map(|provider| provider.provider_id).collect();
        Ok(Self {
            broker,
            tenant,
            provider_ids,
            without_person: HashSet::new(),
            grants: VecDeque::new(),
            after: Uuid::nil(),
        })
    }

    /// What leaves next; `None` at the end.
    ///
    /// # Errors
    /// [`BrokerError`] when the database cannot be used.
    pub async fn next(&mut self) -> Result<Option<Exported>, BrokerError> {
        while let Some(provider_id) = self.provider_ids.pop_front() {
            match list::find(&self.broker, &self.tenant, &provider_id).await {
                Ok(Some(provider)) => {
                    if credential_of(&provider).is_some() {
                        self.without_person.insert(provider_id);
                    }
                    return Ok(Some(Exported::Provider(Box::new(provider))));
                }
                // Deleted a moment ago.
                Ok(None) => {}
                Err(error @ BrokerError::NotOpened(_)) => {
                    return Ok(Some(Exported::NotOpened(format!("provider {provider_id}: {error}"))));
                }
                Err(error) => return Err(error),
            }
        }
        loop {
            if let Some(exported) = self.grants.pop_front() {
                return Ok(Some(exported));
            }
            let Some(page) = self.broker.store.living_grants_after(&self.tenant, self.after, PAGE).await? else {
                return Ok(None);
            };
            self.after = page.last;
            for grant in page.grants {
                match grant {
                    Ok(grant) if self.without_person.contains(&grant.provider_id) => {}
                    Ok(grant) => self.grants.push_back(Exported::Grant(Box::new(grant))),
                    Err(error) => self.grants.push_back(Exported::NotOpened(error.to_string())),
                }
            }
        }
    }
}
