//! Agent connections: an agent's right to use a token that is not its own.
//! Owns: the table `agent_connections`.
//! Must not know: what the tokens hold.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{db::Tx, error::StoreError, handle::Store, key_limits::usable_token_in_limits, tokens::row::Owner};
use crate::model::{
    actor::Act,
    agent_connection::AgentConnection,
    audit::{Event, EventName},
    key_limits::Reach,
    subject::Tenant,
};

impl Store {
    /// Connects a token of this tenant to an agent. An existing connection is returned unchanged.
    /// `None`: the tenant has no such token, or none that belongs to `user` when one is named.
    pub async fn connect_agent(
        &self,
        reach: Reach<'_>,
        agent_id: &str,
        token: Uuid,
        user: Option<&str>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Option<AgentConnection>, StoreError> {
        let mut changing = None;
        let mut tx = self.db.begin().await?;
        let id = Uuid::now_v7();
        let inserted = tx
            .query(concat!(
                "INSERT INTO agent_connections (id, organization_id, workspace_id, agent_id, token, created_by, created_at)
                 SELECT $3, t.organization_id, t.workspace_id, $4, t.id, $5, $6
                 FROM tokens t WHERE t.organization_id = $1 AND t.workspace_id = $2 AND t.id = $7
                   AND ($8 IS NULL OR t.user_id = $8 OR t.ls_user_id = $8) AND ",
                usable_token_in_limits!("t", "$9"),
                " ON CONFLICT DO NOTHING"
            ))
            .within(reach.tenant)
            .bind(id)
            .bind(agent_id.to_owned())
            .bind(user.unwrap_or("service").to_owned())
            .bind(now)
            .bind(token)
            .bind(user.map(ToOwned::to_owned))
            .limited(reach.limits)
            .execute()
            .await;
        let inserted = match inserted {
            // Deleted between the two halves of the statement.
            Err(StoreError::Dangling) => return Ok(None),
            inserted => inserted?,
        };
        if inserted > 0 {
            let owner = owner_of(&mut tx, reach.tenant, token).await?;
            changing = owner.as_ref().map(|owner| self.token_changes.of(owner.provider, &owner.user_id));
            let event = connection_event(EventName::ConnectionCreated, reach.tenant, agent_id, token, owner, act, now);
            self.record(&mut tx, vec![event.with("connection_id", id)]).await?;
        }
        tx.commit().await?;
        drop(changing);
        let connections = self.agent_connections(reach, agent_id, user).await?;
        Ok(connections.into_iter().find(|connection| connection.token == token))
    }

    /// The connections of an agent, newest first; only those with tokens of `user` when one is named.
    pub async fn agent_connections(
        &self,
        reach: Reach<'_>,
        agent_id: &str,
        user: Option<&str>,
    ) -> Result<Vec<AgentConnection>, StoreError> {
        self.db
            .query(concat!(
                "SELECT c.id, c.agent_id, c.token, p.provider_id, t.account_label, t.scopes, t.expires_at,
                        c.created_by, c.created_at
                 FROM agent_connections c JOIN tokens t ON t.id = c.token JOIN providers p ON p.id = t.provider
                 WHERE c.organization_id = $1 AND c.workspace_id = $2 AND c.agent_id = $3
                   AND ($4 IS NULL OR t.user_id = $4 OR t.ls_user_id = $4) AND ",
                usable_token_in_limits!("t", "$5"),
                " ORDER BY c.created_at DESC"
            ))
            .within(reach.tenant)
            .bind(agent_id.to_owned())
            .bind(user.map(ToOwned::to_owned))
            .limited(reach.limits)
            .read()
            .all()
            .await
    }

    /// True when the agent has any connection to that provider.
    pub async fn agent_is_connected(
        &self,
        tenant: &Tenant,
        agent_id: &str,
        provider: Uuid,
    ) -> Result<bool, StoreError> {
        let (connections,): (i64,) = self
            .db
            .query(
                "SELECT count(*) FROM agent_connections c JOIN tokens t ON t.id = c.token
                 WHERE c.organization_id = $1 AND c.workspace_id = $2 AND c.agent_id = $3 AND t.provider = $4",
            )
            .within(tenant)
            .bind(agent_id.to_owned())
            .bind(provider)
            .read()
            .one()
            .await?;
        Ok(connections > 0)
    }

    /// The agents that are connected to a token.
    pub async fn agents_connected_to(&self, tenant: &Tenant, token: Uuid) -> Result<Vec<String>, StoreError> {
        let agents: Vec<(String,)> = self
            .db
            .query(
                "SELECT agent_id FROM agent_connections
                 WHERE organization_id = $1 AND workspace_id = $2 AND token = $3 ORDER BY agent_id LIMIT 200",
            )
            .within(tenant)
            .bind(token)
            .read()
            .all()
            .await?;
        Ok(agents.into_iter().map(|(agent,)| agent).collect())
    }

    /// Deletes a connection, and returns whether there was one. The token is kept.
    pub async fn disconnect_agent(
        &self,
        reach: Reach<'_>,
        agent_id: &str,
        connection: Uuid,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut changing = None;
        let mut tx = self.db.begin().await?;
        let removed: Option<(Uuid,)> = tx
            .query(concat!(
                "DELETE FROM agent_connections
                 WHERE organization_id = $1 AND workspace_id = $2 AND agent_id = $3 AND id = $4
                   AND EXISTS (SELECT 1 FROM tokens t WHERE t.id = agent_connections.token AND ",
                usable_token_in_limits!("t", "$5"),
                ") RETURNING token"
            ))
            .within(reach.tenant)
            .bind(agent_id.to_owned())
            .bind(connection)
            .limited(reach.limits)
            .optional()
            .await?;
        if let Some((token,)) = removed {
            let owner = owner_of(&mut tx, reach.tenant, token).await?;
            changing = owner.as_ref().map(|owner| self.token_changes.of(owner.provider, &owner.user_id));
            let event = connection_event(EventName::ConnectionDeleted, reach.tenant, agent_id, token, owner, act, now);
            self.record(&mut tx, vec![event.with("connection_id", connection)]).await?;
        }
        tx.commit().await?;
        drop(changing);
        Ok(removed.is_some())
    }
}

/// The user and the provider of a token.
async fn owner_of(tx: &mut Tx, tenant: &Tenant, token: Uuid) -> Result<Option<Owner>, StoreError> {
    tx.query(
        "SELECT t.provider, p.provider_id, t.user_id FROM tokens t JOIN providers p ON p.id = t.provider
         WHERE t.organization_id = $1 AND t.workspace_id = $2 AND t.id = $3",
    )
    .within(tenant)
    .bind(token)
    .optional()
    .await
}

/// Connects a token that was just written to an agent, in the same transaction, and returns the event to record.
pub(super) async fn connect_imported(
    tx: &mut Tx,
    tenant: &Tenant,
    agent_id: &str,
    token: Uuid,
    owner: Owner,
    act: &Act,
    now: DateTime<Utc>,
) -> Result<Event, StoreError> {
    let id = Uuid::now_v7();
    tx.query(
        "INSERT INTO agent_connections (id, organization_id, workspace_id, agent_id, token, created_by, created_at)
         VALUES ($3, $1, $2, $4, $5, 'service', $6)",
    )
    .within(tenant)
    .bind(id)
    .bind(agent_id.to_owned())
    .bind(token)
    .bind(now)
    .execute()
    .await?;
    let event = connection_event(EventName::ConnectionCreated, tenant, agent_id, token, Some(owner), act, now);
    Ok(event.with("connection_id", id))
}

fn connection_event(
    name: EventName,
    tenant: &Tenant,
    agent_id: &str,
    token: Uuid,
    owner: Option<Owner>,
    act: &Act,
    now: DateTime<Utc>,
) -> Event {
    let event = Event::new(name, act, tenant, now).about_token(token);
    match owner {
        Some(owner) => event.of(&owner.user_id, agent_id).at_provider(&owner.provider_id),
        None => event.of("", agent_id),
    }
}
