//! `/host-api-key/{provider_id}`: the page where a person enters the static key that an agent needs.
//! Owns: the form's fields, and the page or redirect for each outcome.
//! Must not know: what a key may look like, or how it is stored.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use super::{
    callback::{failed, finish, internal_error_page},
    cookie::browser_cookie,
    pages::{key::key_page, page::FailureReason},
    view::View,
};
use crate::{
    broker::{
        consent::{
            completion::{CodeResponse, Source},
            exchange::complete,
            interaction::Question,
            static_key::{self, KeyProblem, key_page_of},
        },
        rules,
    },
    http::{act::BrowserAct, app::App, body::whole, checks::doubled},
};

/// Shows the page. It can be opened any number of times.
pub async fn get(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    view: View,
    Path(provider_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(state) = field(query.unwrap_or_default().as_bytes(), "state") else {
        return failed(&view, StatusCode::BAD_REQUEST, FailureReason::MissingParameters);
    };
    let cookie = browser_cookie(&headers, &app.broker.public_url);
    show(&app, &provider_id, (&state, cookie.as_ref()), None, &view).await
}

/// Takes the key: once for each link, even if the button is pressed several times.
pub async fn post(
    State(app): State<Arc<App>>,
    view: View,
    BrowserAct(act): BrowserAct,
    Path(provider_id): Path<String>,
    request: Request,
) -> Response {
    let cookie = browser_cookie(request.headers(), &app.broker.public_url);
    let form = match whole(request, &()).await {
        Ok(form) => form,
        Err(error) => return internal_error_page(&view, error),
    };
    let (Some(state), Some(key)) = (field(&form, "state"), field(&form, "key")) else {
        return failed(&view, StatusCode::BAD_REQUEST, FailureReason::MissingParameters);
    };
    let key = SecretString::from(key.expose_secret().trim());
    if let Err(problem) = static_key::check(&key) {
        return show(&app, &provider_id, (&state, cookie.as_ref()), Some(problem), &view).await;
    }
    let response = CodeResponse { code: key, iss: None, query: None };
    let source = Source::KeyPage { cookie: cookie.as_ref() };
    let completion = complete(&app.broker, &provider_id, &state, response, source, &act).await;
    finish(&app, &provider_id, completion, &view).await
}

async fn show(
    app: &Arc<App>,
    provider_id: &str,
    (state, cookie): (&SecretString, Option<&SecretString>),
    problem: Option<KeyProblem>,
    view: &View,
) -> Response {
    if rules::provider_id(provider_id).is_err() {
        return failed(view, StatusCode::BAD_REQUEST, FailureReason::InvalidState);
    }
    match key_page_of(&app.broker, provider_id, state, cookie).await {
        Ok(Question::Open(facts)) => {
            let action = format!("{}/host-api-key/{provider_id}", app.broker.public_url);
            key_page(view, &facts, &action, state.expose_secret(), problem)
        }
        Ok(Question::Closed(closed)) => finish(app, provider_id, Ok(closed.completion), view).await,
        Err(error) => internal_error_page(view, error.into()),
    }
}

/// The only value of that name, if it is usable.
fn field(form: &[u8], name: &'static str) -> Option<SecretString> {
    if doubled(form, &[name]).is_some() {
        return None;
    }
    let mut values = form_urlencoded::parse(form).filter(|(field, _)| field == name).map(|(_, value)| value);
    values.next().filter(|value| !value.is_empty() || name == "key").map(|value| SecretString::from(value.into_owned()))
}
