//! `/v2/admin/webhooks`: where the events of the workspace are sent.
//! Owns: the shapes on the wire. A secret is in the response that creates its webhook, and in no other.
//! Must not know: how messages are signed, or when they are sent.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    broker::{
        rules,
        webhooks::{self, Replayed, signature},
    },
    http::{
        app::App,
        body::{Fields, JsonBody, literal_error},
        checks::{read_parameters, readable},
        error::{ApiError, ErrorBody, Faults},
    },
    identity::Caller,
    model::webhook::{DeliveryState, DeliverySummary, EventType, Webhook},
    outbound::address::AddressGuard,
};

/// A webhook to add.
#[derive(ToSchema)]
#[schema(example = json!({"url": "https://app.example.com/webhooks/agent-auth", "events": ["token.consent_needed"]}))]
pub struct WebhookRequest {
    /// Where events are sent: https, or http to a host in `ALLOW_PRIVATE_UPSTREAMS`.
    url: String,
    /// Only these types of events. If absent: all.
    #[schema(required = false)]
    events: Vec<String>,
}

/// Where the events of the workspace are sent.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookResponse {
    id: Uuid,
    url: String,
    /// The types of events that it is sent; empty: all.
    events: Vec<String>,
    created_at: DateTime<Utc>,
    /// Since when it is sent nothing: it answered 410.
    disabled_at: Option<DateTime<Utc>>,
    disabled_reason: Option<String>,
}

/// A webhook that was added.
#[derive(Serialize, ToSchema)]
pub struct NewWebhook {
    #[serde(flatten)]
    webhook: WebhookResponse,
    /// What verifies its messages. It is shown only here.
    secret: String,
}

/// The webhooks of the workspace.
#[derive(Serialize, ToSchema)]
pub struct WebhookList {
    data: Vec<WebhookResponse>,
}

/// How the receiver answered a test.
#[derive(Serialize, ToSchema)]
pub struct WebhookTest {
    /// The status of its response; null if there was none.
    status: Option<u16>,
    /// Why there was none.
    error: Option<String>,
}

/// What was sent to a webhook, or waits.
#[derive(Serialize, ToSchema)]
pub struct WebhookDelivery {
    message_id: String,
    /// The type of the event.
    #[serde(rename = "type")]
    kind: String,
    /// `waiting`, `delivered` or `dead`.
    state: &'static str,
    attempts: i64,
    next_attempt_at: Option<DateTime<Utc>>,
    last_status: Option<i64>,
    last_error: Option<String>,
    created_at: DateTime<Utc>,
    delivered_at: Option<DateTime<Utc>>,
    /// When it was given up.
    dead_at: Option<DateTime<Utc>>,
}

/// The latest deliveries of a webhook, the newest first, at most a thousand.
#[derive(Serialize, ToSchema)]
pub struct WebhookDeliveryList {
    data: Vec<WebhookDelivery>,
}

/// What is to be sent again: one message, or the events since a time.
#[derive(ToSchema)]
#[schema(example = json!({"since": "2026-11-01T00:00:00Z", "dead": true}))]
pub struct ReplayRequest {
    /// This message.
    message_id: Option<String>,
    /// Events since this time.
    since: Option<DateTime<Utc>>,
    /// Only those that were given up.
    #[schema(default = false, required = false)]
    dead: bool,
}

/// What is sent again.
#[derive(Serialize, ToSchema)]
pub struct ReplayedEvents {
    /// How many events.
    replayed: u64,
}

/// Lists the webhooks of the workspace, the oldest first.
#[utoipa::path(
    get,
    operation_id = "listWebhooks",
    path = "/v2/admin/webhooks",
    tag = "Admin",
    responses((status = 200, body = WebhookList), (status = 403, body = ErrorBody)),
)]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<WebhookList>, ApiError> {
    caller.sees_every_event()?;
    let webhooks = webhooks::list(&app.broker, &caller.tenant).await?;
    Ok(Json(WebhookList { data: webhooks.into_iter().map(WebhookResponse::from).collect() }))
}

/// Adds a webhook: it is sent the events of the workspace from now on.
#[utoipa::path(
    post,
    operation_id = "createWebhook",
    path = "/v2/admin/webhooks",
    tag = "Admin",
    request_body = WebhookRequest,
    responses((status = 201, body = NewWebhook), (status = 403, body = ErrorBody), (status = 422, body = Faults)),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: JsonBody,
) -> Result<(StatusCode, Json<NewWebhook>), ApiError> {
    caller.administers_webhooks()?;
    let request = WebhookRequest::read(&body, app.broker.outbound.guard())?;
    let events: Vec<EventType> = request.events.iter().filter_map(|name| event_type(name)).collect();
    let (webhook, secret) = webhooks::add(&app.broker, &caller.tenant, &request.url, &events, &caller.act).await?;
    let secret = secret.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(NewWebhook { webhook: webhook.into(), secret })))
}

/// Removes a webhook, with all that is yet to be sent there.
#[utoipa::path(
    delete,
    operation_id = "deleteWebhook",
    path = "/v2/admin/webhooks/{webhook_id}",
    tag = "Admin",
    params(("webhook_id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.administers_webhooks()?;
    let webhook = find(&app, &caller, &id).await?;
    let removed = webhooks::remove(&app.broker, &webhook, &caller.act).await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(no_webhook()) }
}

/// Sends a signed message of the type `webhook.test`, now and once.
#[utoipa::path(
    post,
    operation_id = "testWebhook",
    path = "/v2/admin/webhooks/{webhook_id}/test",
    tag = "Admin",
    params(("webhook_id" = String, Path)),
    responses(
        (status = 200, body = WebhookTest),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub async fn test(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<WebhookTest>, ApiError> {
    caller.administers_webhooks()?;
    let webhook = find(&app, &caller, &id).await?;
    Ok(Json(match webhooks::test(&app.broker, &webhook).await {
        Ok(answer) => WebhookTest { status: Some(answer.status), error: None },
        Err(error) => WebhookTest { status: None, error: Some(error.in_words()) },
    }))
}

/// Lets a webhook be sent events again after it answered 410.
#[utoipa::path(
    post,
    operation_id = "enableWebhook",
    path = "/v2/admin/webhooks/{webhook_id}/enable",
    tag = "Admin",
    params(("webhook_id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)),
)]
pub async fn enable(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.administers_webhooks()?;
    let webhook = find(&app, &caller, &id).await?;
    webhooks::enable(&app.broker, &webhook, &caller.act).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists what was sent to a webhook, and what waits, the newest first.
#[utoipa::path(
    get,
    operation_id = "listWebhookDeliveries",
    path = "/v2/admin/webhooks/{webhook_id}/deliveries",
    tag = "Admin",
    params(
        ("webhook_id" = String, Path),
        ("state" = Option<String>, Query, description = "Only those that are `waiting`, `delivered` or `dead`."),
    ),
    responses(
        (status = 200, body = WebhookDeliveryList),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = Faults),
    ),
)]
pub async fn deliveries(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<WebhookDeliveryList>, ApiError> {
    caller.sees_every_event()?;
    let mut state = None;
    read_parameters(readable(query.as_deref())?, &["state"], |name, value| {
        if name == "state" {
            let named = DeliveryState::NAMES.iter().find(|(known, _)| *known == value);
            state = Some(named.ok_or_else(|| literal_error(DeliveryState::NAMES.map(|(known, _)| known)))?.1);
        }
        Ok(())
    })?;
    let webhook = find(&app, &caller, &id).await?;
    let deliveries = webhooks::deliveries(&app.broker, &webhook, state).await?;
    Ok(Json(WebhookDeliveryList { data: deliveries.into_iter().map(WebhookDelivery::from).collect() }))
}

/// Sends events again that were delivered or given up, with the same message ids. What waits for another attempt is tried at
/// once.
#[utoipa::path(
    post,
    operation_id = "replayWebhook",
    path = "/v2/admin/webhooks/{webhook_id}/replay",
    tag = "Admin",
    params(("webhook_id" = String, Path)),
    request_body = ReplayRequest,
    responses(
        (status = 200, body = ReplayedEvents),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = Faults),
    ),
)]
pub async fn replay(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonBody,
) -> Result<Json<ReplayedEvents>, ApiError> {
    caller.administers_webhooks()?;
    let replayed = ReplayRequest::read(&body)?;
    let webhook = find(&app, &caller, &id).await?;
    Ok(Json(ReplayedEvents { replayed: webhooks::replay(&app.broker, &webhook, &replayed).await? }))
}

/// The webhook of the workspace with that id. Any other text is the id of none.
async fn find(app: &App, caller: &Caller, id: &str) -> Result<Webhook, ApiError> {
    let id = Uuid::try_parse(id).map_err(|_| no_webhook())?;
    Ok(webhooks::find(&app.broker, &caller.tenant, id).await?)
}

fn no_webhook() -> ApiError {
    ApiError::NotFound("This workspace has no webhook with that id.".into())
}

fn event_type(name: &str) -> Option<EventType> {
    EventType::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

fn known_type(name: &str) -> Result<(), (&'static str, String)> {
    event_type(name).map(|_| ()).ok_or_else(|| literal_error(EventType::NAMES.map(|(known, _)| known)))
}

impl WebhookRequest {
    fn read(body: &JsonBody, guard: &AddressGuard) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body);
        let request = Self {
            url: fields.required_text("url", &|url| rules::endpoint(guard, url)),
            events: fields.optional_texts("events", EventType::NAMES.len(), &known_type).unwrap_or_default(),
        };
        fields.finish()?;
        Ok(request)
    }
}

impl ReplayRequest {
    fn read(body: &JsonBody) -> Result<Replayed, ApiError> {
        const MESSAGE: &str = "Input should be the message_id of a delivery";
        const TIME: &str = "Input should be a time such as 2026-01-31T00:00:00Z";
        const EITHER: &str = "Either message_id or since is needed";
        let time = |text: &str| DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).ok();
        let mut fields = Fields::of_body(body);
        let message_id = fields.optional_text("message_id", &|text| {
            signature::delivery_of(text).map(|_| ()).ok_or_else(|| ("value_error", MESSAGE.into()))
        });
        let since = fields
            .optional_text("since", &|text| time(text).map(|_| ()).ok_or_else(|| ("datetime_parsing", TIME.into())));
        let request = Self { message_id, since: since.as_deref().and_then(time), dead: fields.boolean("dead", false) };
        let replayed = match (request.message_id.as_deref().and_then(signature::delivery_of), request.since) {
            (Some(delivery), None) => Some(Replayed::One(delivery)),
            (None, Some(since)) => Some(Replayed::Since(since, request.dead)),
            (Some(_), Some(_)) | (None, None) => None,
        };
        if replayed.is_none() {
            fields.fault(&["since".into()], ("value_error", EITHER.into()));
        }
        fields.finish()?;
        replayed.ok_or_else(|| ApiError::fault(["body", "since"], "value_error", EITHER))
    }
}

impl From<Webhook> for WebhookResponse {
    fn from(webhook: Webhook) -> Self {
        let Webhook { id, tenant: _, url, events, created_at, disabled_at, disabled_reason } = webhook;
        Self { id, url, events, created_at, disabled_at, disabled_reason }
    }
}

impl From<DeliverySummary> for WebhookDelivery {
    fn from(delivery: DeliverySummary) -> Self {
        Self {
            message_id: signature::message_id(delivery.id),
            state: delivery.state().as_str(),
            kind: delivery.event,
            attempts: delivery.attempts,
            next_attempt_at: delivery.due_at,
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            created_at: delivery.created_at,
            delivered_at: delivery.delivered_at,
            dead_at: delivery.dead_at,
        }
    }
}
