//! Connect links: where a person goes on when an agent has no token and no consent was begun.
//! Owns: what such a link holds, how long it is good, and that nothing is begun until the person acts.
//! Must not know: which token an agent would use; that is `broker/authenticate.rs`.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    authorization::begin_in_browser,
    client_credentials::credential_of,
    interaction::{Closed, Facts, facts},
    request::{ConsentOptions, Requested, consent_options, with_default_scopes},
};
use crate::{
    broker::{clients::registration::ready_client, context::Broker, error::BrokerError},
    model::{
        actor::Act,
        consent::Consent,
        grant::GrantRequest,
        provider::Provider,
        subject::{Subject, Tenant},
        token::Token,
    },
};

/// How long a link is good: an agent's run may wait for its person until the next day.
const GOOD_FOR: TimeDelta = TimeDelta::hours(24);
/// The longest link. Browsers and proxies take no longer URLs.
const LENGTH_MAX: usize = 6000;

/// What a person is asked for at a link.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectLink {
    organization: String,
    workspace: String,
    user_id: String,
    agent_id: String,
    ls_user_id: Option<String>,
    provider_id: String,
    scopes: Vec<String>,
    is_default: bool,
    /// The token that is to be revived.
    token: Option<Uuid>,
    consent: Consent,
    return_url: Option<String>,
    login_hint: Option<String>,
    expires_at: DateTime<Utc>,
}

/// What the page of a link shows.
#[derive(Clone, Debug)]
pub enum LinkPage {
    /// The question whether to begin a consent; with a token, the account whose access has ended.
    Open {
        /// What the person is asked.
        facts: Facts,
        /// Whether it renews a token.
        is_renewal: bool,
        /// The account of that token.
        account: Option<String>,
    },
    /// This provider, by its name for people, needs no person.
    NothingToDo(String),
    /// The link is unknown, or too old.
    Unknown,
}

/// A link at which the person can begin a consent for what is wanted; `None` if it would be too long for a URL.
pub fn connect_link(
    broker: &Broker,
    provider_id: &str,
    wanted: &GrantRequest,
    options: &ConsentOptions,
    token: Option<Uuid>,
) -> Result<Option<String>, BrokerError> {
    let link = ConnectLink {
        organization: wanted.subject.tenant.organization.clone(),
        workspace: wanted.subject.tenant.workspace.clone(),
        user_id: wanted.subject.user_id.clone(),
        agent_id: wanted.subject.agent_id.clone(),
        ls_user_id: wanted.ls_user_id.clone(),
        provider_id: provider_id.to_owned(),
        scopes: wanted.scopes.clone(),
        is_default: wanted.is_default,
        token,
        consent: options.consent,
        return_url: options.return_url.clone(),
        login_hint: options.login_hint.clone(),
        expires_at: broker.clock.now() + GOOD_FOR,
    };
    let text = serde_json::to_string(&link).map_err(|error| BrokerError::Internal(error.to_string()))?;
    let sealed = broker.store.seal_link(&SecretString::from(text))?;
    Ok((sealed.len() <= LENGTH_MAX).then(|| format!("{}/connect/link/{sealed}", broker.public_url)))
}

/// What the page of a link shows. Looking begins nothing.
pub async fn link_page_of(broker: &Broker, sealed: &str) -> Result<LinkPage, BrokerError> {
    let Some((link, provider)) = open(broker, sealed).await? else { return Ok(LinkPage::Unknown) };
    if credential_of(&provider).is_some() {
        return Ok(LinkPage::NothingToDo(provider.name));
    }
    let token = link.token_to_revive(broker).await?;
    let wanted = with_default_scopes(&provider, link.wanted(&provider, token.as_ref()));
    Ok(LinkPage::Open {
        facts: facts(broker, &provider, &wanted.subject, &wanted.scopes),
        is_renewal: link.token.is_some(),
        account: token.and_then(|token| token.account_label),
    })
}

/// Begins the consent of a link, in the browser with this cookie. Returns where the browser goes.
///
/// # Errors
/// Inside: why nothing was begun. Otherwise that the provider has no client, or that the consent cannot be begun.
pub async fn follow(
    broker: &Broker,
    sealed: &str,
    cookie: &SecretString,
    act: &Act,
) -> Result<Result<SecretString, Closed>, BrokerError> {
    let Some((link, provider)) = open(broker, sealed).await? else { return Ok(Err(Closed::unknown())) };
    if credential_of(&provider).is_some() {
        return Ok(Err(Closed::unknown()));
    }
    let provider = ready_client(broker, provider, act).await?;
    let token = link.token_to_revive(broker).await?;
    let wanted = link.wanted(&provider, token.as_ref());
    let options = consent_options(
        broker,
        &provider,
        Requested {
            consent: link.consent,
            redirect_uri: None,
            return_url: link.return_url.as_deref(),
            login_hint: link
                .login_hint
                .as_deref()
                .or_else(|| token.as_ref().and_then(|token| hint_of(token.account_label.as_deref()))),
        },
    )?;
    begin_in_browser(broker, &provider, wanted, options, cookie, act).await.map(Ok)
}

async fn open(broker: &Broker, sealed: &str) -> Result<Option<(ConnectLink, Provider)>, BrokerError> {
    let Some(text) = broker.store.open_link(sealed) else { return Ok(None) };
    let link: Option<ConnectLink> = serde_json::from_str(text.expose_secret()).ok();
    let Some(link) = link.filter(|link| link.expires_at > broker.clock.now()) else { return Ok(None) };
    let provider = broker.store.provider(&link.tenant(), &link.provider_id).await?;
    Ok(provider.map(|provider| (link, provider)))
}

/// The account whose token is renewed, if its label is what a person signs in with.
pub(in crate::broker) fn hint_of(account_label: Option<&str>) -> Option<&str> {
    account_label.filter(|label| label.contains('@') && !label.contains(char::is_whitespace))
}

impl ConnectLink {
    fn tenant(&self) -> Tenant {
        Tenant { organization: self.organization.clone(), workspace: self.workspace.clone() }
    }

    async fn token_to_revive(&self, broker: &Broker) -> Result<Option<Token>, BrokerError> {
        match self.token {
            Some(id) => Ok(broker.store.token(&self.tenant(), id).await?),
            None => Ok(None),
        }
    }

    /// A token is revived for its own subject: an agent may be connected to a token that is not its own.
    fn wanted(&self, provider: &Provider, token: Option<&Token>) -> GrantRequest {
        let own = || Subject { tenant: self.tenant(), user_id: self.user_id.clone(), agent_id: self.agent_id.clone() };
        GrantRequest {
            provider: provider.id,
            subject: token.map_or_else(own, |token| token.subject.clone()),
            ls_user_id: self.ls_user_id.clone(),
            scopes: self.scopes.clone(),
            is_default: self.is_default,
            force_new: false,
        }
    }
}
