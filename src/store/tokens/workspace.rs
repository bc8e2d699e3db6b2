//! The tokens of a whole workspace, for those who run it: pages of them, newest first, one of them, and how many there are.
//! Owns: these statements. No secret is opened for them.
//! Must not know: who may see them, beyond the limits that are passed in.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    model::{
        key_limits::Reach,
        token_state::{OwnedToken, TokenFilter},
    },
    store::{error::StoreError, handle::Store, key_limits::usable_token_in_limits, tokens::state::token_state_columns},
};

/// The condition of the token `t`, as `broker/tokens/explain.rs` decides it; a test compares the two. `$now` is the time.
macro_rules! condition {
    ($now:literal) => {
        concat!(
            "CASE WHEN t.state = 'consent_needed' OR (t.refresh_token IS NULL AND t.expires_at <= ",
            $now,
            ") THEN 'consent_needed'
             WHEN t.refresh_until IS NOT NULL AND t.refresh_until >= (SELECT now_ms FROM database_clock)
                THEN 'refreshing'
             WHEN t.refresh_failures > 0 THEN 'failing' ELSE 'active' END"
        )
    };
}

/// A page of tokens of the workspace. `$who` narrows them to a user, or not at all: two statements, so that each has an
/// index that serves it (`tokens_of_workspace`, or the two of users). A token's id grows with its creation (UUID version
/// 7), so the newest have the largest.
macro_rules! page {
    ($who:literal) => {
        concat!(
            "SELECT t.user_id, t.ls_user_id, t.agent_id, ",
            token_state_columns!(),
            " FROM tokens t JOIN providers p ON p.id = t.provider
             WHERE t.organization_id = $1 AND t.workspace_id = $2 AND ",
            $who,
            " AND ($4 IS NULL OR t.agent_id = $4)
              AND ($5 IS NULL OR t.provider = (SELECT id FROM providers named
                WHERE named.organization_id = $1 AND named.workspace_id = $2 AND named.provider_id = $5))
              AND ($6 IS NULL OR $6 = ",
            condition!("$7"),
            ") AND t.id < $8 AND ",
            usable_token_in_limits!("t", "$9"),
            " ORDER BY t.id DESC LIMIT $10"
        )
    };
}

/// The newest tokens of a workspace, as the table `t`: of `$max` tokens everything can be read while somebody waits.
macro_rules! newest {
    ($max:literal) => {
        concat!(
            "(SELECT id FROM tokens WHERE organization_id = $1 AND workspace_id = $2 ORDER BY id DESC LIMIT ",
            $max,
            ") newest JOIN tokens t ON t.id = newest.id"
        )
    };
}

/// How many tokens are examined at most for an overview.
pub const EXAMINED_MAX: i64 = 20_000;

impl Store {
    /// Tokens of a workspace, newest first, created before the token `before`.
    pub async fn tokens_of_workspace(
        &self,
        reach: Reach<'_>,
        filter: &TokenFilter,
        before: Option<Uuid>,
        limit: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<OwnedToken>, StoreError> {
        let sql = match filter.user_id {
            Some(_) => page!("(t.user_id = $3 OR t.ls_user_id = $3)"),
            None => page!("$3 IS NULL"),
        };
        self.db
            .query(sql)
            .within(reach.tenant)
            .bind(filter.user_id.clone())
            .bind(filter.agent_id.clone())
            .bind(filter.provider_id.clone())
            .bind(filter.condition.map(|condition| condition.as_str().to_owned()))
            .bind(now)
            .bind(before.unwrap_or(Uuid::max()))
            .limited(reach.limits)
            .bind(limit)
            .read()
            .all()
            .await
    }

    /// A token of a workspace, of whatever user.
    pub async fn token_of_workspace(&self, reach: Reach<'_>, id: Uuid) -> Result<Option<OwnedToken>, StoreError> {
        self.db
            .query(concat!(
                "SELECT t.user_id, t.ls_user_id, t.agent_id, ",
                token_state_columns!(),
                " FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND t.id = $3 AND ",
                usable_token_in_limits!("t", "$4")
            ))
            .within(reach.tenant)
            .bind(id)
            .limited(reach.limits)
            .read()
            .optional()
            .await
    }

    /// How many of the newest tokens of a workspace are in each condition, by its name.
    pub async fn count_tokens_by_condition(
        &self,
        reach: Reach<'_>,
        now: DateTime<Utc>,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        self.db
            .query(concat!(
                "SELECT ",
                condition!("$3"),
                " AS in_condition, count(*) FROM ",
                newest!("$4"),
                " WHERE ",
                usable_token_in_limits!("t", "$5"),
                " GROUP BY in_condition"
            ))
            .within(reach.tenant)
            .bind(now)
            .bind(EXAMINED_MAX)
            .limited(reach.limits)
            .read()
            .all()
            .await
    }

    /// At most `limit` of the newest tokens of a workspace that cannot be used or refreshed: first those that need a consent.
    pub async fn tokens_in_trouble(
        &self,
        reach: Reach<'_>,
        limit: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<OwnedToken>, StoreError> {
        self.db
            .query(concat!(
                "SELECT t.user_id, t.ls_user_id, t.agent_id, ",
                token_state_columns!(),
                " FROM ",
                newest!("$4"),
                " JOIN providers p ON p.id = t.provider
                 WHERE ",
                condition!("$3"),
                " IN ('consent_needed', 'failing') AND ",
                usable_token_in_limits!("t", "$5"),
                " ORDER BY CASE WHEN ",
                condition!("$3"),
                " = 'consent_needed' THEN 0 ELSE 1 END, t.id DESC LIMIT $6"
            ))
            .within(reach.tenant)
            .bind(now)
            .bind(EXAMINED_MAX)
            .limited(reach.limits)
            .bind(limit)
            .read()
            .all()
            .await
    }
}
