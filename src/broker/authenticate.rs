//! Authenticate: a live access token, or where to get consent for one.
//! Owns: which token is used, and what is answered when none is.
//! Must not know: the shape of the request or the answer on the wire.

use std::sync::Arc;

use chrono::TimeDelta;
use uuid::Uuid;

use super::{
    BrokerError,
    authorization::{Begin, Pending, begin},
    provider::redirect_uri,
    refresh::{Refreshed, refresh, refresh_behind},
};
use crate::{
    app::App,
    oauth::token::TokenFailure,
    store::{
        Subject,
        providers::Provider,
        tokens::{State, Token},
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
    /// How long the token has to be good for at the least.
    pub least: Option<TimeDelta>,
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
        return consent(app, &ask, &[]).await;
    }
    let tokens = app.store.usable_tokens(&ask.subject, &ask.provider_id).await?;
    let chosen = match ask.token_id {
        Some(id) => Some(named(app, &ask, &tokens, id).await?),
        None => preferred(&tokens, &ask.scopes),
    };
    let Some(token) = chosen.filter(|token| covers(token, &ask.scopes)) else {
        return consent(app, &ask, &tokens).await;
    };
    match live(app, token.clone(), ask.least).await? {
        Some(token) => Ok(Outcome::Completed(Box::new(token))),
        None if ask.token_id.is_some() => Ok(Outcome::TokenExpired),
        None => consent(app, &ask, &tokens).await,
    }
}

/// The token itself while it is fresh, else what a refresh makes of it. A token that is due but good for a while yet
/// is handed out at once and refreshed behind it; one that still works is handed out even if the provider fails to
/// refresh it. `least` is how long it has to be good for at the least, if the caller said so. `None`: only a new
/// consent helps.
///
/// # Errors
/// [`BrokerError::Provider`] when the token has expired and the provider fails.
pub async fn live(app: &Arc<App>, token: Token, least: Option<TimeDelta>) -> Result<Option<Token>, BrokerError> {
    let now = app.clock.now();
    let left = token.expires_at.map(|at| at - now);
    let expired = left.is_some_and(|left| left <= TimeDelta::zero());
    let due = token.refresh_due_at.is_some_and(|at| at <= now);
    let short = left.is_some_and(|left| left < least_of(&token, least));
    let given = match token.state {
        State::ConsentNeeded => Ok(None),
        State::Active if !due && !short => Ok(Some(token)),
        State::Active if !token.has_refresh_token => Ok((!expired).then_some(token)),
        State::Active if !short && left.is_some_and(|left| left >= GOOD_FOR_A_WHILE) => {
            refresh_behind(app, token.clone());
            Ok(Some(token))
        }
        State::Active => match Box::pin(refresh(app, token.clone())).await? {
            Refreshed::Fresh(token) => Ok(Some(*token)),
            Refreshed::ConsentNeeded => Ok(None),
            Refreshed::Failed(_) if !expired => Ok(Some(token)),
            Refreshed::Failed(failure) => Err(unavailable(failure)),
        },
    };
    if let Ok(Some(token)) = &given {
        app.usage.note(token, now);
    }
    given
}

/// How long a token has to be good for: as asked, but at most nine tenths of its whole life, or a caller who asks for
/// more than the provider gives would have it refreshed at every call.
fn least_of(token: &Token, asked: Option<TimeDelta>) -> TimeDelta {
    let life = token.expires_at.map_or(TimeDelta::zero(), |at| at - token.obtained_at);
    asked.unwrap_or(TimeDelta::zero()).min(life * 9 / 10)
}

/// Among tokens with all asked scopes: a living one before a dead one, then as the store ordered them.
fn preferred<'t>(tokens: &'t [Token], scopes: &[String]) -> Option<&'t Token> {
    let covering = || tokens.iter().filter(|token| covers(token, scopes));
    covering().find(|token| token.state == State::Active).or_else(|| covering().next())
}

fn covers(token: &Token, scopes: &[String]) -> bool {
    scopes.iter().all(|scope| token.scopes.contains(scope))
}

async fn named<'t>(app: &App, ask: &Ask, tokens: &'t [Token], id: Uuid) -> Result<&'t Token, BrokerError> {
    match tokens.iter().find(|token| token.id == id) {
        Some(token) => Ok(token),
        None => {
            provider(app, ask).await?;
            Err(BrokerError::NotFound("token"))
        }
    }
}

async fn provider(app: &App, ask: &Ask) -> Result<Provider, BrokerError> {
    app.store.provider(&ask.subject.tenant, &ask.provider_id).await?.ok_or(BrokerError::NotFound("provider"))
}

/// What is answered when no token will do.
async fn consent(app: &App, ask: &Ask, tokens: &[Token]) -> Result<Outcome, BrokerError> {
    let provider = provider(app, ask).await?;
    let redirect_uri = redirect_uri(app, &provider, ask.redirect_uri.as_deref())?;
    if ask.check_only {
        return Ok(Outcome::ConnectionRequired);
    }
    let agent = &ask.subject.agent_id;
    if !ask.force_new
        && !agent.is_empty()
        && app.store.agent_is_connected(&ask.subject.tenant, agent, provider.id).await?
    {
        return Ok(Outcome::ConnectionRequired);
    }
    let ask = Begin {
        subject: ask.subject.clone(),
        ls_user_id: ask.ls_user_id.clone(),
        scopes: scopes_to_request(ask, tokens),
        redirect_uri,
        is_default: ask.is_default,
        force_new: ask.force_new,
    };
    begin(app, &provider, ask).await.map(Outcome::Pending)
}

/// What was asked for and what the token that would be replaced has: with most providers a new consent replaces the
/// old grant, and two agents asking for different scopes would else take them from each other for ever.
fn scopes_to_request(ask: &Ask, tokens: &[Token]) -> Vec<String> {
    let mut scopes = ask.scopes.clone();
    if let Some(token) = tokens.iter().find(|token| token.state == State::Active) {
        scopes.extend(token.scopes.iter().filter(|scope| !ask.scopes.contains(scope)).cloned());
    }
    scopes
}

fn unavailable(failure: TokenFailure) -> BrokerError {
    BrokerError::Provider { retry_after: failure.retry_after, failure }
}
