//! What the sample provider remembers: requested consents, codes, grants and their tokens, all in memory and bounded.
//! Owns one-time use, expiry and rotation, and that a client uses only what it was issued.
//! Must not know HTTP.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use sha2::{Digest, Sha256};

use super::people::Person;

#[cfg(test)]
mod tests;

/// The limit for each kind of entry; the oldest are dropped first.
const CAPACITY: usize = 10_000;
const CONSENT_LIFETIME: Duration = Duration::from_mins(10);
const CODE_LIFETIME: Duration = Duration::from_mins(1);
/// Short, so that a refresh can be seen in the demo.
const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_mins(5);

/// How the provider treats a grant. The demo shows what becomes of connections whose provider is not at its best.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long each access token is valid.
    pub access_token_lifetime: Duration,
    /// Whether there is a refresh token.
    pub has_refresh_token: bool,
    /// Whether a refresh succeeds, or is put off because of too many requests.
    pub can_refresh: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { access_token_lifetime: ACCESS_TOKEN_LIFETIME, has_refresh_token: true, can_refresh: true }
    }
}

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
    pub(super) client_id: String,
    pub(super) state: Option<String>,
    pub(super) code_challenge: String,
    pub(super) scopes: Vec<String>,
}

struct Consent {
    request: ConsentRequest,
    expires: Instant,
    answer: Option<Answer>,
}

/// The person's answer, on its way to the client's redirect URI.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) client_id: String,
    pub(super) state: Option<String>,
    /// None: denied.
    pub(super) approved: Option<Approved>,
}

/// What an approval led to.
#[derive(Clone)]
pub(super) struct Approved {
    pub(super) code: String,
    pub(super) grant: String,
}

struct Code {
    grant: String,
    challenge: String,
    expires: Instant,
    presented: bool,
}

struct Grant {
    client_id: String,
    person: &'static Person,
    terms: Terms,
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
    pub(super) expires_in: Duration,
    pub(super) refresh_token: Option<String>,
    pub(super) scopes: Vec<String>,
}

/// What is known of a valid access token.
pub(super) struct Bearer<'m> {
    pub(super) person: &'static Person,
    pub(super) scopes: &'m [String],
    pub(super) left: Duration,
}

/// Why there are no tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The grant is invalid or has ended.
    Grant(&'static str),
    /// More is requested than was granted.
    Scope,
    /// The terms of the grant say that refreshes are put off.
    TooMany,
}

const WITHDRAWN: Refused = Refused::Grant("The grant was withdrawn.");

impl Memory {
    /// Stores the request and returns the id that the consent form carries.
    pub(super) fn remember(&mut self, request: ConsentRequest, now: Instant) -> String {
        let id = random();
        self.consents.insert(id.clone(), Consent { request, expires: now + CONSENT_LIFETIME, answer: None });
        id
    }

    /// Stores the decision of a person. The first one counts: a double click returns the same code again. None is denial.
    pub(super) fn decide(
        &mut self,
        consent: &str,
        approval: Option<(&'static Person, Terms)>,
        now: Instant,
    ) -> Option<Answer> {
        let consent = self.consents.get_mut(consent).filter(|consent| now < consent.expires)?;
        if let Some(answer) = &consent.answer {
            return Some(answer.clone());
        }
        let request = &consent.request;
        let approved = approval.map(|(person, terms)| {
            let (code, grant) = (random(), random());
            self.codes.insert(
                code.clone(),
                Code {
                    grant: grant.clone(),
                    challenge: request.code_challenge.clone(),
                    expires: now + CODE_LIFETIME,
                    presented: false,
                },
            );
            let (client_id, scopes) = (request.client_id.clone(), request.scopes.clone());
            self.grants.insert(grant.clone(), Grant { client_id, person, terms, scopes });
            Approved { code, grant }
        });
        let answer = Answer { client_id: request.client_id.clone(), state: request.state.clone(), approved };
        consent.answer = Some(answer.clone());
        Some(answer)
    }

    /// Exchanges a code. A code presented twice, with the wrong verifier or by another client takes its grant with it, tokens
    /// included (RFC 6749, section 4.1.2).
    pub(super) fn exchange(
        &mut self,
        client_id: &str,
        code: &str,
        code_verifier: &str,
        now: Instant,
    ) -> Result<Issued, Refused> {
        let code = self.codes.get_mut(code).ok_or(Refused::Grant("The authorization code is unknown."))?;
        let fault = if code.presented {
            Some("The authorization code was used before.")
        } else if now >= code.expires {
            Some("The authorization code has expired.")
        } else if code.challenge != BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(code_verifier)) {
            Some("The code verifier does not match the code challenge.")
        } else if self.grants.get(&code.grant).is_some_and(|grant| grant.client_id != client_id) {
            Some("The authorization code was issued to another client.")
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
        client_id: &str,
        refresh_token: &str,
        scopes: Option<Vec<String>>,
        now: Instant,
    ) -> Result<Issued, Refused> {
        let token =
            self.refresh_tokens.get_mut(refresh_token).ok_or(Refused::Grant("The refresh token is unknown."))?;
        let id = token.grant.clone();
        let grant = self.grants.get(&id).ok_or(WITHDRAWN)?;
        if grant.client_id != client_id {
            return Err(Refused::Grant("The refresh token was issued to another client."));
        }
        if !grant.terms.can_refresh {
            return Err(Refused::TooMany);
        }
        if token.rotated {
            self.grants.remove(&id);
            return Err(Refused::Grant("The refresh token was used before. The grant is withdrawn."));
        }
        if scopes.as_ref().is_some_and(|scopes| !scopes.iter().all(|scope| grant.scopes.contains(scope))) {
            return Err(Refused::Scope);
        }
        token.rotated = true;
        self.issue(id, scopes, now)
    }

    fn issue(&mut self, id: String, scopes: Option<Vec<String>>, now: Instant) -> Result<Issued, Refused> {
        let grant = self.grants.get(&id).ok_or(WITHDRAWN)?;
        let scopes = scopes.unwrap_or_else(|| grant.scopes.clone());
        let expires_in = grant.terms.access_token_lifetime;
        let refresh_token = grant.terms.has_refresh_token.then(random);
        let issued = Issued { access_token: random(), expires_in, refresh_token, scopes: scopes.clone() };
        if let Some(refresh_token) = &issued.refresh_token {
            self.refresh_tokens.insert(refresh_token.clone(), RefreshToken { grant: id.clone(), rotated: false });
        }
        let access_token = AccessToken { grant: id, scopes, expires: now + expires_in };
        self.access_tokens.insert(issued.access_token.clone(), access_token);
        Ok(issued)
    }

    /// What is known of an access token, if it is valid.
    pub(super) fn introspect(&self, access_token: &str, now: Instant) -> Option<Bearer<'_>> {
        let token = self.access_tokens.get(access_token)?;
        let left = token.expires.saturating_duration_since(now);
        let grant = self.grants.get(&token.grant).filter(|_| !left.is_zero())?;
        Some(Bearer { person: grant.person, scopes: &token.scopes, left })
    }

    /// Revokes a token of a client; a refresh token takes the grant's access tokens along (RFC 7009, section 2.1).
    pub(super) fn revoke(&mut self, client_id: &str, token: &str) {
        let is_own = |grant: &str| self.grants.get(grant).is_some_and(|grant| grant.client_id == client_id);
        if self.access_tokens.get(token).is_some_and(|token| is_own(&token.grant)) {
            self.access_tokens.remove(token);
        } else if let Some(grant) = self.refresh_tokens.get(token).map(|token| token.grant.clone())
            && is_own(&grant)
        {
            self.refresh_tokens.remove(token);
            self.grants.remove(&grant);
        }
    }

    /// Ends a grant, as a person does who removes an application from their account.
    pub(super) fn withdraw(&mut self, grant: &str) {
        self.grants.remove(grant);
    }
}

/// 256 random bits, base64url.
pub(super) fn random() -> String {
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
