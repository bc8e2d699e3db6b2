//! The session of a link: from a cookie to a [`Session`], and forms that its own pages sent.
//! Owns: the checks of every form, before anything is done.
//! Must not know: how a session is stored, or what a form is for.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::request::Parts,
};
use secrecy::SecretString;

use super::failure::Failure;
use crate::{
    broker::connect_links::{act_of, session_of},
    http::{
        act::through,
        app::App,
        body::whole,
        browser::{
            cookie::{PERSON, cookie_of},
            view::View,
        },
        console::form::{fields, require_same_origin, value_of},
    },
    identity::console::{form_token, is_form_token},
    model::{actor::Act, connect_link::PersonLink},
};

/// A person who opened a link.
pub struct Session {
    /// The link.
    pub(super) link: PersonLink,
    /// Who acts, through which request.
    pub(super) act: Act,
    /// What the forms of the session have.
    pub(super) form_token: String,
    /// How the pages look.
    pub(super) view: View,
    cookie: SecretString,
}

/// A form that a page of the session sent.
pub struct Form(pub Session);

impl FromRequestParts<Arc<App>> for Session {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let cookie = cookie_of(&PERSON, &parts.headers, &app.broker.public_url).ok_or(Failure::SignedOut)?;
        let link = session_of(&app.broker, &cookie).await?.ok_or(Failure::SignedOut)?;
        let act = through(parts, app, act_of(&link));
        let Ok(view) = View::from_request_parts(parts, app).await;
        Ok(Self { link, act, form_token: form_token(&cookie), view, cookie })
    }
}

impl FromRequest<Arc<App>> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let session = Session::from_request_parts(&mut parts, app).await?;
        require_same_origin(&parts, app).map_err(|_| Failure::ForeignForm)?;
        let body = whole(Request::from_parts(parts, body), &()).await?;
        if !is_form_token(&session.cookie, value_of(&fields(&body), "form_token")) {
            return Err(Failure::ForeignForm);
        }
        Ok(Self(session))
    }
}
