//! Callers: who they are, and what they may do.
//! Owns: the rules of callers that every kind of identity shares.
//! Must not know: routes or headers.

pub mod api_keys;
pub mod console;
pub mod langsmith;
pub mod openid;

use reqwest::header::HeaderMap;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use self::langsmith::Identity;
use crate::model::{
    actor::{Act, ActorKind},
    api_key::{ApiKey, Kind, Role},
    consent::Consent,
    console_person::ConsolePerson,
    key_limits::{KeyLimits, Reach},
    subject::Tenant,
};

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The tenant they act in.
    pub tenant: Tenant,
    /// What they may do.
    pub role: Role,
    /// The user they are or act for. A service key that names no user has none.
    pub user: Option<String>,
    /// What their key is limited to; `None`: nothing.
    pub limits: Option<Box<KeyLimits>>,
    /// The least strict consent that their requests may have.
    pub consent: Consent,
    /// Who they are themselves, whatever user they act for.
    pub id: CallerId,
    /// The same for the audit log, with the request through which they come.
    pub act: Act,
    /// What LangSmith identified them by, to ask it again: marked as sensitive, so never shown. Empty for keys of this server.
    pub forwarded: HeaderMap,
}

/// Who a caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerId {
    /// An API key of this server, by the id of its record.
    ApiKey(Uuid),
    /// A user of LangSmith.
    LangSmithUser(String),
    /// A service key of LangSmith, which belongs to no user.
    LangSmithService,
    /// A person who signed in to the console through the identity provider, which calls them this.
    Person(String),
    /// A user of LangSmith who signed in to the console.
    LangSmithPerson(String),
}

impl CallerId {
    /// The id of their API key, if they have one of this server.
    #[must_use]
    pub fn api_key(&self) -> Option<Uuid> {
        match self {
            Self::ApiKey(id) => Some(*id),
            Self::LangSmithUser(_) | Self::LangSmithService | Self::Person(_) | Self::LangSmithPerson(_) => None,
        }
    }
}

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Create, change and delete.
    Administer,
    /// Authenticate, wait, check whether tokens exist.
    Authenticate,
    /// List and read.
    List,
    /// List and read what all users of the workspace have.
    Oversee,
}

impl Caller {
    /// The caller of an API key. A service key acts for the user that the request names; a personal key
    /// always acts for its own user.
    #[must_use]
    pub fn of_key(key: &ApiKey, named_user: Option<String>) -> Self {
        let user = match key.kind {
            Kind::Personal => key.user_id.clone(),
            Kind::Service => named_user,
        };
        let limits = key.limits.clone().map(Box::new);
        Self {
            tenant: key.tenant(),
            role: key.role,
            user,
            limits,
            consent: key.consent.unwrap_or_default(),
            id: CallerId::ApiKey(key.id),
            act: Act::new(ActorKind::ApiKey, Some(key.id.to_string())),
            forwarded: HeaderMap::new(),
        }
    }

    /// A caller that LangSmith identified.
    #[must_use]
    pub fn of_langsmith(identity: &Identity, role: Role, forwarded: HeaderMap) -> Self {
        let user = identity.user.clone();
        let id = user.clone().map_or(CallerId::LangSmithService, CallerId::LangSmithUser);
        let act = Act::new(ActorKind::Langsmith, user.clone());
        // The server's setting and the provider's count: LangSmith says nothing of consents.
        let consent = Consent::default();
        Self { tenant: identity.tenant.clone(), role, user, limits: None, consent, id, act, forwarded }
    }

    /// A person who signed in to the console through the identity provider.
    #[must_use]
    pub fn of_person(person: &ConsolePerson, role: Role) -> Self {
        Self::of_console_user("openid", CallerId::Person(person.subject.clone()), person, role)
    }

    /// A user of LangSmith who signed in to the console.
    #[must_use]
    pub fn of_langsmith_person(person: &ConsolePerson, role: Role) -> Self {
        Self::of_console_user("langsmith", CallerId::LangSmithPerson(person.subject.clone()), person, role)
    }

    fn of_console_user(named_by: &str, id: CallerId, person: &ConsolePerson, role: Role) -> Self {
        // Not only the subject: a reader must not take it for the id of an API key.
        let act = Act::new(ActorKind::ConsoleUser, Some(format!("{named_by}:{}", person.subject)));
        let (consent, forwarded) = (Consent::default(), HeaderMap::new());
        Self { tenant: person.tenant(), role, user: None, limits: None, consent, id, act, forwarded }
    }

    /// What their requests are counted by: the key of this server, or the user that LangSmith names, in their workspace (its
    /// service keys, of which it names none, count together). The credentials would not do, because a caller can vary what
    /// is forwarded, by a cookie beside the key for example; and one user may have many keys.
    #[must_use]
    pub fn counted_as(&self) -> Uuid {
        let (kind, user) = match &self.id {
            CallerId::ApiKey(id) => return *id,
            CallerId::LangSmithUser(user) | CallerId::LangSmithPerson(user) => ("langsmith", user.as_str()),
            CallerId::LangSmithService => ("langsmith", ""),
            CallerId::Person(subject) => ("openid", subject.as_str()),
        };
        let mut digest = Sha256::new();
        for part in [kind, &self.tenant.organization, &self.tenant.workspace, user] {
            // With its length, so that no two callers have the same bytes.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&digest.finalize()[..16]);
        Uuid::from_bytes(id)
    }

    /// What they reach.
    #[must_use]
    pub fn reach(&self) -> Reach<'_> {
        Reach { tenant: &self.tenant, limits: self.limits.as_deref() }
    }

    /// True when the role includes the permission.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        match self.role {
            Role::Admin => true,
            Role::Agent => matches!(permission, Permission::Authenticate | Permission::List),
            Role::Viewer => matches!(permission, Permission::List | Permission::Oversee),
        }
    }
}
