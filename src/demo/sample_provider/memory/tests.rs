//! What the sample provider remembers, and for how long.
//! Owns these cases.
//! Must not know HTTP.

use super::*;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

const APPROVAL: Option<(&Person, Terms)> = Some((
    &Person { id: "ada", name: "Ada", email: "ada@example.com" },
    Terms { access_token_lifetime: ACCESS_TOKEN_LIFETIME, has_refresh_token: true, can_refresh: true },
));

fn consent_request() -> ConsentRequest {
    ConsentRequest {
        client_id: "app".to_owned(),
        state: Some("xyz".to_owned()),
        code_challenge: BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER)),
        scopes: vec!["profile".to_owned(), "email".to_owned()],
    }
}

fn code(memory: &mut Memory, now: Instant) -> String {
    let consent = memory.remember(consent_request(), now);
    memory.decide(&consent, APPROVAL, now).unwrap().approved.unwrap().code
}

#[test]
fn everything_expires() {
    let mut memory = Memory::default();
    let now = Instant::now();

    let consent = memory.remember(consent_request(), now);
    assert!(memory.decide(&consent, APPROVAL, now + CONSENT_LIFETIME).is_none());

    let late = code(&mut memory, now);
    assert!(memory.exchange("app", &late, VERIFIER, now + CODE_LIFETIME).is_err());

    let in_time = code(&mut memory, now);
    let issued = memory.exchange("app", &in_time, VERIFIER, now).unwrap();
    let last = now + Duration::from_secs(299);
    assert_eq!(memory.introspect(&issued.access_token, last).unwrap().left, Duration::from_secs(1));
    assert!(memory.introspect(&issued.access_token, now + ACCESS_TOKEN_LIFETIME).is_none());
    assert!(memory.refresh("app", &issued.refresh_token.unwrap(), None, now + ACCESS_TOKEN_LIFETIME).is_ok());
}

#[test]
fn the_first_decision_counts() {
    let mut memory = Memory::default();
    let now = Instant::now();
    let consent = memory.remember(consent_request(), now);
    let mut decided = |approval| memory.decide(&consent, approval, now).unwrap().approved.map(|it| it.code);
    let first = decided(APPROVAL);
    assert!(first.is_some());
    assert_eq!(decided(APPROVAL), first);
    assert_eq!(decided(None), first);
}

#[test]
fn a_client_uses_only_what_it_was_issued() {
    let mut memory = Memory::default();
    let now = Instant::now();
    let foreign = code(&mut memory, now);
    assert!(memory.exchange("other", &foreign, VERIFIER, now).is_err());
    let own = code(&mut memory, now);
    let issued = memory.exchange("app", &own, VERIFIER, now).unwrap();
    let refresh_token = issued.refresh_token.unwrap();
    memory.revoke("other", &issued.access_token);
    memory.revoke("other", &refresh_token);
    assert!(memory.refresh("other", &refresh_token, None, now).is_err());
    assert!(memory.introspect(&issued.access_token, now).is_some(), "nobody else has ended it");
    assert!(memory.refresh("app", &refresh_token, None, now).is_ok());
}

#[test]
fn a_grant_is_treated_by_its_terms() {
    let mut memory = Memory::default();
    let now = Instant::now();
    let mut issued = |terms| {
        let consent = memory.remember(consent_request(), now);
        let approved = memory.decide(&consent, APPROVAL.map(|(person, _)| (person, terms)), now).unwrap().approved;
        memory.exchange("app", &approved.unwrap().code, VERIFIER, now).unwrap()
    };
    let second = Duration::from_secs(1);
    let brief = issued(Terms { access_token_lifetime: second, has_refresh_token: false, ..Terms::default() });
    let put_off = issued(Terms { can_refresh: false, ..Terms::default() });
    assert_eq!((brief.expires_in, brief.refresh_token), (second, None));
    assert!(memory.introspect(&brief.access_token, now + second).is_none());
    let refresh_token = put_off.refresh_token.unwrap();
    for _ in 0..2 {
        assert_eq!(memory.refresh("app", &refresh_token, None, now).err(), Some(Refused::TooMany));
    }
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
