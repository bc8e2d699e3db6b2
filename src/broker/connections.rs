//! Agent connections: an agent's right to use a token that is not its own.
//! Owns: who connects what.
//! Must not know: how a connection changes what `authenticate` returns.

use uuid::Uuid;

use super::{context::Broker, error::BrokerError};
use crate::model::{actor::Act, agent_connection::AgentConnection, key_limits::Reach};

/// The connections of an agent, newest first; only those with tokens of `user` when one is named.
pub async fn list(
    broker: &Broker,
    reach: Reach<'_>,
    agent_id: &str,
    user: Option<&str>,
) -> Result<Vec<AgentConnection>, BrokerError> {
    Ok(broker.store.agent_connections(reach, agent_id, user).await?)
}

/// Connects a token to an agent. A connection that exists is returned as it is. `None`: the caller reaches no such
/// token, or, if a user is named, that user has not.
pub async fn connect(
    broker: &Broker,
    reach: Reach<'_>,
    agent_id: &str,
    token: Uuid,
    user: Option<&str>,
    act: &Act,
) -> Result<Option<AgentConnection>, BrokerError> {
    Ok(broker.store.connect_agent(reach, agent_id, token, user, act, broker.clock.now()).await?)
}

/// Removes a connection; the token stays. Returns whether there was one.
pub async fn disconnect(
    broker: &Broker,
    reach: Reach<'_>,
    agent_id: &str,
    connection: Uuid,
    act: &Act,
) -> Result<bool, BrokerError> {
    Ok(broker.store.disconnect_agent(reach, agent_id, connection, act, broker.clock.now()).await?)
}
