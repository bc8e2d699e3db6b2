//! Connect links of people: made by an application, opened once, and then a session in which a person sees, makes and ends
//! their own connections.
//! Owns: who may be shown what, how long links and sessions last, and what is begun from them.
//! Must not know: pages and cookies, or how a consent goes on.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    clients::registration::ready_client,
    consent::{
        authorization::begin,
        client_credentials::credential_of,
        link::hint_of,
        request::{Requested, consent_options},
        state::{hash, new_state},
    },
    context::Broker,
    error::BrokerError,
    providers::list,
    tokens::{revoke::Deletion, workspace},
};
use crate::model::{
    actor::{Act, ActorKind},
    authorization_request::AuthorizationRequest,
    connect_link::PersonLink,
    consent::Consent,
    grant::GrantRequest,
    key_limits::{KeyLimits, Reach},
    provider::Provider,
    subject::{Subject, Tenant},
    token_state::{Condition, OwnedToken},
};

/// How long a link can be opened if nothing else is said, in seconds.
pub const GOOD_FOR_SECONDS: i64 = 60 * 60;
/// The longest that a link can be opened, in seconds.
pub const GOOD_FOR_MAX_SECONDS: i64 = 24 * 60 * 60;
/// How long the session of a link lasts, in seconds, whether it is used or not.
pub const SESSION_SECONDS: i64 = 60 * 60;
/// How many connections of a person are shown at most.
pub const LISTED_MAX: usize = 200;
/// How many hand-outs are read to say which agents used a connection.
const HANDOUTS_MAX: i64 = 500;

/// A link to make.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// Whose connections it shows.
    pub user_id: String,
    /// Only these providers; `None`: all that the maker of the link reaches.
    pub providers: Option<Vec<String>>,
    /// The scopes that a new connection requests.
    pub scopes: Vec<String>,
    /// How long it can be opened, in seconds.
    pub expires_in: i64,
    /// Where the browser goes after a consent.
    pub return_url: Option<String>,
    /// The least strict consent that the maker may begin.
    pub consent: Consent,
    /// The key of the maker, if it has one.
    pub api_key: Option<Uuid>,
}

/// A link that was made.
#[derive(Clone, Debug)]
pub struct MadeLink {
    /// Its address, which is a secret of the person.
    pub url: String,
    /// Until when it can be opened.
    pub expires_at: DateTime<Utc>,
}

/// Makes a link for one user. It never reaches more than `reach`.
///
/// # Errors
/// [`BrokerError::NotFound`] for a provider that does not exist; [`BrokerError::Invalid`] for a `return_url` that a provider
/// does not have.
pub async fn create(broker: &Broker, reach: Reach<'_>, new: NewLink, act: &Act) -> Result<MadeLink, BrokerError> {
    let providers = match new.providers {
        Some(named) => {
            check_providers(broker, reach, &named, new.return_url.as_deref()).await?;
            Some(named.into_iter().collect())
        }
        None => reach.limits.and_then(|limits| limits.providers.clone()),
    };
    let (secret, now) = (new_state(), broker.clock.now());
    let link = PersonLink {
        id: Uuid::now_v7(),
        organization_id: reach.tenant.organization.clone(),
        workspace_id: reach.tenant.workspace.clone(),
        limits: KeyLimits { providers, agents: None, users: Some(BTreeSet::from([new.user_id.clone()])) },
        user_id: new.user_id,
        api_key: new.api_key,
        scopes: Json(new.scopes),
        consent: new.consent,
        return_url: new.return_url,
        created_at: now,
        expires_at: now + TimeDelta::seconds(new.expires_in),
    };
    broker.store.create_connect_link(&link, hash(&secret), act).await?;
    let url = format!("{}/connections/{}", broker.public_url, secret.expose_secret());
    Ok(MadeLink { url, expires_at: link.expires_at })
}

async fn check_providers(
    broker: &Broker,
    reach: Reach<'_>,
    named: &[String],
    return_url: Option<&str>,
) -> Result<(), BrokerError> {
    let known = list::list(broker, reach).await?;
    for name in named {
        let provider = known.iter().find(|provider| provider.provider_id == *name);
        let provider = provider.ok_or(BrokerError::NotFound("provider"))?;
        // The same comparison as at the consent, so that a link does not lead to a person's dead end.
        let requested = Requested { consent: Consent::default(), redirect_uri: None, return_url, login_hint: None };
        consent_options(broker, provider, requested)?;
    }
    Ok(())
}

/// The link of a secret, if it can still be opened. Looking uses nothing up.
pub async fn find(broker: &Broker, secret: &SecretString) -> Result<Option<PersonLink>, BrokerError> {
    Ok(broker.store.connect_link(hash(secret), broker.clock.now()).await?)
}

/// Opens a link in the browser that gets this cookie. Returns whether that browser has its session now: the second click
/// on the button finds that the first one has opened it.
pub async fn open(
    broker: &Broker,
    secret: &SecretString,
    cookie: &SecretString,
    act: &Act,
) -> Result<bool, BrokerError> {
    let now = broker.clock.now();
    if let Some(link) = find(broker, secret).await? {
        let until = now + TimeDelta::seconds(SESSION_SECONDS);
        let act = Act { actor: act_of(&link).actor, ..act.clone() };
        if broker.store.open_connect_link(&link, hash(cookie), until, &act, now).await? {
            tracing::info!(event = "connect_link.used", link_id = %link.id, "a person opened a connect link");
            return Ok(true);
        }
    }
    Ok(broker.store.connect_session(hash(cookie), now).await?.is_some())
}

/// The session of a cookie. It is read from the database each time, so that it ends at once with the key that made the link.
pub async fn session_of(broker: &Broker, cookie: &SecretString) -> Result<Option<PersonLink>, BrokerError> {
    Ok(broker.store.connect_session(hash(cookie), broker.clock.now()).await?)
}

/// Ends a session.
pub async fn end(broker: &Broker, link: &PersonLink, act: &Act) -> Result<(), BrokerError> {
    Ok(broker.store.end_connect_session(link, act, broker.clock.now()).await?)
}

/// The act of the person who opened this link.
#[must_use]
pub fn act_of(link: &PersonLink) -> Act {
    Act::new(ActorKind::Browser, Some(link.id.to_string()))
}

/// The providers that can be connected in the session of a link: those that it reaches and that need a person.
pub async fn connectable(broker: &Broker, link: &PersonLink) -> Result<Vec<Provider>, BrokerError> {
    let providers = list::list(broker, link.reach(&link.tenant())).await?;
    Ok(providers.into_iter().filter(|provider| credential_of(provider).is_none()).collect())
}

/// A consent that was begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Our page that says who asks for what.
    pub url: String,
    /// The authorization request.
    pub auth_id: Uuid,
    /// The provider's name for people.
    pub provider: String,
    /// The connection that is to be renewed.
    pub renewed: Option<Uuid>,
}

/// The field of an address that names the connection which was to be renewed.
pub const RENEWS: &str = "renews";

/// Begins to connect an account at a provider. With `comes_back`, the browser comes back to the person's connections, unless
/// the link says where it goes.
///
/// # Errors
/// [`BrokerError::NotFound`] for a provider that the link does not reach, or that needs no person.
pub async fn connect(
    broker: &Broker,
    link: &PersonLink,
    provider_id: &str,
    comes_back: bool,
    act: &Act,
) -> Result<Begun, BrokerError> {
    let subject = Subject { tenant: link.tenant(), user_id: link.user_id.clone(), agent_id: String::new() };
    let wanted = Wanted { subject, ls_user_id: None, scopes: link.scopes.0.clone(), is_default: true, renewed: None };
    begin_for(broker, link, provider_id, wanted, comes_back, act).await
}

/// Begins to renew a connection with the scopes that it had.
///
/// # Errors
/// [`BrokerError::NotFound`] for a token that the link does not reach.
pub async fn reconnect(
    broker: &Broker,
    link: &PersonLink,
    token: Uuid,
    comes_back: bool,
    act: &Act,
) -> Result<Begun, BrokerError> {
    let found = workspace::get(broker, link.reach(&link.tenant()), token).await?;
    let (token, _) = found.ok_or(BrokerError::NotFound("connection"))?;
    let wanted = Wanted {
        subject: Subject { tenant: link.tenant(), user_id: token.user_id, agent_id: token.agent_id },
        ls_user_id: token.ls_user_id,
        scopes: token.state.scopes.0,
        is_default: token.state.is_default,
        renewed: Some(Renewed { token: token.state.id, account_label: token.state.account_label }),
    };
    begin_for(broker, link, &token.state.provider_id, wanted, comes_back, act).await
}

/// An agent that may use a connection, or that used it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentUse {
    /// The agent; an empty text: one that gave no name.
    pub agent_id: String,
    /// When it last got a token, as far as that is recorded.
    pub last_used: Option<DateTime<Utc>>,
}

/// The agents that may use a connection or did: the one it is for, those that are connected to it, and those that the audit
/// log names. Last used first.
pub async fn agents_of(broker: &Broker, tenant: &Tenant, token: &OwnedToken) -> Result<Vec<AgentUse>, BrokerError> {
    let id = token.state.id;
    let mut last_used: BTreeMap<String, Option<DateTime<Utc>>> = BTreeMap::new();
    for (agent, at) in broker.store.handouts_of_token(tenant, id, HANDOUTS_MAX).await? {
        // The newest come first.
        last_used.entry(agent.unwrap_or_default()).or_insert(Some(at));
    }
    let own = Some(token.agent_id.clone()).filter(|agent| !agent.is_empty());
    for agent in broker.store.agents_connected_to(tenant, id).await?.into_iter().chain(own) {
        last_used.entry(agent).or_insert(None);
    }
    let uses = last_used.into_iter().map(|(agent_id, last_used)| AgentUse { agent_id, last_used });
    let mut uses: Vec<AgentUse> = uses.collect();
    uses.sort_by_key(|used| Reverse(used.last_used));
    Ok(uses)
}

/// When a connection was last used. What is stored of its token lags behind by some minutes: this server may have noted a later
/// use, and the audit log one of these agents.
#[must_use]
pub fn last_use(broker: &Broker, token: &OwnedToken, agents: &[AgentUse]) -> Option<DateTime<Utc>> {
    let (stored, noted) = (token.state.last_used_at, broker.usage.noted(token.state.id));
    let by_agents = agents.iter().filter_map(|used| used.last_used);
    by_agents.chain(stored).chain(noted).max()
}

struct Wanted {
    subject: Subject,
    ls_user_id: Option<String>,
    scopes: Vec<String>,
    is_default: bool,
    renewed: Option<Renewed>,
}

/// The connection that is renewed, and its account.
struct Renewed {
    token: Uuid,
    account_label: Option<String>,
}

async fn begin_for(
    broker: &Broker,
    link: &PersonLink,
    provider_id: &str,
    wanted: Wanted,
    comes_back: bool,
    act: &Act,
) -> Result<Begun, BrokerError> {
    if !link.limits.include_provider(provider_id) {
        return Err(BrokerError::NotFound("provider"));
    }
    let provider = list::get(broker, &wanted.subject.tenant, provider_id).await?;
    if credential_of(&provider).is_some() {
        return Err(BrokerError::NotFound("provider"));
    }
    let provider = ready_client(broker, provider, act).await?;
    // Never straight to the provider: the page before it says what is requested, and binds the browser.
    let requested = Requested {
        consent: link.consent.max(Consent::Confirm),
        redirect_uri: None,
        return_url: link.return_url.as_deref(),
        login_hint: wanted.renewed.as_ref().and_then(|renewed| hint_of(renewed.account_label.as_deref())),
    };
    let mut options = consent_options(broker, &provider, requested)?;
    let renewed = wanted.renewed.as_ref().map(|renewed| renewed.token);
    // An application that has to confirm the user must be given the browser back, and its own address does that.
    if comes_back && options.return_url.is_none() && options.consent != Consent::Verify {
        let renews = renewed.map(|token| format!("&{RENEWS}={token}")).unwrap_or_default();
        options.return_url = Some(format!("{}/connections?done=connected{renews}", broker.public_url));
    }
    let wanted = GrantRequest {
        provider: provider.id,
        subject: wanted.subject,
        ls_user_id: wanted.ls_user_id,
        scopes: wanted.scopes,
        is_default: wanted.is_default,
        // A connection that is renewed is replaced; a new one of another account is kept beside those that there are.
        force_new: renewed.is_none(),
    };
    let pending = begin(broker, &provider, wanted, options, act).await?;
    Ok(Begun { url: pending.url, auth_id: pending.id, provider: provider.name, renewed })
}

/// A consent that was begun in the session of a link; `None` if there is no such request of this person.
pub async fn request_of(
    broker: &Broker,
    link: &PersonLink,
    auth_id: Uuid,
) -> Result<Option<AuthorizationRequest>, BrokerError> {
    Ok(broker.store.authorization_request(link.reach(&link.tenant()), auth_id).await?)
}

/// A connection that was to be renewed when the person approved with another account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherAccount {
    /// The account that they approved with.
    pub approved: String,
    /// The account of the connection that is still ended.
    pub still_ended: String,
}

/// Whether the consent `auth_id` connected another account than that of `token`, which it was to renew and which has still
/// ended. `None` too if an account is not known, or the link does not reach one of them.
pub async fn other_account(
    broker: &Broker,
    link: &PersonLink,
    token: Uuid,
    auth_id: Uuid,
) -> Result<Option<OtherAccount>, BrokerError> {
    let tenant = link.tenant();
    let request = request_of(broker, link, auth_id).await?;
    let Some(got) = request.and_then(|request| request.token).filter(|got| *got != token) else { return Ok(None) };
    let reach = link.reach(&tenant);
    let (Some((wanted, why)), Some((got, _))) =
        (workspace::get(broker, reach, token).await?, workspace::get(broker, reach, got).await?)
    else {
        return Ok(None);
    };
    let is_about_it = wanted.state.provider_id == got.state.provider_id && why.condition == Condition::ConsentNeeded;
    let accounts = got.state.account_label.zip(wanted.state.account_label);
    Ok(accounts.filter(|_| is_about_it).map(|(approved, still_ended)| OtherAccount { approved, still_ended }))
}

/// What the session of a link may end: the deletion of [`workspace::delete`] inside its reach.
pub async fn revoke(
    broker: &Arc<Broker>,
    link: &PersonLink,
    token: Uuid,
    act: &Act,
) -> Result<Option<Deletion>, BrokerError> {
    workspace::delete(broker, link.reach(&link.tenant()), token, act).await
}
