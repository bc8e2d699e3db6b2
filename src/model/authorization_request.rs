//! Authorization requests: one attempt each to get a person's consent.
//! Owns: what a request remembers until the person comes back.
//! Must not know: how it is begun, completed, or stored.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    actor::Act,
    audit::{Event, EventName},
    client::Client,
    consent::Consent,
    grant::GrantRequest,
};

/// An authorization request, with the endpoints, client and redirect URI it was begun with.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// The record's id; `auth_id` on the wire.
    pub id: Uuid,
    /// What consent is asked for, and for whom.
    pub wanted: GrantRequest,
    /// The provider's name on the wire; the callback's path must name it.
    pub provider_id: String,
    /// Our client there. The code goes to its token endpoint, whatever the provider's record says by then.
    pub client: Client,
    /// Sent again, byte for byte, with the code (RFC 6749 section 4.1.3).
    pub redirect_uri: String,
    /// The code verifier (RFC 7636), if a challenge was sent.
    pub code_verifier: Option<SecretString>,
    /// How strictly the request is bound to its person.
    pub consent: Consent,
    /// Where our page leads to; absent if the person was sent there without it.
    pub authorization_url: Option<SecretString>,
    /// SHA-256 of the cookie of the browser that went on from our page.
    pub browser_hash: Option<Vec<u8>>,
    /// Where the browser is sent after the consent, if not to a page of ours.
    pub return_url: Option<String>,
    /// The code, or the static key in its place, while the application has not confirmed the user.
    pub code: Option<SecretString>,
    /// SHA-256 of the reference with which the application confirms the user.
    pub confirmation_hash: Option<Vec<u8>>,
    /// Set when the person consents on another device (RFC 8628).
    pub device: Option<Polling>,
    /// Its status.
    pub status: Status,
    /// SHA-256 of the state and the code it was taken with.
    pub code_hash: Option<Vec<u8>>,
    /// When it was taken.
    pub taken_at: Option<DateTime<Utc>>,
    /// The token it became.
    pub token: Option<Uuid>,
    /// The provider's error code, or ours.
    pub error: Option<String>,
    /// The provider's explanation, or ours.
    pub error_description: Option<String>,
    /// Until when the person may come back; once completed, until when the result can be read.
    pub expires_at: DateTime<Utc>,
}

impl AuthorizationRequest {
    /// Something that was done with this request.
    #[must_use]
    pub fn event(&self, name: EventName, act: &Act, now: DateTime<Utc>) -> Event {
        let subject = &self.wanted.subject;
        let event = Event::new(name, act, &subject.tenant, now).of_subject(subject);
        event.at_provider(&self.provider_id).in_request(self.id).with_scopes(&self.wanted.scopes)
    }
}

/// A request under way, as it is listed. No secret is opened for it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RequestSummary {
    /// The record's id.
    pub id: Uuid,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The user who is asked.
    pub user_id: String,
    /// The agent it is for; empty if it is for no particular one.
    pub agent_id: String,
    /// The requested scopes.
    pub scopes: Json<Vec<String>>,
    /// How strictly it is bound to its person.
    pub consent: Consent,
    /// Its status.
    pub status: Status,
    /// Whether the person consents on another device.
    pub is_for_device: bool,
    /// Whether a browser went on from our page to the provider.
    pub has_gone_on: bool,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// Until when the person may come back.
    pub expires_at: DateTime<Utc>,
}

/// What a browser that came back is shown of its request.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RequestOutcome {
    /// The provider's name for people.
    pub provider: String,
    /// The status of the request.
    pub status: Status,
    /// Where the browser is sent after the consent, if not to a page of ours.
    pub return_url: Option<String>,
}

/// How the token endpoint is polled for a person who consents on another device.
#[derive(Clone, Debug)]
pub struct Polling {
    /// The device code.
    pub device_code: SecretString,
    /// The least number of seconds between two polls.
    pub seconds: i64,
    /// What the person enters there, for our page.
    pub user_code: Option<SecretString>,
}

/// The status of an authorization request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// The person has not come back yet.
    Pending,
    /// The person came back, and the code is being exchanged.
    Exchanging,
    /// There is a token.
    Completed,
    /// The person or the provider refused, or the exchange failed.
    Failed,
}
