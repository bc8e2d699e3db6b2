//! The frame of every page: navigation, and who is signed in.
//! Owns: the notices after a form was taken.
//! Must not know: what a page shows.

use super::{session::Session, words::shown};
use crate::identity::Permission;

/// What every page of somebody who is signed in has.
pub(super) struct Frame {
    pub(super) base: String,
    pub(super) title: String,
    /// The entry of the navigation that the page belongs to.
    pub(super) here: &'static str,
    pub(super) tabs: Vec<(&'static str, &'static str)>,
    pub(super) workspace: String,
    /// The name of the API key, or of the person.
    pub(super) who: String,
    pub(super) role: &'static str,
    pub(super) can_change: bool,
    pub(super) form_token: String,
    pub(super) notice: Option<&'static str>,
}

/// What is said after a form was taken, by the name in the address.
const NOTICES: [(&str, &str); 13] = [
    ("refreshed", "The token was refreshed."),
    ("dead", "The provider says that the grant has ended. The person has to consent again."),
    ("changed", "Saved."),
    ("revoked", "The token was deleted and its grant is revoked at the provider."),
    ("revoking", "The token was deleted. Its grant is being revoked at the provider; this goes on in the background."),
    (
        "not-revocable",
        "The token was deleted. Its grant cannot be revoked at the provider: if it must end, end it there by hand.",
    ),
    ("provider-added", "The provider was added. Enter its redirect URI at the provider, then check it."),
    ("provider-deleted", "The provider was deleted with its tokens, and their grants are revoked."),
    (
        "provider-deleting",
        "The provider was deleted with its tokens. Some grants are still to be revoked; this goes on in the background.",
    ),
    ("key-revoked", "The API key was revoked. Servers stop accepting it within seconds."),
    ("none-chosen", "Nothing was chosen. Tick the connections to revoke first."),
    ("gone", "It was gone already."),
    ("failed", "The provider did not refresh the token now. The grant is kept; the page says why."),
];

impl Frame {
    /// The frame of a page.
    pub(super) fn new(session: &Session, here: &'static str, title: impl Into<String>) -> Self {
        let caller = &session.caller;
        let mut tabs = vec![
            ("", "Overview"),
            ("/connections", "Connections"),
            ("/requests", "Requests"),
            ("/events", "Events"),
            ("/providers", "Providers"),
        ];
        if caller.limits.is_none() {
            tabs.push(("/keys", "API keys"));
            if caller.may(Permission::Administer) {
                tabs.push(("/audit", "Audit log"));
            }
            tabs.push(("/settings", "Settings"));
        }
        Self {
            base: session.base.clone(),
            title: title.into(),
            here,
            tabs,
            workspace: shown(&caller.tenant.workspace),
            who: shown(&session.who),
            role: caller.role.as_str(),
            can_change: caller.may(Permission::Administer),
            form_token: session.form_token.clone(),
            notice: None,
        }
    }

    /// The frame of a page that says what a form led to.
    pub(super) fn after(mut self, done: Option<&str>) -> Self {
        self.notice = NOTICES.iter().find(|(name, _)| Some(*name) == done).map(|(_, notice)| *notice);
        self
    }
}
