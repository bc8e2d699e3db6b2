//! Lists of tokens, without any secret.
//! Owns: what a user or a workspace has.
//! Must not know: how a token is used.

use uuid::Uuid;

use crate::{
    model::{key_limits::Reach, token::TokenSummary},
    store::{error::StoreError, handle::Store, key_limits::usable_token_in_limits},
};

impl Store {
    /// The tokens of a user (as `user_id` or `ls_user_id`), at one provider or at all of them.
    pub async fn tokens_of_user(
        &self,
        reach: Reach<'_>,
        user: &str,
        provider_id: Option<&str>,
    ) -> Result<Vec<TokenSummary>, StoreError> {
        self.db
            .query(concat!(
                "SELECT t.id, p.provider_id, t.account_label, t.scopes, t.expires_at, t.is_default, t.created_at,
                        t.updated_at
                 FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND (t.user_id = $3 OR t.ls_user_id = $3)
                   AND ($4 IS NULL OR p.provider_id = $4) AND ",
                usable_token_in_limits!("t", "$5"),
                " ORDER BY t.created_at DESC"
            ))
            .within(reach.tenant)
            .bind(user.to_owned())
            .bind(provider_id.map(ToOwned::to_owned))
            .limited(reach.limits)
            .read()
            .all()
            .await
    }

    /// The providers at which a user has an active token.
    pub async fn providers_with_token(&self, reach: Reach<'_>, user: &str) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = self
            .db
            .query(concat!(
                "SELECT DISTINCT p.provider_id FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND (t.user_id = $3 OR t.ls_user_id = $3)
                   AND t.state = 'active' AND ",
                usable_token_in_limits!("t", "$4")
            ))
            .within(reach.tenant)
            .bind(user.to_owned())
            .limited(reach.limits)
            .read()
            .all()
            .await?;
        Ok(rows.into_iter().map(|(provider_id,)| provider_id).collect())
    }

    /// True when the workspace has an active token at any provider of that type.
    pub async fn workspace_has_token(&self, reach: Reach<'_>, provider_type: &str) -> Result<bool, StoreError> {
        let token: Option<(Uuid,)> = self
            .db
            .query(concat!(
                "SELECT t.id FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND p.provider_type = $3 AND t.state = 'active'
                   AND ",
                usable_token_in_limits!("t", "$4"),
                " LIMIT 1"
            ))
            .within(reach.tenant)
            .bind(provider_type.to_owned())
            .limited(reach.limits)
            .read()
            .optional()
            .await?;
        Ok(token.is_some())
    }
}
