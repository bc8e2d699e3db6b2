//! Reports: an API refused a token that should be good.
//! Owns: when a report leads to a refresh, and when it does not.
//! Must not know: the shape of the report, or how it is answered.

use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::refresh::{Refreshed, mark_client, refresh};
use crate::{
    app::App,
    broker::{
        BrokerError,
        authenticate::{Live, live},
        consent::static_key::is_static_key,
    },
    store::{
        Tenant,
        tokens::row::{State, Token},
    },
};

/// The error of a token that had to be given up because of a report.
pub const REPORTED: &str = "reported_invalid";
/// A token that was replaced less than this ago is not refreshed again: the report is about the one before, or a
/// refresh does not help. An API that refuses everybody for a while must not become a storm of refreshes.
const JUST_REPLACED: TimeDelta = TimeDelta::seconds(30);

/// What a report led to.
#[derive(Debug)]
pub enum Reported {
    /// The token was refreshed.
    Refreshed(Box<Token>),
    /// It had been replaced before; this is the one that counts.
    ReplacedBefore(Box<Token>),
    /// Only a new consent helps.
    ConsentNeeded,
}

/// An API refused the access token of the token `id`: refreshes it, once. `refused` is that access token, if the agent
/// tells it; another one than the current one is known to be old, and the current one is given instead. A grant that
/// cannot be refreshed ends.
///
/// # Errors
/// [`BrokerError::NotFound`]; [`BrokerError::Provider`] when the provider fails, and the grant is kept.
pub async fn report_invalid(
    app: &Arc<App>,
    tenant: &Tenant,
    id: Uuid,
    refused: Option<&SecretString>,
) -> Result<Reported, BrokerError> {
    let token = app.store.token(tenant, id).await?.ok_or(BrokerError::NotFound("token"))?;
    if token.state == State::ConsentNeeded {
        return Ok(Reported::ConsentNeeded);
    }
    let is_old = refused.is_some_and(|refused| digest(refused) != digest(&token.access_token));
    let just_replaced = token.generation > 1 && token.obtained_at + JUST_REPLACED > app.clock.now();
    if is_old || just_replaced {
        return current(app, token).await;
    }
    tracing::info!(token_id = %token.id, provider = token.provider_id, "an API refused a token");
    if token.has_refresh_token {
        return match refresh(app, token).await? {
            Refreshed::Fresh(token) => Ok(Reported::Refreshed(token)),
            Refreshed::ConsentNeeded => Ok(Reported::ConsentNeeded),
            Refreshed::Failed(failure) => Err(BrokerError::Provider { retry_after: failure.retry_after, failure }),
        };
    }
    if app.store.end_grant(&token, REPORTED, app.clock.now()).await? {
        if is_static_key(&token) {
            tell_operator(app, &token).await?;
        }
        return Ok(Reported::ConsentNeeded);
    }
    match app.store.token(tenant, id).await? {
        Some(token) => current(app, token).await,
        None => Ok(Reported::ConsentNeeded),
    }
}

/// A key that the whole workspace shares is nobody's to enter anew: the provider is marked, so that its operator sees it.
async fn tell_operator(app: &App, token: &Token) -> Result<(), BrokerError> {
    let provider = app.store.provider(&token.subject.tenant, &token.provider_id).await?;
    if let Some(provider) = provider.filter(|provider| provider.client_secret.is_some()) {
        mark_client(app, &provider, Some(REPORTED)).await;
    }
    Ok(())
}

async fn current(app: &Arc<App>, token: Token) -> Result<Reported, BrokerError> {
    Ok(match live(app, &token, None).await? {
        Live::AsRead => Reported::ReplacedBefore(Box::new(token)),
        Live::Refreshed(token) => Reported::ReplacedBefore(token),
        Live::ConsentNeeded => Reported::ConsentNeeded,
    })
}

/// Compared instead of the secrets, so that the time it takes tells nothing of them.
fn digest(secret: &SecretString) -> [u8; 32] {
    Sha256::digest(secret.expose_secret()).into()
}
