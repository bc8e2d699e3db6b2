//! `/console/providers/{provider_id}/try`: the form that begins a trial of a provider.
//! Owns: the form, and the user whom it names if the operator names none.
//! Must not know: how a consent is begun or completed, or what a trial led to.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

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
        providers::list::describe,
        rules::{self, Fault},
        trial::{Begun, Trial, begin_trial},
    },
    http::{app::App, browser::callback::redirect, error::ApiError},
    identity::{Caller, Permission},
    model::{provider::Provider, subject::Subject},
};

/// The user of a trial: its connection is in nobody's way, and is recognized in every list.
const TRIAL_USER: &str = "console-trial";

#[derive(Template)]
#[template(path = "http/console/try_provider.html")]
struct TryPage {
    frame: Frame,
    provider_id: String,
    name: String,
    user: String,
    scopes: String,
    problem: Option<String>,
}

/// Shows the form.
pub async fn get(State(app): State<Arc<App>>, session: Session, Path(id): Path<String>) -> Result<Response, Failure> {
    let caller = &session.caller;
    caller.needs(Permission::Administer)?;
    within_reach(caller, &id)?;
    caller.reaches_agent("")?;
    let provider = describe(&app.broker, &caller.tenant, &id).await?;
    Ok(show(StatusCode::OK, &TryPage::new(&session, &provider, None)))
}

/// Begins the trial, and goes to the page that says who asks for what.
pub async fn post(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    AdminForm(form): AdminForm,
) -> Result<Response, Failure> {
    let caller = &form.session.caller;
    within_reach(caller, &id)?;
    caller.reaches_agent("")?;
    let provider = describe(&app.broker, &caller.tenant, &id).await?;
    let again = |error: ApiError| {
        let mut page = TryPage::new(&form.session, &provider, Some(&form));
        page.problem = Some(error.for_people());
        let refused = error.into_response();
        with_facts_of(show(refused.status(), &page), refused)
    };
    let trial = match trial(caller, &id, &form) {
        Ok(trial) => trial,
        Err(faults) => return Ok(again(BrokerError::Faults(faults).into())),
    };
    caller.reaches_user(&trial.subject.user_id)?;
    let base = &form.session.base;
    match begin_trial(&app.broker, trial, &caller.act).await {
        Ok(Begun::AtPage(page)) => Ok(redirect(page)),
        Ok(Begun::Connected(token)) => Ok(redirect(format!("{base}/console/tried?token={token}"))),
        Err(
            error @ (BrokerError::NoToken(_)
            | BrokerError::TooManyPending { .. }
            | BrokerError::RegistrationRequired(_)),
        ) => Ok(again(error.into())),
        Err(error) => Err(error.into()),
    }
}

/// What the form asks for, under the rules of a request to authenticate.
fn trial(caller: &Caller, provider_id: &str, form: &AnyForm) -> Result<Trial, Vec<Fault>> {
    let (user, scopes) = (form.field("user"), form.words("scopes"));
    let mut faults: Vec<Fault> =
        rules::identifier(user).err().map(|problem| Fault::of("user", problem)).into_iter().collect();
    faults
        .extend(scopes.iter().find_map(|scope| rules::scope(scope).err()).map(|problem| Fault::of("scopes", problem)));
    if scopes.len() > rules::SCOPES_MAX {
        let problem = format!("at most {} scopes can be requested", rules::SCOPES_MAX);
        faults.push(Fault::of("scopes", ("too_long", problem)));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let subject = Subject { tenant: caller.tenant.clone(), user_id: user.to_owned(), agent_id: String::new() };
    Ok(Trial {
        subject,
        ls_user_id: caller.user.clone(),
        provider_id: provider_id.to_owned(),
        scopes,
        consent: caller.consent,
    })
}

/// The user whom the API would take for the key, if there is only one; otherwise one that nobody has.
fn usual_user(caller: &Caller) -> String {
    let limited_to = caller.limits.as_ref().and_then(|limits| limits.users.as_ref()?.first());
    caller.user.as_ref().or(limited_to).map_or(TRIAL_USER, |user| user.as_str()).to_owned()
}

impl TryPage {
    fn new(session: &Session, provider: &Provider, sent: Option<&AnyForm>) -> Self {
        let name = shown(&provider.name);
        let field = |name: &str| sent.map(|form| form.field(name).to_owned());
        Self {
            frame: Frame::new(session, "/providers", format!("Try {name}")),
            provider_id: provider.provider_id.clone(),
            name,
            user: field("user").unwrap_or_else(|| usual_user(&session.caller)),
            scopes: field("scopes").unwrap_or_else(|| provider.client.options.default_scopes.join(" ")),
            problem: None,
        }
    }
}
