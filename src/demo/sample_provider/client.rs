//! The sample provider's one registered client, and what it remembers for it.
//! Owns: the way back to the client.
//! Must not know: endpoints.

use axum::{
    http::{
        StatusCode,
        header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY},
    },
    response::{IntoResponse, Response},
};
use parking_lot::{Mutex, MutexGuard};
use secrecy::SecretString;
use url::form_urlencoded::Serializer;

use super::memory::Memory;

/// The sample provider and its one registered client.
pub struct SampleProvider {
    pub(super) client_id: String,
    pub(super) client_secret: SecretString,
    pub(super) redirect_uri: String,
    memory: Mutex<Memory>,
}

impl SampleProvider {
    /// A provider that knows this client only.
    #[must_use]
    pub fn new(client_id: String, client_secret: SecretString, redirect_uri: String) -> Self {
        Self { client_id, client_secret, redirect_uri, memory: Mutex::default() }
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock()
    }

    /// The person's browser, sent back to the client with these parameters and the state.
    pub(super) fn redirect(&self, state: Option<&str>, parameters: &[(&str, &str)]) -> Response {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(parameters).extend_pairs(state.map(|state| ("state", state)));
        let separator = if self.redirect_uri.contains('?') { '&' } else { '?' };
        let location = format!("{}{separator}{}", self.redirect_uri, query.finish());
        (
            StatusCode::SEE_OTHER,
            [(LOCATION, location.as_str()), (CACHE_CONTROL, "no-store"), (REFERRER_POLICY, "no-referrer")],
        )
            .into_response()
    }

    /// Scheme, host and port of the redirect URI.
    pub(super) fn destination(&self) -> String {
        url::Url::parse(&self.redirect_uri).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization())
    }
}
