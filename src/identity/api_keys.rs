//! API keys: creating, listing and revoking them, and looking up the record of a key.
//! Owns: the format of a key, its digest, and the cache of look-ups.
//! Must not know: routes or headers.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    model::{
        actor::Act,
        api_key::{ApiKey, Kind, NewApiKey, Role},
        consent::Consent,
        key_limits::KeyLimits,
        subject::Tenant,
    },
    store::{error::StoreError, handle::Store, joined_reads::JoinedReads},
    telemetry::metrics::{Cached, METRICS},
};

/// The prefix of generated keys, which secret scanners can detect.
const KEY_PREFIX: &str = "aauth_";
/// How much of a key is stored in clear, so that people can recognize it.
const VISIBLE_CHARACTERS: usize = 10;
/// The largest number of cached keys.
const REMEMBERED_KEYS: u64 = 10_000;
/// The user of keys that the server creates on its own.
const FIRST_USER: &str = "admin";

/// True for a text that can only be a key of this server. (A bootstrap key can be any text.)
#[must_use]
pub fn is_generated(key: &str) -> bool {
    key.starts_with(KEY_PREFIX)
}

/// Looks up keys, with a short-lived cache.
#[derive(Clone)]
pub struct ApiKeys {
    store: Store,
    remembered: Option<Cache<[u8; 32], Arc<ApiKey>>>,
    /// Those past the cache.
    reads: Arc<JoinedReads<Uuid, Result<Option<ApiKey>, StoreError>>>,
}

impl ApiKeys {
    /// If `remember` is zero, every call reads the database.
    #[must_use]
    pub fn new(store: Store, remember: Duration) -> Self {
        let remembered = (!remember.is_zero())
            .then(|| Cache::builder().max_capacity(REMEMBERED_KEYS).time_to_live(remember).build());
        Self { store, remembered, reads: Arc::default() }
    }

    /// Whether a key is still valid, according to the database and not to the cache. Callers that ask at the same moment
    /// for the same key share a read: each gets the result of one that began after it asked.
    pub async fn is_still_valid(&self, id: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let key = self.reads.get(id, || self.store.api_key_of_id(id)).await?;
        Ok(key.is_some_and(|key| key.is_valid(now)))
    }

    /// The record of a valid key.
    pub async fn look_up(&self, key: &str, now: DateTime<Utc>) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let digest = digest(key);
        let known = self.remembered.as_ref().and_then(|remembered| remembered.get(&digest));
        METRICS.looked_up(Cached::ApiKeys, known.is_some());
        if let Some(known) = known {
            return Ok(Some(known).filter(|key| key.is_valid(now)));
        }
        // Boxed, because it is rare: no waiter should carry the state of a query.
        let read = Box::pin(self.store.api_key(digest)).await?;
        let Some(key) = read.map(Arc::new) else { return Ok(None) };
        if let Some(remembered) = &self.remembered {
            remembered.insert(digest, Arc::clone(&key));
        }
        Ok(Some(key).filter(|key| key.is_valid(now)))
    }
}

/// A key to create.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its tenant.
    pub tenant: Tenant,
    /// Its name, for people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The user of a personal key; a key without one is a service key.
    pub user: Option<String>,
    /// What it is limited to; `None`: nothing.
    pub limits: Option<KeyLimits>,
    /// The least strict consent that its requests may have.
    pub consent: Option<Consent>,
    /// When it expires.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Generates a key of 256 random bits, and its record, which has only the digest.
fn generate(new: NewKey, now: DateTime<Utc>) -> (SecretString, NewApiKey) {
    let mut random = Zeroizing::new([0_u8; 32]);
    rand::fill(&mut random[..]);
    let key = SecretString::from(format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(*random)));
    let record = record(&key, new, now);
    (key, record)
}

/// Creates a key and stores its record. The key itself is not stored.
pub async fn create(
    store: &Store,
    new: NewKey,
    act: &Act,
    now: DateTime<Utc>,
) -> Result<(SecretString, ApiKey), StoreError> {
    let (key, record) = generate(new, now);
    store.keep_api_key(&record, act).await?;
    Ok((key, record.key))
}

/// Every key of the database, newest first, for its operator.
pub async fn list(store: &Store) -> Result<Vec<ApiKey>, StoreError> {
    store.api_keys().await
}

/// The keys of a tenant, newest first.
pub async fn list_of(store: &Store, tenant: &Tenant) -> Result<Vec<ApiKey>, StoreError> {
    store.api_keys_of(tenant).await
}

/// Revokes a key of a tenant, and returns whether there was one to revoke. Servers may still accept it until their cached
/// record expires.
pub async fn revoke_of(
    store: &Store,
    tenant: &Tenant,
    id: Uuid,
    act: &Act,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    store.revoke_api_key_of(tenant, id, act, now).await
}

/// Revokes a key of any tenant, and returns whether there was one to revoke. Servers may still accept it until their cached record
/// expires.
pub async fn revoke(store: &Store, id: Uuid, act: &Act, now: DateTime<Utc>) -> Result<bool, StoreError> {
    store.revoke_api_key(id, act, now).await
}

/// Stores the configured admin key, if it is not stored yet.
pub async fn keep_configured(store: &Store, key: &SecretString, now: DateTime<Utc>) -> Result<(), StoreError> {
    let new = admin("bootstrap", store.home_tenant(now).await?);
    store.keep_api_key(&record(key, new, now), &Act::service()).await
}

/// A new admin key for a database without keys, which is not stored yet.
pub async fn first_key(store: &Store, now: DateTime<Utc>) -> Result<(SecretString, NewApiKey), StoreError> {
    Ok(generate(admin("first key", store.home_tenant(now).await?), now))
}

/// Stores the first key if there is no key at all, and returns whether it did.
pub async fn keep_first(store: &Store, first: &NewApiKey) -> Result<bool, StoreError> {
    store.keep_first_api_key(first, &Act::service()).await
}

fn admin(name: &str, tenant: Tenant) -> NewKey {
    NewKey {
        tenant,
        name: name.to_owned(),
        role: Role::Admin,
        user: Some(FIRST_USER.to_owned()),
        limits: None,
        consent: None,
        expires_at: None,
    }
}

fn record(key: &SecretString, new: NewKey, now: DateTime<Utc>) -> NewApiKey {
    NewApiKey {
        digest: digest(key.expose_secret()),
        key: ApiKey {
            id: Uuid::now_v7(),
            organization_id: new.tenant.organization,
            workspace_id: new.tenant.workspace,
            prefix: key.expose_secret().chars().take(VISIBLE_CHARACTERS).collect(),
            name: new.name,
            role: new.role,
            kind: if new.user.is_some() { Kind::Personal } else { Kind::Service },
            user_id: new.user,
            limits: new.limits,
            consent: new.consent,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
        },
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}
