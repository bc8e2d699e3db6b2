//! The sample provider and the clients that are registered there.
//! Owns: which clients there are, and the way back to one.
//! Must not know: endpoints.

use std::{collections::HashMap, sync::Arc};

use axum::{
    http::{
        StatusCode,
        header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY},
    },
    response::{IntoResponse, Response},
};
use parking_lot::{Mutex, MutexGuard};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded::Serializer};

use super::memory::{Memory, random};

/// How many clients can be registered.
const CLIENTS_MAX: usize = 1000;

/// The sample provider.
pub struct SampleProvider {
    /// The address below which people may be sent back: the sample provider must not lead anywhere else.
    pub(super) leads_to: String,
    clients: Mutex<HashMap<String, Arc<Client>>>,
    memory: Mutex<Memory>,
}

/// A registered client.
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
    /// What the consent page calls it.
    pub name: String,
    /// Where people are sent back.
    pub redirect_uri: String,
}

impl SampleProvider {
    /// A provider without clients. Those who register one themselves get people back only below `leads_to`.
    #[must_use]
    pub fn new(leads_to: String) -> Self {
        Self { leads_to, clients: Mutex::default(), memory: Mutex::default() }
    }

    /// Registers a client. False: there are too many.
    pub fn register(&self, client: Client) -> bool {
        let mut clients = self.clients.lock();
        let has_room = clients.len() < CLIENTS_MAX;
        if has_room {
            clients.insert(client.id.clone(), Arc::new(client));
        }
        has_room
    }

    pub(super) fn client(&self, id: &str) -> Option<Arc<Client>> {
        self.clients.lock().get(id).map(Arc::clone)
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock()
    }
}

impl Client {
    /// A client with a new id and a new secret.
    pub(super) fn with_new_secret(name: String, redirect_uri: String) -> Self {
        Self { id: format!("app-{}", &random()[..12]), secret: random().into(), name, redirect_uri }
    }

    /// Digests are compared, so that the time taken says nothing about the secret.
    pub(super) fn has_secret(&self, secret: &str) -> bool {
        Sha256::digest(secret) == Sha256::digest(self.secret.expose_secret())
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
        Url::parse(&self.redirect_uri).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization())
    }
}
