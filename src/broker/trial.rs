//! Trials: an operator goes through the consent of a provider as a person would, and sees in the console what it led to.
//! Owns: where a trial comes back to, and that it passes our page.
//! Must not know: the console's pages, or how a consent goes on.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    clients::registration::ready_client,
    consent::{
        authorization::begin,
        client_credentials::{credential_of, obtain},
        request::{Requested, consent_options},
    },
    context::Broker,
    error::BrokerError,
    providers::list::get,
};
use crate::model::{
    actor::Act, authorization_request::AuthorizationRequest, consent::Consent, grant::GrantRequest, key_limits::Reach,
    subject::Subject,
};

/// A trial to begin.
#[derive(Clone, Debug)]
pub struct Trial {
    /// For whom the token would be.
    pub subject: Subject,
    /// The operator's own user, if their key has one.
    pub ls_user_id: Option<String>,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The scopes to request; empty: the provider's own.
    pub scopes: Vec<String>,
    /// The least strict consent that the operator may begin.
    pub consent: Consent,
}

/// How a trial goes on.
#[derive(Clone, Debug)]
pub enum Begun {
    /// At this page of ours, from which the operator goes to the provider.
    AtPage(String),
    /// No person is needed: the provider has issued this token.
    Connected(Uuid),
}

/// Begins a trial. What it leads to is an ordinary connection, never the default one of its user.
///
/// # Errors
/// As the consent that an agent begins: [`BrokerError::NotFound`] without such a provider, [`BrokerError::NoToken`] if one
/// that needs no person issues nothing.
pub async fn begin_trial(broker: &Arc<Broker>, trial: Trial, act: &Act) -> Result<Begun, BrokerError> {
    let provider = get(broker, &trial.subject.tenant, &trial.provider_id).await?;
    let provider = ready_client(broker, provider, act).await?;
    let needed = trial.scopes.clone();
    let wanted = GrantRequest {
        provider: provider.id,
        subject: trial.subject,
        ls_user_id: trial.ls_user_id,
        scopes: trial.scopes,
        is_default: false,
        force_new: true,
    };
    if let Some(credential) = credential_of(&provider) {
        let token = obtain(broker, &provider, wanted, credential, &needed, act).await?;
        return Ok(Begun::Connected(token.id));
    }
    // Never straight to the provider: the page before it says what is requested, and binds the browser.
    let consent = trial.consent.max(Consent::Confirm);
    let requested = Requested { consent, redirect_uri: None, return_url: None, login_hint: None };
    let mut options = consent_options(broker, &provider, requested)?;
    options.return_url = Some(way_back(broker));
    let pending = begin(broker, &provider, wanted, options, act).await?;
    Ok(Begun::AtPage(pending.url))
}

/// The request of a trial inside `reach`, while its result can be read.
pub async fn trial_of(
    broker: &Broker,
    reach: Reach<'_>,
    id: Uuid,
) -> Result<Option<AuthorizationRequest>, BrokerError> {
    let request = broker.store.authorization_request(reach, id).await?;
    let (way_back, now) = (way_back(broker), broker.clock.now());
    Ok(request.filter(|request| request.return_url.as_ref() == Some(&way_back) && request.expires_at > now))
}

/// The page of the console to which the browser of a trial comes back, also after a failure.
#[must_use]
pub fn way_back(broker: &Broker) -> String {
    format!("{}/console/tried", broker.public_url)
}
