//! `/console/providers/{provider_id}/try` and `/console/requests/{auth_id}`: a consent that an operator begins, as an agent
//! would, and what became of it.
//! Owns: the form, and the words for each state.
//! Must not know: how a consent is begun or completed. No token is handed out here.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use uuid::Uuid;

use super::{
    failure::Failure,
    form::AdminForm,
    frame::Frame,
    page::show,
    requests::waits_for_person,
    session::Session,
    words::{Moment, moment, shown, shown_if_any},
};
use crate::{
    broker::{
        authenticate::{ConsentOn, Outcome, TokenRequest, authenticate},
        consent::{request::Pending, under_way},
        providers::list::describe,
        rules,
    },
    http::{app::App, error::ApiError},
    identity::Permission,
    model::{
        authorization_request::{AuthorizationRequest, Status},
        subject::Subject,
    },
};

#[derive(Template)]
#[template(path = "http/console/try_provider.html")]
struct TryPage {
    frame: Frame,
    provider_id: String,
    scopes: String,
}

#[derive(Template)]
#[template(path = "http/console/tried_provider.html")]
struct TriedPage {
    frame: Frame,
    provider_id: String,
    user: String,
    /// Where the person consents; `None`: no person was needed, and there is a token.
    begun: Option<(String, Uuid)>,
}

#[derive(Template)]
#[template(path = "http/console/request.html")]
struct RequestPage {
    frame: Frame,
    id: Uuid,
    provider_id: String,
    user: String,
    /// The class and the text of its state.
    state: (&'static str, &'static str),
    is_open: bool,
    error: Option<String>,
    explanation: Option<String>,
    token: Option<Uuid>,
    ends: Moment,
}

/// Shows the form.
pub async fn get(State(app): State<Arc<App>>, session: Session, Path(id): Path<String>) -> Result<Response, Failure> {
    session.caller.needs(Permission::Administer)?;
    session.caller.reaches_provider(&id)?;
    let provider = describe(&app.broker, &session.caller.tenant, &id).await?;
    let page = TryPage {
        frame: Frame::new(&session, "/providers", format!("Try {}", shown(&provider.name))),
        scopes: provider.client.options.default_scopes.join(" "),
        provider_id: id,
    };
    Ok(show(StatusCode::OK, &page))
}

/// Begins a consent for the user that the form names, and shows where they consent.
pub async fn post(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    AdminForm(form): AdminForm,
) -> Result<Response, Failure> {
    let caller = &form.session.caller;
    let (user, scopes) = (form.field("user"), form.words("scopes"));
    if let Err((kind, problem)) = rules::identifier(user) {
        return Err(ApiError::fault(["body", "user"], kind, problem).into());
    }
    if let Some(Err((kind, problem))) = scopes.iter().map(|scope| rules::scope(scope)).find(Result::is_err) {
        return Err(ApiError::fault(["body", "scopes"], kind, problem).into());
    }
    if scopes.len() > rules::SCOPES_MAX {
        return Err(ApiError::BadRequest(format!("At most {} scopes can be requested.", rules::SCOPES_MAX).into()).into());
    }
    caller.reaches_provider(&id)?;
    caller.reaches_agent("")?;
    caller.reaches_user(user)?;
    let subject = Subject { tenant: caller.tenant.clone(), user_id: user.to_owned(), agent_id: String::new() };
    let request = TokenRequest {
        subject,
        ls_user_id: None,
        provider_id: id,
        scopes,
        force_new: true,
        token_id: None,
        is_default: false,
        redirect_uri: None,
        return_url: None,
        login_hint: None,
        consent: caller.consent,
        check_only: false,
        consent_on: ConsentOn::Browser,
        min_ttl: None,
    };
    let begun = match authenticate(&app.broker, &request, &caller.act).await? {
        Outcome::Pending(Pending { url, id, .. }) => Some((url, id)),
        Outcome::Completed(_) => None,
        Outcome::ConnectionRequired(_) | Outcome::TokenExpired(_) => {
            return Err(ApiError::Conflict("No consent could be begun for this user.".into()).into());
        }
    };
    let page = TriedPage {
        frame: Frame::new(&form.session, "/providers", "A consent was begun"),
        provider_id: request.provider_id,
        user: shown(user),
        begun,
    };
    Ok(show(StatusCode::OK, &page))
}

/// Shows what became of a request.
pub async fn request(
    State(app): State<Arc<App>>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let no_request = || ApiError::NotFound("This workspace has no authorization request with that id.".into());
    let id = Uuid::try_parse(&id).map_err(|_| no_request())?;
    let request = under_way::one(&app.broker, session.caller.reach(), id).await?.ok_or_else(no_request)?;
    let now = app.broker.clock.now();
    let has_expired = request.expires_at <= now;
    let is_open = !has_expired && matches!(request.status, Status::Pending | Status::Exchanging);
    let page = RequestPage {
        frame: Frame::new(&session, "/requests", "Authorization request"),
        id,
        provider_id: request.provider_id.clone(),
        user: shown(&request.wanted.subject.user_id),
        state: state(&request, has_expired),
        is_open,
        error: request.error.as_deref().and_then(shown_if_any),
        explanation: request.error_description.as_deref().and_then(shown_if_any),
        token: request.token,
        ends: moment(request.expires_at, now),
    };
    Ok(show(StatusCode::OK, &page))
}

fn state(request: &AuthorizationRequest, has_expired: bool) -> (&'static str, &'static str) {
    match request.status {
        Status::Completed => ("active", "Connected"),
        Status::Failed => ("consent_needed", "Failed"),
        Status::Pending | Status::Exchanging if has_expired => ("failing", "Expired: begin another one"),
        Status::Exchanging => ("refreshing", "The person came back; the code is not exchanged yet"),
        Status::Pending => ("refreshing", waits_for_person(request.consent, request.browser_hash.is_some())),
    }
}
