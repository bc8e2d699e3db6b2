//! `OpenID` Connect: a person proves to an identity provider who they are, and the provider says it to us.
//! Owns: the authorization URL of a sign-in, and what becomes of the code that comes back.
//! Must not know: who may do what.

use chrono::{DateTime, Utc};
use oauth2::{
    AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, basic::BasicClient,
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    documents::Documents,
    error::OpenIdError,
    id_token::{Claims, Expected, IdTokenFault, verify},
};
use crate::{
    model::{
        client::{Client, ClientAuthentication},
        failure::FailureKind,
        quirks::Quirks,
    },
    oauth::token::{Grant, request_token},
    outbound::client::Outbound,
};

/// An identity provider, and our client there.
pub struct OpenIdProvider {
    outbound: Outbound,
    client: Client,
    documents: Documents,
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

impl OpenIdProvider {
    /// The provider with this issuer, byte for byte. Nothing is requested yet.
    #[must_use]
    pub fn new(outbound: Outbound, issuer: String, client_id: String, client_secret: SecretString) -> Self {
        let client = Client::new(client_id, Some(client_secret), ClientAuthentication::ClientSecretBasic);
        Self { documents: Documents::new(outbound.clone(), issuer), outbound, client }
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.documents.issuer()
    }

    /// Where the browser goes (`OpenID` Connect Core, section 3.1.2.1).
    pub async fn authorization_url(
        &self,
        attempt: &Attempt,
        redirect_uri: &str,
        scopes: &[String],
        now: DateTime<Utc>,
    ) -> Result<Url, OpenIdError> {
        let metadata = self.documents.metadata(now).await?;
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
        let metadata = self.documents.metadata(now).await?;
        let must_name_issuer = metadata.authorization_response_iss_parameter_supported;
        match named_issuer {
            Some(named) if named != self.issuer() => return Err(OpenIdError::OtherIssuer),
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
        let expected = Expected { issuer: self.issuer(), client_id: &client.id, nonce: attempt.nonce.expose_secret() };
        let keys = self.documents.keys(now).await?;
        match verify(id_token, &keys, &expected, now) {
            // The provider may have changed its keys since they were read.
            Err(IdTokenFault::UnknownKey) => {
                let keys = self.documents.newer_keys(&keys, now).await?.ok_or(IdTokenFault::UnknownKey)?;
                Ok(verify(id_token, &keys, &expected, now)?)
            }
            verified => Ok(verified?),
        }
    }
}
