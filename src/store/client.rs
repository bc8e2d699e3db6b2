//! The columns that hold our client at an authorization server. Providers, authorization requests and revocations have
//! them under the same names.
//! Owns: these columns, and the sealing of the client secret.
//! Must not know: what the client is used for.

use sqlx::types::Json;

use super::{
    db::Query,
    error::{NotOpened, StoreError},
    seal::{RowSeal, SealedColumn},
};
use crate::model::{
    client::{Client, ClientAuthentication},
    options::ProviderOptions,
};

#[derive(sqlx::FromRow)]
pub(super) struct ClientRow {
    client_id: String,
    client_secret: Option<Vec<u8>>,
    token_endpoint_auth_method: ClientAuthentication,
    token_url: String,
    revocation_url: Option<String>,
    options: Json<ProviderOptions>,
}

impl ClientRow {
    /// In the order of the fields, which [`Self::bind`] keeps.
    pub(super) const COLUMNS: [&'static str; 6] =
        ["client_id", "client_secret", "token_endpoint_auth_method", "token_url", "revocation_url", "options"];

    pub(super) fn seal(client: &Client, seal: &RowSeal<'_>, secret: SealedColumn) -> Result<Self, StoreError> {
        Ok(Self {
            client_id: client.id.clone(),
            client_secret: seal.seal_optional(secret, client.secret.as_ref())?,
            token_endpoint_auth_method: client.authentication,
            token_url: client.token_url.clone(),
            revocation_url: client.revocation_url.clone(),
            options: Json(client.options.clone()),
        })
    }

    pub(super) fn open(self, seal: &RowSeal<'_>, secret: SealedColumn) -> Result<Client, NotOpened> {
        let secret = seal.open_optional(secret, self.sealed_secret())?;
        Ok(Client { secret, ..self.without_secret() })
    }

    pub(super) fn sealed_secret(&self) -> Option<&Vec<u8>> {
        self.client_secret.as_ref()
    }

    pub(super) fn without_secret(self) -> Client {
        Client {
            id: self.client_id,
            secret: None,
            authentication: self.token_endpoint_auth_method,
            token_url: self.token_url,
            revocation_url: self.revocation_url,
            options: self.options.0,
        }
    }

    pub(super) fn bind(self, query: Query<'_>) -> Query<'_> {
        query
            .bind(self.client_id)
            .bind(self.client_secret)
            .bind(self.token_endpoint_auth_method)
            .bind(self.token_url)
            .bind(self.revocation_url)
            .bind(self.options)
    }
}
