//! Whose things are: the tenant that owns every record, and the subject a token is for.
//! Owns: these two nouns.
//! Must not know: how a caller proves who they are.

/// The organization and workspace that own a record. Every statement is bound to one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// The organization.
    pub organization: String,
    /// The workspace in it; `X-Tenant-Id` on the wire.
    pub workspace: String,
}

/// Whose token: a user of a tenant, and the agent it is for, if it is for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The tenant.
    pub tenant: Tenant,
    /// The user, as the application names them.
    pub user_id: String,
    /// The agent; an empty string if the token is for no agent in particular.
    pub agent_id: String,
}
