//! From a token response to a grant.
//! Owns: making its times absolute, and reading which scopes and which account it is for.
//! Must not know: what was brought to the token endpoint.

use super::expiry;
use crate::{
    broker::context::Broker,
    model::{client::Client, grant::Grant},
    oauth::{account::Account, scopes::covered, token_response::TokenResponse},
};

/// What a token response grants. `requested` are the requested scopes; after a refresh, those the token has.
#[must_use]
pub fn grant_from_response(broker: &Broker, client: &Client, response: &TokenResponse, requested: &[String]) -> Grant {
    let quirks = broker.catalog.quirks_of(client);
    let now = broker.clock.now();
    let (expires_at, refresh_due_at) = expiry::of(response.expires_in, now);
    let (refresh_token_expires_at, _) = expiry::of(response.refresh_token_expires_in, now);
    let account = Account::of(response, &quirks.accounts);
    Grant {
        access_token: response.access_token.clone(),
        refresh_token: response.refresh_token.clone(),
        scopes: response.scopes.clone().map(|granted| covered(granted, requested, quirks)),
        metadata: response.metadata.clone(),
        account_label: account.as_ref().and_then(|account| account.label.clone()),
        account_id: account.map(|account| account.id),
        expires_at,
        refresh_due_at,
        refresh_token_expires_at,
    }
}
