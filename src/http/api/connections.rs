//! `/v2/auth/agents/{agent_id}/connections`: which tokens an agent may use in addition to its own.
//! Owns: the shapes on the wire.
//! Must not know: how a connection affects `authenticate`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    broker::{connections, rules},
    http::{
        app::App,
        body::{Fields, JsonBody},
        error::{ApiError, ErrorBody, Faults},
    },
    identity::{Caller, Permission},
    model::agent_connection::AgentConnection,
};

/// A connection in a response.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentConnectionResponse)]
pub struct ConnectionResponse {
    id: Uuid,
    agent_id: String,
    oauth_token_id: Uuid,
    provider_id: String,
    provider_account_label: Option<String>,
    scopes: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    created_by: String,
    created_at: DateTime<Utc>,
}

/// The connections of an agent.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentConnectionListResponse)]
pub struct ConnectionList {
    data: Vec<ConnectionResponse>,
}

/// A token to connect.
#[derive(ToSchema)]
#[schema(
    as = CreateAgentConnectionRequest,
    example = json!({"oauth_token_id": "0192d3a4-5b6c-7d8e-9fa0-b1c2d3e4f5a6"}),
)]
pub struct CreateConnectionRequest {
    oauth_token_id: String,
}

/// Lists the connections of an agent. Without the role admin: only those with tokens of the current user.
#[utoipa::path(
    get,
    operation_id = "listAgentConnections",
    path = "/v2/auth/agents/{agent_id}/connections",
    tag = "Agent connections",
    params(("agent_id" = String, Path)),
    responses((status = 200, body = ConnectionList), (status = 422, body = Faults)),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(agent_id): Path<String>,
) -> Result<Json<ConnectionList>, ApiError> {
    caller.needs(Permission::List)?;
    caller.reaches_agent(&agent_id)?;
    agent(&agent_id)?;
    let user = if caller.may(Permission::Administer) { None } else { Some(caller.user()?) };
    let connections = connections::list(&app.broker, caller.reach(), &agent_id, user).await?;
    Ok(Json(ConnectionList { data: connections.into_iter().map(ConnectionResponse::from).collect() }))
}

/// Connects a token of the current user to an agent.
#[utoipa::path(
    post,
    operation_id = "createAgentConnection",
    path = "/v2/auth/agents/{agent_id}/connections",
    tag = "Agent connections",
    params(("agent_id" = String, Path)),
    request_body = CreateConnectionRequest,
    responses(
        (status = 201, body = ConnectionResponse),
        (status = 404, body = ErrorBody),
        (status = 422, body = Faults),
    ),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(agent_id): Path<String>,
    body: JsonBody,
) -> Result<(StatusCode, Json<ConnectionResponse>), ApiError> {
    caller.needs(Permission::Administer)?;
    caller.reaches_agent(&agent_id)?;
    agent(&agent_id)?;
    let mut fields = Fields::of_body(&body);
    let request =
        CreateConnectionRequest { oauth_token_id: fields.required_text("oauth_token_id", &rules::identifier) };
    fields.finish()?;
    let token = Uuid::try_parse(&request.oauth_token_id).map_err(|_| ApiError::no_token())?;
    let user = caller.user.as_deref();
    let connected = connections::connect(&app.broker, caller.reach(), &agent_id, token, user, &caller.act);
    let connection = connected.await?.ok_or_else(ApiError::no_token)?;
    Ok((StatusCode::CREATED, Json(connection.into())))
}

/// Deletes a connection. The token is kept.
#[utoipa::path(
    delete,
    operation_id = "deleteAgentConnection",
    path = "/v2/auth/agents/{agent_id}/connections/{connection_id}",
    tag = "Agent connections",
    params(("agent_id" = String, Path), ("connection_id" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 422, body = Faults)),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((agent_id, connection_id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.needs(Permission::Administer)?;
    caller.reaches_agent(&agent_id)?;
    agent(&agent_id)?;
    let removed = match Uuid::try_parse(&connection_id) {
        Ok(id) => connections::disconnect(&app.broker, caller.reach(), &agent_id, id, &caller.act).await?,
        Err(_) => false,
    };
    if removed {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::NotFound("This agent has no connection of that id.".into()))
    }
}

fn agent(agent_id: &str) -> Result<(), ApiError> {
    rules::identifier(agent_id).map_err(|(kind, problem)| ApiError::fault(["path", "agent_id"], kind, problem))
}

impl From<AgentConnection> for ConnectionResponse {
    fn from(connection: AgentConnection) -> Self {
        Self {
            id: connection.id,
            agent_id: connection.agent_id,
            oauth_token_id: connection.token,
            provider_id: connection.provider_id,
            provider_account_label: connection.account_label,
            scopes: connection.scopes.0,
            expires_at: connection.expires_at,
            created_by: connection.created_by,
            created_at: connection.created_at,
        }
    }
}
