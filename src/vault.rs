//! `HashiCorp` Vault's Transit engine, which encrypts and decrypts the keys of the key ring.
//! Owns: its wire, and what its errors mean.
//! Must not know: what the keys are for, or where they are kept.

use std::{fmt::Write, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::{Host, Url};

use crate::{
    outbound::{
        address::{AddressGuard, Refusal},
        client::{Answer, CallError, Outbound},
    },
    telemetry::metrics::Endpoint,
};

/// How long one call may take in all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an error's text is shown.
const ERROR_TEXT_MAX: usize = 200;

/// How Vault is reached.
#[derive(Debug)]
pub struct VaultSettings {
    /// `https://vault.example.com:8200`
    pub address: String,
    /// The name of the key in the Transit engine.
    pub transit_key: String,
    /// The token.
    pub token: SecretString,
    /// The namespace of Vault Enterprise.
    pub namespace: Option<String>,
    /// The certificate authorities to trust, in PEM. `None`: those of the machine.
    pub authorities: Option<Vec<u8>>,
}

/// Why Vault cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A setting is invalid.
    #[error("AGENT_AUTH_VAULT_{0}: {1}")]
    Setting(&'static str, String),
    /// There was no response.
    #[error("Vault at {0} (AGENT_AUTH_VAULT_ADDRESS): {1}")]
    NoResponse(String, &'static str),
    /// Vault refused.
    #[error("Vault at {0} answered {1}: {2}")]
    Refused(String, u16, String),
    /// The response is not one of the Transit engine.
    #[error("Vault at {0} sent something else than a response of its Transit engine; check AGENT_AUTH_VAULT_ADDRESS")]
    Malformed(String),
}

/// A client of one key of the Transit engine.
pub struct Vault {
    outbound: Outbound,
    base: Url,
    transit_key: String,
    namespace: Option<HeaderValue>,
    token: SecretString,
    token_header: HeaderValue,
}

#[derive(Deserialize)]
struct Response<T> {
    data: T,
}

#[derive(Deserialize)]
struct Plaintext {
    plaintext: String,
}

#[derive(Deserialize)]
struct Ciphertext {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

impl Vault {
    /// A client for this Vault. `guard` decides only whether plain http is accepted: the address is the operator's, so it
    /// may be private, for this client and its host alone.
    ///
    /// # Errors
    /// [`VaultError::Setting`] names the setting.
    pub fn new(settings: VaultSettings, guard: &AddressGuard) -> Result<Self, VaultError> {
        let VaultSettings { address, transit_key, token, namespace, authorities } = settings;
        let refused = |problem: &str| VaultError::Setting("ADDRESS", format!("`{address}` {problem}"));
        let base = Url::parse(&address).map_err(|_| refused("is not like https://vault.example.com:8200"))?;
        let Some(host) = base.host() else { return Err(refused("is not like https://vault.example.com:8200")) };
        if !base.username().is_empty()
            || base.password().is_some()
            || base.query().is_some()
            || base.fragment().is_some()
        {
            return Err(refused("must have no user, query or fragment"));
        }
        match base.scheme() {
            "https" => {}
            "http" if is_loopback(&host) || guard.check_url(&base).is_ok() => {}
            _ => {
                return Err(refused(
                    "must be an https:// URL (http:// is accepted on loopback and for hosts in ALLOW_PRIVATE_UPSTREAMS)",
                ));
            }
        }
        let named = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if transit_key.is_empty() || transit_key.starts_with('.') || !named(&transit_key) {
            return Err(VaultError::Setting(
                "TRANSIT_KEY",
                format!("`{transit_key}` is not the name of a key: expected letters, digits, `-`, `_` or `.`"),
            ));
        }
        let namespace = namespace.map(|namespace| HeaderValue::from_str(&namespace)).transpose();
        let namespace =
            namespace.map_err(|_| VaultError::Setting("NAMESPACE", "is not the name of a namespace".to_owned()))?;
        let mut token_header = HeaderValue::from_str(token.expose_secret().trim())
            .map_err(|_| VaultError::Setting("TOKEN", "has characters that no token has".to_owned()))?;
        token_header.set_sensitive(true);
        let exception = match &host {
            Host::Domain(name) => (*name).to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let only_this = AddressGuard::parse(&exception).map_err(|problem| refused(&problem))?;
        let outbound = match authorities {
            Some(pem) => Outbound::trusting_only(&pem, only_this, TIMEOUT),
            None => Outbound::new(only_this, TIMEOUT),
        };
        let outbound = outbound.map_err(|error| {
            VaultError::Setting("CA_FILE", format!("the trusted certificate authorities cannot be used: {error}"))
        })?;
        Ok(Self { outbound, base, transit_key, namespace, token, token_header })
    }

    /// Decrypts `vault:v1:...`; the result is base64.
    ///
    /// # Errors
    /// [`VaultError`], which never holds the token or a key.
    pub async fn decrypt(&self, ciphertext: &str, now: DateTime<Utc>) -> Result<SecretString, VaultError> {
        let answer =
            self.call("decrypt", SecretString::from(json!({ "ciphertext": ciphertext }).to_string()), now).await?;
        let response: Response<Plaintext> = self.read(&answer)?;
        Ok(SecretString::from(response.data.plaintext))
    }

    /// Encrypts what is base64; the result is `vault:v1:...`.
    ///
    /// # Errors
    /// [`VaultError`], which never holds the token or a key.
    pub async fn encrypt(&self, plaintext: &SecretString, now: DateTime<Utc>) -> Result<SecretString, VaultError> {
        let body = SecretString::from(json!({ "plaintext": plaintext.expose_secret() }).to_string());
        let answer = self.call("encrypt", body, now).await?;
        let Response { data: Ciphertext { ciphertext } } = self.read(&answer)?;
        let is_ciphertext = |text: &str| {
            let rest = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':'));
            rest.is_some_and(|(version, bytes)| {
                version.parse::<u32>().is_ok() && !bytes.is_empty() && !bytes.contains([',', ':']) && bytes.is_ascii()
            })
        };
        if is_ciphertext(&ciphertext) {
            Ok(SecretString::from(ciphertext))
        } else {
            Err(VaultError::Malformed(self.name()))
        }
    }

    async fn call(&self, operation: &str, body: SecretString, now: DateTime<Utc>) -> Result<Answer, VaultError> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["v1", "transit", operation, self.transit_key.as_str()]);
        }
        let request = self.outbound.post(&url).map_err(|error| self.no_response(&error))?;
        // Vault's agents may require X-Vault-Request, as a protection against forged requests.
        let mut request = request
            .header("X-Vault-Token", self.token_header.clone())
            .header("X-Vault-Request", "true")
            .header(CONTENT_TYPE, "application/json")
            .body(body.expose_secret().to_owned());
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace.clone());
        }
        let answer =
            self.outbound.send(Endpoint::Vault, request, now).await.map_err(|error| self.no_response(&error))?;
        match answer.status {
            200 => Ok(answer),
            status => Err(VaultError::Refused(self.name(), status, self.explain(operation, status, &answer.body))),
        }
    }

    fn read<'a, T: Deserialize<'a>>(&self, answer: &'a Answer) -> Result<Response<T>, VaultError> {
        serde_json::from_slice(&answer.body).map_err(|_| VaultError::Malformed(self.name()))
    }

    fn name(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    fn no_response(&self, error: &CallError) -> VaultError {
        let problem = match error {
            CallError::Refused(Refusal::Scheme) => "the URL is not accepted",
            CallError::Refused(Refusal::PrivateAddress) => "the address is not accepted",
            CallError::NotConnected | CallError::Untrusted => {
                "no connection. Check that Vault is running there, that this machine may reach it, and that its \
                 certificate is trusted (AGENT_AUTH_VAULT_CA_FILE)"
            }
            CallError::Broken => "the connection was lost",
            CallError::TimedOut => "there was no response within 10 seconds",
            CallError::TooLarge => "the response is too large",
        };
        VaultError::NoResponse(self.name(), problem)
    }

    /// What the status means here, and what Vault says of it.
    fn explain(&self, operation: &str, status: u16, body: &[u8]) -> String {
        let path = format!("transit/{operation}/{}", self.transit_key);
        let mut explained = match status {
            300..=399 => "redirects are not followed; set AGENT_AUTH_VAULT_ADDRESS to the active node".to_owned(),
            400 => format!("{path} refused the request"),
            403 => format!("AGENT_AUTH_VAULT_TOKEN is not valid, or its policy lacks `update` on {path}"),
            404 => format!("there is no {path}: enable the Transit engine at transit/ and create the key"),
            429 | 472 | 473 | 503 => "Vault is sealed, a standby or overloaded; try again".to_owned(),
            _ => format!("{path} failed"),
        };
        let said = serde_json::from_slice::<Errors>(body).map(|body| body.errors.join("; ")).unwrap_or_default();
        let said = said.replace(self.token.expose_secret(), "[token]");
        let said: String = said.chars().filter(|c| !c.is_control()).take(ERROR_TEXT_MAX).collect();
        if !said.trim().is_empty() {
            let _ = write!(explained, " (Vault says: {})", said.trim());
        }
        explained
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str, key: &str, private: &str) -> Option<String> {
        let settings = VaultSettings {
            address: address.to_owned(),
            transit_key: key.to_owned(),
            token: SecretString::from("s.hunter2"),
            namespace: None,
            authorities: None,
        };
        let refused = Vault::new(settings, &AddressGuard::parse(private).unwrap()).err()?.to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
        Some(refused)
    }

    #[test]
    fn plain_http_is_for_loopback_and_listed_hosts_only() {
        for (address, private) in [
            ("https://vault.example.com:8200", "false"),
            ("https://10.0.0.1:8200/", "false"),
            ("http://127.0.0.1:8200", "false"),
            ("http://[::1]:8200", "false"),
            ("http://localhost:8200", "false"),
            ("http://vault.corp:8200", "vault.corp"),
            ("http://10.0.0.1:8200", "10.0.0.0/8"),
        ] {
            assert_eq!(refused(address, "agent-auth", private), None, "{address} {private}");
        }
        for address in ["http://vault.corp:8200", "http://10.0.0.1:8200", "ftp://127.0.0.1"] {
            let refused = refused(address, "agent-auth", "other.corp").expect("refused");
            assert!(refused.starts_with("AGENT_AUTH_VAULT_ADDRESS: `"), "{refused}");
        }
    }

    #[test]
    fn an_invalid_address_or_key_name_is_refused_by_name() {
        for address in ["vault", "https://", "https://user:x@vault.corp", "https://vault.corp?a=b"] {
            let refused = refused(address, "agent-auth", "false").expect("refused");
            assert!(refused.starts_with("AGENT_AUTH_VAULT_ADDRESS: `"), "{refused}");
        }
        for key in ["", "..", "a/b", "a b"] {
            let refused = refused("https://vault.corp", key, "false").expect("refused");
            assert!(refused.starts_with("AGENT_AUTH_VAULT_TRANSIT_KEY: `"), "{refused}");
        }
    }
}
