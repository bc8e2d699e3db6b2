//! Operators who sign in to the console through an `OpenID` provider.
//! Owns: what binds a sign-in to a browser, and which groups have which role.
//! Must not know: routes or headers, or how an ID token is verified.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

use super::langsmith::SettingError;
pub use crate::oauth::openid::error::OpenIdError;
use crate::{
    config::Settings,
    model::{
        api_key::Role,
        console_person::{ConsolePerson, printable},
        subject::Tenant,
    },
    oauth::openid::{
        id_token::Claims,
        provider::{Attempt, OpenIdProvider},
    },
    outbound::{address::AddressGuard, client::Outbound},
};

/// How long somebody may take at the provider, in seconds.
pub const ATTEMPT_SECONDS: i64 = 10 * 60;
/// How far the clocks of two replicas may be apart, in seconds.
const SKEW_SECONDS: i64 = 60;

/// The identity provider of the console, and what its people may do.
pub struct OpenId {
    provider: OpenIdProvider,
    scopes: Vec<String>,
    groups_claim: String,
    admin_groups: Vec<String>,
    viewer_groups: Vec<String>,
    tenant: Tenant,
}

/// Who came back from the provider.
pub struct Identified {
    /// The person.
    pub person: ConsolePerson,
    /// How many groups the provider named.
    pub groups: usize,
}

impl OpenId {
    /// What the settings name; `None` if they name no provider. Its people act in `home` unless the settings say where.
    pub fn open(settings: &Settings, home: &Tenant) -> Result<Option<Self>, SettingError> {
        let Some(issuer) = settings.console_oidc_issuer.as_deref() else { return Ok(None) };
        check_issuer(issuer).map_err(|problem| SettingError::Invalid("CONSOLE_OIDC_ISSUER", problem))?;
        let timeout = Duration::from_secs(settings.provider_timeout_seconds);
        let outbound = Outbound::new(AddressGuard::of_operator(), timeout).map_err(SettingError::Trust)?;
        // The settings are checked together: these are there if the issuer is.
        let client_id = settings.console_oidc_client_id.clone().unwrap_or_default();
        let client_secret = settings.console_oidc_client_secret.clone().unwrap_or_default();
        let named = settings.console_oidc_organization.clone().zip(settings.console_oidc_workspace.clone());
        let tenant = named.map(|(organization, workspace)| Tenant { organization, workspace });
        let words = |list: &str| list.split(' ').filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect();
        Ok(Some(Self {
            provider: OpenIdProvider::new(outbound, issuer.to_owned(), client_id, client_secret),
            scopes: words(&settings.console_oidc_scopes),
            groups_claim: settings.console_oidc_groups_claim.clone(),
            admin_groups: groups_of(&settings.console_oidc_admin_groups),
            viewer_groups: groups_of(&settings.console_oidc_viewer_groups),
            tenant: tenant.unwrap_or_else(|| home.clone()),
        }))
    }

    /// The tenant in which its people act.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Begins a sign-in of the browser with this cookie: where it goes.
    pub async fn begin(
        &self,
        cookie: &SecretString,
        redirect_uri: &str,
        now: DateTime<Utc>,
    ) -> Result<Url, OpenIdError> {
        let attempt = attempt(cookie, now.timestamp());
        self.provider.authorization_url(&attempt, redirect_uri, &self.scopes, now).await
    }

    /// Who the person is that came back with this code.
    pub async fn complete(
        &self,
        attempt: &Attempt,
        redirect_uri: &str,
        code: &SecretString,
        named_issuer: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Identified, OpenIdError> {
        let claims = self.provider.identify(attempt, redirect_uri, code, named_issuer, now).await?;
        Ok(self.identified(claims))
    }

    fn identified(&self, Claims { subject, all }: Claims) -> Identified {
        let named = groups(&all, &self.groups_claim);
        let has_role = |group: &String| self.role_of_groups(std::slice::from_ref(group)).is_some();
        let text = |name: &str| all.get(name).and_then(Value::as_str).and_then(printable);
        // Anybody may have entered an address that nobody verified.
        let email = text("email").filter(|_| all.get("email_verified").is_none_or(|is| *is != Value::Bool(false)));
        let person = ConsolePerson {
            session_id: Uuid::now_v7(),
            organization_id: self.tenant.organization.clone(),
            workspace_id: self.tenant.workspace.clone(),
            issuer: self.provider.issuer().to_owned(),
            subject,
            name: text("name").or_else(|| text("preferred_username")),
            email,
            groups: named.iter().filter(|group| has_role(group)).cloned().collect(),
        };
        Identified { person, groups: named.len() }
    }

    /// The role of a person who signed in, by today's settings; `None` if they may not be signed in any longer.
    #[must_use]
    pub fn role_of(&self, person: &ConsolePerson) -> Option<Role> {
        let is_ours = person.issuer == self.provider.issuer() && person.tenant() == self.tenant;
        self.role_of_groups(&person.groups).filter(|_| is_ours)
    }

    fn role_of_groups(&self, groups: &[String]) -> Option<Role> {
        let is_in = |list: &[String]| groups.iter().any(|group| list.contains(group));
        match () {
            () if is_in(&self.admin_groups) => Some(Role::Admin),
            () if is_in(&self.viewer_groups) => Some(Role::Viewer),
            () => None,
        }
    }
}

/// The sign-in that a browser with this cookie began and that a response with this state belongs to. `None`: the two do not
/// belong together, or it took too long.
#[must_use]
pub fn attempt_of(cookie: &SecretString, state: &str, now: DateTime<Utc>) -> Option<Attempt> {
    let begun_at: i64 = state.split_once('.')?.0.parse().ok()?;
    let age = now.timestamp().checked_sub(begun_at)?;
    let attempt = attempt(cookie, begun_at);
    // Digests are compared, so that the time it takes reveals nothing.
    let is_same = Sha256::digest(attempt.state.expose_secret()) == Sha256::digest(state);
    (is_same && (-SKEW_SECONDS..=ATTEMPT_SECONDS).contains(&age)).then_some(attempt)
}

/// State, nonce and code verifier follow from 256 random bits that only this browser has, and no two from each other. So
/// nothing is stored for a sign-in that is under way, and the authorization URL alone is not enough to finish it.
fn attempt(cookie: &SecretString, begun_at: i64) -> Attempt {
    let derived = |purpose: &str| {
        let mut digest = Sha256::new();
        digest.update(format!("agent-auth console openid {purpose}\0{begun_at}\0"));
        digest.update(cookie.expose_secret());
        URL_SAFE_NO_PAD.encode(digest.finalize())
    };
    Attempt {
        state: SecretString::from(format!("{begun_at}.{}", derived("state"))),
        nonce: SecretString::from(derived("nonce")),
        code_verifier: SecretString::from(derived("code verifier")),
    }
}

/// The groups that a claim names: a list, or a single one. The claim is found by its name, or by a path of names with dots
/// between them.
fn groups(claims: &Map<String, Value>, name: &str) -> Vec<String> {
    let nested = || {
        let mut path = name.split('.');
        let first = claims.get(path.next()?)?;
        path.try_fold(first, |value, name| value.get(name))
    };
    match claims.get(name).or_else(nested) {
        Some(Value::String(group)) => vec![group.clone()],
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn groups_of(list: &str) -> Vec<String> {
    list.split(',').map(|group| group.trim().to_owned()).filter(|group| !group.is_empty()).collect()
}

/// An issuer (`OpenID` Connect Discovery, section 3). Plain http is for names and addresses that are not on the public internet.
fn check_issuer(issuer: &str) -> Result<(), String> {
    let example = "expected the issuer exactly as the identity provider writes it, such as https://id.example.com";
    let url = Url::parse(issuer).map_err(|_| example.to_owned())?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !matches!(url.scheme(), "https" | "http") || !is_plain || url.fragment().is_some() {
        return Err(format!("{example}, without user, query or fragment"));
    }
    AddressGuard::of_operator().check_url(&url).map_err(|_| {
        let host = url.host_str().unwrap_or_default();
        format!("plain http would send codes over the internet, because {host} may be public; use https")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-27T10:00:00Z".parse().unwrap()
    }

    fn cookie(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn a_state_belongs_to_one_browser_and_to_ten_minutes() {
        let begun = now().timestamp();
        let state = attempt(&cookie("one"), begun).state;
        let state = state.expose_secret();
        let after = |seconds| now() + chrono::TimeDelta::seconds(seconds);
        assert!(attempt_of(&cookie("one"), state, after(ATTEMPT_SECONDS)).is_some());
        assert!(attempt_of(&cookie("one"), state, after(ATTEMPT_SECONDS + 1)).is_none(), "too late");
        assert!(attempt_of(&cookie("one"), state, after(-SKEW_SECONDS - 1)).is_none(), "from the future");
        assert!(attempt_of(&cookie("other"), state, now()).is_none());
        let (_, proof) = state.split_once('.').unwrap();
        for forged in [format!("{}.{proof}", begun + 1), "x".to_owned(), format!("{begun}."), String::new()] {
            assert!(attempt_of(&cookie("one"), &forged, now()).is_none(), "{forged}");
        }
    }

    #[test]
    fn what_is_derived_from_a_cookie_does_not_repeat() {
        let parts = |cookie: &SecretString, begun| {
            let attempt = attempt(cookie, begun);
            [attempt.state, attempt.nonce, attempt.code_verifier].map(|part| part.expose_secret().to_owned())
        };
        let mut all = [parts(&cookie("one"), 1), parts(&cookie("one"), 2), parts(&cookie("other"), 1)].concat();
        assert!(all[2].len() == 43, "RFC 7636 section 4.1");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 9);
    }

    #[test]
    fn groups_are_a_list_or_a_single_one_wherever_the_provider_puts_them() {
        let claims = json!({
            "groups": ["ops", 7, "dev"],
            "role": "ops",
            "realm_access": {"roles": ["ops"]},
            "https://example.com/groups": ["ops"],
        });
        let claims = claims.as_object().unwrap();
        assert_eq!(groups(claims, "groups"), ["ops", "dev"]);
        for name in ["role", "realm_access.roles", "https://example.com/groups"] {
            assert_eq!(groups(claims, name), ["ops"], "{name}");
        }
        for name in ["", "none", "realm_access", "realm_access.roles.ops", "groups.0"] {
            assert!(groups(claims, name).is_empty(), "{name}");
        }
        assert_eq!(groups_of(" ops, ,/platform/admins "), ["ops", "/platform/admins"]);
    }

    #[test]
    fn an_issuer_is_a_plain_https_url() {
        for good in
            ["https://id.example.com", "https://id.example.com/realms/a/", "http://127.0.0.1:9000", "http://dex:5556"]
        {
            assert_eq!(check_issuer(good), Ok(()), "{good}");
        }
        for bad in [
            "id.example.com",
            "http://id.example.com",
            "https://id.example.com/?a=b",
            "https://a:b@id.example.com",
            "ftp://id",
        ] {
            assert!(check_issuer(bad).is_err(), "{bad}");
        }
    }
}
