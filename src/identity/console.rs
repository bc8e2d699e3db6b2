//! Sessions of the console: an API key, or what an identity provider or LangSmith says of a person, is exchanged for a cookie.
//! Owns: how long a session lasts, what its cookie and its forms have, and who may sign in.
//! Must not know: routes or headers.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Caller, langsmith::LangSmith, openid::OpenId};
use crate::{
    model::{
        actor::{Act, ActorKind},
        api_key::{ApiKey, Role},
        console_person::ConsolePerson,
    },
    store::{console_sessions::ConsoleSession, error::StoreError, handle::Store},
};

/// How long a session lasts, in seconds: twelve hours, whether it is used or not.
pub const LIFETIME_SECONDS: i64 = 12 * 60 * 60;
/// The same for a user of LangSmith: one hour. LangSmith is not asked again, because their credential is not kept.
pub const LANGSMITH_LIFETIME_SECONDS: i64 = 60 * 60;

/// Who is signed in.
pub enum SignedIn {
    /// Somebody with an API key.
    Key(Box<ConsoleSession>),
    /// A person of the identity provider, who has this role.
    Person(Box<ConsolePerson>, Role),
    /// A user of LangSmith, who has this role.
    LangSmithPerson(Box<ConsolePerson>, Role),
}

impl SignedIn {
    /// What they may see and change.
    #[must_use]
    pub fn caller(&self) -> Caller {
        match self {
            Self::Key(session) => Caller { act: act_of(&session.key), ..Caller::of_key(&session.key, None) },
            Self::Person(person, role) => Caller::of_person(person, *role),
            Self::LangSmithPerson(person, role) => Caller::of_langsmith_person(person, *role),
        }
    }

    /// The id of the session.
    #[must_use]
    pub fn session_id(&self) -> Uuid {
        match self {
            Self::Key(session) => session.session_id,
            Self::Person(person, _) | Self::LangSmithPerson(person, _) => person.session_id,
        }
    }

    /// What they, or their key, are called.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Key(session) => &session.key.name,
            Self::Person(person, _) | Self::LangSmithPerson(person, _) => person.label(),
        }
    }
}

/// Whether keys of this role may sign in. An agent's key is in an agent's hands, and may not see what all users have.
#[must_use]
pub fn may_sign_in(role: Role) -> bool {
    matches!(role, Role::Admin | Role::Viewer)
}

/// The act of somebody who signed in with this key.
#[must_use]
pub fn act_of(key: &ApiKey) -> Act {
    Act::new(ActorKind::ConsoleUser, Some(key.id.to_string()))
}

/// Begins a session with a valid key, and returns the value of its cookie: 256 random bits, of which the digest is stored.
pub async fn sign_in(store: &Store, key: &ApiKey, act: &Act, now: DateTime<Utc>) -> Result<SecretString, StoreError> {
    let cookie = new_cookie();
    store.begin_console_session(key, digest(&cookie), after(LIFETIME_SECONDS, now), act, now).await?;
    Ok(cookie)
}

/// The same for a person who has a role, for this many seconds.
pub async fn sign_in_person(
    store: &Store,
    person: &ConsolePerson,
    lifetime_seconds: i64,
    act: &Act,
    now: DateTime<Utc>,
) -> Result<SecretString, StoreError> {
    let cookie = new_cookie();
    store.begin_person_session(person, digest(&cookie), after(lifetime_seconds, now), act, now).await?;
    Ok(cookie)
}

/// Who is signed in with a cookie; `None` if the session has ended, if its key is no longer valid or may no longer sign in, or
/// if its person has no role any longer by the settings of this server. This is read from the database each time, so that a
/// revoked key ends its sessions at once.
pub async fn session_of(
    store: &Store,
    openid: Option<&OpenId>,
    langsmith: Option<&LangSmith>,
    cookie: &SecretString,
    now: DateTime<Utc>,
) -> Result<Option<SignedIn>, StoreError> {
    if let Some(session) = store.console_session(digest(cookie), now).await? {
        let is_valid = session.key.is_valid(now) && may_sign_in(session.key.role);
        return Ok(is_valid.then(|| SignedIn::Key(Box::new(session))));
    }
    if openid.is_none() && langsmith.is_none() {
        return Ok(None);
    }
    let Some(person) = store.person_session(digest(cookie), now).await? else { return Ok(None) };
    if let Some(role) = openid.and_then(|openid| openid.role_of(&person)) {
        return Ok(Some(SignedIn::Person(Box::new(person), role)));
    }
    let role = langsmith.and_then(|langsmith| langsmith.role_of(&person));
    Ok(role.map(|role| SignedIn::LangSmithPerson(Box::new(person), role)))
}

/// Ends the session of a cookie.
pub async fn sign_out(store: &Store, session: &SignedIn, act: &Act, now: DateTime<Utc>) -> Result<(), StoreError> {
    match session {
        SignedIn::Key(session) => store.end_console_session(session, act, now).await,
        SignedIn::Person(person, _) | SignedIn::LangSmithPerson(person, _) => {
            store.end_person_session(person, act, now).await
        }
    }
}

fn new_cookie() -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

fn after(seconds: i64, now: DateTime<Utc>) -> DateTime<Utc> {
    now + TimeDelta::seconds(seconds)
}

/// What every form of a session has and another site cannot know. It follows from the cookie, and the cookie does not follow
/// from it.
#[must_use]
pub fn form_token(cookie: &SecretString) -> String {
    let mut digest = Sha256::new();
    digest.update(b"agent-auth console form\0");
    digest.update(cookie.expose_secret());
    URL_SAFE_NO_PAD.encode(digest.finalize())
}

/// Whether a form has the token of its session. Digests are compared, so that the time it takes reveals nothing.
#[must_use]
pub fn is_form_token(cookie: &SecretString, token: &str) -> bool {
    Sha256::digest(form_token(cookie)) == Sha256::digest(token)
}

fn digest(cookie: &SecretString) -> [u8; 32] {
    Sha256::digest(cookie.expose_secret()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_token_belongs_to_one_cookie_and_is_not_the_cookie() {
        let (one, other) = (SecretString::from("one"), SecretString::from("other"));
        assert!(is_form_token(&one, &form_token(&one)));
        assert!(!is_form_token(&one, &form_token(&other)) && !is_form_token(&one, "") && !is_form_token(&one, "one"));
        assert_ne!(form_token(&one), URL_SAFE_NO_PAD.encode(digest(&one)), "nor what the database has");
    }

    #[test]
    fn an_agents_key_does_not_sign_in() {
        assert!(may_sign_in(Role::Admin) && may_sign_in(Role::Viewer) && !may_sign_in(Role::Agent));
    }
}
