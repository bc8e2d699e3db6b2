//! LangSmith's callers: `GET {LANGSMITH_ENDPOINT}/auth/public` says who they are.
//! Owns: what is forwarded, what a response means, how long it is remembered, one request at a time for each credential.
//! Must not know: routes, or what a role permits.

use std::{sync::Arc, time::Duration};

use backon::{ConstantBuilder, Retryable};
use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore};
use url::Url;
use uuid::Uuid;

use crate::{
    config::Settings,
    model::{
        api_key::Role,
        console_person::{ConsolePerson, printable},
        subject::Tenant,
    },
    outbound::{
        address::AddressGuard,
        client::{Answer, CallError, Outbound},
    },
    telemetry::metrics::{Cached, Endpoint, METRICS},
};

/// The headers that LangSmith recognizes callers by. Nothing else of a request is forwarded.
const FORWARDED: [&str; 6] = ["authorization", "x-tenant-id", "x-api-key", "x-service-key", "cookie", "x-user-id"];
/// Those that prove who the caller is. The others only name a workspace or a user.
const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "x-service-key", "cookie"];
/// How long a request to LangSmith may take, with its retries.
const DEADLINE: Duration = Duration::from_secs(2);
/// Further attempts when no connection could be opened, or it broke.
const RETRIES: usize = 2;
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// How long a caller stays known, and how many are remembered at most.
const REMEMBERED_FOR: Duration = Duration::from_mins(1);
const REMEMBERED_MAX: u64 = 10_000;
/// Requests to LangSmith at a time: a flood of unknown keys must not use up the process's open files.
const REQUESTS_MAX: usize = 64;
/// When another attempt makes sense, unless LangSmith says so, and at most.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);
/// No valid id is longer.
const ID_MAX: usize = 512;
/// Where anyone can create an account.
const CLOUD: &str = "smith.langchain.com";

/// The credentials of a request, as LangSmith gets them.
pub struct Credentials<'r> {
    request: &'r HeaderMap,
    digest: [u8; 32],
}

/// Who a caller is, according to LangSmith.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The LangSmith organization and workspace.
    pub tenant: Tenant,
    /// The user. Service keys have none.
    pub user: Option<String>,
    /// The user's e-mail address, for people.
    pub email: Option<String>,
}

/// Why LangSmith identifies nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// LangSmith does not accept the credentials.
    Unauthorized,
    /// LangSmith denies the caller access.
    Forbidden,
    /// LangSmith names no organization or no workspace.
    NoWorkspace,
    /// The workspace is not in `LANGSMITH_TENANT_IDS`.
    WorkspaceNotAllowed,
    /// LangSmith did not respond, or not usefully.
    Unavailable {
        /// When another attempt makes sense.
        retry_after: Duration,
    },
}

/// Why the settings cannot be used: one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// A setting is invalid.
    #[error("AGENT_AUTH_{0}: {1}")]
    Invalid(&'static str, String),
    /// The client cannot be created.
    #[error("the trusted CA certificates of this machine cannot be read: {0}")]
    Trust(reqwest::Error),
}

/// Identifies callers through LangSmith.
pub struct LangSmith {
    /// The role of its callers.
    pub role: Role,
    /// What its users may do at the console; `None`: they do not sign in there.
    pub console_role: Option<Role>,
    outbound: Outbound,
    url: Url,
    /// The accepted workspaces; `None`: all of them.
    workspaces: Option<Vec<String>>,
    lookups: Cache<[u8; 32], Arc<Lookup>>,
    requests: Semaphore,
}

/// A request to LangSmith, for every caller with the same credentials.
struct Lookup {
    begun_at: DateTime<Utc>,
    result: OnceCell<Result<Arc<Identity>, Refusal>>,
}

/// The response of `/auth/public`, as far as it is used.
#[derive(Deserialize)]
struct AuthPublic {
    organization_id: Option<String>,
    tenant_id: Option<String>,
    ls_user_id: Option<String>,
    user_id: Option<String>,
    user_email: Option<String>,
}

impl<'r> Credentials<'r> {
    /// The credentials of a request; `None` if it has none.
    #[must_use]
    pub fn of(request: &'r HeaderMap) -> Option<Self> {
        let is_present = |name: &&str| request.get_all(*name).iter().any(|value| !value.is_empty());
        CREDENTIALS.iter().any(is_present).then(|| {
            let mut digest = Sha256::new();
            for (name, value) in forwarded(request) {
                for part in [name.as_bytes(), value.as_bytes()] {
                    // With its length, so that no two sets of headers have the same bytes.
                    digest.update((part.len() as u64).to_be_bytes());
                    digest.update(part);
                }
            }
            Self { request, digest: digest.finalize().into() }
        })
    }

    /// The headers that LangSmith gets.
    #[must_use]
    pub fn forwarded(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in forwarded(self.request) {
            let mut value = value.clone();
            value.set_sensitive(true);
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }
}

fn forwarded(request: &HeaderMap) -> impl Iterator<Item = (&'static str, &HeaderValue)> {
    let values = |name| request.get_all(name).iter().map(move |value| (name, value));
    FORWARDED.into_iter().flat_map(values).filter(|(_, value)| !value.is_empty())
}

impl LangSmith {
    /// What the settings name; `None` if callers are identified by API keys of this server only.
    pub fn open(settings: &Settings) -> Result<Option<Self>, SettingError> {
        let Some(endpoint) = settings.langsmith_endpoint.as_deref() else { return Ok(None) };
        let url = endpoint_url(endpoint).map_err(|problem| SettingError::Invalid("LANGSMITH_ENDPOINT", problem))?;
        let workspaces = settings.langsmith_tenant_ids.as_deref().map(tenant_ids).transpose();
        let workspaces = workspaces.map_err(|problem| SettingError::Invalid("LANGSMITH_TENANT_IDS", problem))?;
        if workspaces.is_none() && url.domain().is_some_and(|host| host.ends_with(CLOUD)) {
            tracing::warn!(
                event = "identity.open_to_everyone",
                "every user of LangSmith's cloud may use this server; set LANGSMITH_TENANT_IDS to your workspaces"
            );
        }
        Ok(Some(Self {
            role: if settings.langsmith_role == "agent" { Role::Agent } else { Role::Admin },
            console_role: match settings.console_langsmith_role.as_str() {
                "admin" => Some(Role::Admin),
                "viewer" => Some(Role::Viewer),
                _ => None,
            },
            outbound: Outbound::new(AddressGuard::of_operator(), DEADLINE).map_err(SettingError::Trust)?,
            url,
            workspaces,
            lookups: Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED_FOR).build(),
            requests: Semaphore::new(REQUESTS_MAX),
        }))
    }

    /// Who these credentials belong to, if LangSmith said so less than a minute ago.
    #[must_use]
    pub fn remembered(&self, credentials: &Credentials<'_>, now: DateTime<Utc>) -> Option<Arc<Identity>> {
        let lookup = self.lookups.get(&credentials.digest).filter(|lookup| !lookup.is_over(now));
        let identity = lookup.and_then(|lookup| lookup.result.get()?.clone().ok());
        METRICS.looked_up(Cached::Identities, identity.is_some());
        identity
    }

    /// Who these credentials belong to. Any number of callers who bring the same ones at the same time share one request.
    pub async fn identify(&self, credentials: &Credentials<'_>, now: DateTime<Utc>) -> Result<Arc<Identity>, Refusal> {
        let begin = || Arc::new(Lookup { begun_at: now, result: OnceCell::new() });
        let entry = self.lookups.entry(credentials.digest).or_insert_with_if(begin, |lookup| lookup.is_over(now));
        let lookup = entry.into_value();
        // If the caller who makes the request disconnects, the next one makes it.
        let result = lookup.result.get_or_init(async || {
            let result = self.request(credentials, now).await;
            if result.is_err() {
                // Only those who wait for it already get a refusal.
                self.lookups.invalidate(&credentials.digest);
            }
            result.map(Arc::new)
        });
        result.await.clone()
    }

    /// The same for a sign-in, which counts for longer than a request: LangSmith is asked, whatever it said a moment ago.
    pub async fn identify_now(&self, credentials: &Credentials<'_>, now: DateTime<Utc>) -> Result<Identity, Refusal> {
        self.request(credentials, now).await
    }

    /// Who signs in to the console; `None` for a service key, which is nobody's.
    #[must_use]
    pub fn person_of(&self, identity: &Identity) -> Option<ConsolePerson> {
        Some(ConsolePerson {
            session_id: Uuid::now_v7(),
            organization_id: identity.tenant.organization.clone(),
            workspace_id: identity.tenant.workspace.clone(),
            issuer: self.url.to_string(),
            subject: identity.user.clone()?,
            name: None,
            email: identity.email.clone(),
            groups: Vec::new(),
        })
    }

    /// The role of a person who signed in, by today's settings; `None` if they may not be signed in any longer. A person of
    /// the console's identity provider has groups, whatever its address is.
    #[must_use]
    pub fn role_of(&self, person: &ConsolePerson) -> Option<Role> {
        let is_ours = person.issuer == self.url.as_str() && person.groups.is_empty();
        self.console_role.filter(|_| is_ours && self.check_workspace(&person.tenant()).is_ok())
    }

    /// Checks that callers of this workspace are accepted.
    pub fn check_workspace(&self, tenant: &Tenant) -> Result<(), Refusal> {
        let is_accepted = self.workspaces.as_ref().is_none_or(|accepted| accepted.contains(&tenant.workspace));
        if is_accepted { Ok(()) } else { Err(Refusal::WorkspaceNotAllowed) }
    }

    async fn request(&self, credentials: &Credentials<'_>, now: DateTime<Utc>) -> Result<Identity, Refusal> {
        let headers = credentials.forwarded();
        let attempt = async || {
            self.outbound.send(Endpoint::Identity, self.outbound.get(&self.url)?.headers(headers.clone()), now).await
        };
        let is_transport_error = |error: &CallError| matches!(error, CallError::NotConnected | CallError::Broken);
        let retries = ConstantBuilder::default().with_delay(RETRY_DELAY).with_max_times(RETRIES);
        let sent = tokio::time::timeout(DEADLINE, async {
            // The semaphore is never closed.
            let _permit = self.requests.acquire().await;
            attempt.retry(retries).when(is_transport_error).await
        });
        match sent.await.unwrap_or(Err(CallError::TimedOut)) {
            Ok(answer) => read(&answer),
            Err(CallError::Refused(_)) => Err(unavailable("the address is refused", None)),
            Err(CallError::NotConnected | CallError::Untrusted) => Err(unavailable("no connection", None)),
            Err(CallError::Broken) => Err(unavailable("the connection was lost", None)),
            Err(CallError::TimedOut) => Err(unavailable("no response within 2 seconds", None)),
            Err(CallError::TooLarge) => Err(unavailable("the response is too large", None)),
        }
    }
}

impl Lookup {
    /// It is too old, or was refused.
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        let age = now - self.begun_at;
        TimeDelta::from_std(REMEMBERED_FOR).is_ok_and(|max| age >= max) || self.result.get().is_some_and(Result::is_err)
    }
}

fn read(answer: &Answer) -> Result<Identity, Refusal> {
    match answer.status {
        200 => {}
        401 => return Err(Refusal::Unauthorized),
        403 => return Err(Refusal::Forbidden),
        status => return Err(unavailable(&format!("the response has status {status}"), answer.retry_after)),
    }
    let unreadable = || unavailable("the response is not the JSON object that is expected", None);
    let read: AuthPublic = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
    let present = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (user, workspace) = (present(read.ls_user_id).or(present(read.user_id)), present(read.tenant_id));
    let (organization, workspace) = present(read.organization_id).zip(workspace).ok_or(Refusal::NoWorkspace)?;
    if ![&organization, &workspace].into_iter().chain(&user).all(|id| is_id(id)) {
        return Err(unreadable());
    }
    let email = read.user_email.as_deref().and_then(printable);
    Ok(Identity { tenant: Tenant { organization, workspace }, user, email })
}

fn unavailable(reason: &str, retry_after: Option<Duration>) -> Refusal {
    tracing::warn!(event = "identity.unavailable", reason, "LangSmith did not identify a caller");
    Refusal::Unavailable { retry_after: retry_after.unwrap_or(RETRY_AFTER).min(RETRY_AFTER_MAX) }
}

fn is_id(text: &str) -> bool {
    text.chars().count() <= ID_MAX && !text.chars().any(char::is_control)
}

/// The base address with `/auth/public`. Plain http is for names and addresses that are not on the public internet.
fn endpoint_url(endpoint: &str) -> Result<Url, String> {
    let example = "expected the base address of LangSmith's API, such as https://api.smith.langchain.com";
    let mut url = Url::parse(endpoint).map_err(|_| example.to_owned())?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !matches!(url.scheme(), "https" | "http") || !is_plain || url.fragment().is_some() {
        return Err(format!("{example}, without user, query or fragment"));
    }
    if AddressGuard::of_operator().check_url(&url).is_err() {
        let host = url.host_str().unwrap_or_default();
        return Err(format!(
            "plain http would send credentials over the internet, because {host} may be public; use https, or in a \
             cluster the full name, such as http://RELEASE-langsmith-platform-backend.NAMESPACE.svc.cluster.local:1986"
        ));
    }
    url.path_segments_mut().map_err(|()| example.to_owned())?.pop_if_empty().extend(["auth", "public"]);
    Ok(url)
}

fn tenant_ids(list: &str) -> Result<Vec<String>, String> {
    let ids: Vec<_> = list.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect();
    if ids.is_empty() || !ids.iter().all(|id| is_id(id)) {
        return Err("expected the ids of LangSmith workspaces, separated by commas".to_owned());
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_differ_by_exactly_what_is_forwarded() {
        let digest = |headers: &[(&'static str, &str)]| {
            let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
            Credentials::of(&headers.collect()).map(|credentials| credentials.digest)
        };
        let one = digest(&[("x-api-key", "ab"), ("cookie", "c")]);
        assert!(one.is_some());
        assert_eq!(one, digest(&[("cookie", "c"), ("accept", "*/*"), ("x-user-id", ""), ("x-api-key", "ab")]));
        for other in [
            &[("x-api-key", "ab")][..],
            &[("x-api-key", "a"), ("cookie", "bc")],
            &[("x-api-key", "abc")],
            &[("x-service-key", "ab"), ("cookie", "c")],
            &[("x-api-key", "ab"), ("cookie", "c"), ("x-user-id", "c")],
        ] {
            assert!(digest(other).is_some_and(|digest| Some(digest) != one), "{other:?}");
        }
        assert_eq!(digest(&[("x-tenant-id", "w"), ("x-user-id", "u"), ("x-api-key", "")]), None);
    }

    #[test]
    fn the_endpoint_is_extended_by_the_path() {
        for (base, url) in [
            ("https://api.smith.langchain.com", "https://api.smith.langchain.com/auth/public"),
            ("https://langsmith.example.com/api/v1/", "https://langsmith.example.com/api/v1/auth/public"),
            (
                "http://backend.langsmith.svc.cluster.local:1986",
                "http://backend.langsmith.svc.cluster.local:1986/auth/public",
            ),
        ] {
            assert_eq!(endpoint_url(base).map(String::from), Ok(url.to_owned()));
        }
    }
}
