//! Tokens in memory, as they are stored: sealed.
//! Owns: how many are remembered and for how long, and that none is returned that was changed since it was read.
//! Must not know: how a token is opened, or which one is preferred.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use uuid::Uuid;

use super::{generations::Generations, stored_token::StoredToken};
use crate::{
    model::subject::Subject,
    store::token_changes::{Stamp, TokenChanges},
};

/// Remembered at most, by estimate.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an entry and a token take, besides their texts. So there are less than 70,000 entries.
const ENTRY_BYTES: usize = 600;
const TOKEN_BYTES: usize = 400;
/// A lost report of a change, which cannot happen, would count for so long.
const REPORTED_FOR: Duration = Duration::from_secs(30);
/// The command line writes to the same SQLite file and reports nothing: so late a server learns of it.
const UNREPORTED_FOR: Duration = Duration::from_secs(1);

/// The remembered tokens of a process, cheap to clone.
#[derive(Clone)]
pub(in crate::store) struct RememberedTokens {
    changes: TokenChanges,
    hasher: RandomState,
    remembered_for: Duration,
    /// By the hash of whose they are, so that a look-up allocates nothing. An entry is compared in full.
    entries: Arc<Generations<Arc<Entry>>>,
}

/// All usable tokens of a subject at a provider.
struct Entry {
    subject: Subject,
    provider_id: String,
    provider: Uuid,
    read_at: Instant,
    stamp: Stamp,
    tokens: Arc<[StoredToken]>,
}

/// A read that is about to begin, and whose result is to be remembered.
pub(in crate::store) struct Reading {
    begun: Instant,
    stamp: Stamp,
}

impl RememberedTokens {
    /// Nothing is remembered before `changes` are counted. `is_reported`: also those that other processes make.
    pub(in crate::store) fn new(changes: TokenChanges, is_reported: bool) -> Self {
        let remembered_for = if is_reported { REPORTED_FOR } else { UNREPORTED_FOR };
        let entries = Arc::new(Generations::new(BYTES_MAX, remembered_for));
        Self { changes, hasher: RandomState::new(), remembered_for, entries }
    }

    /// The record of the provider and the tokens of the subject, if they are remembered and were not changed.
    pub(in crate::store) fn get(&self, subject: &Subject, provider_id: &str) -> Option<(Uuid, Arc<[StoredToken]>)> {
        let entry = self.entries.get(self.key(subject, provider_id))?;
        let now = Instant::now();
        let is_good = now.saturating_duration_since(entry.read_at) < self.remembered_for
            && self.changes.is_current(entry.stamp, now)
            && entry.subject == *subject
            && entry.provider_id == provider_id;
        is_good.then(|| (entry.provider, Arc::clone(&entry.tokens)))
    }

    /// To be called before a read begins. `None`: its result cannot be remembered.
    pub(in crate::store) fn reading(&self, subject: &Subject, provider: Uuid) -> Option<Reading> {
        let begun = Instant::now();
        let stamp = self.changes.stamp(provider, &subject.user_id, begun)?;
        Some(Reading { begun, stamp })
    }

    /// Remembers what was read, unless it is nothing: the first token of a subject must be found at once.
    pub(in crate::store) fn keep(
        &self,
        reading: &Reading,
        subject: &Subject,
        (provider, provider_id): (Uuid, &str),
        tokens: &Arc<[StoredToken]>,
    ) {
        if tokens.is_empty() || !self.changes.is_current(reading.stamp, reading.begun) {
            return;
        }
        let entry = Entry {
            subject: subject.clone(),
            provider_id: provider_id.to_owned(),
            provider,
            read_at: reading.begun,
            stamp: reading.stamp,
            tokens: Arc::clone(tokens),
        };
        let bytes = entry.bytes();
        self.entries.keep(self.key(subject, provider_id), Arc::new(entry), bytes, reading.begun);
    }

    fn key(&self, subject: &Subject, provider_id: &str) -> u64 {
        self.hasher.hash_one((subject, provider_id))
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        let Subject { tenant, user_id, agent_id } = &self.subject;
        let texts = [&tenant.organization, &tenant.workspace, user_id, agent_id, &self.provider_id];
        let tokens: usize = self.tokens.iter().map(token_bytes).sum();
        ENTRY_BYTES + texts.iter().map(|text| text.len()).sum::<usize>() + tokens
    }
}

fn token_bytes(token: &StoredToken) -> usize {
    let scopes: usize = token.scopes.iter().map(|scope| size_of::<String>() + scope.len()).sum();
    let metadata: usize = token.metadata.iter().map(|(name, value)| name.len() + value_bytes(value)).sum();
    let label = token.account_label.as_ref().map_or(0, String::len);
    TOKEN_BYTES + token.access_token.len() + token.agent_id.len() + label + scopes + metadata
}

fn value_bytes(value: &Value) -> usize {
    let inside = match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(value_bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + value_bytes(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>() + inside
}
