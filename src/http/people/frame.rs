//! What is around every page of a session: whose it is, and the way out.
//! Owns: the parts of the layout.
//! Must not know: what a page shows.

use super::session::Session;
use crate::http::{
    browser::{languages::texts::PeopleTexts, view::View},
    console::words::shown,
};

/// What every page of a session has.
pub(super) struct Frame {
    pub(super) view: View,
    pub(super) t: &'static PeopleTexts,
    pub(super) title: String,
    pub(super) user: String,
    pub(super) form_token: String,
    pub(super) notice: Option<String>,
}

impl Frame {
    pub(super) fn new(session: &Session, title: impl Into<String>) -> Self {
        Self {
            view: session.view.clone(),
            t: &session.view.t.people,
            title: title.into(),
            user: shown(&session.link.user_id),
            form_token: session.form_token.clone(),
            notice: None,
        }
    }
}
