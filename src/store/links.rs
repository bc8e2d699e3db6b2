//! Links that carry what they are for, sealed: nothing is stored until a person follows one.
//! Owns: their sealing.
//! Must not know: what a link is for.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;
use uuid::Uuid;

use super::{error::StoreError, handle::Store, seal::LINK};
use crate::model::subject::Tenant;

/// A link is read before its tenant is known.
const NO_TENANT: Tenant = Tenant { organization: String::new(), workspace: String::new() };

impl Store {
    /// Seals a text for a URL.
    pub fn seal_link(&self, text: &SecretString) -> Result<String, StoreError> {
        Ok(URL_SAFE_NO_PAD.encode(self.row_seal(&NO_TENANT, Uuid::nil(), 0).seal(LINK, text)?))
    }

    /// The text of a link; `None` if it was not sealed here.
    #[must_use]
    pub fn open_link(&self, sealed: &str) -> Option<SecretString> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        self.row_seal(&NO_TENANT, Uuid::nil(), 0).open(LINK, &sealed).ok()
    }
}
