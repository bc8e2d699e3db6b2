//! People who sign in to the console through an identity provider, or with LangSmith's credentials.
//! Owns: what is kept of such a person while they are signed in.
//! Must not know: how they prove who they are, or what they may do.

use uuid::Uuid;

use super::subject::Tenant;

/// Longer names are cut off: they are for people.
const NAME_MAX: usize = 200;

/// A person who is signed in to the console, as their identity provider or LangSmith named them.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ConsolePerson {
    /// The id of the session.
    pub session_id: Uuid,
    /// The organization they act in.
    pub organization_id: String,
    /// The workspace they act in.
    pub workspace_id: String,
    /// The identity provider, or the address at which LangSmith says who somebody is.
    pub issuer: String,
    /// Who they are there.
    pub subject: String,
    /// Their name, for people.
    pub name: Option<String>,
    /// Their e-mail address, for people.
    pub email: Option<String>,
    /// Those of their groups that had a role when they signed in. LangSmith names none.
    #[sqlx(json)]
    pub groups: Vec<String>,
}

impl ConsolePerson {
    /// The tenant they act in.
    #[must_use]
    pub fn tenant(&self) -> Tenant {
        Tenant { organization: self.organization_id.clone(), workspace: self.workspace_id.clone() }
    }

    /// What they are called where people read it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.name.as_deref().or(self.email.as_deref()).unwrap_or(&self.subject)
    }
}

/// A name or an address as people can read it; `None` if nothing of it is left.
#[must_use]
pub fn printable(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
