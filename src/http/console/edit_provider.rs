//! `/console/providers/{provider_id}/edit`: changes of a provider.
//! Owns: the form, and which of its fields were changed.
//! Must not know: the rules of a change; those are the broker's.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use secrecy::SecretString;

use super::{
    failure::{Failure, with_facts_of},
    form::{AdminForm, AnyForm},
    frame::Frame,
    page::show,
    providers::within_reach,
    session::Session,
    words::shown,
};
use crate::{
    broker::{
        error::BrokerError,
        providers::{change::change, draft::ProviderDraft, list},
    },
    http::{app::App, browser::callback::redirect, error::ApiError},
    model::{
        options::{GrantType, OptionsDraft},
        provider::Provider,
    },
};

/// A field that is one text.
struct Field {
    name: &'static str,
    label: &'static str,
    value: String,
    is_required: bool,
}

#[derive(Template)]
#[template(path = "http/console/edit_provider.html")]
struct EditPage {
    frame: Frame,
    provider_id: String,
    fields: Vec<Field>,
    secret_label: &'static str,
    has_scopes: bool,
    scopes: String,
    problem: Option<String>,
    /// How many grants the change would send elsewhere, when that has to be confirmed.
    exposed: Option<u64>,
}

/// Shows the form, filled with what is stored, without the secret.
pub async fn get(State(app): State<Arc<App>>, session: Session, Path(id): Path<String>) -> Result<Response, Failure> {
    session.caller.administers_providers()?;
    within_reach(&session.caller, &id)?;
    let provider = list::describe(&app.broker, &session.caller.tenant, &id).await?;
    Ok(show(StatusCode::OK, &EditPage::new(&session, &provider, None)))
}

/// Changes what differs from what is stored.
pub async fn post(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    AdminForm(form): AdminForm,
) -> Result<Response, Failure> {
    let caller = &form.session.caller;
    caller.administers_providers()?;
    within_reach(caller, &id)?;
    let provider = list::describe(&app.broker, &caller.tenant, &id).await?;
    let again = |error: ApiError, exposed: Option<u64>| {
        let mut page = EditPage::new(&form.session, &provider, Some(&form));
        page.problem = Some(error.for_people());
        page.exposed = exposed;
        let refused = error.into_response();
        with_facts_of(show(refused.status(), &page), refused)
    };
    if let Some(field) = fields(&provider).into_iter().find(|field| is_emptied(field, &form)) {
        let problem = "an endpoint can be changed, and not be removed. Add another provider without it";
        return Ok(again(ApiError::fault(["body", field.name], "value_error", problem.to_owned()), None));
    }
    match change(&app.broker, &caller.tenant, &id, draft(&provider, &form), &caller.act).await {
        Ok(_) => Ok(redirect(format!("{}/console/providers/{id}?done=changed", form.session.base))),
        Err(BrokerError::Exposure(exposure)) => {
            let grants = exposure.grants;
            Ok(again(BrokerError::Exposure(exposure).into(), Some(grants)))
        }
        Err(error @ (BrokerError::Faults(_) | BrokerError::Conflict(_))) => Ok(again(error.into(), None)),
        Err(error) => Err(error.into()),
    }
}

/// What can be changed of a provider of its kind, as it is stored.
fn fields(provider: &Provider) -> Vec<Field> {
    let client = &provider.client;
    let field = |name, label, value: &str| Field { name, label, value: value.to_owned(), is_required: true };
    let mut fields = vec![field("name", "Name", &provider.name)];
    let kind = client.options.grant_type;
    if kind != GrantType::ApiKey {
        fields.push(field("client_id", "Client id", &client.id));
        if kind == GrantType::AuthorizationCode {
            fields.push(field("auth_url", "Authorization endpoint", &provider.auth_url));
        }
        fields.push(field("token_url", "Token endpoint", &client.token_url));
        let optional = |name, label, value: &Option<String>| {
            let value = value.clone().unwrap_or_default();
            Field { name, label, is_required: !value.is_empty(), value }
        };
        fields.push(optional("revocation_url", "Revocation endpoint", &client.revocation_url));
        if kind == GrantType::AuthorizationCode {
            fields.push(optional("userinfo_url", "Userinfo endpoint", &provider.userinfo_url));
        }
    }
    fields
}

fn is_emptied(field: &Field, form: &AnyForm) -> bool {
    field.name.ends_with("_url") && field.is_required && form.field(field.name).is_empty()
}

/// What the form changes. A field that is as it was is not named: so nothing of it is checked or moved.
fn draft(provider: &Provider, form: &AnyForm) -> ProviderDraft {
    let fields = fields(provider);
    let changed = |name: &str| {
        let stored = fields.iter().find(|field| field.name == name)?;
        let sent = form.field(name);
        (sent != stored.value).then(|| sent.to_owned())
    };
    let has_scopes = provider.client.options.grant_type != GrantType::ApiKey;
    let scopes =
        Some(form.words("scopes")).filter(|sent| has_scopes && *sent != provider.client.options.default_scopes);
    let secret = form.field("client_secret");
    ProviderDraft {
        name: changed("name"),
        client_id: changed("client_id"),
        client_secret: (!secret.is_empty()).then(|| SecretString::from(secret)),
        auth_url: changed("auth_url"),
        token_url: changed("token_url"),
        revocation_url: changed("revocation_url"),
        userinfo_url: changed("userinfo_url"),
        options: OptionsDraft { default_scopes: scopes, ..OptionsDraft::default() },
        expose_grants: form.field("expose_grants").parse().ok(),
        ..ProviderDraft::default()
    }
}

impl EditPage {
    fn new(session: &Session, provider: &Provider, sent: Option<&AnyForm>) -> Self {
        let mut fields = fields(provider);
        for field in &mut fields {
            if let Some(form) = sent {
                field.value = form.field(field.name).to_owned();
            }
        }
        let options = &provider.client.options;
        let scopes = sent.map_or_else(|| options.default_scopes.join(" "), |form| form.field("scopes").to_owned());
        Self {
            frame: Frame::new(session, "/providers", format!("Change {}", shown(&provider.name))),
            provider_id: provider.provider_id.clone(),
            fields,
            secret_label: match options.grant_type {
                GrantType::ApiKey => "A new key ends every connection that holds the old one. Empty: it stays",
                _ => "Empty: it stays. Needed again when an endpoint changes; never shown",
            },
            has_scopes: options.grant_type != GrantType::ApiKey,
            scopes,
            problem: None,
            exposed: None,
        }
    }
}
