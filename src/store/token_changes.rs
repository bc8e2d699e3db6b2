//! Changes of tokens: from when on what a process has read of them is outdated, and whether it would learn of it.
//! Owns: the triggers that report each change on PostgreSQL, their channel, and the counts of changes.
//! Must not know: what is remembered of tokens.
//!
//! A change is counted in the bucket of its user and provider; a bucket of several users only makes them read once more
//! than necessary. What was read is outdated as soon as its bucket was counted since the read began.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The channel of the triggers.
pub(super) const CHANNEL: &str = "agent_auth_tokens";
/// For so long after a moment until which every change was reported, later ones are taken to be reported too.
pub(super) const TRUSTED_FOR: Duration = Duration::from_secs(2);
/// As many as two bytes can tell apart.
const BUCKETS: usize = 1 << 16;

/// Reports every change of what a hand-out depends on, in the transaction that makes it, whichever program does: also a
/// replica of an earlier version, and an operator. The payload is a bucket in hexadecimal digits. What leases, uses and
/// new encryption keys write is not reported. PostgreSQL only, so it is no migration.
///
/// Replicas of several versions run side by side, so the functions may only be changed such that earlier versions still
/// read what they send.
pub(super) const POSTGRES_TRIGGERS: &str = "
CREATE OR REPLACE FUNCTION agent_auth_report_token(provider uuid, user_id text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('agent_auth_tokens',
        left(encode(sha256(convert_to(provider::text || user_id, 'UTF8')), 'hex'), 4))
$$;
CREATE OR REPLACE FUNCTION agent_auth_token_changed() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM agent_auth_report_token(OLD.provider, OLD.user_id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM agent_auth_report_token(NEW.provider, NEW.user_id);
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION agent_auth_connection_changed() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM agent_auth_report_token(t.provider, t.user_id) FROM tokens t WHERE t.id = OLD.token;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM agent_auth_report_token(t.provider, t.user_id) FROM tokens t WHERE t.id = NEW.token;
    END IF;
    RETURN NULL;
END $$;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'tokens'::regclass AND tgname = 'tokens_changed') THEN
        CREATE TRIGGER tokens_changed
        AFTER INSERT OR DELETE OR UPDATE OF id, organization_id, workspace_id, provider, user_id, agent_id, account_label,
            scopes, metadata, is_default, state, expires_at, refresh_due_at, generation
        ON tokens FOR EACH ROW EXECUTE FUNCTION agent_auth_token_changed();
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = 'agent_connections'::regclass AND tgname = 'agent_connections_changed'
    ) THEN
        CREATE TRIGGER agent_connections_changed AFTER INSERT OR DELETE OR UPDATE ON agent_connections
        FOR EACH ROW EXECUTE FUNCTION agent_auth_connection_changed();
    END IF;
END $$;";

/// The changes that this process knows of, cheap to clone.
#[derive(Clone)]
pub(super) struct TokenChanges(Arc<Inner>);

struct Inner {
    /// Odd while changes are reported. A new value makes everything outdated that was read before.
    session: AtomicU64,
    /// In milliseconds since `start`. Beyond it, changes may not have been reported.
    trusted_until: AtomicU64,
    start: Instant,
    /// How many changes each bucket had. Not there: nothing is remembered.
    counts: OnceLock<Box<[AtomicU32]>>,
}

/// How many changes a subject's bucket had when a read began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    session: u64,
    bucket: usize,
    count: u32,
}

impl TokenChanges {
    /// No change is reported yet.
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            session: AtomicU64::new(0),
            trusted_until: AtomicU64::new(0),
            start: Instant::now(),
            counts: OnceLock::new(),
        }))
    }

    /// Counts changes from now on.
    pub(super) fn count(&self) {
        self.0.counts.get_or_init(|| (0..BUCKETS).map(|_| AtomicU32::new(0)).collect());
    }

    /// True when changes are counted.
    pub(super) fn is_counting(&self) -> bool {
        self.0.counts.get().is_some()
    }

    /// To be taken before a read whose result is to be remembered. `None`: changes are not reported.
    pub(super) fn stamp(&self, provider: Uuid, user_id: &str, now: Instant) -> Option<Stamp> {
        let (counts, session) = (self.0.counts.get()?, self.session(now)?);
        let bucket = bucket(provider, user_id);
        Some(Stamp { session, bucket, count: counts[bucket].load(Ordering::Acquire) })
    }

    /// True when what was read since `stamp` is not outdated.
    pub(super) fn is_current(&self, stamp: Stamp, now: Instant) -> bool {
        let count = self.0.counts.get().map(|counts| counts[stamp.bucket].load(Ordering::Acquire));
        self.session(now) == Some(stamp.session) && count == Some(stamp.count)
    }

    fn session(&self, now: Instant) -> Option<u64> {
        let session = self.0.session.load(Ordering::Acquire);
        let is_trusted = self.since_start(now) < self.0.trusted_until.load(Ordering::Acquire);
        (session % 2 == 1 && is_trusted).then_some(session)
    }

    fn since_start(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.0.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// From now on every change is reported, as far as `listening` is confirmed.
    pub(super) fn listen(&self) -> Listening {
        self.0.session.fetch_add(1, Ordering::AcqRel);
        Listening(self.clone())
    }

    /// From now on every change is one that this process makes.
    pub(super) fn trust_own(&self) {
        self.0.session.fetch_add(1, Ordering::AcqRel);
        self.0.trusted_until.store(u64::MAX, Ordering::Release);
    }

    /// For the writer of a token of this user: kept until the change is committed, or has failed.
    pub(super) fn of(&self, provider: Uuid, user_id: &str) -> Changing {
        self.of_each([(provider, user_id)])
    }

    /// The same for tokens of several users.
    pub(super) fn of_each<'u>(&self, changed: impl IntoIterator<Item = (Uuid, &'u str)>) -> Changing {
        let buckets = changed.into_iter().map(|(provider, user_id)| bucket(provider, user_id)).collect();
        Changing { changes: self.clone(), buckets: Some(buckets) }
    }

    /// The same for tokens of nobody knows whom.
    pub(super) fn of_all(&self) -> Changing {
        Changing { changes: self.clone(), buckets: None }
    }

    fn count_bucket(&self, bucket: usize) {
        if let Some(counts) = self.0.counts.get() {
            counts[bucket].fetch_add(1, Ordering::AcqRel);
        }
    }

    fn count_all(&self) {
        self.0.session.fetch_add(2, Ordering::AcqRel);
    }
}

/// That changes are reported to this process. When it is dropped, they no longer are.
pub(super) struct Listening(TokenChanges);

impl Listening {
    /// Every change that was committed before `moment` has been reported.
    pub(super) fn confirm(&self, moment: Instant) {
        self.0.0.trusted_until.store(self.0.since_start(moment + TRUSTED_FOR), Ordering::Release);
    }

    /// Counts a reported change. What cannot be read may be about anything.
    pub(super) fn report(&self, payload: &str) {
        match u16::from_str_radix(payload, 16) {
            Ok(bucket) => self.0.count_bucket(bucket.into()),
            Err(_) => self.0.count_all(),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.0.trusted_until.store(0, Ordering::Release);
        self.0.0.session.fetch_add(1, Ordering::AcqRel);
    }
}

/// A change that this process makes. It counts when this is dropped, whether it was committed or not: a
/// response after that must not show what was before. Other processes learn of it from PostgreSQL.
#[must_use]
pub(super) struct Changing {
    changes: TokenChanges,
    /// `None`: all.
    buckets: Option<Vec<usize>>,
}

impl Drop for Changing {
    fn drop(&mut self) {
        match &self.buckets {
            Some(buckets) => buckets.iter().for_each(|bucket| self.changes.count_bucket(*bucket)),
            None => self.changes.count_all(),
        }
    }
}

/// As the triggers compute it.
fn bucket(provider: Uuid, user_id: &str) -> usize {
    let digest = Sha256::new().chain_update(provider.hyphenated().to_string()).chain_update(user_id).finalize();
    usize::from(digest[0]) << 8 | usize::from(digest[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reads::stored_token::token_columns;

    /// Columns of a hand-out that are not reported. The secrets and `last_refreshed_at` change together with `generation`,
    /// or only their encryption does; `retry_at` counts for tokens that are due, which are never remembered ones;
    /// `last_used_at` only saves a write; `created_at` never changes.
    const NOT_REPORTED: [&str; 6] =
        ["access_token", "refresh_token", "last_refreshed_at", "retry_at", "last_used_at", "created_at"];

    #[test]
    fn every_column_of_a_hand_out_is_reported_or_known_not_to_matter() {
        let (_, columns) = POSTGRES_TRIGGERS.split_once("UPDATE OF ").unwrap();
        let (columns, _) = columns.split_once("ON tokens").unwrap();
        let reported: Vec<&str> = columns.split(',').map(str::trim).collect();
        let read = token_columns!().split("t.").skip(1).map(|rest| {
            let end = rest.find(|character: char| !character.is_ascii_lowercase() && character != '_');
            &rest[..end.unwrap_or(rest.len())]
        });
        for column in read {
            assert!(
                reported.contains(&column) != NOT_REPORTED.contains(&column),
                "{column} belongs into the trigger (under a new name, so that it replaces the old one) or into NOT_REPORTED"
            );
        }
        assert!(POSTGRES_TRIGGERS.contains(&format!("pg_notify('{CHANNEL}'")));
    }

    fn counting() -> (TokenChanges, Uuid, Instant) {
        let changes = TokenChanges::new();
        changes.count();
        (changes, Uuid::now_v7(), Instant::now())
    }

    #[test]
    fn what_was_read_before_a_change_is_outdated() {
        let (changes, provider, now) = counting();
        let listening = changes.listen();
        listening.confirm(now);
        let stamps = || ["alice", "bob"].map(|user| changes.stamp(provider, user, now).unwrap());
        let are_current = |stamps: [Stamp; 2]| stamps.map(|stamp| changes.is_current(stamp, now));
        let before = stamps();
        assert_eq!(are_current(before), [true, true]);
        drop(changes.of(provider, "alice"));
        assert_eq!(are_current(before), [false, true]);
        let before = stamps();
        listening.report(&format!("{:04x}", bucket(provider, "bob")));
        assert_eq!(are_current(before), [true, false]);
        let before = stamps();
        drop(changes.of_all());
        assert_eq!(are_current(before), [false, false]);
        let before = stamps();
        listening.report("unreadable");
        assert_eq!(are_current(before), [false, false]);
    }

    #[test]
    fn without_reports_nothing_is_current() {
        let (changes, provider, now) = counting();
        assert_eq!(changes.stamp(provider, "alice", now), None);
        let listening = changes.listen();
        assert_eq!(changes.stamp(provider, "alice", now), None, "nothing is confirmed yet");
        listening.confirm(now);
        let stamp = changes.stamp(provider, "alice", now).unwrap();
        let later = now + TRUSTED_FOR;
        assert!(!changes.is_current(stamp, later), "nothing is confirmed any more");
        listening.confirm(later);
        assert!(changes.is_current(stamp, later), "no report was missed");
        drop(listening);
        assert!(!changes.is_current(stamp, later));
        let again = changes.listen();
        again.confirm(later);
        assert!(!changes.is_current(stamp, later), "reports may have been missed in between");
    }
}
