//! The HTTP side: every route on one page, its layers below.
//! Owns: paths, limits, the OpenAPI description.
//! Must not know: the rules of the broker. A handler only translates.

pub(crate) mod act;
pub mod address;
pub mod api;
pub mod app;
pub mod body;
pub mod brand;
pub mod browser;
mod caller;
mod checks;
pub mod console;
pub mod cors;
mod denial;
mod description;
mod error;
mod follow;
mod health;
pub mod limits;
mod observe;
pub mod people;
mod repoll;
mod request_id;
pub mod serve;
mod socket;
mod unread;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header},
    middleware,
    routing::{get, post},
};
use tower::ServiceBuilder;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::SwaggerUi;

use self::{
    api::{
        admin_tokens, audit, authenticate, confirm, connect_links, connections, events, finalize, mcp, providers,
        token_state, tokens, wait, webhooks,
    },
    app::App,
    browser::{callback, client_metadata, connect, key_entry, logo, message, start},
    error::ApiError,
};
use crate::telemetry::metrics::{KnownRoute, METRICS, Method};

/// The largest body that is read.
const BODY_LIMIT: usize = 256 * 1024;

/// Every operation of the API, served below `/v2/auth` and below `/api-host/v2/auth`.
fn api() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(description::Start::openapi())
        .routes(routes!(authenticate::authenticate))
        .routes(routes!(wait::wait))
        .routes(routes!(callback::get, finalize::post))
        .routes(routes!(callback::setup))
        .routes(routes!(confirm::confirm))
        .routes(routes!(providers::list, providers::create))
        .routes(routes!(mcp::discover))
        .routes(routes!(providers::get, providers::update, providers::delete))
        .routes(routes!(tokens::list, tokens::delete_for_user))
        .routes(routes!(tokens::exists))
        .routes(routes!(tokens::exists_batch))
        .routes(routes!(token_state::get, tokens::delete))
        .routes(routes!(token_state::report))
        .routes(routes!(tokens::update_metadata))
        .routes(routes!(tokens::workspace_slack_exists))
        .routes(routes!(tokens::delete_workspace_slack))
        .routes(routes!(connect_links::create))
        .routes(routes!(connections::list, connections::create))
        .routes(routes!(connections::delete))
        .routes(routes!(audit::list))
        .routes(routes!(admin_tokens::list))
        .routes(routes!(admin_tokens::get, admin_tokens::delete))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::delete))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::enable))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::replay))
        .routes(routes!(events::follow))
}

/// The whole server.
pub fn router(app: Arc<App>) -> Router {
    let (api, description) = api().split_for_parts();
    let description = description::complete(description);
    METRICS.requests.know(routes_to_count(&description));
    let cors = app.cors.clone();
    let router = Router::new()
        .merge(api.clone())
        .nest("/api-host", api)
        .route("/host-oauth-callback/{provider_id}", get(callback::get))
        .route("/host-oauth-callback/{provider_id}/at/{callback_tag}", get(callback::tagged))
        .route("/host-oauth-callback/{provider_id}/{auth_id}", get(callback::outcome))
        .route("/connect/{reference}", get(connect::get).post(connect::post))
        .route("/connect/link/{link}", get(connect::get_link).post(connect::post_link))
        .route("/host-api-key/{provider_id}", get(key_entry::get).post(key_entry::post))
        .route("/oauth/client-metadata.json/{provider_id}", get(client_metadata::get))
        .route("/oauth/client-metadata.json/{provider_id}/{callback_tag}", get(client_metadata::tagged))
        .route("/", get(start::get))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/ok", get(health::ok))
        .route("/metrics", get(health::metrics))
        .route("/brand/logo", get(logo::get))
        .route("/brand/message.js", get(message::script))
        .merge(docs(description))
        .merge(people_pages(Arc::clone(&app)))
        .merge(console_pages(Arc::clone(&app)))
        .fallback(async || not_found())
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        // One combined layer: separate layers would cost every request and every waiter extra allocations.
        .layer(
            ServiceBuilder::new()
                .layer(middleware::from_fn_with_state(Arc::clone(&app), observe::observe))
                .layer(DefaultBodyLimit::max(BODY_LIMIT)),
        )
        .with_state(app);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// The pages of people.
fn people_pages(app: Arc<App>) -> Router<Arc<App>> {
    use people::{connections, elsewhere, failure, link, one};

    Router::new()
        .route("/connections", get(connections::list))
        .route("/connections/{secret}", get(link::get).post(link::post))
        .route("/connections/leave", post(link::leave))
        .route("/connections/requested/{auth_id}", get(elsewhere::status))
        .route("/connections/connect/{provider_id}", post(connections::connect_to))
        .route("/connections/held/{token_id}", get(one::get))
        .route("/connections/held/{token_id}/reconnect", post(one::reconnect))
        .route("/connections/held/{token_id}/revoke", get(one::ask).post(one::revoke))
        .layer(middleware::from_fn_with_state(app, failure::in_page))
}

/// The operators' console, unless it is off.
fn console_pages(app: Arc<App>) -> Router<Arc<App>> {
    use console::{
        add_mcp, add_provider, audit, connections, edit_provider, events, failure, keys, openid, overview, providers,
        requests, revoke_many, settings, sign_in, tried, try_provider, verify_audit,
    };

    if app.broker.settings.console == "off" {
        return Router::new();
    }
    Router::new()
        .route("/console", get(overview::get))
        .route("/console/", get(failure::without_slash))
        .route("/console/{*rest}", get(failure::not_found))
        .route("/console/sign-in", get(sign_in::get).post(sign_in::post))
        .route("/console/sign-in/openid", get(openid::begin))
        .route("/console/sign-in/openid/callback", get(openid::callback))
        .route("/console/sign-out", post(sign_in::sign_out))
        .route("/console/connections", get(connections::list))
        .route("/console/connections/revoke", get(revoke_many::ask).post(revoke_many::revoke))
        .route("/console/connections/{token_id}", get(connections::get).post(connections::post))
        .route("/console/connections/{token_id}/revoke", get(connections::ask).post(connections::revoke))
        .route("/console/requests", get(requests::get))
        .route("/console/events", get(events::list))
        .route("/console/events/stream", get(events::stream))
        .route("/console/events.js", get(events::script))
        .route("/console/providers", get(providers::list))
        .route("/console/providers/{provider_id}", get(providers::get).post(providers::check_now))
        .route("/console/providers/{provider_id}/edit", get(edit_provider::get).post(edit_provider::post))
        .route("/console/providers/{provider_id}/try", get(try_provider::get).post(try_provider::post))
        .route("/console/tried", get(tried::get).post(tried::post))
        .route("/console/providers/{provider_id}/delete", get(providers::ask).post(providers::remove))
        .route("/console/add-provider", get(add_provider::get).post(add_provider::post))
        .route("/console/add-mcp", get(add_mcp::get).post(add_mcp::post))
        .route("/console/keys", get(keys::list).post(keys::create))
        .route("/console/keys/{key_id}/revoke", get(keys::ask).post(keys::revoke))
        .route("/console/audit", get(audit::list))
        .route("/console/audit/export", get(audit::export))
        .route("/console/audit/verify", post(verify_audit::verify))
        .route("/console/settings", get(settings::get))
        .layer(middleware::from_fn_with_state(app, failure::in_page))
}

/// The routes outside the API.
const PAGES: [(Method, &str); 74] = [
    (Method::Get, "/host-oauth-callback/{provider_id}"),
    (Method::Get, "/host-oauth-callback/{provider_id}/at/{callback_tag}"),
    (Method::Get, "/host-oauth-callback/{provider_id}/{auth_id}"),
    (Method::Get, "/connect/{reference}"),
    (Method::Post, "/connect/{reference}"),
    (Method::Get, "/connect/link/{link}"),
    (Method::Post, "/connect/link/{link}"),
    (Method::Get, "/connections"),
    (Method::Get, "/connections/{secret}"),
    (Method::Post, "/connections/{secret}"),
    (Method::Post, "/connections/leave"),
    (Method::Post, "/connections/connect/{provider_id}"),
    (Method::Get, "/connections/held/{token_id}"),
    (Method::Post, "/connections/held/{token_id}/reconnect"),
    (Method::Get, "/connections/held/{token_id}/revoke"),
    (Method::Post, "/connections/held/{token_id}/revoke"),
    (Method::Get, "/host-api-key/{provider_id}"),
    (Method::Post, "/host-api-key/{provider_id}"),
    (Method::Get, "/oauth/client-metadata.json/{provider_id}"),
    (Method::Get, "/oauth/client-metadata.json/{provider_id}/{callback_tag}"),
    (Method::Get, "/brand/logo"),
    (Method::Get, "/brand/message.js"),
    (Method::Get, "/connections/requested/{auth_id}"),
    (Method::Get, "/"),
    (Method::Get, "/console"),
    (Method::Get, "/console/"),
    (Method::Get, "/console/{*rest}"),
    (Method::Get, "/console/sign-in"),
    (Method::Post, "/console/sign-in"),
    (Method::Get, "/console/sign-in/openid"),
    (Method::Get, "/console/sign-in/openid/callback"),
    (Method::Post, "/console/sign-out"),
    (Method::Get, "/console/connections"),
    (Method::Get, "/console/connections/revoke"),
    (Method::Post, "/console/connections/revoke"),
    (Method::Get, "/console/connections/{token_id}"),
    (Method::Post, "/console/connections/{token_id}"),
    (Method::Get, "/console/connections/{token_id}/revoke"),
    (Method::Post, "/console/connections/{token_id}/revoke"),
    (Method::Get, "/console/requests"),
    (Method::Get, "/console/events"),
    (Method::Get, "/console/events/stream"),
    (Method::Get, "/console/events.js"),
    (Method::Get, "/console/providers"),
    (Method::Get, "/console/providers/{provider_id}"),
    (Method::Post, "/console/providers/{provider_id}"),
    (Method::Get, "/console/providers/{provider_id}/edit"),
    (Method::Post, "/console/providers/{provider_id}/edit"),
    (Method::Get, "/console/providers/{provider_id}/try"),
    (Method::Post, "/console/providers/{provider_id}/try"),
    (Method::Get, "/console/tried"),
    (Method::Post, "/console/tried"),
    (Method::Get, "/console/providers/{provider_id}/delete"),
    (Method::Post, "/console/providers/{provider_id}/delete"),
    (Method::Get, "/console/add-provider"),
    (Method::Post, "/console/add-provider"),
    (Method::Get, "/console/add-mcp"),
    (Method::Post, "/console/add-mcp"),
    (Method::Get, "/console/keys"),
    (Method::Post, "/console/keys"),
    (Method::Get, "/console/keys/{key_id}/revoke"),
    (Method::Post, "/console/keys/{key_id}/revoke"),
    (Method::Get, "/console/audit"),
    (Method::Get, "/console/audit/export"),
    (Method::Post, "/console/audit/verify"),
    (Method::Get, "/console/settings"),
    (Method::Get, "/livez"),
    (Method::Get, "/readyz"),
    (Method::Get, "/ok"),
    (Method::Get, "/metrics"),
    (Method::Get, "/docs"),
    (Method::Get, "/docs/"),
    (Method::Get, "/docs/{*rest}"),
    (Method::Get, "/openapi.json"),
];

/// Every route, as the metrics list it.
fn routes_to_count(description: &utoipa::openapi::OpenApi) -> Vec<KnownRoute> {
    let page = |(method, template): (Method, &str)| {
        let lists_failures = template.starts_with("/host-oauth-callback/");
        KnownRoute { method, template: template.to_owned(), lists_failures }
    };
    let mut routes = Vec::from(PAGES.map(page));
    for (path, item) in &description.paths.paths {
        let operations = [
            (Method::Get, &item.get),
            (Method::Post, &item.post),
            (Method::Patch, &item.patch),
            (Method::Delete, &item.delete),
        ];
        for (method, _) in operations.into_iter().filter(|(_, operation)| operation.is_some()) {
            let at = |prefix| KnownRoute { method, template: format!("{prefix}{path}"), lists_failures: true };
            routes.extend(["", "/api-host"].map(at));
        }
    }
    routes
}

/// The OpenAPI description of every operation.
#[must_use]
pub fn description() -> utoipa::openapi::OpenApi {
    description::complete(api().into_openapi())
}

/// The description as JSON and as pages. Nothing is loaded from elsewhere.
fn docs(description: utoipa::openapi::OpenApi) -> Router<Arc<App>> {
    let config = utoipa_swagger_ui::Config::default().validator_url("none");
    let policy = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    Router::from(SwaggerUi::new("/docs").url("/openapi.json", description).config(config))
        .layer(SetResponseHeaderLayer::overriding(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)))
}

fn not_found() -> ApiError {
    ApiError::NotFound("Not found. See /docs for the API.".into())
}
