//! The limits of an API key: the providers, agents and users that it may be used for.
//! Owns: what is inside a limit, and what a caller reaches of its tenant.
//! Must not know: how limits are stored, or how a caller outside of them is answered.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::subject::{Subject, Tenant};

/// What a key is limited to. `None` is no limit. A limit of a later version that this one does not know makes the key
/// unreadable: it must not work as if it were unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLimits {
    /// Only these providers, by `provider_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<BTreeSet<String>>,
    /// Only these agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<BTreeSet<String>>,
    /// Only these users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<BTreeSet<String>>,
}

impl KeyLimits {
    /// True when the provider is inside.
    #[must_use]
    pub fn include_provider(&self, provider_id: &str) -> bool {
        self.providers.as_ref().is_none_or(|providers| providers.contains(provider_id))
    }

    /// True when the agent is inside. An empty text, which is no agent in particular, is inside no limit.
    #[must_use]
    pub fn include_agent(&self, agent_id: &str) -> bool {
        self.agents.as_ref().is_none_or(|agents| agents.contains(agent_id))
    }

    /// True when the user is inside.
    #[must_use]
    pub fn include_user(&self, user_id: &str) -> bool {
        self.users.as_ref().is_none_or(|users| users.contains(user_id))
    }

    /// True for a key that may be used for every agent and every user, and so for what they all share.
    #[must_use]
    pub fn include_everyone(&self) -> bool {
        self.agents.is_none() && self.users.is_none()
    }
}

/// What a caller reaches: a tenant, and inside it only what the limits of its key include.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    /// The tenant.
    pub tenant: &'a Tenant,
    /// The limits, if the key has any.
    pub limits: Option<&'a KeyLimits>,
}

impl<'a> Reach<'a> {
    /// Everything of a tenant.
    #[must_use]
    pub fn whole(tenant: &'a Tenant) -> Self {
        Self { tenant, limits: None }
    }

    /// True when a request for this subject at this provider is inside.
    #[must_use]
    pub fn includes(&self, subject: &Subject, provider_id: &str) -> bool {
        let inside = |limits: &KeyLimits| {
            limits.include_provider(provider_id)
                && limits.include_agent(&subject.agent_id)
                && limits.include_user(&subject.user_id)
        };
        subject.tenant == *self.tenant && self.limits.is_none_or(inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_not_known_is_not_ignored() {
        let known: KeyLimits = serde_json::from_str(r#"{"providers": ["github"]}"#).unwrap();
        assert!(known.include_provider("github") && !known.include_provider("google") && known.include_everyone());
        assert!(serde_json::from_str::<KeyLimits>(r#"{"providers": ["github"], "scopes": ["read"]}"#).is_err());
    }

    #[test]
    fn an_empty_limit_includes_nothing() {
        let nothing: KeyLimits = serde_json::from_str(r#"{"agents": [], "users": []}"#).unwrap();
        assert!(nothing.include_provider("github"));
        assert!(!nothing.include_agent("") && !nothing.include_user("") && !nothing.include_everyone());
    }
}
