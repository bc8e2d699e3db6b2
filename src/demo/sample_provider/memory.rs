//! What the sample provider remembers: requested consents, codes, grants and their tokens, all in memory and bounded.
//! Owns one-time use, expiry and rotation.
//! Must not know HTTP.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use sha2::{Digest, Sha256};

/// The limit for each kind of entry; the oldest are dropped first.
const CAPACITY: usize = 10_000;
const CONSENT_LIFETIME: Duration = Duration::from_mins(10);
const CODE_LIFETIME: Duration = Duration::from_mins(1);
/// Short, so that a refresh can be seen in the demo.
pub(super) const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_mins(5);

/// Everything remembered.
#[derive(Default)]
pub(super) struct Memory {
    consents: Bounded<Consent>,
    codes: Bounded<Code>,
    grants: Bounded<Grant>,
    access_tokens: Bounded<AccessToken>,
    refresh_tokens: Bounded<RefreshToken>,
}

/// A checked authorization request, shown to the person.
pub(super) struct ConsentRequest {
    pub(super) state: Option<String>,
    pub(super) code_challenge: String,
    pub(super) scopes: Vec<String>,
}

struct Consent {
    request: ConsentRequest,
    expires: Instant,
    answer: Option<Answer>,
}

/// The person's answer, on its way to the redirect URI.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) state: Option<String>,
    /// None: denied.
    pub(super) code: Option<String>,
}

struct Code {
    grant: String,
    challenge: String,
    expires: Instant,
    presented: bool,
}

struct Grant {
    scopes: Vec<String>,
}

struct AccessToken {
    grant: String,
    scopes: Vec<String>,
    expires: Instant,
}

struct RefreshToken {
    grant: String,
    rotated: bool,
}

/// A response of the token endpoint.
pub(super) struct Issued {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
    pub(super) scopes: Vec<String>,
}

/// The grant is invalid or has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Grant(&'static str),
    Scope,
}

impl Memory {
    /// Stores the request and returns the id that the consent form carries.
    pub(super) fn remember(&mut self, request: ConsentRequest, now: Instant) -> String {
        let id = random();
        self.consents.insert(id.clone(), Consent { request, expires: now + CONSENT_LIFETIME, answer: None });
        id
    }

    /// Stores the person's decision. The first one counts: a double click returns the same code again.
    pub(super) fn decide(&mut self, consent: &str, approved: bool, now: Instant) -> Option<Answer> {
        let consent = self.consents.get_mut(consent).filter(|consent| now < consent.expires)?;
        if let Some(answer) = &consent.answer {
            return Some(answer.clone());
        }
        let code = approved.then(|| {
            let (code, grant) = (random(), random());
            self.codes.insert(
                code.clone(),
                Code {
                    grant: grant.clone(),
                    challenge: consent.request.code_challenge.clone(),
                    expires: now + CODE_LIFETIME,
                    presented: false,
                },
            );
            self.grants.insert(grant, Grant { scopes: consent.request.scopes.clone() });
            code
        });
        let answer = Answer { state: consent.request.state.clone(), code };
        consent.answer = Some(answer.clone());
        Some(answer)
    }

    /// Exchanges a code. A code presented twice, or with the wrong verifier, takes its grant with it, tokens included
    /// (RFC 6749, section 4.1.2).
    pub(super) fn exchange(&mut self, code: &str, code_verifier: &str, now: Instant) -> Result<Issued, Refused> {
        let code = self.codes.get_mut(code).ok_or(Refused::Grant("The authorization code is unknown."))?;
        let fault = if code.presented {
            Some("The authorization code was used before.")
        } else if now >= code.expires {
            Some("The authorization code has expired.")
        } else if code.challenge != BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(code_verifier)) {
            Some("The code verifier does not match the code challenge.")
        } else {
            None
        };
        code.presented = true;
        let grant = code.grant.clone();
        if let Some(fault) = fault {
            self.grants.remove(&grant);
            return Err(Refused::Grant(fault));
        }
        self.issue(grant, None, now)
    }

    /// Exchanges a refresh token for a new pair. A rotated one that comes back takes the grant with it
    /// (RFC 9700, section 4.14.2). `scopes` may narrow the access token (RFC 6749, section 6).
    pub(super) fn refresh(
        &mut self,
        refresh_token: &str,
        scopes: Option<Vec<String>>,
        now: Instant,
    ) -> Result<Issued, Refused> {
        let token =
            self.refresh_tokens.get_mut(refresh_token).ok_or(Refused::Grant("The refresh token is unknown."))?;
        let grant = token.grant.clone();
        if token.rotated {
            self.grants.remove(&grant);
            return Err(Refused::Grant("The refresh token was used before. The grant is withdrawn."));
        }
        if let (Some(scopes), Some(granted)) = (&scopes, self.grants.get(&grant))
            && !scopes.iter().all(|scope| granted.scopes.contains(scope))
        {
            return Err(Refused::Scope);
        }
        token.rotated = true;
        self.issue(grant, scopes, now)
    }

    fn issue(&mut self, grant: String, scopes: Option<Vec<String>>, now: Instant) -> Result<Issued, Refused> {
        let granted = self.grants.get(&grant).ok_or(Refused::Grant("The grant was withdrawn."))?;
        let scopes = scopes.unwrap_or_else(|| granted.scopes.clone());
        let issued = Issued { access_token: random(), refresh_token: random(), scopes: scopes.clone() };
        self.refresh_tokens.insert(issued.refresh_token.clone(), RefreshToken { grant: grant.clone(), rotated: false });
        self.access_tokens
            .insert(issued.access_token.clone(), AccessToken { grant, scopes, expires: now + ACCESS_TOKEN_LIFETIME });
        Ok(issued)
    }

    /// The scopes of a valid access token, and its remaining lifetime.
    pub(super) fn introspect(&self, access_token: &str, now: Instant) -> Option<(&[String], Duration)> {
        let token = self.access_tokens.get(access_token)?;
        let left = token.expires.saturating_duration_since(now);
        (!left.is_zero() && self.grants.get(&token.grant).is_some()).then_some((token.scopes.as_slice(), left))
    }

    /// Revokes a token; a refresh token takes the grant's access tokens along (RFC 7009, section 2.1).
    pub(super) fn revoke(&mut self, token: &str) {
        self.access_tokens.remove(token);
        if let Some(refresh_token) = self.refresh_tokens.remove(token) {
            self.grants.remove(&refresh_token.grant);
        }
    }
}

/// 256 random bits, base64url.
fn random() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// A map that forgets its oldest entries. Keys are random and never come back.
struct Bounded<V> {
    entries: HashMap<String, V>,
    order: VecDeque<String>,
}

impl<V> Default for Bounded<V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<V> Bounded<V> {
    /// Counts the keys ever inserted, not the entries left: removed ones leave the order only here.
    fn insert(&mut self, key: String, value: V) {
        while self.order.len() >= CAPACITY {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
        self.order.push_back(key.clone());
        self.entries.insert(key, value);
    }

    fn get(&self, key: &str) -> Option<&V> {
        self.entries.get(key)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    fn remove(&mut self, key: &str) -> Option<V> {
        self.entries.remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn consent_request() -> ConsentRequest {
        ConsentRequest {
            state: Some("xyz".to_owned()),
            code_challenge: BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER)),
            scopes: vec!["profile".to_owned(), "email".to_owned()],
        }
    }

    fn code(memory: &mut Memory, now: Instant) -> String {
        let consent = memory.remember(consent_request(), now);
        memory.decide(&consent, true, now).unwrap().code.unwrap()
    }

    #[test]
    fn everything_expires() {
        let mut memory = Memory::default();
        let now = Instant::now();

        let consent = memory.remember(consent_request(), now);
        assert!(memory.decide(&consent, true, now + CONSENT_LIFETIME).is_none());

        let late = code(&mut memory, now);
        assert!(memory.exchange(&late, VERIFIER, now + CODE_LIFETIME).is_err());

        let in_time = code(&mut memory, now);
        let issued = memory.exchange(&in_time, VERIFIER, now).unwrap();
        let last = now + Duration::from_secs(299);
        assert_eq!(memory.introspect(&issued.access_token, last).unwrap().1, Duration::from_secs(1));
        assert!(memory.introspect(&issued.access_token, now + ACCESS_TOKEN_LIFETIME).is_none());
        assert!(memory.refresh(&issued.refresh_token, None, now + ACCESS_TOKEN_LIFETIME).is_ok());
    }

    #[test]
    fn the_first_decision_stands() {
        let mut memory = Memory::default();
        let now = Instant::now();
        let consent = memory.remember(consent_request(), now);
        let first = memory.decide(&consent, true, now).unwrap().code;
        assert!(first.is_some());
        assert_eq!(memory.decide(&consent, true, now).unwrap().code, first);
        assert_eq!(memory.decide(&consent, false, now).unwrap().code, first);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let mut bounded = Bounded::default();
        for key in 0..CAPACITY + 3 {
            bounded.insert(key.to_string(), key);
            if key % 2 == 0 {
                bounded.remove(&key.to_string());
            }
        }
        assert_eq!(bounded.order.len(), CAPACITY);
        assert!(bounded.entries.len() <= CAPACITY);
        assert!(bounded.get("1").is_none(), "the oldest is gone");
        assert_eq!(bounded.get("3"), Some(&3), "the next is not");
    }
}
