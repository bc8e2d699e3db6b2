//! `/apps`: where a developer registers an application at the sample provider, as at every other one.
//! Owns: the form, and that people are sent back to this demo only.
//! Must not know: what a client is used for.

use std::sync::Arc;

use askama::Template;
use axum::{body::Bytes, extract::State, http::StatusCode, response::Response};
use secrecy::ExposeSecret as _;

use super::{
    client::{Client, SampleProvider},
    parameters::Parameters,
};
use crate::http::browser::pages::render;

const NAME_MAX: usize = 60;

#[derive(Template)]
#[template(path = "demo/apps.html")]
struct AppsPage<'a> {
    name: &'a str,
    redirect_uri: &'a str,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "demo/app.html")]
struct AppPage<'a> {
    name: &'a str,
    client_id: &'a str,
    client_secret: &'a str,
    redirect_uri: &'a str,
}

/// Shows the form.
pub(super) async fn get() -> Response {
    let page = AppsPage { name: "My agents", redirect_uri: "", problem: None };
    render::html(StatusCode::OK, &page, "'self'")
}

/// Registers an application, and shows its client id and its client secret.
pub(super) async fn post(State(provider): State<Arc<SampleProvider>>, body: Bytes) -> Response {
    let form = Parameters::parse(&body).unwrap_or_default();
    let (name, redirect_uri) = (form.get("name").unwrap_or("My agents"), form.get("redirect_uri").unwrap_or_default());
    let refused = |problem: String| {
        let page = AppsPage { name, redirect_uri, problem: Some(problem) };
        render::html(StatusCode::BAD_REQUEST, &page, "'self'")
    };
    if name.chars().count() > NAME_MAX {
        return refused(format!("The name is too long: at most {NAME_MAX} characters."));
    }
    // Otherwise a link to a demo that others can reach would lead wherever its author wants.
    if !redirect_uri.starts_with(&provider.leads_to) {
        return refused(format!("The sample provider only sends people back to addresses below {}", provider.leads_to));
    }
    let client = Client::with_new_secret(name.to_owned(), redirect_uri.to_owned());
    let (client_id, client_secret) = (client.id.clone(), client.secret.clone());
    if !provider.register(client) {
        return refused("There are too many applications. Restart the demo to remove them.".to_owned());
    }
    let page = AppPage { name, client_id: &client_id, client_secret: client_secret.expose_secret(), redirect_uri };
    render::html(StatusCode::OK, &page, "'none'")
}
