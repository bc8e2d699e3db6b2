//! Grants whose refresh tokens are replaced with each use, and that end when an old one is used (RFC 9700 section 4.14.2).

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{AuthorizationServer, Fallback};

/// One consent and all tokens that came of it.
#[derive(Debug)]
struct Grant {
    refresh_token: String,
    access_token: String,
    /// Refresh tokens that were used, and when first.
    spent: HashMap<String, Instant>,
    refreshes: usize,
    is_dead: bool,
}

pub(super) struct Rotation {
    grace: Duration,
    expires_in: AtomicU64,
    grants: Mutex<Vec<Grant>>,
    reuses: AtomicUsize,
    longest_grace_taken: Mutex<Duration>,
}

impl Rotation {
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            grace,
            expires_in: AtomicU64::new(3600),
            grants: Mutex::default(),
            reuses: AtomicUsize::new(0),
            longest_grace_taken: Mutex::default(),
        }
    }

    /// A code was exchanged.
    pub(super) fn begin(&self) -> Value {
        let mut grants = self.grants.lock().unwrap();
        let (access_token, refresh_token) = pair(grants.len(), 0);
        let response = self.response(&access_token, &refresh_token);
        grants.push(Grant { refresh_token, access_token, spent: HashMap::new(), refreshes: 0, is_dead: false });
        response
    }

    pub(super) fn refresh(&self, presented: &str) -> Option<Value> {
        let mut grants = self.grants.lock().unwrap();
        let number = presented.split('-').nth(1)?.parse::<usize>().ok()?;
        let grant = grants.get_mut(number)?;
        if grant.refresh_token != presented && !grant.spent.contains_key(presented) {
            return None;
        }
        let first_use = *grant.spent.entry(presented.to_owned()).or_insert_with(Instant::now);
        if grant.refresh_token != presented {
            self.reuses.fetch_add(1, Ordering::SeqCst);
            let mut longest = self.longest_grace_taken.lock().unwrap();
            *longest = longest.max(first_use.elapsed());
            grant.is_dead |= first_use.elapsed() >= self.grace;
        }
        if grant.is_dead {
            return None;
        }
        grant.refreshes += 1;
        let superseded = std::mem::take(&mut grant.refresh_token);
        if superseded != presented {
            // Its answer was lost: it never gets old, but may still be used if it was not lost after all.
            grant.spent.entry(superseded).or_insert_with(Instant::now);
        }
        let (access_token, refresh_token) = pair(number, grant.refreshes);
        let response = self.response(&access_token, &refresh_token);
        (grant.refresh_token, grant.access_token) = (refresh_token, access_token);
        Some(response)
    }

    fn response(&self, access_token: &str, refresh_token: &str) -> Value {
        json!({
            "access_token": access_token,
            "refresh_token": refresh_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in.load(Ordering::SeqCst),
        })
    }
}

/// What became of the grants of a server that rotates.
impl AuthorizationServer {
    fn rotation(&self) -> &Rotation {
        match &self.state.fallback {
            Fallback::Rotating(rotation) => rotation,
            _ => panic!("this server does not rotate"),
        }
    }

    /// A grant that somebody else obtained: its access token and its refresh token.
    pub fn grant_of_another_program(&self) -> (String, String) {
        let response = self.rotation().begin();
        let value = |name: &str| response[name].as_str().expect("a token").to_owned();
        (value("access_token"), value("refresh_token"))
    }

    /// Access tokens live so many seconds from now on.
    pub fn expires_in(&self, seconds: u64) {
        self.rotation().expires_in.store(seconds, Ordering::SeqCst);
    }

    /// How often a refresh gave a new token, over all grants.
    pub fn rotations(&self) -> usize {
        self.rotation().grants.lock().unwrap().iter().map(|grant| grant.refreshes).sum()
    }

    /// How often a spent refresh token was used, within the grace or after it.
    pub fn reuses(&self) -> usize {
        self.rotation().reuses.load(Ordering::SeqCst)
    }

    /// The longest time from the first use of a refresh token to its last.
    pub fn longest_grace_taken(&self) -> Duration {
        *self.rotation().longest_grace_taken.lock().unwrap()
    }

    /// How many grants there were ever.
    pub fn grants(&self) -> usize {
        self.rotation().grants.lock().unwrap().len()
    }

    /// How many of them the use of an old refresh token has ended.
    pub fn dead_grants(&self) -> usize {
        self.rotation().grants.lock().unwrap().iter().filter(|grant| grant.is_dead).count()
    }

    pub fn is_dead(&self, grant: usize) -> bool {
        self.rotation().grants.lock().unwrap()[grant].is_dead
    }

    /// True for the newest access token of a grant that lives.
    pub fn is_newest(&self, access_token: &str) -> bool {
        let (grant, _) = identity(access_token);
        let grants = self.rotation().grants.lock().unwrap();
        !grants[grant].is_dead && grants[grant].access_token == access_token
    }
}

/// Which grant an access token is of, and after how many refreshes it was given.
pub fn identity(access_token: &str) -> (usize, usize) {
    let mut parts = access_token.split('-').skip(1).map(|part| part.parse().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(grant), Some(serial)) => (grant, serial),
        _ => panic!("{access_token} is no token of this server"),
    }
}

fn pair(grant: usize, serial: usize) -> (String, String) {
    let random = Uuid::new_v4().simple();
    (format!("access-{grant}-{serial}-{random}"), format!("refresh-{grant}-{serial}-{random}"))
}
