//! The limits of API keys in SQL: conditions that select only what is inside.
//! Owns: these conditions, and how the limits are bound for them.
//! Must not know: who called.

use serde_json::{Map, Value, json};
use sqlx::types::Json;

use crate::model::key_limits::KeyLimits;

/// `column` is inside the limit of that name. `jsonb_each` is the same on both databases, so limits are bound as objects
/// whose keys are what is inside. Without limits NULL is bound.
macro_rules! in_limit {
    ($limits:literal, $name:literal, $column:expr) => {
        concat!(
            "((",
            $limits,
            " -> '",
            $name,
            "') IS NULL OR ",
            $column,
            " IN (SELECT key FROM jsonb_each(",
            $limits,
            " -> '",
            $name,
            "')))"
        )
    };
}

/// The token of the table `t` is at a provider, and of a user, inside the limits.
macro_rules! provider_and_user_in_limits {
    ($t:literal, $limits:literal) => {
        concat!(
            "((",
            $limits,
            " -> 'providers') IS NULL OR EXISTS (SELECT 1 FROM providers limited WHERE limited.id = ",
            $t,
            ".provider AND ",
            $crate::store::key_limits::in_limit!($limits, "providers", "limited.provider_id"),
            ")) AND ",
            $crate::store::key_limits::in_limit!($limits, "users", concat!($t, ".user_id"))
        )
    };
}

/// The token is inside the limits, and belongs to an agent inside them: a key may change and delete it.
macro_rules! token_in_limits {
    ($t:literal, $limits:literal) => {
        concat!(
            $crate::store::key_limits::provider_and_user_in_limits!($t, $limits),
            " AND ",
            $crate::store::key_limits::in_limit!($limits, "agents", concat!($t, ".agent_id"))
        )
    };
}

/// The token is inside the limits, and an agent inside them may use it, because it is the agent's own or is connected to
/// it. Organization and workspace are `$1` and `$2`.
macro_rules! usable_token_in_limits {
    ($t:literal, $limits:literal) => {
        concat!(
            $crate::store::key_limits::provider_and_user_in_limits!($t, $limits),
            " AND (",
            $crate::store::key_limits::in_limit!($limits, "agents", concat!($t, ".agent_id")),
            " OR EXISTS (SELECT 1 FROM agent_connections connected WHERE connected.token = ",
            $t,
            ".id AND connected.organization_id = $1 AND connected.workspace_id = $2 AND ",
            $crate::store::key_limits::in_limit!($limits, "agents", "connected.agent_id"),
            "))"
        )
    };
}

pub(super) use {in_limit, provider_and_user_in_limits, token_in_limits, usable_token_in_limits};

/// The limits as the conditions read them.
pub(super) fn condition(limits: Option<&KeyLimits>) -> Option<Json<Value>> {
    let limits = limits?;
    let named = [("providers", &limits.providers), ("agents", &limits.agents), ("users", &limits.users)];
    let objects = named.into_iter().filter_map(|(name, limit)| {
        let inside: Map<String, Value> = limit.as_ref()?.iter().map(|inside| (inside.clone(), Value::Null)).collect();
        Some((name.to_owned(), Value::Object(inside)))
    });
    Some(Json(json!(objects.collect::<Map<_, _>>())))
}
