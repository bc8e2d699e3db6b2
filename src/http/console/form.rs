//! Forms: a POST that a page of the signed-in person's own session sent.
//! Owns: the checks of every form, before anything is done.
//! Must not know: what a form is for.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::request::Parts,
};
use url::form_urlencoded;

use super::{failure::Failure, session::Session};
use crate::{
    http::{app::App, body::whole, browser::cookie::is_same_origin, error::ApiError},
    identity::{Permission, console::is_form_token},
};

/// The field that has the token of the session.
const TOKEN: &str = "form_token";
const FOREIGN: &str = "This form was not sent from a page of your session, or you have signed in again since it was opened. \
                       Open the page again, and repeat it there.";

/// A form of somebody who is signed in, whatever their role.
pub struct AnyForm {
    /// Who sent it.
    pub(super) session: Session,
    fields: Vec<(String, String)>,
}

/// A form of an administrator.
pub struct AdminForm(pub AnyForm);

impl FromRequest<Arc<App>> for AnyForm {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let session = Session::from_request_parts(&mut parts, app).await?;
        require_same_origin(&parts, app)?;
        let body = whole(Request::from_parts(parts, body), &()).await?;
        let form = Self { session, fields: fields(&body) };
        if !is_form_token(&form.session.cookie, form.field(TOKEN)) {
            return Err(ApiError::Forbidden(FOREIGN).into());
        }
        Ok(form)
    }
}

impl FromRequest<Arc<App>> for AdminForm {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let form = AnyForm::from_request(request, app).await?;
        form.session.caller.needs(Permission::Administer)?;
        Ok(Self(form))
    }
}

impl AnyForm {
    /// The first field of that name, without spaces around it; empty if the form has no such field.
    pub(super) fn field(&self, name: &str) -> &str {
        value_of(&self.fields, name)
    }

    /// The values of all fields of that name, without spaces around them.
    pub(super) fn fields_named<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.fields.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.trim())
    }

    /// The fields whose names begin with `prefix`, without it, and without those that are empty.
    pub(super) fn fields_of<'f>(&'f self, prefix: &'f str) -> impl Iterator<Item = (&'f str, &'f str)> {
        let named =
            self.fields.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.trim())));
        named.filter(|(_, value)| !value.is_empty())
    }

    /// The words of a field, which spaces, commas and line breaks separate.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        let words = self.field(name).split(|c: char| c == ',' || c.is_whitespace());
        words.filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect()
    }
}

/// Refuses a form that a page of another site sent.
pub(in crate::http) fn require_same_origin(parts: &Parts, app: &App) -> Result<(), ApiError> {
    let is_own = is_same_origin(&parts.headers, &app.broker.public_url);
    if is_own { Ok(()) } else { Err(ApiError::Forbidden(FOREIGN)) }
}

/// The fields of a form.
pub(in crate::http) fn fields(body: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.replace('\0', ""))).collect()
}

/// The first field of that name, without spaces around it; empty if the form has no such field.
pub(in crate::http) fn value_of<'f>(fields: &'f [(String, String)], name: &str) -> &'f str {
    fields.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.trim())
}
