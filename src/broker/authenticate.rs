//! Authenticate: a live access token, or where to get consent for one.
//! Owns: which token is used, and what is answered when none is.
//! Must not know: the shape of the request or the answer on the wire.

use std::sync::Arc;

use chrono::TimeDelta;
use uuid::Uuid;

use super::{
    BrokerError,
    clients::redirect_uri::redirect_uri,
    consent::{
        authorization::{Begin, Pending, begin},
        client_credentials::{obtain, proof_of},
        device::begin_device,
        static_key::is_static_key,
    },
    providers::mcp::{has_client, has_expired, renewed},
    tokens::refresh::{Refreshed, refresh, refresh_behind},
};
use crate::{
    app::App,
    model::options::GrantType,
    oauth::token::TokenFailure,
    store::{
        Subject,
        providers::Provider,
        tokens::row::{State, Token},
    },
};

/// A token that is due but good for this long yet is handed out at once; an agent gets some use out of it.
const GOOD_FOR_A_WHILE: TimeDelta = TimeDelta::seconds(30);

/// What an agent asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Whose token.
    pub subject: Subject,
    /// The caller, as the platform names it.
    pub ls_user_id: Option<String>,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The scopes the token must have.
    pub scopes: Vec<String>,
    /// Begin a consent even if there is a token.
    pub force_new: bool,
    /// This token and no other.
    pub token_id: Option<Uuid>,
    /// Whether a new token becomes the default.
    pub is_default: bool,
    /// Where the person comes back to, if not to us.
    pub redirect_uri: Option<String>,
    /// Begin nothing.
    pub check_only: bool,
    /// Where the person consents, if one has to.
    pub consent_on: ConsentOn,
    /// How long the token has to be good for at the least.
    pub least: Option<TimeDelta>,
}

/// Where a person consents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentOn {
    /// In a browser that comes back here.
    Browser,
    /// On a device of their own, with a code (RFC 8628).
    Device,
}

/// What an agent gets.
#[derive(Debug)]
pub enum Outcome {
    /// A live access token.
    Completed(Box<Token>),
    /// A person has to consent.
    Pending(Pending),
    /// There is nothing this agent may use, and nothing was begun.
    ConnectionRequired,
    /// The named token is dead.
    TokenExpired,
}

/// Gives the subject's token for these scopes, refreshed if it is due; else begins to get consent.
///
/// # Errors
/// [`BrokerError`]; [`BrokerError::Provider`] when a due token cannot be refreshed for now.
pub async fn authenticate(app: &Arc<App>, ask: Ask) -> Result<Outcome, BrokerError> {
    if ask.force_new && !ask.check_only {
        return Box::pin(consent(app, &ask, &[], None)).await;
    }
    let mut tokens = app.store.usable_tokens(&ask.subject, &ask.provider_id).await?;
    let chosen = match ask.token_id {
        Some(id) => Some(named(app, &ask, &tokens, id).await?),
        None => preferred(&tokens, &ask.scopes),
    };
    let Some(chosen) = chosen.filter(|chosen| covers(&tokens[*chosen], &ask.scopes)) else {
        return Box::pin(consent(app, &ask, &tokens, None)).await;
    };
    match live(app, &tokens[chosen], ask.least).await? {
        Live::AsRead => Ok(Outcome::Completed(Box::new(tokens.swap_remove(chosen)))),
        Live::Refreshed(token) => Ok(Outcome::Completed(token)),
        Live::ConsentNeeded => Box::pin(consent(app, &ask, &tokens, Some(&tokens[chosen]))).await,
    }
}

/// What can be handed out.
pub enum Live {
    /// The token as it was read.
    AsRead,
    /// What a refresh made of it.
    Refreshed(Box<Token>),
    /// Nothing: only a new consent helps.
    ConsentNeeded,
}

/// The token itself while it is fresh, else what a refresh makes of it. A token that is due but good for a while yet
/// is handed out at once and refreshed behind it; one that still works is handed out even if the provider fails to
/// refresh it. `least` is how long it has to be good for at the least, if the caller said so.
///
/// # Errors
/// [`BrokerError::Provider`] when the token has expired and the provider fails.
pub async fn live(app: &Arc<App>, token: &Token, least: Option<TimeDelta>) -> Result<Live, BrokerError> {
    let now = app.clock.now();
    let left = token.expires_at.map(|at| at - now);
    let expired = left.is_some_and(|left| left <= TimeDelta::zero());
    let due = token.refresh_due_at.is_some_and(|at| at <= now);
    let short = left.is_some_and(|left| left < least_of(token, least));
    let given = match token.state {
        State::ConsentNeeded => Live::ConsentNeeded,
        State::Active if !due && !short => Live::AsRead,
        State::Active if !token.has_refresh_token && expired => Live::ConsentNeeded,
        State::Active if !token.has_refresh_token => Live::AsRead,
        State::Active if !short && left.is_some_and(|left| left >= GOOD_FOR_A_WHILE) => {
            refresh_behind(app, token.clone());
            Live::AsRead
        }
        State::Active => match Box::pin(refresh(app, token.clone())).await? {
            Refreshed::Fresh(token) => Live::Refreshed(token),
            Refreshed::ConsentNeeded => Live::ConsentNeeded,
            Refreshed::Failed(_) if !expired => Live::AsRead,
            Refreshed::Failed(failure) => return Err(unavailable(failure)),
        },
    };
    match &given {
        Live::AsRead => app.usage.note(token, now),
        Live::Refreshed(token) => app.usage.note(token, now),
        Live::ConsentNeeded => {}
    }
    Ok(given)
}

/// How long a token has to be good for: as asked, but at most nine tenths of its whole life, or a caller who asks for
/// more than the provider gives would have it refreshed at every call.
fn least_of(token: &Token, asked: Option<TimeDelta>) -> TimeDelta {
    let life = token.expires_at.map_or(TimeDelta::zero(), |at| at - token.obtained_at);
    asked.unwrap_or(TimeDelta::zero()).min(life * 9 / 10)
}

/// Among tokens with all asked scopes: a living one before a dead one, then as the store ordered them.
fn preferred(tokens: &[Token], scopes: &[String]) -> Option<usize> {
    let covering = || (0..tokens.len()).filter(|at| covers(&tokens[*at], scopes));
    covering().find(|at| tokens[*at].state == State::Active).or_else(|| covering().next())
}

/// True when the token is good for all of these scopes.
pub(in crate::broker) fn covers(token: &Token, scopes: &[String]) -> bool {
    scopes.iter().all(|scope| token.scopes.contains(scope)) || is_static_key(token)
}

async fn named(app: &App, ask: &Ask, tokens: &[Token], id: Uuid) -> Result<usize, BrokerError> {
    match tokens.iter().position(|token| token.id == id) {
        Some(at) => Ok(at),
        None => {
            Box::pin(provider(app, ask)).await?;
            Err(BrokerError::NotFound("token"))
        }
    }
}

async fn provider(app: &App, ask: &Ask) -> Result<Provider, BrokerError> {
    app.store.provider(&ask.subject.tenant, &ask.provider_id).await?.ok_or(BrokerError::NotFound("provider"))
}

/// What is answered when no token will do; `dead` is the one that would have, did it live.
async fn consent(app: &Arc<App>, ask: &Ask, tokens: &[Token], dead: Option<&Token>) -> Result<Outcome, BrokerError> {
    let provider = provider(app, ask).await?;
    let proof = proof_of(&provider);
    // Where no person is needed, a dead token is got anew for whomever it was for: for an agent that is connected to it,
    // too.
    let revived = dead.filter(|_| proof.is_some());
    if dead.is_some() && revived.is_none() && ask.token_id.is_some() {
        return Ok(Outcome::TokenExpired);
    }
    let redirect_uri = redirect_uri(app, &provider, ask.redirect_uri.as_deref())?;
    if ask.check_only {
        return Ok(Outcome::ConnectionRequired);
    }
    let agent = &ask.subject.agent_id;
    if !ask.force_new
        && revived.is_none()
        && !agent.is_empty()
        && app.store.agent_is_connected(&ask.subject.tenant, agent, provider.id).await?
    {
        return Ok(Outcome::ConnectionRequired);
    }
    if provider.options.grant_type != GrantType::ApiKey {
        has_client(&app.public_url, &provider)?;
    }
    let provider = if has_expired(&provider, app.clock.now()) { renewed(app, provider).await } else { provider };
    let begin_with = Begin {
        subject: revived.map_or(&ask.subject, |token| &token.subject).clone(),
        ls_user_id: ask.ls_user_id.clone(),
        scopes: scopes_to_request(ask, tokens, dead),
        redirect_uri,
        is_default: ask.is_default,
        force_new: ask.force_new,
    };
    match (proof, ask.consent_on, provider.options.grant_type) {
        (Some(proof), _, _) => obtain(app, &provider, begin_with, proof, &ask.scopes).await.map(Outcome::Completed),
        (None, ConsentOn::Device, GrantType::AuthorizationCode) => {
            begin_device(app, &provider, begin_with).await.map(Outcome::Pending)
        }
        (None, _, _) => begin(app, &provider, begin_with).await.map(Outcome::Pending),
    }
}

/// What was asked for and what the token that would be replaced has: with most providers a new consent replaces the
/// old grant, and two agents asking for different scopes would else take them from each other for ever.
/// What `dead` had died with it: its provider may not give all of that again.
fn scopes_to_request(ask: &Ask, tokens: &[Token], dead: Option<&Token>) -> Vec<String> {
    let mut scopes = ask.scopes.clone();
    let mut living = tokens.iter().filter(|token| dead.is_none_or(|dead| dead.id != token.id));
    if let Some(token) = living.find(|token| token.state == State::Active) {
        scopes.extend(token.scopes.iter().filter(|scope| !ask.scopes.contains(scope)).cloned());
    }
    scopes
}

fn unavailable(failure: TokenFailure) -> BrokerError {
    BrokerError::Provider { retry_after: failure.retry_after, failure }
}
