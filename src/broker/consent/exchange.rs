//! Exchanging what an authorization request is completed with for a grant, and keeping it.
//! Owns: that a code goes only where its request was begun, that what was granted is kept, and what a failure leaves.
//! Must not know: who brought it, or how they are answered.

use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::SecretString;

use super::{
    account::identify,
    authorization::{CodeResponse, Completion},
    static_key,
};
use crate::{
    app::App,
    broker::{
        BrokerError, persist,
        providers::mcp::{is_forgotten, renewed},
        tokens::{expiry, revoke::queue_grant_of_request},
    },
    model::options::ProviderOptions,
    oauth::{
        account::Account,
        callback_signature::is_signed,
        scopes::covered,
        token::{Client, FailureKind, Grant as TokenGrant, TokenFailure, failure, request_token},
        token_response::TokenResponse,
    },
    store::{authorization_requests::row::AuthorizationRequest, tokens::grant::Grant},
};

/// The account of a grant that is nobody's: there is one for a subject.
const OURS: &str = "client";

/// What an authorization request is completed with.
pub enum Proof {
    /// The code a person came back with.
    Code(CodeResponse),
    /// The static key a person entered.
    EnteredKey(SecretString),
    /// The static key of the workspace.
    WorkspaceKey(SecretString),
    /// Nothing but our client itself.
    Client,
}

/// Completes a request that was taken.
///
/// # Errors
/// [`BrokerError`] when the store fails. A provider that fails is a [`Completion::Failed`].
pub async fn exchange(app: Arc<App>, request: AuthorizationRequest, proof: Proof) -> Result<Completion, BrokerError> {
    let granted = match proof {
        Proof::Code(response) => grant_of_code(&app, &request, &response).await,
        Proof::EnteredKey(key) => Ok(grant_of_key(key, None)),
        Proof::WorkspaceKey(key) => Ok(grant_of_key(key, Some(OURS.into()))),
        Proof::Client => grant_of_client(&app, &request).await,
    };
    conclude(&app, &request, granted).await
}

/// Keeps what was granted, or the failure, and tells those who wait.
pub async fn conclude(
    app: &Arc<App>,
    request: &AuthorizationRequest,
    granted: Result<Grant, TokenFailure>,
) -> Result<Completion, BrokerError> {
    let kept = match granted {
        Ok(mut grant) => {
            identify(app, request, &mut grant).await;
            keep(app, request, grant).await
        }
        Err(failure) => {
            renew_forgotten(app, request, &failure).await;
            fail(app, request, failure).await
        }
    };
    app.wake(request.id).await;
    kept
}

async fn grant_of_code(
    app: &App,
    request: &AuthorizationRequest,
    response: &CodeResponse,
) -> Result<Grant, TokenFailure> {
    check_issuer(request, response.iss.as_deref())?;
    check_signature(request, response.query.as_ref())?;
    let grant = TokenGrant::Code {
        code: &response.code,
        redirect_uri: &request.redirect_uri,
        code_verifier: request.code_verifier.as_ref(),
    };
    let client = client_of(request);
    let mut answered = request_token(&app.outbound, &client, grant, app.clock.now()).await?;
    if let (Some(_), Some(short)) = (&request.options.renewal_grant, &answered.refresh_token) {
        // What a code is exchanged for lives an hour or two there, what that is exchanged for some weeks.
        match request_token(&app.outbound, &client, TokenGrant::Refresh(short), app.clock.now()).await {
            Ok(long) => answered = long,
            Err(failure) => {
                tracing::warn!(auth_id = %request.id, error = failure.error, "a token was not exchanged for a longer one");
            }
        }
    }
    Ok(granted(app, &answered, &request.scopes, &request.token_url))
}

async fn grant_of_client(app: &App, request: &AuthorizationRequest) -> Result<Grant, TokenFailure> {
    let scope = client_scope(&request.scopes, &request.options);
    let grant = TokenGrant::ClientCredentials { scope: &scope };
    let answered = request_token(&app.outbound, &client_of(request), grant, app.clock.now()).await?;
    let grant = granted(app, &answered, &request.scopes, &request.token_url);
    Ok(Grant { account_id: Some(OURS.into()), ..grant })
}

/// The scopes our client asks for on its own. None that is always asked for beside: those are for consents.
#[must_use]
pub fn client_scope(scopes: &[String], options: &ProviderOptions) -> String {
    scopes.join(options.scope_separator.as_deref().unwrap_or(" "))
}

fn grant_of_key(key: SecretString, account_id: Option<String>) -> Grant {
    Grant {
        access_token: key,
        refresh_token: None,
        scopes: Some(Vec::new()),
        metadata: static_key::metadata(),
        account_id,
        account_label: None,
        expires_at: None,
        refresh_due_at: None,
        refresh_token_expires_at: None,
    }
}

/// Our client, as it was when the request was begun.
pub(in crate::broker) fn client_of(request: &AuthorizationRequest) -> Client<'_> {
    Client {
        token_url: &request.token_url,
        id: &request.client_id,
        secret: request.client_secret.as_ref(),
        authentication: request.token_endpoint_auth_method,
        options: &request.options,
    }
}

/// A client that the server has forgotten is registered anew, so that the next attempt works. (This code is lost: it
/// was given to the old one.)
async fn renew_forgotten(app: &App, request: &AuthorizationRequest, failure: &TokenFailure) {
    if failure.kind != FailureKind::MisconfiguredClient {
        return;
    }
    match app.store.provider(&request.subject.tenant, &request.provider_id).await {
        Ok(Some(provider)) if provider.client_id == request.client_id && is_forgotten(&provider, failure) => {
            renewed(app, provider).await;
        }
        _ => {}
    }
}

/// A query that the provider did not sign, though it signs all of them, was put together by somebody else.
fn check_signature(request: &AuthorizationRequest, query: Option<&SecretString>) -> Result<(), TokenFailure> {
    let Some(query) = query.filter(|_| request.options.signed_callback) else { return Ok(()) };
    if request.client_secret.as_ref().is_some_and(|secret| is_signed(query, secret)) {
        return Ok(());
    }
    let problem = "the address is not signed by the provider; check its client_secret";
    Err(failure(FailureKind::Refused, "signature_mismatch", problem))
}

/// A response that names another issuer than the one the person was sent to is an attack in which the code would go to
/// the wrong server (RFC 9207 section 2.4): no token request is made, and nothing of the response is shown.
pub(in crate::broker) fn check_issuer(request: &AuthorizationRequest, iss: Option<&str>) -> Result<(), TokenFailure> {
    let Some(issuer) = &request.options.issuer else { return Ok(()) };
    let problem = match iss {
        Some(iss) if iss == issuer => return Ok(()),
        None if !request.options.iss_required => return Ok(()),
        Some(_) => "the response names another authorization server than the one that was asked",
        None => "the response does not name its authorization server, which this one always does",
    };
    Err(failure(FailureKind::Refused, "issuer_mismatch", problem))
}

/// Keeps what was granted. The code is spent, so a database that is away for a moment must not cost the grant.
async fn keep(app: &Arc<App>, request: &AuthorizationRequest, grant: Grant) -> Result<Completion, BrokerError> {
    let kept = persist(|| {
        let now = app.clock.now();
        let readable_until = now + TimeDelta::seconds(app.settings.authorization_ttl_seconds);
        app.store.keep_grant(request, &grant, readable_until, now)
    });
    match kept.await {
        Ok(Some(token)) => {
            tracing::info!(auth_id = %request.id, token_id = %token, provider = request.provider_id, "consent completed");
            Ok(Completion::Completed { id: request.id, token })
        }
        // The provider, and with it the request, was deleted while the person was away: nobody keeps the grant.
        Ok(None) => {
            queue_grant_of_request(app, request, &grant).await?;
            Ok(Completion::InvalidState)
        }
        Err(error) if error.is_dangling() => {
            queue_grant_of_request(app, request, &grant).await?;
            Ok(Completion::InvalidState)
        }
        Err(error) => Err(error.into()),
    }
}

async fn fail(app: &App, request: &AuthorizationRequest, failure: TokenFailure) -> Result<Completion, BrokerError> {
    tracing::warn!(
        auth_id = %request.id, provider = request.provider_id, error = failure.error,
        error_description = failure.error_description, "no grant was given"
    );
    app.store
        .fail_authorization_request(request, &failure.error, failure.error_description.as_deref(), app.clock.now())
        .await?;
    Ok(Completion::Failed {
        id: request.id,
        error: failure.error,
        error_description: failure.error_description,
        kind: Some(failure.kind),
        retry_after: failure.retry_after,
    })
}

/// What the response of a token endpoint grants, with its times made absolute. `asked` are the scopes that were asked
/// for, or, at a refresh, those the token has.
#[must_use]
pub fn granted(app: &App, response: &TokenResponse, asked: &[String], token_url: &str) -> Grant {
    let now = app.clock.now();
    let (expires_at, refresh_due_at) = expiry::of(response.expires_in, now);
    let (refresh_token_expires_at, _) = expiry::of(response.refresh_token_expires_in, now);
    let account = Account::of(response);
    Grant {
        access_token: response.access_token.clone(),
        refresh_token: response.refresh_token.clone(),
        scopes: response.scopes.clone().map(|granted| covered(granted, asked, token_url)),
        metadata: response.metadata.clone(),
        account_label: account.as_ref().and_then(|account| account.label.clone()),
        account_id: account.map(|account| account.id),
        expires_at,
        refresh_due_at,
        refresh_token_expires_at,
    }
}
