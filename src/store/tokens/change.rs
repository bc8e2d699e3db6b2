//! Changing what a person may set on a token: its label, and whether it is the default.
//! Owns: that a subject never has two defaults.
//! Must not know: who changes it, beyond the user.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    model::{
        actor::Act,
        audit::{Event, EventName},
        key_limits::Reach,
        token::{TokenChange, TokenSummary},
    },
    store::{error::StoreError, handle::Store, key_limits::token_in_limits},
};

/// How long a change is tried while others move the default mark at the same time.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);

impl Store {
    /// Changes the label and the default mark of a user's token. The mark moves in one transaction, so that a
    /// subject never has two defaults; of several simultaneous changes the last one wins.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Conflict`] when others kept moving the mark.
    pub async fn change_token(
        &self,
        reach: Reach<'_>,
        user: &str,
        id: Uuid,
        change: &TokenChange,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Option<TokenSummary>, StoreError> {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(20))
            .with_max_delay(Duration::from_millis(500))
            .with_jitter()
            .without_max_times();
        // Unavailable too: transactions that wait for each other may exceed the lock time-out.
        let begun = Instant::now();
        let worth_another_try = |error: &StoreError| error.may_pass() && begun.elapsed() < CHANGE_WITHIN;
        (|| self.change_token_once(reach, user, id, change, act, now)).retry(backoff).when(worth_another_try).await
    }

    async fn change_token_once(
        &self,
        reach: Reach<'_>,
        user: &str,
        id: Uuid,
        change: &TokenChange,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Option<TokenSummary>, StoreError> {
        let mut tx = self.db.begin().await?;
        let mut others = 0;
        if change.is_default == Some(true) {
            others = tx
                .query(concat!(
                    "UPDATE tokens SET is_default = $5, updated_at = $6
                 WHERE organization_id = $1 AND workspace_id = $2 AND is_default AND id <> $4
                   AND EXISTS (SELECT 1 FROM tokens named
                        WHERE named.organization_id = $1 AND named.workspace_id = $2 AND named.id = $4
                          AND (named.user_id = $3 OR named.ls_user_id = $3) AND named.provider = tokens.provider
                          AND named.user_id = tokens.user_id AND named.agent_id = tokens.agent_id
                          AND ",
                    token_in_limits!("named", "$7"),
                    ")"
                ))
                .within(reach.tenant)
                .bind(user.to_owned())
                .bind(id)
                .bind(false)
                .bind(now)
                .limited(reach.limits)
                .execute()
                .await?;
        }
        let changed: Option<(Uuid, String, String)> = tx
            .query(concat!(
                "UPDATE tokens
                 SET account_label = CASE WHEN $5 THEN $6 ELSE account_label END,
                     is_default = COALESCE($7, is_default), updated_at = $8
                 WHERE organization_id = $1 AND workspace_id = $2 AND (user_id = $3 OR ls_user_id = $3) AND id = $4
                   AND ",
                token_in_limits!("tokens", "$9"),
                " RETURNING provider, user_id, agent_id"
            ))
            .within(reach.tenant)
            .bind(user.to_owned())
            .bind(id)
            .bind(change.account_label.is_some())
            .bind(change.account_label.clone().flatten())
            .bind(change.is_default)
            .bind(now)
            .limited(reach.limits)
            .optional()
            .await?;
        let Some((provider, user_id, agent_id)) = changed else {
            // Deleted between the two statements: then nothing of this change stays. Otherwise nothing was written.
            if others == 0 {
                tx.commit().await?;
            }
            return Ok(None);
        };
        let _changing = self.token_changes.of(provider, &user_id);
        let mut event =
            Event::new(EventName::TokenChanged, act, reach.tenant, now).of(&user_id, &agent_id).about_token(id);
        if change.account_label.is_some() {
            event = event.with("account_label", "changed");
        }
        if let Some(is_default) = change.is_default {
            event = event.with("is_default", is_default);
        }
        self.record(&mut tx, vec![event]).await?;
        tx.commit().await?;
        let tokens = self.tokens_of_user(reach, user, None).await?;
        Ok(tokens.into_iter().find(|token| token.id == id))
    }
}
