//! Interaction: what a person sees before they go to the provider, and which browser may go on and come back.
//! Owns: the rules of `confirm` and `verify`: a request belongs to the browser in which the person went on, and waits for
//! the application's confirmation.
//! Must not know: pages and cookies, or how a code is exchanged.
//!
//! Without the binding, a person who begins a request can send its URL to another one, whose grant they would get
//! (cross-user session fixation). PKCE does not help there, because the other one's browser does the whole flow.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    callback_parameters::KeptCode,
    completion::{CodeResponse, Completion, Source, USER_MISMATCH},
    state::{confirmation_reference, hash},
};
use crate::{
    broker::{
        clients::redirect_uri::{is_ours, leads_here},
        context::Broker,
        error::BrokerError,
    },
    model::{
        actor::Act,
        authorization_request::{AuthorizationRequest, Status},
        consent::Consent,
        key_limits::Reach,
        options::GrantType,
        provider::Provider,
        subject::Subject,
    },
    oauth::authorize::all_scopes,
};

/// What a person is asked, as our pages show it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The provider's name for people.
    pub provider: String,
    /// The agent that asks, if the request names one.
    pub agent: Option<String>,
    /// The user whose token it becomes, as the application names them.
    pub user: String,
    /// The requested scopes.
    pub scopes: Vec<ScopeFact>,
    /// What the person enters at the provider, if they consent there with a code.
    pub user_code: Option<String>,
    /// Where the browser goes afterwards, if not to a page of ours.
    pub return_url: Option<String>,
}

/// A scope, and what it means if that is known.
#[derive(Clone, Debug)]
pub struct ScopeFact {
    /// Its name at the provider.
    pub name: String,
    /// What it allows, in plain words.
    pub meaning: Option<String>,
}

/// What a page of ours shows before the person goes on.
#[derive(Clone, Debug)]
pub enum Question {
    /// The question whether to go on.
    Open(Facts),
    /// Nothing can be asked.
    Closed(Closed),
}

/// A request with which this browser cannot go on.
#[derive(Clone, Debug)]
pub struct Closed {
    /// How it ended, or why this browser cannot go on.
    pub completion: Completion,
    /// The provider's name on the wire; empty if the request is unknown.
    pub provider_id: String,
}

/// A request that a person ended on a page of ours. The provider was never asked.
#[derive(Clone, Debug)]
pub struct Cancelled {
    /// The authorization request.
    pub id: Uuid,
    /// The provider's name on the wire.
    pub provider_id: String,
}

impl Closed {
    /// There is no such request.
    pub(super) fn unknown() -> Self {
        Self { completion: Completion::InvalidState, provider_id: String::new() }
    }

    pub(super) fn of(request: &AuthorizationRequest, completion: Completion) -> Self {
        Self { completion, provider_id: request.provider_id.clone() }
    }
}

/// Our page for a request, at an address that only the person is given.
#[must_use]
pub fn connect_url(broker: &Broker, reference: &SecretString) -> String {
    format!("{}/connect/{}", broker.public_url, reference.expose_secret())
}

/// The hash under which a request stores the cookie of its browser. The same cookie gives another hash for each request.
#[must_use]
pub fn browser_hash(request: Uuid, cookie: &SecretString) -> [u8; 32] {
    Sha256::new().chain_update(request.as_bytes()).chain_update(cookie.expose_secret()).finalize().into()
}

/// Whether this source may complete or refuse the request. A static key never comes in a URL, and a code never through the
/// page for keys; a browser arrives at the callback address that the request was begun with, and is the one that went on
/// from our page; an application completes only requests of its own tenant.
///
/// # Errors
/// What the source is answered.
pub(super) fn check_source(
    broker: &Broker,
    provider_id: &str,
    request: &AuthorizationRequest,
    source: Source<'_>,
) -> Result<(), Completion> {
    let is_key = request.client.options.grant_type == GrantType::ApiKey;
    let other_browser = |cookie| request.consent != Consent::Direct && !is_of_browser(request, cookie);
    let refused = match source {
        Source::Browser { .. } if is_key => Completion::InvalidState,
        Source::KeyPage { .. } if !is_key => Completion::InvalidState,
        Source::Application { reach, .. } if !reach.includes(&request.wanted.subject, &request.provider_id) => {
            Completion::InvalidState
        }
        // Compared before anything else of it counts: a code that another provider's authorization server issued must not
        // go to this request's token endpoint (RFC 9700 section 4.4).
        Source::Browser { callback_tag, .. } if !is_ours(broker, provider_id, callback_tag, &request.redirect_uri) => {
            Completion::WrongProvider
        }
        _ if request.provider_id != provider_id => Completion::WrongProvider,
        // Otherwise the redirect that another browser's callback refused could be completed with any key of the workspace.
        Source::Application { .. }
            if request.consent != Consent::Direct && leads_here(&broker.public_url, &request.redirect_uri) =>
        {
            Completion::NotTheBrowser
        }
        Source::Browser { cookie, .. } | Source::KeyPage { cookie } if other_browser(cookie) => {
            tracing::warn!(
                event = "consent.other_browser", auth_id = %request.id, provider = request.provider_id,
                "a consent came back in another browser than the one that it was begun in; it was refused"
            );
            Completion::OtherBrowser
        }
        _ => return Ok(()),
    };
    Err(refused)
}

/// Whether the request is bound to the browser with this cookie.
pub(super) fn is_of_browser(request: &AuthorizationRequest, cookie: Option<&SecretString>) -> bool {
    let bound = request.browser_hash.as_deref();
    bound.is_some_and(|bound| cookie.is_some_and(|cookie| bound == browser_hash(request.id, cookie)))
}

/// Whether `user` is the one whose token the request is for.
pub(super) fn is_user(request: &AuthorizationRequest, user: &str) -> bool {
    request.wanted.subject.user_id == user || request.wanted.ls_user_id.as_deref() == Some(user)
}

/// What the page at a reference shows. Looking changes nothing: previews of a link use nothing up.
pub async fn question_of(
    broker: &Broker,
    reference: &SecretString,
    cookie: Option<&SecretString>,
) -> Result<Question, BrokerError> {
    let request = broker.store.authorization_request_of_reference(hash(reference)).await?;
    match request {
        Some(request) => question(broker, &request, cookie).await,
        None => Ok(Question::Closed(Closed::unknown())),
    }
}

async fn question(
    broker: &Broker,
    request: &AuthorizationRequest,
    cookie: Option<&SecretString>,
) -> Result<Question, BrokerError> {
    let is_polled = request.device.is_some();
    let closed = match request.status {
        Status::Completed => Completion::AlreadyCompleted { id: request.id, return_url: None },
        Status::Failed => Completion::InvalidState,
        _ if request.expires_at <= broker.clock.now() => Completion::InvalidState,
        _ if request.browser_hash.is_some() && !is_of_browser(request, cookie) => Completion::OtherBrowser,
        Status::Exchanging if !is_polled => Completion::StateUsed,
        Status::Pending if request.code.is_some() => Completion::StateUsed,
        Status::Pending | Status::Exchanging => {
            let facts = facts_of(broker, request).await?;
            return Ok(facts.map_or_else(|| Question::Closed(Closed::unknown()), Question::Open));
        }
    };
    Ok(Question::Closed(Closed::of(request, closed)))
}

/// What a person is asked by a request; `None` if its provider is gone.
pub(super) async fn facts_of(broker: &Broker, request: &AuthorizationRequest) -> Result<Option<Facts>, BrokerError> {
    let subject = &request.wanted.subject;
    let provider = broker.store.provider_without_secret(&subject.tenant, &request.provider_id).await?;
    let Some(provider) = provider.filter(|provider| provider.id == request.wanted.provider) else { return Ok(None) };
    let user_code = request.device.as_ref().and_then(|polling| polling.user_code.as_ref());
    Ok(Some(Facts {
        user_code: user_code.map(|code| code.expose_secret().to_owned()),
        return_url: request.return_url.clone(),
        ..facts(broker, &provider, subject, &request.wanted.scopes)
    }))
}

/// What a person is asked when these scopes are requested for a subject.
pub(super) fn facts(broker: &Broker, provider: &Provider, subject: &Subject, scopes: &[String]) -> Facts {
    let quirks = broker.catalog.authorization_quirks_of(provider);
    let scopes = match provider.client.options.grant_type {
        // A key has no scopes: these are what the agent says it needs.
        GrantType::ApiKey => scopes.iter().map(String::as_str).collect(),
        _ => all_scopes(scopes, &provider.client.options, quirks),
    };
    let fact = |scope: &str| ScopeFact {
        name: scope.to_owned(),
        meaning: broker.catalog.scope_meaning(&provider.client, scope).map(ToOwned::to_owned),
    };
    Facts {
        provider: provider.name.clone(),
        agent: Some(subject.agent_id.clone()).filter(|agent| !agent.is_empty()),
        user: subject.user_id.clone(),
        scopes: scopes.into_iter().map(fact).collect(),
        user_code: None,
        return_url: None,
    }
}

/// Goes on with the request of a reference in the browser with this cookie: it belongs to that browser from now on. Returns
/// where the browser goes.
///
/// # Errors
/// Inside: why this browser cannot go on.
pub async fn go_on(
    broker: &Broker,
    reference: &SecretString,
    cookie: &SecretString,
    act: &Act,
) -> Result<Result<SecretString, Closed>, BrokerError> {
    let Some(request) = broker.store.authorization_request_of_reference(hash(reference)).await? else {
        return Ok(Err(Closed::unknown()));
    };
    let browser_hash = browser_hash(request.id, cookie);
    let is_bound = broker.store.bind_browser(&request, browser_hash, act, broker.clock.now()).await?;
    match request.authorization_url.clone().filter(|_| is_bound) {
        Some(url) => Ok(Ok(url)),
        None => closed_now(broker, &request, cookie).await.map(Err),
    }
}

/// Ends the request of a reference, because the person does not want to go on.
///
/// # Errors
/// Inside: why this browser ends nothing.
pub async fn cancel(
    broker: &Broker,
    reference: &SecretString,
    cookie: &SecretString,
    act: &Act,
) -> Result<Result<Cancelled, Closed>, BrokerError> {
    const DENIED: (&str, &str) = ("access_denied", "the person cancelled before they went to the provider");
    let Some(request) = broker.store.authorization_request_of_reference(hash(reference)).await? else {
        return Ok(Err(Closed::unknown()));
    };
    if let Question::Closed(closed) = question(broker, &request, Some(cookie)).await? {
        return Ok(Err(closed));
    }
    if !broker.store.end_authorization_request(&request, DENIED.0, DENIED.1, act, broker.clock.now()).await? {
        return closed_now(broker, &request, cookie).await.map(Err);
    }
    broker.notifications.wake(request.id).await;
    Ok(Ok(Cancelled { id: request.id, provider_id: request.provider_id }))
}

/// Why a request could not be changed a moment ago.
async fn closed_now(
    broker: &Broker,
    request: &AuthorizationRequest,
    cookie: &SecretString,
) -> Result<Closed, BrokerError> {
    let stored = broker.store.authorization_request(Reach::whole(&request.wanted.subject.tenant), request.id).await?;
    let Some(request) = stored else { return Ok(Closed::unknown()) };
    Ok(match question(broker, &request, Some(cookie)).await? {
        Question::Closed(closed) => closed,
        Question::Open(_) => Closed::of(&request, Completion::InvalidState),
    })
}

/// Keeps a code until the application confirms the user. `None`: the request was completed, or has another code.
pub(super) async fn await_confirmation(
    broker: &Broker,
    request: &AuthorizationRequest,
    state: &SecretString,
    response: &CodeResponse,
    code_hash: [u8; 32],
    act: &Act,
) -> Result<Option<Completion>, BrokerError> {
    let Some(return_url) = request.return_url.clone() else {
        return Err(BrokerError::Internal("a request that its application confirms has no return_url".into()));
    };
    let reference = confirmation_reference(state, &response.code);
    let now = broker.clock.now();
    let code = KeptCode::text(response, broker.catalog.callback_parameters_of(&request.client));
    let kept = broker.store.keep_code(request, &code, code_hash, hash(&reference), act, now).await?;
    let is_repeated = async || {
        let stored =
            broker.store.authorization_request(Reach::whole(&request.wanted.subject.tenant), request.id).await?;
        let waits = |stored: &AuthorizationRequest| {
            stored.status == Status::Pending && stored.code.is_some() && stored.expires_at > now
        };
        let stored = stored.filter(waits);
        Ok::<_, BrokerError>(stored.is_some_and(|stored| stored.code_hash.as_deref() == Some(&code_hash[..])))
    };
    // A reload brings the same code, and gets the same reference.
    if !kept && !is_repeated().await? {
        return Ok(None);
    }
    Ok(Some(Completion::AwaitingConfirmation { id: request.id, return_url, reference }))
}

/// Ends a request whose application says that somebody else consented: this code must never become a token here. What the
/// application confirmed before stays.
pub(super) async fn other_user(
    broker: &Broker,
    request: &AuthorizationRequest,
    act: &Act,
) -> Result<Completion, BrokerError> {
    let description = "the application says that another user consented";
    let ended =
        broker.store.end_authorization_request(request, USER_MISMATCH, description, act, broker.clock.now()).await?;
    if ended {
        tracing::warn!(
            event = "consent.other_user", auth_id = %request.id, provider = request.provider_id,
            "another user consented than the one whose token was requested; the code was deleted"
        );
        broker.notifications.wake(request.id).await;
    }
    Ok(if ended { Completion::OtherUser } else { Completion::OtherUserTooLate })
}
