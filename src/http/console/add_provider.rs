//! `/console/add-provider`: a new provider from the catalogue, with the steps to take there.
//! Owns: the search, and the form.
//! Must not know: the rules of a draft; those are the broker's.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use secrecy::SecretString;

use super::{
    failure::{Failure, with_facts_of},
    form::{AdminForm, AnyForm},
    frame::Frame,
    page::show,
    session::Session,
    words::{parameter, query},
};
use crate::{
    broker::{
        clients::redirect_uri::callback_address,
        error::BrokerError,
        providers::{create::create, draft::ProviderDraft},
    },
    catalog::{Entry, is_of_demo},
    http::{app::App, browser::callback::redirect, error::ApiError},
    model::{client::ClientAuthentication, options::OptionsDraft},
};

/// How many entries of the catalogue are shown at once.
const SHOWN_MAX: usize = 60;

struct Found {
    href: String,
    name: String,
    category: String,
    /// Whether it is the demo's own.
    is_of_demo: bool,
}

#[derive(Template)]
#[template(path = "http/console/catalog.html")]
struct CatalogPage {
    frame: Frame,
    search: String,
    found: Vec<Found>,
    left_out: usize,
}

struct Param {
    name: String,
    meaning: String,
    value: String,
}

#[derive(Template)]
#[template(path = "http/console/add_provider.html")]
struct FormPage {
    frame: Frame,
    template: String,
    display_name: String,
    confirmed: bool,
    console: Option<String>,
    steps: Vec<String>,
    redirect_uri: String,
    provider_id: String,
    client_id: String,
    scopes: String,
    params: Vec<Param>,
    problem: Option<String>,
}

/// Shows the catalogue, or the form for one of its entries.
pub async fn get(
    State(app): State<Arc<App>>,
    session: Session,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    session.caller.administers_providers()?;
    let name = parameter(asked.as_deref(), "template");
    if let Some(entry) = app.broker.catalog.entry(&name) {
        return Ok(show(StatusCode::OK, &FormPage::new(&app, &session, entry, None, None)));
    }
    let search = parameter(asked.as_deref(), "search");
    let mut entries: Vec<&Entry> = app.broker.catalog.search(&search).collect();
    // In the demo, what can be added without an account elsewhere comes first.
    entries.sort_by_key(|entry| !is_of_demo(entry));
    let mut entries = entries.into_iter();
    let found = entries.by_ref().take(SHOWN_MAX).map(|entry| Found {
        href: format!("/add-provider{}", query(&[("template", &entry.name)])),
        name: entry.display_name.clone(),
        category: entry.category.clone().unwrap_or_default(),
        is_of_demo: is_of_demo(entry),
    });
    let frame = Frame::new(&session, "/providers", "Add a provider");
    let (found, left_out) = (found.collect(), entries.count());
    Ok(show(StatusCode::OK, &CatalogPage { frame, search, found, left_out }))
}

/// Adds the provider.
pub async fn post(State(app): State<Arc<App>>, AdminForm(form): AdminForm) -> Result<Response, Failure> {
    let caller = &form.session.caller;
    caller.administers_providers()?;
    let template = form.field("template");
    let entry = app.broker.catalog.entry(template);
    let entry = entry.ok_or_else(|| ApiError::NotFound("The catalogue has no such provider.".into()))?;
    caller.reaches_provider(form.field("provider_id"))?;
    match create(&app.broker, caller.tenant.clone(), draft(&form, entry), &caller.act).await {
        Ok(provider) => {
            let base = &form.session.base;
            Ok(redirect(format!("{base}/console/providers/{}?done=provider-added", provider.provider_id)))
        }
        Err(error @ (BrokerError::Faults(_) | BrokerError::Conflict(_))) => {
            let error = ApiError::from(error);
            let page = FormPage::new(&app, &form.session, entry, Some(&form), Some(error.for_people()));
            let refused = error.into_response();
            Ok(with_facts_of(show(refused.status(), &page), refused))
        }
        Err(error) => Err(error.into()),
    }
}

fn draft(form: &AnyForm, entry: &Entry) -> ProviderDraft {
    let text = |name: &str| Some(form.field(name)).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let secret = text("client_secret").map(SecretString::from);
    let params: BTreeMap<String, String> =
        form.fields_of("param_").map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let scopes = form.words("scopes");
    ProviderDraft {
        provider_id: text("provider_id"),
        name: text("name"),
        client_id: text("client_id"),
        authentication: secret.is_none().then_some(ClientAuthentication::None),
        client_secret: secret,
        template: Some(entry.name.clone()),
        template_params: Some(params).filter(|params| !params.is_empty()),
        options: OptionsDraft { default_scopes: Some(scopes), ..OptionsDraft::default() },
        ..ProviderDraft::default()
    }
}

/// Whether the provider's page for developers can be opened from here: it is on the web, or is that of the demo.
fn is_link(console: &str, public_url: &str) -> bool {
    (console.starts_with("https://") || console.starts_with(&format!("{public_url}/"))) && !console.contains('{')
}

impl FormPage {
    /// The form for an entry; filled in as it was sent, without the secret.
    fn new(app: &App, session: &Session, entry: &Entry, sent: Option<&AnyForm>, problem: Option<String>) -> Self {
        let field = |name: &str| sent.map(|form| form.field(name).to_owned());
        let redirect_uri = callback_address(&app.broker.public_url, &entry.name, "");
        Self {
            frame: Frame::new(session, "/providers", format!("Add {}", entry.display_name)),
            template: entry.name.clone(),
            display_name: entry.display_name.clone(),
            confirmed: entry.confirmed,
            console: entry.console.clone().filter(|console| is_link(console, &app.broker.public_url)),
            steps: entry.steps(&redirect_uri),
            provider_id: field("provider_id").unwrap_or_else(|| entry.name.clone()),
            client_id: field("client_id").unwrap_or_default(),
            scopes: field("scopes").unwrap_or_else(|| entry.default_scopes.join(" ")),
            params: entry
                .params
                .iter()
                .map(|(name, meaning)| Param {
                    value: field(&format!("param_{name}")).unwrap_or_default(),
                    name: name.clone(),
                    meaning: meaning.clone(),
                })
                .collect(),
            redirect_uri,
            problem,
        }
    }
}
