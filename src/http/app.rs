//! What handlers share.
//! Owns: the broker, and the look-up of API keys.
//! Must not know: routes.

use std::sync::Arc;

use crate::{broker::context::Broker, identity::api_keys::ApiKeys};

/// What handlers share.
pub struct App {
    /// The rules.
    pub broker: Arc<Broker>,
    /// The look-up of API keys.
    pub api_keys: ApiKeys,
}
