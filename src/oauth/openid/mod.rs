//! `OpenID` Connect: a person proves to an identity provider who they are, and the provider says it to us.
//! Owns: the authorization URL of a sign-in, and what becomes of the code that comes back. What is read of the provider is
//! kept in memory for a while.
//! Must not know: who may do what.

mod documents;
pub mod id_token;
pub mod keys;

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use oauth2::{
    AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, basic::BasicClient,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use url::Url;

use self::{
    documents::Known,
    id_token::{Claims, Expected, IdTokenFault, verify},
};
use super::token::{Grant, request_token};
use crate::{
    model::{
        client::{Client, ClientAuthentication},
        failure::{FailureKind, TokenFailure},
        quirks::Quirks,
    },
    outbound::client::Outbound,
};

/// An identity provider, and our client there.
pub struct OpenIdProvider {
    outbound: Outbound,
    issuer: String,
    client: Client,
    /// What was read of the provider. The lock is held while it is read, so it is read once for all who need it.
    known: Mutex<Known>,
    is_failing: AtomicBool,
}

/// What binds a sign-in to the browser that began it.
pub struct Attempt {
    /// The state in the authorization URL.
    pub state: SecretString,
    /// The nonce that the ID token must have.
    pub nonce: SecretString,
    /// The PKCE verifier, whose challenge is in the authorization URL.
    pub code_verifier: SecretString,
}

/// Why nobody is signed in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenIdError {
    /// The provider cannot be reached, or what it publishes of itself cannot be used.
    #[error("{1}")]
    Provider(FailureKind, String),
    /// The provider gave no tokens for the code.
    #[error("the identity provider gave no tokens for the code: {0}")]
    NoTokens(#[from] TokenFailure),
    /// The ID token does not prove who the person is.
    #[error("{0}")]
    IdToken(#[from] IdTokenFault),
    /// The response names another issuer, or none where it must (RFC 9207 section 2.4).
    #[error("the response came from another issuer")]
    OtherIssuer,
}

impl OpenIdProvider {
    /// The provider with this issuer, byte for byte. Nothing is requested yet.
    #[must_use]
    pub fn new(outbound: Outbound, issuer: String, client_id: String, client_secret: SecretString) -> Self {
        let client = Client::new(client_id, Some(client_secret), ClientAuthentication::ClientSecretBasic);
        Self { outbound, issuer, client, known: Mutex::default(), is_failing: AtomicBool::default() }
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where the browser goes (`OpenID` Connect Core, section 3.1.2.1).
    pub async fn authorization_url(
        &self,
        attempt: &Attempt,
        redirect_uri: &str,
        scopes: &[String],
        now: DateTime<Utc>,
    ) -> Result<Url, OpenIdError> {
        let metadata = self.metadata(now).await?;
        let unusable = |_| OpenIdError::Provider(FailureKind::Unreadable, "the redirect URI is not a URL".into());
        let state = CsrfToken::new(attempt.state.expose_secret().to_owned());
        let verifier = PkceCodeVerifier::new(attempt.code_verifier.expose_secret().to_owned());
        let client = BasicClient::new(ClientId::new(self.client.id.clone()))
            .set_auth_uri(AuthUrl::from_url(metadata.authorization_endpoint))
            .set_redirect_uri(RedirectUrl::new(redirect_uri.to_owned()).map_err(unusable)?);
        let (url, _) = client
            .authorize_url(|| state)
            .add_scopes(scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_extra_param("nonce", attempt.nonce.expose_secret())
            .url();
        Ok(url)
    }

    /// Exchanges a code for an ID token, and verifies it. `named_issuer` is what the response said of its issuer.
    pub async fn identify(
        &self,
        attempt: &Attempt,
        redirect_uri: &str,
        code: &SecretString,
        named_issuer: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Claims, OpenIdError> {
        let metadata = self.metadata(now).await?;
        let must_name_issuer = metadata.authorization_response_iss_parameter_supported;
        match named_issuer {
            Some(named) if named != self.issuer => return Err(OpenIdError::OtherIssuer),
            None if must_name_issuer => return Err(OpenIdError::OtherIssuer),
            _ => {}
        }
        let client = Client {
            token_url: metadata.token_endpoint.into(),
            authentication: metadata.client_authentication,
            ..self.client.clone()
        };
        let grant = Grant::Code { code, redirect_uri, code_verifier: Some(&attempt.code_verifier) };
        let response = request_token(&self.outbound, &client, &Quirks::default(), grant, now).await?;
        let id_token = response.id_token().ok_or(IdTokenFault::Absent)?;
        let expected = Expected { issuer: &self.issuer, client_id: &client.id, nonce: attempt.nonce.expose_secret() };
        let keys = self.keys(now).await?;
        match verify(id_token, &keys, &expected, now) {
            // The provider may have changed its keys since they were read.
            Err(IdTokenFault::UnknownKey) => {
                let keys = self.newer_keys(&keys, now).await?.ok_or(IdTokenFault::UnknownKey)?;
                Ok(verify(id_token, &keys, &expected, now)?)
            }
            verified => Ok(verified?),
        }
    }

    /// Says once in the log that the provider cannot be used, and once that it can again.
    fn note(&self, failure: Option<&OpenIdError>) {
        let was_failing = self.is_failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !was_failing => {
                tracing::warn!(
                    event = "openid.unavailable", %error,
                    "the identity provider of the console cannot be used; nobody can sign in there until it can"
                );
            }
            None if was_failing => {
                tracing::info!(event = "openid.available", "the identity provider of the console can be used again");
            }
            _ => {}
        }
    }
}
