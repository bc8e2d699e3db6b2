//! `/v2/admin/tokens`: the tokens of all users of the workspace, for those who run it. Tokens themselves are never shown.
//! Owns: the filters, the pages, and the shape of a token on the wire.
//! Must not know: how tokens are obtained or refreshed.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderName, HeaderValue, StatusCode},
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    token_state::{TokenCondition, TokenStateResponse, response},
    tokens::deleted,
};
use crate::{
    broker::tokens::{explain::Explanation, workspace},
    http::{
        app::App,
        checks::{read_parameters, readable},
        error::{ApiError, ErrorBody, Faults},
    },
    identity::{Caller, Permission},
    model::token_state::{Condition, OwnedToken, TokenFilter},
};

const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// The parameters of the query.
const PARAMETERS: [&str; 6] = ["user_id", "agent_id", "provider_id", "state", "limit", "cursor"];
/// The longest id to look for, in bytes. No record has a longer one.
const TEXT_MAX: usize = 512;

/// A token of the workspace: whose it is, and its state, without secrets.
#[derive(Serialize, ToSchema)]
#[schema(as = WorkspaceToken)]
pub struct WorkspaceToken {
    user_id: String,
    ls_user_id: Option<String>,
    /// The agent it is for; null if it is for none in particular.
    agent_id: Option<String>,
    #[serde(flatten)]
    state: TokenStateResponse,
}

/// A page of tokens.
#[derive(Serialize, ToSchema)]
#[schema(as = WorkspaceTokenList)]
pub struct WorkspaceTokenList {
    data: Vec<WorkspaceToken>,
    /// Pass it as `cursor` for the next page. Null on the last page.
    next_cursor: Option<Uuid>,
}

/// The query.
#[derive(Default)]
struct Query {
    filter: TokenFilter,
    before: Option<Uuid>,
    limit: Option<usize>,
}

/// Lists the tokens of all users of the workspace, newest first.
#[utoipa::path(
    get,
    operation_id = "listWorkspaceTokens",
    path = "/v2/admin/tokens",
    tag = "Admin",
    params(
        ("user_id" = Option<String>, Query, description = "Only tokens of this user (`user_id` or `ls_user_id`)."),
        ("agent_id" = Option<String>, Query, description = "Only tokens for this agent."),
        ("provider_id" = Option<String>, Query, description = "Only tokens at this provider."),
        ("state" = inline(Option<TokenCondition>), Query, description = "Only tokens in this state."),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000, description = "From 1 to 1000, by default 100."),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before."),
    ),
    responses(
        (status = 200, body = WorkspaceTokenList),
        (status = 403, body = ErrorBody),
        (status = 422, body = Faults),
    ),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<WorkspaceTokenList>, ApiError> {
    caller.oversees_the_workspace()?;
    let query = Query::read(readable(query.as_deref())?)?;
    let named =
        |id: &Option<String>, reaches: &dyn Fn(&str) -> Result<(), ApiError>| id.as_deref().map_or(Ok(()), reaches);
    named(&query.filter.provider_id, &|id| caller.reaches_provider(id))?;
    named(&query.filter.agent_id, &|id| caller.reaches_agent(id))?;
    named(&query.filter.user_id, &|id| caller.reaches_user(id))?;
    let limit = query.limit.unwrap_or(LIMIT);
    let page = workspace::page(&app.broker, caller.reach(), &query.filter, query.before, limit).await?;
    let data = page.tokens.into_iter().map(|(token, explanation)| WorkspaceToken::new(token, explanation)).collect();
    Ok(Json(WorkspaceTokenList { data, next_cursor: page.next }))
}

/// Explains the state of a token of any user of the workspace, and what to do.
#[utoipa::path(
    get,
    operation_id = "getWorkspaceToken",
    path = "/v2/admin/tokens/{token_id}",
    tag = "Admin",
    params(("token_id" = String, Path)),
    responses(
        (status = 200, body = WorkspaceToken),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Json<WorkspaceToken>, ApiError> {
    caller.oversees_the_workspace()?;
    let token = workspace::get(&app.broker, caller.reach(), token_id(&path)?).await?;
    let (token, explanation) = token.ok_or_else(no_token)?;
    Ok(Json(WorkspaceToken::new(token, explanation)))
}

/// Deletes a token of any user of the workspace, and revokes its grant at the provider.
#[utoipa::path(
    delete,
    operation_id = "deleteWorkspaceToken",
    path = "/v2/admin/tokens/{token_id}",
    tag = "Admin",
    params(("token_id" = String, Path)),
    responses(
        (
            status = 204,
            headers(("X-Upstream-Revoked" = bool, description = "Whether its grant has been revoked at the provider")),
        ),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1]), ApiError> {
    caller.needs(Permission::Administer)?;
    caller.oversees_the_workspace()?;
    let deletion = workspace::delete(&app.broker, caller.reach(), token_id(&path)?, &caller.act).await?;
    Ok(deleted(&deletion.ok_or_else(no_token)?))
}

/// The id of a token. Any other text is the id of no token.
fn token_id(id: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(id).map_err(|_| no_token())
}

fn no_token() -> ApiError {
    ApiError::NotFound("This workspace has no token with that id.".into())
}

impl WorkspaceToken {
    /// The token as it is shown.
    #[must_use]
    pub fn new(token: OwnedToken, explanation: Explanation) -> Self {
        let OwnedToken { user_id, ls_user_id, agent_id, state } = token;
        let agent_id = Some(agent_id).filter(|agent_id| !agent_id.is_empty());
        Self { user_id, ls_user_id, agent_id, state: response(state, explanation) }
    }
}

impl Query {
    fn read(query: &str) -> Result<Self, ApiError> {
        let mut read = Self::default();
        read_parameters(query, &PARAMETERS, |name, value| read.take(name, value))?;
        Ok(read)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), (&'static str, String)> {
        // PostgreSQL has no texts with NUL, so no id has one.
        let text = |value: &str| match value.replace('\0', "\u{fffd}") {
            text if text.len() > TEXT_MAX => {
                Err(("string_too_long", format!("String should have at most {TEXT_MAX} characters")))
            }
            text => Ok(Some(text)),
        };
        match name {
            "user_id" => self.filter.user_id = text(value)?,
            "agent_id" => self.filter.agent_id = text(value)?,
            "provider_id" => self.filter.provider_id = text(value)?,
            "state" => match Condition::named(value) {
                Some(condition) => self.filter.condition = Some(condition),
                None => {
                    let names = Condition::NAMES.map(|(name, _)| name).join(", ");
                    return Err(("literal_error", format!("Input should be one of {names}")));
                }
            },
            "limit" => match value.parse() {
                Ok(limit @ 1..=LIMIT_MAX) => self.limit = Some(limit),
                _ => return Err(("int_parsing", format!("Input should be a number from 1 to {LIMIT_MAX}"))),
            },
            "cursor" => match Uuid::try_parse(value) {
                Ok(before) => self.before = Some(before),
                Err(_) => return Err(("value_error", "Input should be the next_cursor of a page".into())),
            },
            _ => {}
        }
        Ok(())
    }
}
