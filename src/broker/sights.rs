//! What waiters see of an authorization request, which those who look at the same moment share.
//! Owns: what a look finds.
//! Must not know: how it is read, or what a waiter makes of it.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    model::{authorization_request::AuthorizationRequest, subject::Tenant, token::Token},
    store::{error::StoreError, joined_reads::JoinedReads},
};

/// The looks of waiters, by the id of the authorization request.
pub type Sights = JoinedReads<(Tenant, Uuid), Sight>;

/// What one look found.
pub type Sight = Arc<Result<Option<Seen>, StoreError>>;

/// An authorization request, and the token that it ended with.
pub struct Seen {
    /// The request.
    pub request: AuthorizationRequest,
    /// The token, if the request has one and it exists.
    pub token: Option<Token>,
}
