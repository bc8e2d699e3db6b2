//! Authorization requests that are under way, for those who run the workspace.
//! Owns: how many are listed.
//! Must not know: where they are shown.

use crate::{
    broker::{context::Broker, error::BrokerError},
    model::{authorization_request::RequestSummary, key_limits::Reach},
};

/// How many are listed at most.
pub const LISTED_MAX: i64 = 200;

/// The newest requests that can still be completed.
pub async fn under_way(broker: &Broker, reach: Reach<'_>) -> Result<Vec<RequestSummary>, BrokerError> {
    let now = broker.clock.now();
    Ok(broker.store.authorization_requests_under_way(reach, LISTED_MAX, now).await?)
}
