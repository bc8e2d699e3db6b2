//! `/connections/held/{token_id}`: one connection of a person, reconnecting it, and ending it.
//! Owns: what it is shown with.
//! Must not know: how a token is revoked, or a consent begun.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use uuid::Uuid;

use super::{
    connections::{Row, names},
    elsewhere::go_on,
    failure::Failure,
    frame::Frame,
    session::{Form, Session},
    words::{Moment, moment},
};
use crate::{
    broker::{
        connect_links::{self, AgentUse, agents_of, last_use},
        providers,
        tokens::workspace,
    },
    http::{
        app::App,
        browser::callback::redirect,
        console::words::{shown, shown_if_any},
        error::ApiError,
    },
    model::token_state::OwnedToken,
};

struct Scope {
    name: String,
    meaning: Option<String>,
}

struct Agent {
    name: Option<String>,
    last_used: Option<Moment>,
}

#[derive(Template)]
#[template(path = "http/people/one.html")]
struct OnePage {
    frame: Frame,
    row: Row,
    scopes: Vec<Scope>,
    agents: Vec<Agent>,
    /// Whether the audit log says which agents got a token.
    is_recorded: bool,
}

#[derive(Template)]
#[template(path = "http/people/revoke.html")]
struct RevokePage {
    frame: Frame,
    row: Row,
}

/// Shows a connection.
pub async fn get(State(app): State<Arc<App>>, session: Session, Path(id): Path<String>) -> Result<Response, Failure> {
    let (token, row, agents) = held(&app, &session, &id).await?;
    let (tenant, now) = (session.link.tenant(), app.broker.clock.now());
    let provider = providers::list::describe(&app.broker, &tenant, &token.state.provider_id).await?;
    let scopes = token.state.scopes.iter().map(|scope| Scope {
        name: shown(scope),
        meaning: app.broker.catalog.scope_meaning(&provider.client, scope).map(ToOwned::to_owned),
    });
    let agents = agents.into_iter().map(|used| Agent {
        name: shown_if_any(&used.agent_id),
        last_used: used.last_used.map(|at| moment(session.view.t, at, now)),
    });
    let page = OnePage {
        frame: Frame::new(&session, row.provider.clone()),
        scopes: scopes.collect(),
        agents: agents.collect(),
        is_recorded: app.broker.settings.audit_handouts != "off",
        row,
    };
    Ok(session.view.people(StatusCode::OK, &page))
}

/// Begins to renew a connection, and goes to the page that says who asks for what.
pub async fn reconnect(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Form(session): Form,
) -> Result<Response, Failure> {
    let comes_back = !session.view.is_embedded;
    let begun = connect_links::reconnect(&app.broker, &session.link, token_id(&id)?, comes_back, &session.act).await?;
    Ok(go_on(&session, &begun))
}

/// Asks whether to end a connection.
pub async fn ask(State(app): State<Arc<App>>, session: Session, Path(id): Path<String>) -> Result<Response, Failure> {
    let (_, row, _) = held(&app, &session, &id).await?;
    let frame = Frame::new(&session, (session.view.t.people.revoke_title)(&row.provider));
    Ok(session.view.people(StatusCode::OK, &RevokePage { frame, row }))
}

/// Ends a connection, here and at the provider.
pub async fn revoke(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Form(session): Form,
) -> Result<Response, Failure> {
    let deletion = connect_links::revoke(&app.broker, &session.link, token_id(&id)?, &session.act).await?;
    let done = match deletion {
        None => "gone",
        Some(deletion) if deletion.upstream_revoked() => "revoked",
        Some(deletion) if deletion.queued > 0 => "revoking",
        Some(_) => "not-revocable",
    };
    Ok(redirect(format!("{}/connections?done={done}", session.view.base)))
}

async fn held(app: &App, session: &Session, id: &str) -> Result<(OwnedToken, Row, Vec<AgentUse>), Failure> {
    let tenant = session.link.tenant();
    let reach = session.link.reach(&tenant);
    let found = workspace::get(&app.broker, reach, token_id(id)?).await?;
    let (token, explanation) = found.ok_or_else(no_connection)?;
    let names = names(&providers::list::list(&app.broker, reach).await?);
    let agents = agents_of(&app.broker, &tenant, &token).await?;
    let last_used = last_use(&app.broker, &token, &agents);
    let row = Row::of(session.view.t, &token, &explanation, &names, last_used, app.broker.clock.now());
    Ok((token, row, agents))
}

fn token_id(id: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(id).map_err(|_| no_connection())
}

fn no_connection() -> ApiError {
    ApiError::NotFound("You have no such connection. It may have been ended.".into())
}
