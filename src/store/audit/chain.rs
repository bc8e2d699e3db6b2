//! The chain of an organization's audit events: what each hash covers.
//! Owns: the canonical encoding of an event and of the chain's ends. It never changes; a new encoding has a new version.
//! Must not know: how events are stored or read.
//!
//! The hashes are HMAC-SHA-256 under a random key of the organization. The key is stored sealed under the encryption
//! keys, so an attacker who writes to the database but has no encryption key cannot make a chain that verifies, and
//! changing the encryption keys seals one row again instead of invalidating the chain.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::{cipher::CipherError, model::audit::EventFields};

const EVENT: &str = "agent-auth/audit-event/1";
/// More than what is hashed of nearly every event.
const EVENT_BYTES: usize = 1024;
const ENDS: &str = "agent-auth/audit-ends/1";
/// The hash of an event.
pub type Hash = [u8; 32];

/// The hash before the first event.
pub(super) const NO_HASH: Hash = [0; 32];

/// One end of a chain: the number of an event, and its hash. The number 0 is before the first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// The event's number.
    pub sequence: i64,
    /// Its hash.
    pub hash: Hash,
}

impl ChainEnd {
    pub(super) fn before_the_first() -> Self {
        Self { sequence: 0, hash: NO_HASH }
    }
}

/// An event, and where it is in the chain.
pub(super) type Placed<'e> = (EventFields<'e>, ChainEnd);

/// The key of an organization's chain.
pub(super) struct ChainKey(Hmac<Sha256>);

impl ChainKey {
    pub(super) fn new(key: &SecretString) -> Result<Self, CipherError> {
        Hmac::new_from_slice(key.expose_secret().as_bytes()).map(Self).map_err(|_| CipherError::Malformed)
    }

    /// The hash of an event with this number, which follows an event with the hash `before`.
    pub(super) fn hash(&self, before: &Hash, sequence: i64, event: &EventFields<'_>) -> Hash {
        // By name, so that a column that is added is not forgotten here.
        let EventFields {
            organization_id,
            at,
            event: name,
            result,
            actor,
            actor_id,
            workspace_id,
            user_id,
            agent_id,
            provider_id,
            token_id,
            auth_id,
            scopes,
            error,
            details,
            request_id,
            address,
        } = event;
        let mut fields = Fields(Vec::with_capacity(EVENT_BYTES));
        fields.text(EVENT);
        fields.bytes(before);
        fields.text(organization_id);
        fields.number(sequence);
        fields.number(at.timestamp_micros());
        for text in [name, result, actor] {
            fields.text(text);
        }
        fields.optional(actor_id.map(str::as_bytes));
        fields.text(workspace_id);
        for text in [user_id, agent_id, provider_id] {
            fields.optional(text.map(str::as_bytes));
        }
        for id in [token_id, auth_id] {
            fields.optional(id.as_ref().map(|id| &id.as_bytes()[..]));
        }
        fields.count(scopes.len());
        for scope in *scopes {
            fields.text(scope);
        }
        fields.optional(error.map(str::as_bytes));
        fields.count(details.len());
        for (name, value) in *details {
            fields.text(name);
            fields.text(value);
        }
        for text in [request_id, address] {
            fields.optional(text.map(str::as_bytes));
        }
        self.code(&fields)
    }

    /// Where an event is that follows `last`.
    pub(super) fn next(&self, last: &ChainEnd, event: &EventFields<'_>) -> ChainEnd {
        let sequence = last.sequence + 1;
        ChainEnd { sequence, hash: self.hash(&last.hash, sequence, event) }
    }

    /// The code over both ends of a chain.
    pub(super) fn mac(&self, organization: &str, last: &ChainEnd, pruned: &ChainEnd) -> Hash {
        self.code(&ends(organization, last, pruned))
    }

    /// True when `mac` is the code over both ends.
    pub(super) fn is_mac(&self, organization: &str, last: &ChainEnd, pruned: &ChainEnd, mac: &[u8]) -> bool {
        let mut code = self.0.clone();
        code.update(&ends(organization, last, pruned).0);
        code.verify_slice(mac).is_ok()
    }

    fn code(&self, fields: &Fields) -> Hash {
        let mut code = self.0.clone();
        code.update(&fields.0);
        code.finalize().into_bytes().into()
    }
}

fn ends(organization: &str, last: &ChainEnd, pruned: &ChainEnd) -> Fields {
    let mut fields = Fields(Vec::new());
    fields.text(ENDS);
    fields.text(organization);
    for end in [last, pruned] {
        fields.number(end.sequence);
        fields.bytes(&end.hash);
    }
    fields
}

/// Each field carries its length, and an optional one whether it is there, so that no two events give the same bytes. In
/// one piece, as so many small ones would take longer than the hash.
struct Fields(Vec<u8>);

impl Fields {
    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&(count as u64).to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.0.push(u8::from(bytes.is_some()));
        if let Some(bytes) = bytes {
            self.bytes(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use sqlx::types::Json;
    use uuid::Uuid;

    use super::*;
    use crate::model::audit::RecordedEvent;

    fn event() -> RecordedEvent {
        RecordedEvent {
            organization_id: "org".into(),
            sequence: 7,
            at: DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap(),
            event: "token.deleted".into(),
            result: "ok".into(),
            actor: "api_key".into(),
            actor_id: Some("key".into()),
            workspace_id: "ws".into(),
            user_id: Some("alice".into()),
            agent_id: None,
            provider_id: Some("acme".into()),
            token_id: Some(Uuid::from_u128(1)),
            auth_id: None,
            scopes: Json(vec!["a".into(), "b".into()]),
            error: None,
            details: Json(BTreeMap::from([("n".to_owned(), "1".to_owned())])),
            request_id: None,
            address: Some("192.0.2.1".into()),
            hash: Vec::new(),
        }
    }

    fn hash(key: &ChainKey, before: &Hash, event: &RecordedEvent) -> Hash {
        key.hash(before, event.sequence, &event.fields())
    }

    fn key(text: &str) -> ChainKey {
        ChainKey::new(&SecretString::from(text)).unwrap()
    }

    #[test]
    fn every_change_of_an_event_changes_its_hash() {
        let text = |text: &str| Some(text.to_owned());
        let changed = [
            RecordedEvent { organization_id: "orh".into(), ..event() },
            RecordedEvent { sequence: 8, ..event() },
            RecordedEvent { at: DateTime::from_timestamp_micros(1_700_000_000_000_002).unwrap(), ..event() },
            RecordedEvent { event: "token.revoked".into(), ..event() },
            RecordedEvent { result: "failed".into(), ..event() },
            RecordedEvent { actor: "service".into(), ..event() },
            RecordedEvent { actor_id: None, ..event() },
            RecordedEvent { workspace_id: "wt".into(), ..event() },
            RecordedEvent { user_id: text("bob"), ..event() },
            RecordedEvent { user_id: None, agent_id: text("alice"), ..event() },
            RecordedEvent { provider_id: None, ..event() },
            RecordedEvent { token_id: None, auth_id: Some(Uuid::from_u128(1)), ..event() },
            RecordedEvent { scopes: Json(vec!["ab".into()]), ..event() },
            RecordedEvent { scopes: Json(vec!["a".into(), "b".into(), String::new()]), ..event() },
            RecordedEvent { error: text(""), ..event() },
            RecordedEvent { details: Json(BTreeMap::from([("n1".to_owned(), String::new())])), ..event() },
            RecordedEvent { request_id: text("192.0.2.1"), address: None, ..event() },
        ];
        let mut hashes: Vec<_> = changed.iter().map(|event| hash(&key("k"), &NO_HASH, event)).collect();
        hashes.push(hash(&key("k"), &NO_HASH, &event()));
        hashes.push(hash(&key("k"), &[1; 32], &event()));
        hashes.push(hash(&key("other"), &NO_HASH, &event()));
        let all = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all);
    }

    #[test]
    fn the_encoding_of_an_event_stays_as_it_is() {
        let hash = hex::encode(hash(&key("k"), &NO_HASH, &event()));
        assert_eq!(hash, "27b285bf63b184717774962b7ede05d4a1f72ff61d6a231a91395ed7f5ac2863");
    }

    #[test]
    fn the_code_is_bound_to_both_ends_and_the_organization() {
        let end = |sequence| ChainEnd { sequence, hash: [3; 32] };
        let mac = key("k").mac("org", &end(9), &end(2));
        assert!(key("k").is_mac("org", &end(9), &end(2), &mac));
        assert!(!key("k").is_mac("org", &end(8), &end(2), &mac));
        assert!(!key("k").is_mac("org", &end(9), &end(3), &mac));
        assert!(!key("k").is_mac("orh", &end(9), &end(2), &mac));
        assert!(!key("other").is_mac("org", &end(9), &end(2), &mac));
    }
}
