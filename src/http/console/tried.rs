//! `/console/tried`: what a trial of a provider led to.
//! Owns: the words for each end, and the confirmation in the application's place.
//! Must not know: how a consent is completed. No token is shown here.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
};
use secrecy::SecretString;
use uuid::Uuid;

use super::{
    failure::Failure,
    form::AdminForm,
    frame::Frame,
    page::show,
    session::Session,
    words::{Moment, moment, parameter, shown, shown_if_any},
};
use crate::{
    broker::{
        consent::{completion::Completion, confirmation::confirm, request::is_interrupted},
        providers::list::describe,
        tokens::workspace,
        trial::trial_of,
    },
    http::{app::App, browser::callback::redirect, error::ApiError},
    model::{
        authorization_request::{AuthorizationRequest, Status},
        consent::Consent,
        token_state::OwnedToken,
    },
};

struct Scope {
    name: String,
    meaning: Option<String>,
}

/// The connection that was made.
struct Made {
    id: Uuid,
    account: Option<String>,
    granted: Vec<Scope>,
    /// Requested, and not granted.
    withheld: Vec<String>,
    expires: Option<Moment>,
    refresh_token: &'static str,
}

/// How far a trial is.
enum Progress {
    Made(Made),
    /// The application has to confirm the user, and here that is the console.
    ToConfirm {
        reference: String,
    },
    Open,
    /// It worked, and its connection is gone.
    Ended,
    Failed {
        error: Option<String>,
        explanation: Option<String>,
        what_to_do: &'static str,
    },
}

#[derive(Template)]
#[template(path = "http/console/tried.html")]
struct TriedPage {
    frame: Frame,
    /// Empty for a provider that needs no person.
    auth_id: String,
    provider_id: String,
    user: String,
    progress: Progress,
}

/// Shows what became of a trial.
pub async fn get(
    State(app): State<Arc<App>>,
    session: Session,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    let named = |name: &str| parameter(asked.as_deref(), name);
    let page = if let Ok(token) = Uuid::try_parse(&named("token")) {
        let token = token_of(&app, &session, token).await?.ok_or_else(none)?;
        let (provider_id, user) = (token.state.provider_id.clone(), shown(&token.user_id));
        let progress = Progress::Made(made(&app, &session, &token, &[]).await?);
        TriedPage { frame: frame(&session, &progress), auth_id: String::new(), provider_id, user, progress }
    } else {
        let trial = trial(&app, &session, &named("auth_id")).await?;
        let progress = progress(&app, &session, &trial, named("reference")).await?;
        TriedPage {
            frame: frame(&session, &progress),
            auth_id: trial.id.to_string(),
            user: shown(&trial.wanted.subject.user_id),
            provider_id: trial.provider_id,
            progress,
        }
    };
    Ok(show(StatusCode::OK, &page))
}

/// Confirms the user, as the application does for a consent in the mode `verify`.
pub async fn post(State(app): State<Arc<App>>, AdminForm(form): AdminForm) -> Result<Response, Failure> {
    let caller = &form.session.caller;
    let trial = trial(&app, &form.session, form.field("auth_id")).await?;
    let (user, reference) = (&trial.wanted.subject.user_id, SecretString::from(form.field("reference")));
    match confirm(&app.broker, caller.reach(), trial.id, user, &reference, &caller.act).await? {
        Completion::InvalidState => Err(none().into()),
        // The page says how it ended.
        _ => Ok(redirect(format!("{}/console/tried?auth_id={}", form.session.base, trial.id))),
    }
}

async fn trial(app: &App, session: &Session, id: &str) -> Result<AuthorizationRequest, Failure> {
    let id = Uuid::try_parse(id).map_err(|_| none())?;
    let trial = trial_of(&app.broker, session.caller.reach(), id).await?;
    trial.ok_or_else(|| none().into())
}

async fn token_of(app: &App, session: &Session, id: Uuid) -> Result<Option<OwnedToken>, Failure> {
    Ok(workspace::get(&app.broker, session.caller.reach(), id).await?.map(|(token, _)| token))
}

fn none() -> ApiError {
    ApiError::NotFound("There is no result of a trial here. It may be too old: try the provider again.".into())
}

fn frame(session: &Session, progress: &Progress) -> Frame {
    let title = match progress {
        Progress::Made(_) => "It works",
        Progress::ToConfirm { .. } => "One more step",
        Progress::Open => "Not finished yet",
        Progress::Ended => "The connection was ended",
        Progress::Failed { .. } => "It did not work",
    };
    Frame::new(session, "/providers", title)
}

async fn progress(
    app: &App,
    session: &Session,
    trial: &AuthorizationRequest,
    reference: String,
) -> Result<Progress, Failure> {
    let failed = |error: &str, explanation: &str| Progress::Failed {
        error: shown_if_any(error),
        explanation: shown_if_any(explanation),
        what_to_do: what_to_do(error),
    };
    if is_interrupted(trial, app.broker.clock.now()) {
        return Ok(failed("server_error", "the server stopped while the code was exchanged"));
    }
    let token = match trial.token {
        Some(token) => token_of(app, session, token).await?,
        None => None,
    };
    Ok(match (trial.status, token) {
        (Status::Completed, Some(token)) => Progress::Made(made(app, session, &token, &trial.wanted.scopes).await?),
        (Status::Completed, None) => Progress::Ended,
        (Status::Failed, _) => {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            failed(&text(&trial.error), &text(&trial.error_description))
        }
        _ if trial.consent == Consent::Verify && !reference.is_empty() => Progress::ToConfirm { reference },
        (Status::Pending | Status::Exchanging, _) => Progress::Open,
    })
}

fn what_to_do(error: &str) -> &'static str {
    match error {
        "access_denied" | "user_cancelled_login" | "user_cancelled_authorize" | "user_denied" => {
            "The consent was refused, by you or by the provider's rules for this account. Try again, and approve."
        }
        "invalid_client" | "unauthorized_client" => {
            "The provider refuses this server's client. Compare the client id and the client secret with the provider's page for \
             developers, and correct them here."
        }
        "invalid_scope" => "The provider does not know a scope, or does not permit it for this app. Try fewer scopes.",
        "redirect_uri_mismatch" => {
            "Enter the redirect URI of this provider's page at the provider, exactly as it is shown."
        }
        "server_error" | "temporarily_unavailable" => "Try again in a moment.",
        _ => "Check the provider: that names the endpoint that does not answer as it should.",
    }
}

async fn made(app: &App, session: &Session, token: &OwnedToken, requested: &[String]) -> Result<Made, Failure> {
    let state = &token.state;
    let provider = describe(&app.broker, &session.caller.tenant, &state.provider_id).await?;
    let granted = state.scopes.iter().map(|scope| Scope {
        name: shown(scope),
        meaning: app.broker.catalog.scope_meaning(&provider.client, scope).map(ToOwned::to_owned),
    });
    let withheld = requested.iter().filter(|scope| !state.scopes.contains(scope)).map(|scope| shown(scope));
    Ok(Made {
        id: state.id,
        account: state.account_label.as_deref().and_then(shown_if_any),
        granted: granted.collect(),
        withheld: withheld.collect(),
        expires: state.expires_at.map(|at| moment(at, app.broker.clock.now())),
        refresh_token: if state.has_refresh_token { "Yes" } else { "No" },
    })
}
