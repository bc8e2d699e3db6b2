//! Authorization: a request is begun, refused by the person or the provider, and looked up for the page after it.
//! Owns: what is stored before the person is sent to the provider.
//! Must not know: how a code is exchanged, pages, or how the browser is answered.

use secrecy::SecretString;
use uuid::Uuid;

use super::{
    completion::{Completion, ErrorResponse, Source},
    exchange::{check_issuer, note_replay},
    interaction::{browser_hash, check_source, connect_url},
    request::{ConsentOptions, Pending, new_request, store_request},
    state::{hash, new_state},
    static_key::key_page,
};

use crate::{
    broker::{clients::redirect_uri::is_ours, context::Broker, error::BrokerError, pending::PendingMax},
    model::{
        actor::Act,
        authorization_request::{AuthorizationRequest, RequestOutcome},
        consent::Consent,
        grant::GrantRequest,
        options::GrantType,
        provider::Provider,
    },
    oauth::{authorize, redaction::Redaction},
    store::authorization_requests::row::RequestHashes,
};

/// Begins an authorization: stores the request, with everything it will be completed with, and returns the URL.
///
/// # Errors
/// [`BrokerError::Internal`] if the provider's record is broken; [`BrokerError::NotFound`] if it was deleted meanwhile;
/// [`BrokerError::TooManyPending`].
pub async fn begin(
    broker: &Broker,
    provider: &Provider,
    wanted: GrantRequest,
    options: ConsentOptions,
    act: &Act,
) -> Result<Pending, BrokerError> {
    let (mut request, url, state) = prepare(broker, provider, wanted, options)?;
    let mut hashes = RequestHashes { state: Some(hash(&state)), reference: None };
    let url = if request.consent == Consent::Direct {
        url
    } else {
        let reference = new_state();
        hashes.reference = Some(hash(&reference));
        request.authorization_url = Some(url.into());
        connect_url(broker, &reference)
    };
    store_in_place(broker, &request, hashes, act).await?;
    Ok(Pending { url, id: request.id, device: None })
}

/// The same for a browser that is on a page of ours already: the request is bound to it, and the URL is where it goes.
pub async fn begin_in_browser(
    broker: &Broker,
    provider: &Provider,
    wanted: GrantRequest,
    options: ConsentOptions,
    cookie: &SecretString,
    act: &Act,
) -> Result<SecretString, BrokerError> {
    let options = ConsentOptions { consent: options.consent.max(Consent::Confirm), ..options };
    let (mut request, url, state) = prepare(broker, provider, wanted, options)?;
    request.browser_hash = Some(browser_hash(request.id, cookie).to_vec());
    let hashes = RequestHashes { state: Some(hash(&state)), reference: None };
    store_in_place(broker, &request, hashes, act).await?;
    Ok(url.into())
}

/// Stores a new request if its subject has a place for one more.
async fn store_in_place(
    broker: &Broker,
    request: &AuthorizationRequest,
    hashes: RequestHashes,
    act: &Act,
) -> Result<(), BrokerError> {
    let (pending, subject) = (&broker.notifications.pending, &request.wanted.subject);
    let place = pending.reserve(subject, PendingMax::of(&broker.settings), broker.clock.now())?;
    store_request(broker, request, hashes, act).await?;
    place.keep(request.id, request.expires_at);
    Ok(())
}

/// A new request, where the person goes to decide on it, and the state in that URL.
fn prepare(
    broker: &Broker,
    provider: &Provider,
    wanted: GrantRequest,
    options: ConsentOptions,
) -> Result<(AuthorizationRequest, String, SecretString), BrokerError> {
    let login_hint = options.login_hint.clone();
    let options = with_return_url(broker, provider, options)?;
    let mut request = new_request(broker, provider, wanted, options);
    if provider.client.options.grant_type == GrantType::ApiKey {
        let (url, state) = key_page(broker, provider);
        return Ok((request, url, state));
    }
    let quirks = broker.catalog.authorization_quirks_of(provider);
    let scopes = &request.wanted.scopes;
    let begun = authorize::begin(provider, quirks, &request.redirect_uri, scopes, login_hint.as_deref())
        .map_err(|error| BrokerError::Internal(format!("provider {}: {error}", provider.provider_id)))?;
    request.code_verifier = begun.code_verifier;
    Ok((request, begun.url.into(), begun.state))
}

/// An application that has to confirm is given the browser back, at the first of its addresses if the caller names none.
/// One that receives the redirect itself has it already.
fn with_return_url(
    broker: &Broker,
    provider: &Provider,
    options: ConsentOptions,
) -> Result<ConsentOptions, BrokerError> {
    let comes_here = is_ours(broker, &provider.provider_id, &provider.callback_tag, &options.redirect_uri);
    if options.consent != Consent::Verify || options.return_url.is_some() || !comes_here {
        return Ok(options);
    }
    let Some(first) = provider.client.options.return_urls.first() else {
        let problem = "the application has to confirm this consent (`verify`), but the provider has no return_urls to \
                       send the person to; set them with PATCH";
        return Err(BrokerError::Invalid { field: "return_url", problem: problem.into() });
    };
    Ok(ConsentOptions { return_url: Some(first.clone()), ..options })
}

/// Ends the authorization request of `state`, because the provider sent the person back with an error.
pub async fn refuse(
    broker: &Broker,
    provider_id: &str,
    state: &SecretString,
    response: ErrorResponse<'_>,
    source: Source<'_>,
    act: &Act,
) -> Result<Completion, BrokerError> {
    let ErrorResponse { error, error_description, iss } = response;
    if let Some(begun) = broker.store.authorization_request_of_state(hash(state)).await? {
        if let Err(refused) = check_source(broker, provider_id, &begun, source) {
            note_replay(broker, &begun, &refused, act);
            return Ok(refused);
        }
        if check_issuer(&begun, iss).is_err() {
            return Ok(Completion::InvalidState);
        }
    }
    let redaction = Redaction::of([state]);
    let error = redaction.printable(error, 64);
    let error_description = error_description.map(|text| redaction.printable(text, 300));
    let now = broker.clock.now();
    let refused = broker
        .store
        .refuse_authorization_request(hash(state), provider_id, &error, error_description.as_deref(), act, now)
        .await?;
    match refused {
        Some(request) => {
            broker.notifications.wake(request.id).await;
            Ok(Completion::Failed { id: request.id, error, error_description, kind: None, retry_after: None })
        }
        None => Ok(Completion::InvalidState),
    }
}

/// What a browser that came back is shown of its request.
pub async fn outcome(broker: &Broker, provider_id: &str, id: Uuid) -> Result<Option<RequestOutcome>, BrokerError> {
    Ok(broker.store.authorization_outcome(provider_id, id).await?)
}
