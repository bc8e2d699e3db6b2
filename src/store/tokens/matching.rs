//! Which of a subject's tokens a new grant replaces.
//! Owns: how accounts at a provider are matched, also when one of them is unknown.
//! Must not know: what is written to the token.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    model::{
        grant::{Grant, GrantRequest},
        subject::Tenant,
    },
    store::{db::Tx, error::StoreError, handle::Store},
};

/// The token that a grant replaces.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct ReplacedRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) generation: i64,
    pub(in crate::store) refresh_token: Option<Vec<u8>>,
    pub(in crate::store) refresh_token_expires_at: Option<DateTime<Utc>>,
    account_id: Option<String>,
    pub(in crate::store) account_label: Option<String>,
}

/// The token that a grant replaces: the one of the same account. If the account is or was unknown, and no second one
/// was requested, the only token of the subject counts as the same: its provider was not called before, or did not
/// respond this time.
pub(in crate::store) async fn replaced_token(
    tx: &mut Tx,
    wanted: &GrantRequest,
    grant: &Grant,
) -> Result<Option<ReplacedRow>, StoreError> {
    let subject = &wanted.subject;
    if grant.account_id.is_none() && wanted.force_new {
        return Ok(None);
    }
    let mut tokens: Vec<ReplacedRow> = tx
        .query(
            "SELECT id, generation, refresh_token, refresh_token_expires_at, account_id, account_label FROM tokens
             WHERE organization_id = $1 AND workspace_id = $2 AND provider = $3 AND user_id = $4 AND agent_id = $5
             ORDER BY is_default DESC, created_at DESC",
        )
        .within(&subject.tenant)
        .bind(wanted.provider)
        .bind(subject.user_id.clone())
        .bind(subject.agent_id.clone())
        .all()
        .await?;
    let same = tokens.iter().position(|token| token.account_id == grant.account_id);
    let only = match &tokens[..] {
        [token] if !wanted.force_new && (token.account_id.is_none() || grant.account_id.is_none()) => Some(0),
        _ => None,
    };
    Ok(same.or(only).map(|position| tokens.swap_remove(position)))
}

impl Store {
    /// Whether the workspace has an active token of that account, of any user.
    pub async fn account_is_connected(
        &self,
        tenant: &Tenant,
        provider_id: &str,
        account_id: &str,
    ) -> Result<bool, StoreError> {
        let (tokens,): (i64,) = self
            .db
            .query(
                "SELECT count(*) FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND p.provider_id = $3 AND t.account_id = $4
                   AND t.state = 'active'",
            )
            .within(tenant)
            .bind(provider_id.to_owned())
            .bind(account_id.to_owned())
            .read()
            .one()
            .await?;
        Ok(tokens > 0)
    }
}
