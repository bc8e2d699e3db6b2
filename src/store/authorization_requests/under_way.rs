//! The authorization requests of a workspace that are under way.
//! Owns: this statement. Requests live for minutes, so the index by their end finds them.
//! Must not know: what a request is waiting for.

use chrono::{DateTime, Utc};

use crate::{
    model::{authorization_request::RequestSummary, key_limits::Reach},
    store::{error::StoreError, handle::Store, key_limits::in_limit},
};

impl Store {
    /// At most `limit` requests that can still be completed, the newest first.
    pub async fn authorization_requests_under_way(
        &self,
        reach: Reach<'_>,
        limit: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<RequestSummary>, StoreError> {
        self.db
            .query(concat!(
                "SELECT id, provider_id, user_id, agent_id, scopes, consent, status,
                        device_code IS NOT NULL AS is_for_device, browser_hash IS NOT NULL AS has_gone_on, created_at,
                        expires_at
                 FROM authorization_requests
                 WHERE organization_id = $1 AND workspace_id = $2 AND finished_at IS NULL AND expires_at > $3 AND ",
                in_limit!("$4", "providers", "provider_id"),
                " AND ",
                in_limit!("$4", "agents", "agent_id"),
                " AND ",
                in_limit!("$4", "users", "user_id"),
                " ORDER BY expires_at DESC, id DESC LIMIT $5"
            ))
            .within(reach.tenant)
            .bind(now)
            .limited(reach.limits)
            .bind(limit)
            .read()
            .all()
            .await
    }
}
