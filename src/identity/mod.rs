//! Who calls: the identities this server knows.
//! Owns: the rules of callers that every kind of identity shares.
//! Must not know: routes or headers.

pub mod api_keys;

use crate::model::{
    api_key::{ApiKey, Kind, Role},
    subject::Tenant,
};

/// A caller who has proved who they are.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The tenant they act in.
    pub tenant: Tenant,
    /// What they may do.
    pub role: Role,
    /// The user they are, or act for. A service that names nobody has none.
    pub user: Option<String>,
}

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Everything that changes what is there.
    Administer,
    /// Authenticate, wait, ask whether tokens exist.
    Authenticate,
    /// List and read.
    List,
}

impl Caller {
    /// The caller of an API key. A service key acts for the user it names, a personal key for its own, whatever it
    /// names.
    #[must_use]
    pub fn of_key(key: &ApiKey, named_user: Option<String>) -> Self {
        let user = match key.kind {
            Kind::Personal => key.user_id.clone(),
            Kind::Service => named_user,
        };
        Self { tenant: key.tenant(), role: key.role, user }
    }

    /// True when the role includes the permission.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        match self.role {
            Role::Admin => true,
            Role::Agent => permission != Permission::Administer,
            Role::Viewer => permission == Permission::List,
        }
    }
}
