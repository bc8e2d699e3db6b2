//! What handlers share.
//! Owns: the broker, the ways to identify a caller, and how many waits one may have open.
//! Must not know: routes.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use secrecy::SecretString;
use tokio::sync::Semaphore;
use tower_http::cors::CorsLayer;
use uuid::Uuid;

use super::{
    brand::Brand,
    error::{ApiError, Excess},
    limits::Limits,
};
use crate::{
    broker::{
        context::Broker,
        error::BrokerError,
        limits::{LimitKey, Permit},
    },
    identity::{
        Caller,
        api_keys::ApiKeys,
        console::{SignedIn, session_of},
        langsmith::LangSmith,
        openid::OpenId,
    },
};

/// What handlers share.
pub struct App {
    /// The rules.
    pub broker: Arc<Broker>,
    /// The look-up of API keys.
    pub api_keys: ApiKeys,
    /// The identification of LangSmith's callers, if the settings name a LangSmith.
    pub langsmith: Option<LangSmith>,
    /// The identity provider of the console, if the settings name one.
    pub openid: Option<OpenId>,
    /// How much a client may send.
    pub limits: Limits,
    /// Which web pages of other origins may call the API.
    pub cors: Option<CorsLayer>,
    /// Whose pages people see.
    pub brand: Arc<Brand>,
    /// True when the process stops soon: it is not ready any more, and still serves.
    pub leaving: Arc<AtomicBool>,
    /// How many connections are accepted at the same time.
    pub connections_max: usize,
    /// The places of those who wait for a consent. A few connections fewer, so that others are still served when all of
    /// them are taken.
    pub waiting_places: Arc<Semaphore>,
}

/// When another try makes sense after too many waits.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl App {
    /// Counts one more of the waits and streams that a caller may have open, until what is returned is dropped. `None`: they
    /// may have any number.
    ///
    /// # Errors
    /// They have as many as they may.
    pub fn begin_wait(&self, caller: &Caller) -> Result<Option<Permit>, ApiError> {
        match self.broker.settings.waits_per_key {
            0 => Ok(None),
            max => self.begin(LimitKey::Wait { caller: caller.counted_as(), max }).map(Some),
        }
    }

    /// Counts one more live page of a session of the console, until what is returned is dropped.
    ///
    /// # Errors
    /// It has as many as it may.
    pub fn begin_live_page(&self, session: Uuid) -> Result<Permit, ApiError> {
        self.begin(LimitKey::LivePage(session))
    }

    fn begin(&self, key: LimitKey) -> Result<Permit, ApiError> {
        self.broker.limits.begin(key).ok_or(ApiError::TooMany(Excess::Waits, RETRY_AFTER))
    }

    /// Who is signed in to the console with this cookie.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn console_session(&self, cookie: &SecretString) -> Result<Option<SignedIn>, BrokerError> {
        let (store, now) = (self.broker.store(), self.broker.clock.now());
        Ok(session_of(store, self.openid.as_ref(), self.langsmith.as_ref(), cookie, now).await?)
    }
}
