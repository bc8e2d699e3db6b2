//! The tokens of a whole workspace, for those who run it.
//! Owns: what they see of them, and ending one without being its user.
//! Must not know: where they are shown.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use uuid::Uuid;

use super::{
    explain::{Explanation, explain},
    list,
    refresh::{Refreshed, refresh},
    revoke::{self, Deletion},
};
use crate::{
    broker::{context::Broker, error::BrokerError},
    model::{
        actor::Act,
        key_limits::Reach,
        token::{State, TokenChange},
        token_state::{Condition, OwnedToken, TokenFilter},
    },
    store::tokens::workspace::EXAMINED_MAX,
    telemetry::metrics::Trigger,
};

/// How many of many tokens are deleted at the same time: each waits for its provider.
const DELETED_AT_ONCE: usize = 8;

/// A page of tokens, each explained.
#[derive(Clone, Debug)]
pub struct Page {
    /// The tokens, newest first.
    pub tokens: Vec<(OwnedToken, Explanation)>,
    /// Where the next page goes on; `None`: there is nothing more.
    pub next: Option<Uuid>,
}

/// At most `limit` tokens of the workspace, newest first, created before the token `before`.
pub async fn page(
    broker: &Broker,
    reach: Reach<'_>,
    filter: &TokenFilter,
    before: Option<Uuid>,
    limit: usize,
) -> Result<Page, BrokerError> {
    let now = broker.clock.now();
    // One more than is shown says whether there is a next page.
    let rows = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut tokens = broker.store.tokens_of_workspace(reach, filter, before, rows, now).await?;
    let has_more = tokens.len() > limit;
    tokens.truncate(limit);
    let next = tokens.last().filter(|_| has_more).map(|token| token.state.id);
    Ok(Page { tokens: tokens.into_iter().map(|token| explained(token, now)).collect(), next })
}

/// A token of the workspace, explained; `None` if the caller reaches no such token.
pub async fn get(
    broker: &Broker,
    reach: Reach<'_>,
    id: Uuid,
) -> Result<Option<(OwnedToken, Explanation)>, BrokerError> {
    let token = broker.store.token_of_workspace(reach, id).await?;
    Ok(token.map(|token| explained(token, broker.clock.now())))
}

/// What there is in a workspace at a glance, among its newest tokens.
#[derive(Clone, Debug)]
pub struct Overview {
    /// How many tokens are in each condition, by its name.
    pub counts: BTreeMap<&'static str, i64>,
    /// Some of those that cannot be used or refreshed, explained: first those that need a consent.
    pub in_trouble: Vec<(OwnedToken, Explanation)>,
    /// True if there may be older tokens that are not counted.
    pub is_cut: bool,
}

/// The overview, with at most `named_max` tokens by name.
pub async fn overview(broker: &Broker, reach: Reach<'_>, named_max: i64) -> Result<Overview, BrokerError> {
    let now = broker.clock.now();
    let counted = broker.store.count_tokens_by_condition(reach, now).await?;
    let count_of = |name: &str| counted.iter().find(|(found, _)| found == name).map_or(0, |(_, count)| *count);
    let counts: BTreeMap<_, _> = Condition::NAMES.iter().map(|(name, _)| (*name, count_of(name))).collect();
    let in_trouble = broker.store.tokens_in_trouble(reach, named_max, now).await?;
    let is_cut = counts.values().sum::<i64>() >= EXAMINED_MAX;
    Ok(Overview { counts, in_trouble: in_trouble.into_iter().map(|token| explained(token, now)).collect(), is_cut })
}

/// Refreshes a token of the workspace, whether it is due or not.
///
/// # Errors
/// [`BrokerError::NotFound`]; [`BrokerError::Conflict`] for a token that cannot be refreshed.
pub async fn refresh_now(
    broker: &Arc<Broker>,
    reach: Reach<'_>,
    id: Uuid,
    act: &Act,
) -> Result<Refreshed, BrokerError> {
    let token = broker.store.token_within(reach, id).await?.ok_or(BrokerError::NotFound("token"))?;
    if token.state == State::ConsentNeeded {
        return Ok(Refreshed::ConsentNeeded);
    }
    if !token.has_refresh_token {
        return Err(BrokerError::Conflict(
            "The provider issued no refresh token with it: it cannot be refreshed.".into(),
        ));
    }
    refresh(broker, token, Trigger::Operator, act).await
}

/// Deletes a token of the workspace and revokes its grant; `None` if the caller may delete no such token.
pub async fn delete(
    broker: &Arc<Broker>,
    reach: Reach<'_>,
    id: Uuid,
    act: &Act,
) -> Result<Option<Deletion>, BrokerError> {
    let Some(token) = broker.store.token_of_workspace(reach, id).await? else { return Ok(None) };
    revoke::delete_token(broker, reach, &token.user_id, id, act).await
}

/// What became of one of many tokens.
#[derive(Debug)]
pub struct Ended {
    /// The token as it was, explained; `None`: there was none that the caller reaches.
    pub token: Option<(OwnedToken, Explanation)>,
    /// The deletion; `None`: there was nothing to delete.
    pub deletion: Result<Option<Deletion>, BrokerError>,
}

/// Deletes these tokens of the workspace and revokes their grants, each on its own: one that fails stops no other.
pub async fn delete_many(broker: &Arc<Broker>, reach: Reach<'_>, ids: Vec<Uuid>, act: &Act) -> Vec<Ended> {
    let one = |id: Uuid| async move {
        let token = match get(broker, reach, id).await {
            Ok(Some(token)) => token,
            Ok(None) => return Ended { token: None, deletion: Ok(None) },
            Err(error) => return Ended { token: None, deletion: Err(error) },
        };
        let deletion = revoke::delete_token(broker, reach, &token.0.user_id, id, act).await;
        Ended { token: Some(token), deletion }
    };
    stream::iter(ids).map(one).buffered(DELETED_AT_ONCE).collect().await
}

/// Changes the label or the default mark of a token of the workspace. Returns whether there was such a token.
pub async fn change(
    broker: &Broker,
    reach: Reach<'_>,
    id: Uuid,
    change: &TokenChange,
    act: &Act,
) -> Result<bool, BrokerError> {
    let Some(token) = broker.store.token_of_workspace(reach, id).await? else { return Ok(false) };
    Ok(list::change(broker, reach, &token.user_id, id, change, act).await?.is_some())
}

fn explained(token: OwnedToken, now: DateTime<Utc>) -> (OwnedToken, Explanation) {
    let explanation = explain(&token.state, now);
    (token, explanation)
}
