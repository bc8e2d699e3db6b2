//! Sessions of the console: an API key is exchanged for a cookie, so that the key itself is in no browser.
//! Owns: how long a session lasts, what its cookie and its forms have, and which keys may sign in.
//! Must not know: routes or headers.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::{
    model::{
        actor::{Act, ActorKind},
        api_key::{ApiKey, Role},
    },
    store::{console_sessions::ConsoleSession, error::StoreError, handle::Store},
};

/// How long a session lasts, in seconds: twelve hours, whether it is used or not.
pub const LIFETIME_SECONDS: i64 = 12 * 60 * 60;

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
    let cookie = SecretString::from(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let expires_at = now + TimeDelta::seconds(LIFETIME_SECONDS);
    store.begin_console_session(key, digest(&cookie), expires_at, act, now).await?;
    Ok(cookie)
}

/// The session of a cookie; `None` if it has ended, or its key is no longer valid or may no longer sign in. This is read
/// from the database each time, so that a revoked key ends its sessions at once.
pub async fn session_of(
    store: &Store,
    cookie: &SecretString,
    now: DateTime<Utc>,
) -> Result<Option<ConsoleSession>, StoreError> {
    let session = store.console_session(digest(cookie), now).await?;
    Ok(session.filter(|session| session.key.is_valid(now) && may_sign_in(session.key.role)))
}

/// Ends the session of a cookie.
pub async fn sign_out(store: &Store, cookie: &SecretString, act: &Act, now: DateTime<Utc>) -> Result<(), StoreError> {
    match store.console_session(digest(cookie), now).await? {
        Some(session) => store.end_console_session(&session, act, now).await,
        None => Ok(()),
    }
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
