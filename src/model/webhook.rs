//! Webhooks: addresses of applications that are sent the events of a workspace.
//! Owns: the types of events, which audit event is reported as which, and what a report says. It never holds a secret.
//! Must not know: how reports are stored, signed or sent.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    audit::{Event, EventName},
    key_limits::KeyLimits,
    subject::Tenant,
};

/// The types of events that webhooks are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// There is a token: a person consented, or one was obtained without a person.
    TokenConnected,
    /// A grant is dead: only a new consent helps.
    TokenConsentNeeded,
    /// A refresh failed, the first one after refreshes that succeeded; the grant is kept.
    TokenRefreshFailed,
    /// A refresh token is about to expire.
    TokenEndingSoon,
    /// A refresh succeeded, the first one after refreshes that failed.
    TokenRecovered,
    /// A token was deleted.
    TokenRevoked,
    /// A provider does not accept our client.
    ProviderFailing,
    /// It does again, or an operator corrected the provider.
    ProviderRecovered,
    /// Nothing happened: an operator tests a webhook.
    WebhookTest,
}

impl EventType {
    /// Every type that a webhook can be limited to, with its name.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("token.connected", Self::TokenConnected),
        ("token.consent_needed", Self::TokenConsentNeeded),
        ("token.refresh_failed", Self::TokenRefreshFailed),
        ("token.ending_soon", Self::TokenEndingSoon),
        ("token.recovered", Self::TokenRecovered),
        ("token.revoked", Self::TokenRevoked),
        ("provider.failing", Self::ProviderFailing),
        ("provider.recovered", Self::ProviderRecovered),
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("webhook.test", |(name, _)| name)
    }

    /// As what an audit event is reported; most are not.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        match event.name {
            EventName::ConsentCompleted | EventName::TokenIssued => Some(Self::TokenConnected),
            EventName::TokenConsentNeeded => Some(Self::TokenConsentNeeded),
            EventName::TokenRefreshFailed => event.is_turn.then_some(Self::TokenRefreshFailed),
            EventName::TokenRefreshed => event.is_turn.then_some(Self::TokenRecovered),
            EventName::TokenEndingSoon => Some(Self::TokenEndingSoon),
            EventName::TokenDeleted => Some(Self::TokenRevoked),
            EventName::ProviderFailing => Some(Self::ProviderFailing),
            EventName::ProviderRecovered => Some(Self::ProviderRecovered),
            _ => None,
        }
    }

    /// What the application, or its operator, can do about it.
    fn what_to_do(self) -> Option<&'static str> {
        match self {
            Self::TokenConsentNeeded => {
                Some("Ask the user to connect again: the next authenticate call for this user returns the URL.")
            }
            Self::TokenRefreshFailed => {
                Some("Nothing yet: the grant is kept, and the refresh is tried again when the token is needed.")
            }
            Self::TokenEndingSoon => {
                Some("Ask the user to connect again before expires_at, for example with force_new in authenticate.")
            }
            Self::ProviderFailing => Some(
                "Correct the provider's client_id or client_secret; agent-auth provider check says what its server \
                 answers. The grants are kept.",
            ),
            _ => None,
        }
    }
}

/// What is reported to the webhooks of a workspace.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its type.
    pub kind: EventType,
    /// The workspace.
    pub tenant: Tenant,
    /// Reports with the same key are delivered one after the other: the id of the token, or the provider.
    pub ordering_key: String,
    /// The body of the request, as it is signed and sent.
    pub payload: String,
}

impl Report {
    /// What is reported of an audit event, if anything is.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let kind = EventType::of(event)?;
        let ordering_key = match (event.token, &event.provider_id) {
            (Some(token), _) => token.to_string(),
            (None, Some(provider_id)) => format!("provider {provider_id}"),
            (None, None) => String::new(),
        };
        let mut data = data_of(&event.tenant);
        let texts = [
            ("provider_id", event.provider_id.clone()),
            ("user_id", event.user_id.clone()),
            ("agent_id", event.agent_id.clone()),
            ("token_id", event.token.map(|token| token.to_string())),
            ("auth_id", event.auth_id.map(|id| id.to_string())),
            ("account_label", event.account_label.clone()),
            ("error", event.error.clone()),
            ("expires_at", event.details.get("refresh_token_expires_at").cloned()),
            ("reason", event.details.get("reason").cloned()),
            ("what_to_do", kind.what_to_do().map(str::to_owned)),
        ];
        data.extend(texts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))));
        if event.token.is_some() {
            data.insert("scopes".to_owned(), json!(event.scopes));
        }
        Some(Self { kind, tenant: event.tenant.clone(), ordering_key, payload: payload(kind, event.at, &data) })
    }
}

/// A report that is kept for those who follow the events of its workspace.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ReportedEvent {
    /// The number of the audit event in its organization's log.
    pub sequence: i64,
    /// The type of the event.
    pub event: String,
    /// What it says: the body that webhooks are sent.
    pub payload: String,
    /// When it happened.
    pub at: DateTime<Utc>,
}

/// What a report is about. A text that it does not have is absent, or empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct About {
    /// The provider, by its name on the wire.
    pub provider_id: String,
    /// Whose token it is; empty for what happened to a provider.
    pub user_id: String,
    /// The agent that the token is for.
    pub agent_id: String,
    /// The token.
    pub token_id: Option<Uuid>,
    /// Why something failed.
    pub error: Option<String>,
    /// Why a token was deleted.
    pub reason: Option<String>,
    /// What the application, or its operator, can do about it.
    pub what_to_do: Option<String>,
}

impl ReportedEvent {
    /// What it is about.
    #[must_use]
    pub fn about(&self) -> About {
        #[derive(Deserialize)]
        struct Body {
            data: About,
        }
        // A later version may write what this one cannot read: then it is about nothing that this one knows.
        serde_json::from_str::<Body>(&self.payload).map(|body| body.data).unwrap_or_default()
    }
}

impl About {
    /// True when a key with these limits reaches it. What happens to a provider is of all who use it.
    #[must_use]
    pub fn is_inside(&self, limits: &KeyLimits) -> bool {
        let is_of_provider = self.token_id.is_none() && self.user_id.is_empty() && !self.provider_id.is_empty();
        let is_of_subject = limits.include_user(&self.user_id) && limits.include_agent(&self.agent_id);
        limits.include_provider(&self.provider_id) && (is_of_provider || is_of_subject)
    }
}

/// The body of the request that tests a webhook.
#[must_use]
pub fn test_payload(webhook: &Webhook, now: DateTime<Utc>) -> String {
    let mut data = data_of(&webhook.tenant);
    data.insert("webhook_id".to_owned(), json!(webhook.id));
    payload(EventType::WebhookTest, now, &data)
}

fn data_of(tenant: &Tenant) -> Map<String, Value> {
    let ids = [("organization_id", &tenant.organization), ("workspace_id", &tenant.workspace)];
    ids.into_iter().map(|(name, id)| (name.to_owned(), json!(id))).collect()
}

fn payload(kind: EventType, at: DateTime<Utc>, data: &Map<String, Value>) -> String {
    let timestamp = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    json!({"type": kind.as_str(), "timestamp": timestamp, "data": data}).to_string()
}

/// A webhook, without its secret.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The record's id.
    pub id: Uuid,
    /// The workspace whose events it is sent.
    pub tenant: Tenant,
    /// Where they are sent.
    pub url: String,
    /// The names of the types it is sent; empty: all.
    pub events: Vec<String>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// Since when it is sent nothing ...
    pub disabled_at: Option<DateTime<Utc>>,
    /// ... and why.
    pub disabled_reason: Option<String>,
}

impl Webhook {
    /// True when it is sent events of this type.
    #[must_use]
    pub fn wants(&self, kind: EventType) -> bool {
        self.events.is_empty() || self.events.iter().any(|name| name == kind.as_str())
    }
}

/// Which deliveries are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Not delivered yet.
    Waiting,
    /// Delivered.
    Delivered,
    /// Given up.
    Dead,
}

impl DeliveryState {
    /// Every state with its name.
    pub const NAMES: [(&'static str, Self); 3] =
        [("waiting", Self::Waiting), ("delivered", Self::Delivered), ("dead", Self::Dead)];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, state)| *state == self).map_or("waiting", |(name, _)| name)
    }
}

/// The delivery of an event to a webhook, in a list.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct DeliverySummary {
    /// Its id; the message id on the wire is made of it.
    pub id: Uuid,
    /// The type of the event.
    pub event: String,
    /// How many attempts were begun.
    pub attempts: i64,
    /// When the next attempt is due.
    pub due_at: Option<DateTime<Utc>>,
    /// The status of the last response.
    pub last_status: Option<i64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When the event happened.
    pub created_at: DateTime<Utc>,
    /// When it was delivered.
    pub delivered_at: Option<DateTime<Utc>>,
    /// When it was given up.
    pub dead_at: Option<DateTime<Utc>>,
}

impl DeliverySummary {
    /// Its state.
    #[must_use]
    pub fn state(&self) -> DeliveryState {
        match (self.due_at, self.dead_at) {
            (Some(_), _) => DeliveryState::Waiting,
            (None, Some(_)) => DeliveryState::Dead,
            (None, None) => DeliveryState::Delivered,
        }
    }
}
