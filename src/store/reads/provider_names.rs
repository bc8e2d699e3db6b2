//! Which record a provider's name means, in memory.
//! Owns: the cache.
//! Must not know: what a provider is.

use moka::sync::Cache;
use uuid::Uuid;

use crate::{
    model::subject::Tenant,
    telemetry::metrics::{Cached, METRICS},
};

/// Names remembered at most.
const REMEMBERED_NAMES: u64 = 10_000;

/// A record never changes its name. So a remembered name is outdated only after the record was deleted, and all its
/// tokens with it: then nothing is found, and the name is looked up again.
#[derive(Clone)]
pub(in crate::store) struct ProviderNames(Cache<(Tenant, String), Uuid>);

impl ProviderNames {
    pub(in crate::store) fn new() -> Self {
        Self(Cache::new(REMEMBERED_NAMES))
    }

    pub(in crate::store) fn get(&self, name: &(Tenant, String)) -> Option<Uuid> {
        let known = self.0.get(name);
        METRICS.looked_up(Cached::ProviderNames, known.is_some());
        known
    }

    pub(in crate::store) fn insert(&self, name: (Tenant, String), provider: Uuid) {
        self.0.insert(name, provider);
    }
}
