//! Rotating the encryption keys: a key is added, promoted, and the old one retired when no value needs it.
//! Owns: which step is allowed when. Each is checked against the database and the running servers.
//! Must not know: what is printed, or how values are resealed.
//!
//! Replicas restart one after the other, so at any moment two orders of the keys are in use. Therefore every server must
//! have a key before any server seals with it, and no server may seal with a key any more when it is retired.

use std::{fs::File, sync::Arc};

use secrecy::SecretString;

use super::{
    audit::record_all,
    key_ring::{self, Kept, KeyRingError},
    open::{OpenError, open_store},
};
use crate::{
    cipher::{
        Algorithm,
        key_list::{KeyList, ListedKey},
    },
    clock::Clock,
    config::Settings,
    model::{
        actor,
        audit::{Event, EventName, EventResult},
    },
    store::{encryption_keys::Resealed, error::StoreError, handle::Store},
};

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// It would make values unreadable, or it makes no sense.
    #[error("{0}")]
    Refused(String),
    /// The settings or the keys cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key ring cannot be read or written.
    #[error(transparent)]
    KeyRing(#[from] KeyRingError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was done with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// It was appended to the list: it opens.
    Added(String),
    /// It was moved to the front: it seals.
    Promoted(String),
    /// It is no longer needed, and its record has ended.
    Retired(String),
}

/// What a rotation needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new key.
    Add,
    /// The newest key is to seal.
    Promote(String),
    /// The values are to be resealed, and the other keys removed from the list.
    Reseal,
    /// These keys have left the list, and are to be retired.
    Retire(Vec<String>),
}

/// A key ring with its database.
pub struct Rotation {
    /// The database, opened with the keys of the list.
    pub store: Arc<Store>,
    settings: Settings,
    clock: Clock,
    list: KeyList,
    kept: Kept,
    _lock: Option<File>,
}

impl Rotation {
    /// Opens the key ring of the settings, and its database. While this value lives, no other command changes the file.
    pub async fn open(settings: Settings, clock: Clock) -> Result<Self, RotationError> {
        let store = Arc::new(open_store(&settings, &clock).await?);
        let kept = key_ring::kept(&settings);
        let lock = match &kept {
            Kept::InFile(file) => Some(key_ring::lock_file(file)?),
            Kept::InSetting => None,
        };
        let list = key_ring::read(&settings, &clock).await?;
        Ok(Self { store, settings, clock, list, kept, _lock: lock })
    }

    /// Where the list is kept.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The list, as the setting is to be written.
    #[must_use]
    pub fn value(&self) -> SecretString {
        self.list.to_text()
    }

    /// The list with only the key that seals, as the setting is to be written.
    #[must_use]
    pub fn first_alone(&self) -> SecretString {
        self.list.keys().first().map(ListedKey::to_text).unwrap_or_default()
    }

    /// The key that seals.
    #[must_use]
    pub fn first(&self) -> &str {
        self.list.ids().next().unwrap_or_default()
    }

    /// Appends a new key: it opens, and nothing is sealed with it yet.
    pub async fn add(&mut self, algorithm: Algorithm) -> Result<Act, RotationError> {
        let key = key_ring::new_key(&self.settings, &self.clock, algorithm).await?;
        let act = Act::Added(key.id.clone());
        self.record(self.event(EventName::EncryptionKeyAdded, &key.id).await?).await?;
        self.list.append(key);
        self.finish(act)
    }

    /// Moves a key to the front, once every running server has it.
    pub async fn promote(&mut self, id: &str) -> Result<Act, RotationError> {
        if !self.list.has(id) {
            return Err(RotationError::Refused(format!(
                "ENCRYPTION_KEYS has no key `{id}`; `agent-auth keys add` adds a new one"
            )));
        }
        self.store.require_key_on_servers(id).await?;
        self.record(self.event(EventName::EncryptionKeyPromoted, id).await?).await?;
        self.list.move_to_front(id);
        self.finish(Act::Promoted(id.to_owned()))
    }

    /// Ends the record of a key that no stored value and no running server needs, and removes it from the list.
    pub async fn retire(&mut self, id: &str) -> Result<Act, RotationError> {
        let refused = |problem: String| Err(RotationError::Refused(problem));
        if self.first() == id {
            return refused(format!("key `{id}` seals; promote another key and reseal first"));
        }
        let servers = self.store.keys_of_servers().await?;
        let sealing = servers.iter().filter(|keys| keys.first().is_some_and(|first| first == id)).count();
        if sealing > 0 {
            return refused(format!(
                "{sealing} running server(s) still seal with key `{id}`; restart them with the new order of \
                 ENCRYPTION_KEYS. A server that was killed counts for one more minute"
            ));
        }
        let needed = self.store.sealed_by_key().await?.remove(id).unwrap_or_default();
        if needed > 0 {
            return refused(format!(
                "{needed} stored secrets still need key `{id}`; run `agent-auth keys reseal` first"
            ));
        }
        let (is_listed, event) = (self.list.has(id), self.event(EventName::EncryptionKeyRetired, id).await?);
        if !self.store.forget_key(id, is_listed, event).await? && !is_listed {
            return refused(format!("there is no key `{id}`"));
        }
        self.list.remove(id);
        self.finish(Act::Retired(id.to_owned()))
    }

    /// What comes before every stored secret is sealed with the first key.
    pub async fn begin_reseal(&self) -> Result<(), RotationError> {
        self.store.require_key_on_servers(self.first()).await?;
        self.record(self.event(EventName::EncryptionKeyResealBegun, self.first()).await?).await
    }

    /// What comes after it.
    pub async fn end_reseal(&self, done: &Resealed) -> Result<(), RotationError> {
        let event = self.event(EventName::EncryptionKeyResealed, self.first()).await?.with("values", done.resealed);
        let event = match done.unreadable_count {
            0 => event,
            unreadable => event.with("unreadable", unreadable).ended(EventResult::Failed, "unreadable_values"),
        };
        self.record(event).await
    }

    /// What is done with a key, as the audit log has it. The keys belong to no tenant, so it is in the first one of this
    /// database, as a start is.
    async fn event(&self, name: EventName, key_id: &str) -> Result<Event, RotationError> {
        let now = self.clock.now();
        let home = self.store.home_tenant(now).await?;
        Ok(Event::new(name, &actor::Act::command_line(), &home, now).with("key_id", key_id))
    }

    /// Records what changes nothing in the database, before it is done.
    async fn record(&self, event: Event) -> Result<(), RotationError> {
        Ok(record_all(&self.store, vec![event]).await?)
    }

    /// What the rotation needs next. The newest key is the one that was used last for the first time; one that was never
    /// used is newer.
    pub async fn next_step(&self) -> Result<Step, RotationError> {
        let used: Vec<String> = self.store.used_keys().await?.into_iter().map(|key| key.key_id).collect();
        let unlisted: Vec<String> = used.iter().filter(|id| !self.list.has(id)).cloned().collect();
        if !unlisted.is_empty() {
            return Ok(Step::Retire(unlisted));
        }
        if self.list.keys().len() < 2 {
            return Ok(Step::Add);
        }
        let newest = self.list.ids().max_by_key(|id| used.iter().position(|used| used == id).unwrap_or(usize::MAX));
        Ok(match newest {
            Some(newest) if newest != self.first() => Step::Promote(newest.to_owned()),
            _ => Step::Reseal,
        })
    }

    /// Every act ends here: the file is written, if the list is kept there.
    fn finish(&self, act: Act) -> Result<Act, RotationError> {
        if let Kept::InFile(file) = &self.kept {
            key_ring::write_file(file, &self.list)?;
        }
        Ok(act)
    }
}
