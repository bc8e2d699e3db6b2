//! Who is signed in: from a cookie to a [`Session`].
//! Owns: where somebody is sent who is not signed in.
//! Must not know: how a session is stored, or what a page needs beyond it.

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};
use secrecy::SecretString;

use super::failure::Failure;
use crate::{
    broker::error::BrokerError,
    http::{
        act::through,
        app::App,
        browser::{
            cookie::{CONSOLE, cookie_of},
            start::base,
        },
    },
    identity::{
        Caller,
        console::{SignedIn, form_token, sign_out},
    },
};

/// Somebody who is signed in.
pub struct Session {
    /// What they may see and change: what their API key, one of their groups, or the setting for LangSmith's users may.
    pub(super) caller: Caller,
    /// What they, or their key, are called.
    pub(super) who: String,
    /// The stored session.
    pub(super) signed_in: SignedIn,
    /// What the forms of the session have.
    pub(super) form_token: String,
    /// The cookie.
    pub(super) cookie: SecretString,
    /// The path below which the server is reached, without a trailing slash.
    pub(super) base: String,
}

impl Session {
    /// True for those who see what is of the whole server: those without limits in its first workspace. Another one may be
    /// somebody else's.
    pub(super) async fn sees_the_server(&self, app: &App) -> Result<bool, Failure> {
        Ok(self.caller.limits.is_none() && self.caller.tenant == app.broker.home_tenant().await?)
    }
}

/// Ends the session that this browser had before it signs in: its cookie is about to be replaced, and nobody could end it any
/// more. Recorded as a sign-out.
///
/// # Errors
/// The database cannot be asked.
pub(crate) async fn end_earlier(app: &App, parts: &Parts) -> Result<(), BrokerError> {
    let Some(cookie) = cookie_of(&CONSOLE, &parts.headers, &app.broker.public_url) else { return Ok(()) };
    let Some(earlier) = app.console_session(&cookie).await? else { return Ok(()) };
    let act = through(parts, app, earlier.caller().act);
    Ok(sign_out(app.broker.store(), &earlier, &act, app.broker.clock.now()).await?)
}

impl FromRequestParts<Arc<App>> for Session {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let base = base(app);
        let Some(cookie) = cookie_of(&CONSOLE, &parts.headers, &app.broker.public_url) else {
            return Err(Failure::signed_out(&base));
        };
        let Some(signed_in) = app.console_session(&cookie).await? else { return Err(Failure::signed_out(&base)) };
        let caller = signed_in.caller();
        app.limits.count_caller(&caller)?;
        let caller = Caller { act: through(parts, app, caller.act.clone()), ..caller };
        let who = signed_in.label().to_owned();
        Ok(Self { caller, who, signed_in, form_token: form_token(&cookie), cookie, base })
    }
}
