//! Authenticate: a live access token, or where to get consent for one.
//! Owns: which token is used, and what is returned without a usable token.
//! Must not know: the shape of the request or the response on the wire.

use std::sync::Arc;

use chrono::TimeDelta;
use uuid::Uuid;

use super::{
    clients::registration::ready_client,
    consent::{
        authorization::begin,
        client_credentials::{credential_of, obtain},
        device::begin_device,
        link::connect_link,
        request::{ConsentOptions, Pending, Requested, consent_options},
    },
    context::Broker,
    error::BrokerError,
    providers::list::{describe, get},
    rules,
    tokens::fresh::{Usable, ensure_fresh, is_fresh},
};
use crate::{
    model::{
        actor::Act,
        consent::Consent,
        grant::GrantRequest,
        options::GrantType,
        provider::Provider,
        subject::Subject,
        token::{State, Token},
    },
    oauth::challenge::Challenge,
};

/// What an agent requests.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// Whose token.
    pub subject: Subject,
    /// The caller, as the platform names them.
    pub ls_user_id: Option<String>,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The scopes the token must have.
    pub scopes: Vec<String>,
    /// Begin a consent even if there is a token.
    pub force_new: bool,
    /// Only this token.
    pub token_id: Option<Uuid>,
    /// Whether a new token becomes the default.
    pub is_default: bool,
    /// Where the person comes back to, if not to us.
    pub redirect_uri: Option<String>,
    /// Where the browser goes after that.
    pub return_url: Option<String>,
    /// The account that the person probably has at the provider.
    pub login_hint: Option<String>,
    /// The least strict consent that the caller may begin.
    pub consent: Consent,
    /// Begin nothing.
    pub check_only: bool,
    /// Where the person consents, if they have to.
    pub consent_on: ConsentOn,
    /// How long the token has to be valid.
    pub min_ttl: Option<TimeDelta>,
}

/// Where a person consents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentOn {
    /// In a browser that comes back here.
    Browser,
    /// On another device, with a code (RFC 8628).
    Device,
}

/// What an agent gets.
#[derive(Debug)]
pub enum Outcome {
    /// A live access token, whose hand-out is to be recorded.
    Completed(Box<Token>),
    /// A person has to consent.
    Pending(Pending),
    /// There is nothing this agent may use, and nothing was begun. The URL is where a person can begin it.
    ConnectionRequired(Option<String>),
    /// The named token is dead. The URL is where a person can revive it.
    TokenExpired(Option<String>),
}

/// Returns the subject's token for these scopes, refreshed if it is due; otherwise begins to get consent.
///
/// # Errors
/// [`BrokerError::Provider`] when a due token cannot be refreshed for now.
pub async fn authenticate(broker: &Arc<Broker>, request: &TokenRequest, act: &Act) -> Result<Outcome, BrokerError> {
    if request.force_new && !request.check_only {
        return Box::pin(get_consent(broker, request, &[], None, act)).await;
    }
    if let Some(token) = remembered(broker, request) {
        return Ok(Outcome::Completed(Box::new(token)));
    }
    let mut tokens = broker.store.usable_tokens(&request.subject, &request.provider_id).await?;
    let chosen = match request.token_id {
        Some(id) => Some(named(broker, request, &tokens, id).await?),
        None => preferred(&tokens, &request.scopes),
    };
    let Some(chosen) = chosen.filter(|chosen| tokens[*chosen].covers(&request.scopes)) else {
        return Box::pin(get_consent(broker, request, &tokens, None, act)).await;
    };
    match ensure_fresh(broker, &tokens[chosen], request.min_ttl, act).await? {
        Usable::Current => Ok(Outcome::Completed(Box::new(tokens.swap_remove(chosen)))),
        Usable::Refreshed(token) => Ok(Outcome::Completed(token)),
        Usable::ConsentNeeded => Box::pin(get_consent(broker, request, &tokens, Some(&tokens[chosen]), act)).await,
    }
}

/// The token from memory, in the usual case: it is fresh. Everything else is decided by what the database says.
fn remembered(broker: &Broker, request: &TokenRequest) -> Option<Token> {
    let mut tokens = broker.store.remembered_tokens(&request.subject, &request.provider_id)?;
    let chosen = match request.token_id {
        Some(id) => tokens.iter().position(|token| token.id == id),
        None => preferred(&tokens, &request.scopes),
    }?;
    let (token, now) = (tokens.swap_remove(chosen), broker.clock.now());
    if !token.covers(&request.scopes) || !is_fresh(&token, request.min_ttl, now) {
        return None;
    }
    broker.usage.note(&token, now);
    Some(token)
}

/// Among the tokens with all requested scopes: an active one before a dead one, then in the order of the store.
fn preferred(tokens: &[Token], scopes: &[String]) -> Option<usize> {
    let covering = || (0..tokens.len()).filter(|at| tokens[*at].covers(scopes));
    covering().find(|at| tokens[*at].state == State::Active).or_else(|| covering().next())
}

async fn named(broker: &Broker, request: &TokenRequest, tokens: &[Token], id: Uuid) -> Result<usize, BrokerError> {
    match tokens.iter().position(|token| token.id == id) {
        Some(at) => Ok(at),
        None => {
            Box::pin(describe(broker, &request.subject.tenant, &request.provider_id)).await?;
            Err(BrokerError::NotFound("token"))
        }
    }
}

/// What is returned if no token can be used; `dead` is the token that would have been used if it were alive.
async fn get_consent(
    broker: &Arc<Broker>,
    request: &TokenRequest,
    tokens: &[Token],
    dead: Option<&Token>,
    act: &Act,
) -> Result<Outcome, BrokerError> {
    let provider = get(broker, &request.subject.tenant, &request.provider_id).await?;
    let credential = credential_of(&provider);
    // If no person is needed, a dead token is obtained again for the subject it was for: also for an agent that is
    // connected to it.
    let revived = dead.filter(|_| credential.is_some());
    let options = consent_options(
        broker,
        &provider,
        Requested {
            consent: request.consent,
            redirect_uri: request.redirect_uri.as_deref(),
            return_url: request.return_url.as_deref(),
            login_hint: request.login_hint.as_deref(),
        },
    );
    let scopes = scopes_to_request(request, tokens, dead);
    if let Some(dead) = dead.filter(|_| revived.is_none() && request.token_id.is_some()) {
        // Nothing is begun yet, so an address that is not allowed is no reason to refuse the answer.
        let url = match &options {
            Ok(options) => link(broker, request, &provider, scopes, options, Some(dead.id))?,
            Err(_) => None,
        };
        return Ok(Outcome::TokenExpired(url));
    }
    let options = options?;
    let agent = &request.subject.agent_id;
    let needs_connection = request.check_only
        || (!request.force_new
            && revived.is_none()
            && !agent.is_empty()
            && broker.store.agent_is_connected(&request.subject.tenant, agent, provider.id).await?);
    if needs_connection {
        let url = link(broker, request, &provider, scopes, &options, None)?;
        return Ok(Outcome::ConnectionRequired(url));
    }
    let provider = ready_client(broker, provider, act).await?;
    let subject = revived.map_or(&request.subject, |token| &token.subject);
    let wanted = wanted(request, &provider, subject.clone(), scopes);
    if let Some(credential) = credential {
        return obtain(broker, &provider, wanted, credential, &request.scopes, act).await.map(Outcome::Completed);
    }
    let pending = match (request.consent_on, provider.client.options.grant_type) {
        (ConsentOn::Device, GrantType::AuthorizationCode) => {
            begin_device(broker, &provider, wanted, options, act).await?
        }
        _ => begin(broker, &provider, wanted, options, act).await?,
    };
    Ok(Outcome::Pending(pending))
}

fn wanted(request: &TokenRequest, provider: &Provider, subject: Subject, scopes: Vec<String>) -> GrantRequest {
    GrantRequest {
        provider: provider.id,
        subject,
        ls_user_id: request.ls_user_id.clone(),
        scopes,
        is_default: request.is_default,
        force_new: request.force_new,
    }
}

/// Where a person can begin what is requested.
fn link(
    broker: &Broker,
    request: &TokenRequest,
    provider: &Provider,
    scopes: Vec<String>,
    options: &ConsentOptions,
    token: Option<Uuid>,
) -> Result<Option<String>, BrokerError> {
    let wanted = wanted(request, provider, request.subject.clone(), scopes);
    connect_link(broker, &request.provider_id, &wanted, options, token)
}

/// The requested scopes, and those of the token that would be replaced: with most providers a new consent replaces the
/// old grant, and two agents that request different scopes would otherwise take them from each other for ever. The scopes
/// of `dead` are gone with it: its provider may not grant all of them again.
fn scopes_to_request(request: &TokenRequest, tokens: &[Token], dead: Option<&Token>) -> Vec<String> {
    let mut scopes = request.scopes.clone();
    let mut others = tokens.iter().filter(|token| dead.is_none_or(|dead| dead.id != token.id));
    if let Some(token) = others.find(|token| token.state == State::Active) {
        scopes.extend(token.scopes.iter().filter(|scope| !request.scopes.contains(scope)).cloned());
    }
    scopes
}

/// The requested scopes, with those that an API or an MCP server wants: `challenge` is the `WWW-Authenticate` header with
/// which it refused a token (RFC 6750 section 3). At most `limit` scopes; what is not a scope is ignored.
#[must_use]
pub fn with_challenged_scopes(mut scopes: Vec<String>, challenge: &str, limit: usize) -> Vec<String> {
    for scope in Challenge::of_headers([challenge]).unwrap_or_default().scopes {
        if rules::scope(&scope).is_ok() && !scopes.contains(&scope) && scopes.len() < limit {
            scopes.push(scope);
        }
    }
    scopes
}
