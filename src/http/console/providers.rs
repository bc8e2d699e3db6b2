//! `/console/providers`: the providers of the workspace, one of them with its check, and its end.
//! Owns: what a provider is shown with.
//! Must not know: the rules of a provider.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::Response,
};

use super::{
    failure::Failure,
    form::AdminForm,
    frame::Frame,
    page::show,
    session::Session,
    words::{Moment, moment, parameter, shown, shown_up_to},
};
use crate::{
    broker::{
        clients::redirect_uri::callback_address_of,
        error::BrokerError,
        providers::{
            check::{Finding, Verdict, check},
            delete::delete,
            list,
        },
        rules,
    },
    http::{app::App, browser::callback::redirect, error::ApiError},
    identity::{Caller, Permission},
    model::{options::GrantType, provider::Provider},
};

/// How much of a finding is shown: an address, and a sentence.
const SAID_CHARS: usize = 600;

struct Row {
    id: String,
    name: String,
    kind: &'static str,
    client_error: Option<String>,
    created: Moment,
}

#[derive(Template)]
#[template(path = "http/console/providers.html")]
struct ListPage {
    frame: Frame,
    can_add: bool,
    rows: Vec<Row>,
}

/// Something that was checked, with what was found.
pub(super) struct Checked {
    pub(super) what: &'static str,
    pub(super) said: String,
    /// The class of its badge.
    pub(super) verdict: &'static str,
    pub(super) label: &'static str,
}

#[derive(Template)]
#[template(path = "http/console/provider.html")]
struct ProviderPage {
    frame: Frame,
    row: Row,
    can_manage: bool,
    can_try: bool,
    redirect_uri: Option<String>,
    facts: Vec<(&'static str, String)>,
    scopes: Vec<String>,
    /// Also those that the limits of a key could hide, so only for keys without them.
    tokens: Option<u64>,
    is_checked: bool,
    findings: Vec<Checked>,
}

#[derive(Template)]
#[template(path = "http/console/delete_provider.html")]
struct DeletePage {
    frame: Frame,
    row: Row,
    tokens: u64,
}

/// Lists the providers.
pub async fn list(
    State(app): State<Arc<App>>,
    session: Session,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    let providers = list::list(&app.broker, session.caller.reach()).await?;
    let page = ListPage {
        can_add: session.caller.administers_providers().is_ok(),
        rows: providers.iter().map(|provider| Row::of(provider, &app)).collect(),
        frame: Frame::new(&session, "/providers", "Providers").after(Some(&parameter(asked.as_deref(), "done"))),
    };
    Ok(show(StatusCode::OK, &page))
}

/// Shows a provider.
pub async fn get(
    State(app): State<Arc<App>>,
    session: Session,
    Path(id): Path<String>,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    within_reach(&session.caller, &id)?;
    let provider = list::describe(&app.broker, &session.caller.tenant, &id).await?;
    let done = parameter(asked.as_deref(), "done");
    page(&app, &session, &provider, None, Some(&done)).await
}

/// Checks a provider's endpoints and its client, and shows what was found.
pub async fn check_now(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    AdminForm(form): AdminForm,
) -> Result<Response, Failure> {
    let session = &form.session;
    within_reach(&session.caller, &id)?;
    let provider = list::get(&app.broker, &session.caller.tenant, &id).await?;
    let findings = check(&app.broker, &provider).await;
    page(&app, session, &provider, Some(findings), None).await
}

/// Asks whether to delete a provider, and says what goes with it.
pub async fn ask(State(app): State<Arc<App>>, session: Session, Path(id): Path<String>) -> Result<Response, Failure> {
    session.caller.needs(Permission::Administer)?;
    session.caller.administers_providers()?;
    within_reach(&session.caller, &id)?;
    let provider = list::describe(&app.broker, &session.caller.tenant, &id).await?;
    let tokens = list::count_grants(&app.broker, &provider).await?;
    let frame = Frame::new(&session, "/providers", "Delete this provider?");
    Ok(show(StatusCode::OK, &DeletePage { frame, row: Row::of(&provider, &app), tokens }))
}

/// Deletes a provider with its tokens, and revokes their grants.
pub async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    AdminForm(form): AdminForm,
) -> Result<Response, Failure> {
    let caller = &form.session.caller;
    caller.administers_providers()?;
    within_reach(caller, &id)?;
    let done = match delete(&app.broker, &caller.tenant, &id, &caller.act).await? {
        None => "gone",
        Some(deletion) if deletion.queued > 0 => "provider-deleting",
        Some(_) => "provider-deleted",
    };
    Ok(redirect(format!("{}/console/providers?done={done}", form.session.base)))
}

/// Checks that a provider in an address is inside the limits of the caller's key, and that it can be one at all: the
/// database has no texts with NUL, for example.
pub(super) fn within_reach(caller: &Caller, id: &str) -> Result<(), ApiError> {
    caller.reaches_provider(id)?;
    rules::provider_id(id).map_err(|_| BrokerError::NotFound("provider").into())
}

async fn page(
    app: &App,
    session: &Session,
    provider: &Provider,
    findings: Option<Vec<Finding>>,
    done: Option<&str>,
) -> Result<Response, Failure> {
    let client = &provider.client;
    let needs_person = client.options.grant_type == GrantType::AuthorizationCode;
    let text = |value: &Option<String>| value.as_deref().unwrap_or_default().to_owned();
    let facts = [
        ("Authorization endpoint", provider.auth_url.clone()),
        ("Token endpoint", client.token_url.clone()),
        ("Revocation endpoint", text(&client.revocation_url)),
        ("Userinfo endpoint", text(&provider.userinfo_url)),
        ("MCP server", text(&provider.mcp_server_url)),
        ("Issuer", text(&client.options.issuer)),
        ("Client id", client.id.clone()),
        ("Client authentication", client.authentication.as_str().to_owned()),
        ("PKCE", if provider.uses_pkce { "Yes" } else { "No" }.to_owned()),
        ("Made from", text(&client.options.template)),
    ];
    let scopes = client.options.default_scopes.iter().chain(&client.options.always_scopes);
    let can_manage = session.caller.administers_providers().is_ok();
    let is_checked = findings.is_some();
    let findings = findings.into_iter().flatten().map(Checked::of);
    let page = ProviderPage {
        frame: Frame::new(session, "/providers", shown(&provider.name)).after(done),
        row: Row::of(provider, app),
        can_manage,
        can_try: session.caller.reaches_agent("").is_ok(),
        redirect_uri: needs_person.then(|| callback_address_of(&app.broker.public_url, provider)),
        facts: facts
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, shown(&value)))
            .collect(),
        scopes: scopes.map(|scope| shown(scope)).collect(),
        tokens: if can_manage { Some(list::count_grants(&app.broker, provider).await?) } else { None },
        is_checked,
        findings: findings.collect(),
    };
    Ok(show(StatusCode::OK, &page))
}

impl Checked {
    /// A finding that is one step of many: not each of them has to be as hoped for.
    pub(super) fn step(finding: Finding) -> Self {
        let label = match finding.verdict {
            Verdict::Right => "Done",
            Verdict::Unclear => "Note",
            Verdict::Wrong => "Failed",
        };
        Self { label, ..Self::of(finding) }
    }

    fn of(Finding { of, said, verdict }: Finding) -> Self {
        let (verdict, label) = match verdict {
            Verdict::Right => ("active", "Right"),
            Verdict::Unclear => ("refreshing", "Unclear"),
            Verdict::Wrong => ("consent_needed", "Wrong"),
        };
        Self { what: of, said: shown_up_to(&said, SAID_CHARS), verdict, label }
    }
}

impl Row {
    fn of(provider: &Provider, app: &App) -> Self {
        Self {
            id: provider.provider_id.clone(),
            name: shown(&provider.name),
            kind: match provider.client.options.grant_type {
                GrantType::AuthorizationCode if provider.mcp_server_url.is_some() => "MCP server",
                GrantType::AuthorizationCode => "people consent",
                GrantType::ClientCredentials => "no person needed",
                GrantType::ApiKey => "static key",
            },
            client_error: provider.client_error.as_deref().map(shown),
            created: moment(provider.created_at, app.broker.clock.now()),
        }
    }
}
