//! Audit events: what was done, by whom, for whom and with which result.
//! Owns: the names of the events, and what an event says. It never holds a secret.
//! Must not know: how events are chained or stored.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    actor::Act,
    subject::{Subject, Tenant},
    token::Token,
};

macro_rules! events {
    ($($(#[$doc:meta])* $event:ident = $name:literal,)+) => {
        /// What was done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum EventName {
            $($(#[$doc])* $event,)+
        }

        impl EventName {
            /// Every name, as it is stored and shown.
            pub const NAMES: &'static [&'static str] = &[$($name,)+];

            /// The name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$event => $name,)+
                }
            }
        }
    };
}

events! {
    /// An identified caller was refused what it asked for; counted.
    AccessDenied = "access.denied",
    /// An API key was created.
    ApiKeyCreated = "api_key.created",
    /// Callers came with a key that is unknown, expired or revoked; counted.
    ApiKeyRefused = "api_key.refused",
    /// An API key was revoked.
    ApiKeyRevoked = "api_key.revoked",
    /// Retention deletes the oldest events.
    AuditPruned = "audit.pruned",
    /// A connect link was made, at which a person sees their own connections.
    ConnectLinkCreated = "connect_link.created",
    /// The session of a connect link was ended by its person.
    ConnectLinkEnded = "connect_link.ended",
    /// A connect link was exchanged for a session.
    ConnectLinkUsed = "connect_link.used",
    /// An agent was connected to a token.
    ConnectionCreated = "connection.created",
    /// A connection was deleted.
    ConnectionDeleted = "connection.deleted",
    /// An authorization request was begun.
    ConsentBegun = "consent.begun",
    /// An authorization request became a token.
    ConsentCompleted = "consent.completed",
    /// The application confirmed the user: the code was taken.
    ConsentConfirmed = "consent.confirmed",
    /// A person went on from our page to the provider: the request belongs to that browser.
    ConsentContinued = "consent.continued",
    /// An authorization request ended without a token.
    ConsentFailed = "consent.failed",
    /// The person or the provider refused.
    ConsentRefused = "consent.refused",
    /// A state came back that was used before, at another provider's callback, or in another browser.
    ConsentReplayed = "consent.replayed",
    /// The person came back: the state was taken, or the code is kept until the application confirms.
    ConsentReturned = "consent.returned",
    /// Somebody did not come back from the identity provider as they must to be signed in to the console.
    ConsoleSignInRefused = "console.sign_in_refused",
    /// Somebody signed in to the console.
    ConsoleSignedIn = "console.signed_in",
    /// Somebody signed out of the console.
    ConsoleSignedOut = "console.signed_out",
    /// A new encryption key was listed.
    EncryptionKeyAdded = "encryption_key.added",
    /// An encryption key is to seal from now on.
    EncryptionKeyPromoted = "encryption_key.promoted",
    /// Every stored secret was sealed with the first encryption key, as far as it could be opened.
    EncryptionKeyResealed = "encryption_key.resealed",
    /// Resealing has begun.
    EncryptionKeyResealBegun = "encryption_key.reseal_begun",
    /// An encryption key is no longer used.
    EncryptionKeyRetired = "encryption_key.retired",
    /// A provider was changed.
    ProviderChanged = "provider.changed",
    /// Our client at a provider was registered again.
    ProviderClientReregistered = "provider.client_reregistered",
    /// A provider was created.
    ProviderCreated = "provider.created",
    /// A provider was deleted, with its tokens.
    ProviderDeleted = "provider.deleted",
    /// A provider was created from what its server says of itself.
    ProviderDiscovered = "provider.discovered",
    /// A provider does not accept our client.
    ProviderFailing = "provider.failing",
    /// A provider accepts our client again, or was corrected.
    ProviderRecovered = "provider.recovered",
    /// A server was started.
    ServerStarted = "server.started",
    /// A token's label or default mark was changed.
    TokenChanged = "token.changed",
    /// A grant is dead: only a new consent helps.
    TokenConsentNeeded = "token.consent_needed",
    /// A token was deleted.
    TokenDeleted = "token.deleted",
    /// A refresh token is about to expire; only where a webhook is sent it.
    TokenEndingSoon = "token.ending_soon",
    /// An access token was handed out.
    TokenHandedOut = "token.handed_out",
    /// A grant was brought in from another program, or from another installation.
    TokenImported = "token.imported",
    /// A token was obtained without a person.
    TokenIssued = "token.issued",
    /// A refresh failed; the grant is kept.
    TokenRefreshFailed = "token.refresh_failed",
    /// A token was refreshed.
    TokenRefreshed = "token.refreshed",
    /// An agent reported that an API rejected a token.
    TokenReportedInvalid = "token.reported_invalid",
    /// A deleted grant was given up, or cannot be revoked at its provider.
    TokenRevocationFailed = "token.revocation_failed",
    /// A deleted grant was revoked at its provider.
    TokenRevoked = "token.revoked",
    /// A webhook was added.
    WebhookCreated = "webhook.created",
    /// A webhook was removed.
    WebhookDeleted = "webhook.deleted",
    /// A webhook is sent nothing any more: its server answered that it is gone.
    WebhookDisabled = "webhook.disabled",
    /// A webhook that was disabled is sent events again.
    WebhookEnabled = "webhook.enabled",
    /// The providers and grants of a workspace were exported, encrypted.
    WorkspaceExported = "workspace.exported",
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventResult {
    /// It was done.
    Ok,
    /// It failed.
    Failed,
    /// Somebody refused it: the person, the provider, or this server.
    Refused,
}

impl EventResult {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// An event to record.
#[derive(Clone, Debug)]
pub struct Event {
    /// What was done.
    pub name: EventName,
    /// How it ended.
    pub result: EventResult,
    /// Who did it, and through which request.
    pub act: Act,
    /// When.
    pub at: DateTime<Utc>,
    /// Where.
    pub tenant: Tenant,
    /// Whose token.
    pub user_id: Option<String>,
    /// The agent the token is for.
    pub agent_id: Option<String>,
    /// The provider's name on the wire.
    pub provider_id: Option<String>,
    /// The token.
    pub token: Option<Uuid>,
    /// The authorization request.
    pub auth_id: Option<Uuid>,
    /// The scopes that were requested or granted.
    pub scopes: Vec<String>,
    /// Why it failed: an error code.
    pub error: Option<String>,
    /// What else there is to say.
    pub details: BTreeMap<String, String>,
    /// The account at the provider, for people. Webhooks are sent it; it is not recorded.
    pub account_label: Option<String>,
    /// Whether a refresh failed after others that succeeded, or succeeded after others that failed. Not recorded.
    pub is_turn: bool,
}

impl Event {
    /// Something that was done in this tenant.
    #[must_use]
    pub fn new(name: EventName, act: &Act, tenant: &Tenant, at: DateTime<Utc>) -> Self {
        Self {
            name,
            result: EventResult::Ok,
            act: act.clone(),
            at,
            tenant: tenant.clone(),
            user_id: None,
            agent_id: None,
            provider_id: None,
            token: None,
            auth_id: None,
            scopes: Vec::new(),
            error: None,
            details: BTreeMap::new(),
            account_label: None,
            is_turn: false,
        }
    }

    /// Something that was done with this token.
    #[must_use]
    pub fn of_token(name: EventName, token: &Token, act: &Act, at: DateTime<Utc>) -> Self {
        let event = Self::new(name, act, &token.subject.tenant, at).of_subject(&token.subject);
        let event = event.at_provider(&token.provider_id).about_token(token.id).with_scopes(&token.scopes);
        event.of_account(token.account_label.as_deref())
    }

    /// For this subject.
    #[must_use]
    pub fn of_subject(self, subject: &Subject) -> Self {
        self.of(&subject.user_id, &subject.agent_id)
    }

    /// For this user, and this agent; an empty text is nobody.
    #[must_use]
    pub fn of(mut self, user_id: &str, agent_id: &str) -> Self {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        (self.user_id, self.agent_id) = (some(user_id), some(agent_id));
        self
    }

    /// At this provider.
    #[must_use]
    pub fn at_provider(mut self, provider_id: &str) -> Self {
        self.provider_id = Some(provider_id.to_owned());
        self
    }

    /// About this token.
    #[must_use]
    pub fn about_token(mut self, token: Uuid) -> Self {
        self.token = Some(token);
        self
    }

    /// Of the account that people know by this label.
    #[must_use]
    pub fn of_account(mut self, label: Option<&str>) -> Self {
        self.account_label = label.map(ToOwned::to_owned);
        self
    }

    /// A refresh that failed after others that succeeded, or the other way round.
    #[must_use]
    pub fn turning(mut self, is_turn: bool) -> Self {
        self.is_turn = is_turn;
        self
    }

    /// In this authorization request.
    #[must_use]
    pub fn in_request(mut self, auth_id: Uuid) -> Self {
        self.auth_id = Some(auth_id);
        self
    }

    /// With these scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: &[String]) -> Self {
        self.scopes = scopes.to_vec();
        self
    }

    /// It did not succeed, for this reason.
    #[must_use]
    pub fn ended(mut self, result: EventResult, error: &str) -> Self {
        (self.result, self.error) = (result, Some(error.to_owned()));
        self
    }

    /// With something else to say.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers, ids and texts, which callers need not borrow")]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }
}

/// An event as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct RecordedEvent {
    /// Its organization, to whose chain it belongs.
    pub organization_id: String,
    /// Its number in that chain, counted from 1 without a gap.
    pub sequence: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What was done; a newer version may know more names.
    pub event: String,
    /// How it ended.
    pub result: String,
    /// The kind of who did it ...
    pub actor: String,
    /// ... and which one.
    pub actor_id: Option<String>,
    /// Its workspace.
    pub workspace_id: String,
    /// Whose token.
    pub user_id: Option<String>,
    /// The agent the token is for.
    pub agent_id: Option<String>,
    /// The provider's name on the wire.
    pub provider_id: Option<String>,
    /// The token.
    pub token_id: Option<Uuid>,
    /// The authorization request.
    pub auth_id: Option<Uuid>,
    /// The scopes that were requested or granted.
    pub scopes: Json<Vec<String>>,
    /// Why it failed: an error code.
    pub error: Option<String>,
    /// What else there is to say.
    pub details: Json<BTreeMap<String, String>>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// The client's address.
    pub address: Option<String>,
    /// The hash over this event and the hash before it.
    pub hash: Vec<u8>,
}

impl RecordedEvent {
    /// The event before it has its place in the chain.
    #[must_use]
    pub fn new(event: Event) -> Self {
        Self {
            organization_id: event.tenant.organization,
            sequence: 0,
            at: event.at,
            event: event.name.as_str().to_owned(),
            result: event.result.as_str().to_owned(),
            actor: event.act.actor.kind.as_str().to_owned(),
            actor_id: event.act.actor.id,
            workspace_id: event.tenant.workspace,
            user_id: event.user_id,
            agent_id: event.agent_id,
            provider_id: event.provider_id,
            token_id: event.token,
            auth_id: event.auth_id,
            scopes: Json(event.scopes),
            error: event.error,
            details: Json(event.details),
            request_id: event.act.request_id,
            address: event.act.address.map(|address| address.to_string()),
            hash: Vec::new(),
        }
    }
}

/// What an event says, borrowed from where it is kept: everything but its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFields<'e> {
    /// Its organization, to whose chain it belongs.
    pub organization_id: &'e str,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What was done.
    pub event: &'e str,
    /// How it ended.
    pub result: &'e str,
    /// The kind of who did it ...
    pub actor: &'e str,
    /// ... and which one.
    pub actor_id: Option<&'e str>,
    /// Its workspace.
    pub workspace_id: &'e str,
    /// Whose token.
    pub user_id: Option<&'e str>,
    /// The agent the token is for.
    pub agent_id: Option<&'e str>,
    /// The provider's name on the wire.
    pub provider_id: Option<&'e str>,
    /// The token.
    pub token_id: Option<Uuid>,
    /// The authorization request.
    pub auth_id: Option<Uuid>,
    /// The scopes that were requested or granted.
    pub scopes: &'e [String],
    /// Why it failed: an error code.
    pub error: Option<&'e str>,
    /// What else there is to say.
    pub details: &'e BTreeMap<String, String>,
    /// The id of the request.
    pub request_id: Option<&'e str>,
    /// The client's address.
    pub address: Option<&'e str>,
}

impl RecordedEvent {
    /// What it says.
    #[must_use]
    pub fn fields(&self) -> EventFields<'_> {
        EventFields {
            organization_id: &self.organization_id,
            at: self.at,
            event: &self.event,
            result: &self.result,
            actor: &self.actor,
            actor_id: self.actor_id.as_deref(),
            workspace_id: &self.workspace_id,
            user_id: self.user_id.as_deref(),
            agent_id: self.agent_id.as_deref(),
            provider_id: self.provider_id.as_deref(),
            token_id: self.token_id,
            auth_id: self.auth_id,
            scopes: &self.scopes.0,
            error: self.error.as_deref(),
            details: &self.details.0,
            request_id: self.request_id.as_deref(),
            address: self.address.as_deref(),
        }
    }
}

/// Which events are read. `None`: all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Those of this name.
    pub event: Option<String>,
    /// Those at this provider.
    pub provider_id: Option<String>,
    /// Those about this user's tokens.
    pub user_id: Option<String>,
    /// Those about this agent's tokens.
    pub agent_id: Option<String>,
    /// Those by this actor: a kind, or an id.
    pub actor: Option<String>,
    /// Those at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Those before this time.
    pub to: Option<DateTime<Utc>>,
}
