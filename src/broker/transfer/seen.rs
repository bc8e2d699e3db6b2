//! The grants of one run, beside each other.
//! Owns: that two records of one run do not become two tokens of one grant, and what is said of a grant that stays out.
//! Must not know: what is stored.
//!
//! Grants are written in batches, and a dry run writes none: what another batch has brought in, only the run knows.

use std::collections::{HashMap, hash_map::Entry};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::imported_grants::{Brought, IncomingGrant};

/// A secret of one user at one provider: only its hash, and only while the run lasts.
type Mark = [u8; 32];

/// What a secret is for its grant.
#[derive(Clone, Copy)]
enum Part {
    Refresh = 1,
    /// The access token of a grant that has a refresh token.
    Access = 2,
    /// The access token of a grant that has nothing else.
    AccessOnly = 3,
}

/// What a run has met.
#[derive(Default)]
pub(super) struct Seen {
    /// Where each id is.
    ids: HashMap<String, String>,
    /// Where each secret is.
    secrets: HashMap<Mark, String>,
    /// Where the tokens come from that this run has made.
    tokens: HashMap<Uuid, String>,
    /// What a dry run would have made for each subject.
    rehearsed: HashMap<(Uuid, String, String), Vec<Rehearsed>>,
}

struct Rehearsed {
    token: Uuid,
    source_id: String,
    account_id: Option<String>,
}

impl Seen {
    /// Notes a grant.
    ///
    /// # Errors
    /// Why it is one that this run has met.
    pub(super) fn meet(&mut self, place: &str, incoming: &IncomingGrant) -> Result<(), String> {
        match self.ids.entry(incoming.remembered_as()) {
            Entry::Occupied(first) => {
                return Err(format!(
                    "{} has the same id. Two grants of one user at one provider need an `id` each",
                    first.get()
                ));
            }
            Entry::Vacant(free) => drop(free.insert(place.to_owned())),
        }
        let mark = |part: Part, secret: &SecretString| mark(incoming, part, secret);
        let access = &incoming.grant.access_token;
        // The same refresh token, or the same access token where one of both grants has no other.
        let (own, same) = match &incoming.grant.refresh_token {
            Some(refresh) => (
                vec![mark(Part::Refresh, refresh), mark(Part::Access, access)],
                vec![mark(Part::Refresh, refresh), mark(Part::AccessOnly, access)],
            ),
            None => {
                let only = mark(Part::AccessOnly, access);
                (vec![only], vec![only, mark(Part::Access, access)])
            }
        };
        if let Some(first) = same.iter().flatten().find_map(|mark| self.secrets.get(mark)) {
            return Err(format!("already held: {first} is the same grant of the same user"));
        }
        for mark in own.into_iter().flatten() {
            self.secrets.entry(mark).or_insert_with(|| place.to_owned());
        }
        Ok(())
    }

    /// What would become of a grant, if a dry run had written what it would have taken before.
    pub(super) fn rehearse(&mut self, incoming: &IncomingGrant, brought: Brought) -> Brought {
        let Brought::In(token) = brought else { return brought };
        let subject = &incoming.wanted.subject;
        let of_subject = (incoming.wanted.provider, subject.user_id.clone(), subject.agent_id.clone());
        let rehearsed = self.rehearsed.entry(of_subject).or_default();
        if let Some(first) = rehearsed.iter().find(|one| incoming.may_be(&one.source_id, one.account_id.as_deref())) {
            return Brought::Occupied(first.token);
        }
        let (source_id, account_id) = (incoming.source_id.clone(), incoming.grant.account_id.clone());
        rehearsed.push(Rehearsed { token, source_id, account_id });
        brought
    }

    /// This run has made a token of the grant at `place`.
    pub(super) fn brought_in(&mut self, token: Uuid, place: String) {
        self.tokens.insert(token, place);
    }

    /// Why a grant stays out; `None` if it is in. Nothing of the grant is repeated, not even its user: any value may be a
    /// secret that is in the wrong place. Its provider is here, so it is named.
    pub(super) fn why_not(&self, incoming: &IncomingGrant, brought: Brought) -> Option<String> {
        let provider_id = &incoming.provider_id;
        let named = |token: Uuid| self.tokens.get(&token).cloned().unwrap_or_else(|| format!("token {token}"));
        match brought {
            Brought::In(_) | Brought::Before => None,
            Brought::Changed(token) => Some(format!(
                "a grant with this id was brought in before and has other tokens. It was not refreshed since and is kept ({}). \
                 If this is another grant, it needs another `id`",
                named(token)
            )),
            Brought::Held(token) => {
                Some(format!("already held: its user has this grant at {provider_id} ({})", named(token)))
            }
            Brought::Occupied(token) => {
                let account = match incoming.grant.account_id {
                    Some(_) => "of this account, or of an account that is not known,",
                    None => "of what may be the same account (name the account_id if it is another one)",
                };
                Some(format!(
                    "its user has a token {account} at {provider_id} already ({}), which is kept",
                    named(token)
                ))
            }
            Brought::Refused => Some("the database does not store one of its values; is an id very long?".into()),
        }
    }
}

/// `None`: there is no such token.
fn mark(incoming: &IncomingGrant, part: Part, secret: &SecretString) -> Option<Mark> {
    let secret = Some(secret.expose_secret()).filter(|secret| !secret.is_empty())?;
    let user_id = &incoming.wanted.subject.user_id;
    let mut hash = Sha256::new();
    hash.update([part as u8]);
    hash.update(incoming.wanted.provider);
    hash.update((user_id.len() as u64).to_be_bytes());
    hash.update(user_id);
    hash.update(secret);
    Some(hash.finalize().into())
}
