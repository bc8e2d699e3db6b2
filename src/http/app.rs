//! What handlers share.
//! Owns: the broker, and the ways to identify a caller.
//! Must not know: routes.

use std::sync::{Arc, atomic::AtomicBool};

use tokio::sync::Semaphore;
use tower_http::cors::CorsLayer;

use super::{brand::Brand, limits::Limits};
use crate::{
    broker::context::Broker,
    identity::{api_keys::ApiKeys, langsmith::LangSmith, openid::OpenId},
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
