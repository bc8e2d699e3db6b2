//! The API of the sample provider: what an agent calls with the access token that it got.
//! Owns: its few resources, which scope opens each, and the errors of RFC 6750.
//! Must not know: how a token was issued.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Path, State},
    http::{
        HeaderMap, StatusCode,
        header::{CACHE_CONTROL, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    client::SampleProvider,
    scopes::{CALENDAR, CONTACTS, DOCUMENTS},
    token::credentials,
};

/// Each document: its id, its title and its text.
const TEXTS: [(&str, &str, &str); 3] = [
    ("travel", "Travel plan", "Train to Lisbon on the 12th, back on the 16th. The hotel is booked."),
    ("budget", "Budget of the team", "Two thirds of it are spent. The rest is for the conference."),
    ("ideas", "Ideas for the offsite", "A walk along the coast, and an afternoon without laptops."),
];

/// `GET /me`: whose token it is. Any valid token opens it, as at the userinfo endpoint of `OpenID` Connect.
pub(super) async fn me(State(provider): State<Arc<SampleProvider>>, headers: HeaderMap) -> Response {
    answer(&provider, &headers, None)
}

/// `GET /documents`.
pub(super) async fn documents(State(provider): State<Arc<SampleProvider>>, headers: HeaderMap) -> Response {
    let listed = TEXTS.map(|(id, title, _)| json!({ "id": id, "title": title }));
    answer(&provider, &headers, Some((DOCUMENTS, json!({ "documents": listed }))))
}

/// `GET /documents/{id}`.
pub(super) async fn document(
    State(provider): State<Arc<SampleProvider>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let found = TEXTS.iter().find(|(known, ..)| *known == id);
    let found = found.map(|(id, title, text)| json!({ "id": id, "title": title, "text": text }));
    let is_found = found.is_some();
    let response = answer(&provider, &headers, Some((DOCUMENTS, found.unwrap_or_default())));
    if response.status().is_success() && !is_found { StatusCode::NOT_FOUND.into_response() } else { response }
}

/// `GET /calendar`.
pub(super) async fn calendar(State(provider): State<Arc<SampleProvider>>, headers: HeaderMap) -> Response {
    let event = |day: &str, time: &str, title: &str| json!({ "day": day, "time": time, "title": title });
    let events = [
        event("Monday", "09:30", "Planning"),
        event("Wednesday", "13:00", "Lunch with Ada"),
        event("Friday", "16:00", "Demo"),
    ];
    answer(&provider, &headers, Some((CALENDAR, json!({ "events": events }))))
}

/// `GET /contacts`.
pub(super) async fn contacts(State(provider): State<Arc<SampleProvider>>, headers: HeaderMap) -> Response {
    let contact = |name: &str, email: &str| json!({ "name": name, "email": email });
    let contacts = [contact("Ada Adams", "ada@example.com"), contact("Ben Brown", "ben@example.com")];
    answer(&provider, &headers, Some((CONTACTS, json!({ "contacts": contacts }))))
}

/// What a valid token with the scope opens; without one, the person whose token it is.
fn answer(provider: &SampleProvider, headers: &HeaderMap, resource: Option<(&str, Value)>) -> Response {
    let Some(token) = credentials(headers, "Bearer") else {
        // No error code where no token was sent (RFC 6750, section 3.1).
        return refused(StatusCode::UNAUTHORIZED, "Bearer", "Send an access token in the header Authorization.");
    };
    let memory = provider.memory();
    let Some(bearer) = memory.introspect(token, Instant::now()) else {
        let problem = "The access token is unknown, expired or revoked.";
        let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{problem}\"");
        return refused(StatusCode::UNAUTHORIZED, &challenge, problem);
    };
    let body = match resource {
        Some((scope, _)) if !bearer.scopes.iter().any(|granted| granted == scope) => {
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
            return refused(StatusCode::FORBIDDEN, &challenge, &format!("The access token lacks the scope {scope}."));
        }
        Some((_, body)) => body,
        None => json!({
            "sub": bearer.person.id,
            "name": bearer.person.name,
            "email": bearer.person.email,
            "scope": bearer.scopes.join(" "),
            "access_token_expires_in": bearer.left.as_secs(),
        }),
    };
    ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn refused(status: StatusCode, challenge: &str, problem: &str) -> Response {
    (status, [(WWW_AUTHENTICATE, challenge), (CACHE_CONTROL, "no-store")], Json(json!({ "error": problem })))
        .into_response()
}
