//! Denials: what an identified caller may not do.
//! Owns: the sentence for each, its log line, and what the audit log gets of it.
//! Must not know: when something is denied.

use crate::{
    identity::{Caller, Permission},
    model::{actor::Act, subject::Tenant},
};

/// What a request is outside of.
#[derive(Clone, Copy)]
pub(super) enum Outside {
    /// The caller's role does not include it.
    Role(Permission),
    /// It is about another workspace.
    Workspace,
    /// It names a provider, an agent or a user outside the limits of the key.
    Provider,
    Agent,
    User,
    /// It changes what all agents and users share.
    Everyone,
    /// It reads what everybody did.
    AuditLog,
    /// It needs a key of this server.
    OwnKeys,
    /// It needs one of the groups that may sign in to the console.
    Groups,
    /// It needs a person: a service key of LangSmith is nobody's.
    Person,
}

/// A denial, as the response carries it to where its route is known.
#[derive(Clone, Debug)]
pub struct Denied {
    /// Where.
    pub(super) tenant: Tenant,
    /// Who, through which request.
    pub(super) act: Act,
    /// What the request is outside of.
    pub(super) outside: &'static str,
    /// The code of the response.
    pub(super) code: &'static str,
    /// Its sentence.
    pub(super) detail: &'static str,
}

impl Denied {
    /// Every refusal of an identified caller is made here. Nothing has been read or begun for the request.
    pub(super) fn new(caller: &Caller, outside: Outside) -> Self {
        let key_id = caller.id.api_key();
        let (forbidden, limits) = ("forbidden", "outside_key_limits");
        let (outside, code, detail) = match outside {
            Outside::Role(Permission::Administer) => ("role", forbidden, "This needs an API key with the role admin."),
            Outside::Role(Permission::Oversee) => {
                ("role", forbidden, "This needs an API key with the role viewer or admin.")
            }
            Outside::Role(_) => ("role", forbidden, "This needs an API key with the role agent or admin."),
            Outside::Workspace => {
                ("workspace", forbidden, "X-Tenant-Id names a workspace that this API key does not belong to.")
            }
            Outside::Provider => (
                "provider",
                limits,
                "This API key is limited to some providers, and the request names another one. `agent-auth api-key list` \
                 shows its limits.",
            ),
            Outside::Agent => (
                "agent",
                limits,
                "This API key is limited to some agents: name one of them in agent_id. `agent-auth api-key list` shows its \
                 limits.",
            ),
            Outside::User => (
                "user",
                limits,
                "This API key is limited to some users, and the request names another one (in user_id, ls_user_id or \
                 X-User-Id). `agent-auth api-key list` shows its limits.",
            ),
            Outside::Everyone => (
                "everyone",
                limits,
                "All agents and users of the workspace share its providers: an API key that is limited to some agents or \
                 users cannot change them.",
            ),
            Outside::OwnKeys => (
                "own_keys",
                forbidden,
                "The tokens of all users are shown only to API keys of this server: LangSmith does not say which of its users \
                 run the workspace. `agent-auth api-key create` makes a key.",
            ),
            Outside::Groups => (
                "groups",
                forbidden,
                "You are known to the identity provider, but none of your groups may sign in here. Ask those who run this server.",
            ),
            Outside::Person => (
                "person",
                forbidden,
                "LangSmith names no person for these credentials: a service key signs nobody in. Enter a personal API key \
                 (lsv2_pt_...).",
            ),
            Outside::AuditLog => (
                "audit_log",
                limits,
                "The audit log has the events of everybody: an API key with limits cannot read it.",
            ),
        };
        tracing::warn!(
            event = "access.denied",
            key_id = key_id.map(tracing::field::display),
            outside,
            "a caller was denied"
        );
        Self { tenant: caller.tenant.clone(), act: caller.act.clone(), outside, code, detail }
    }
}
