//! An entry: everything known of one provider.
//! Owns: the fields, which `config/providers/README.md` explains, and the filling in of placeholders.
//! Must not know: which file an entry came from, or which provider it is used for.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

use crate::model::{
    client::ClientAuthentication,
    options::{ProviderOptions, TokenFormat},
};

/// What is known of one provider. The fields are explained in `config/providers/README.md`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/providers/README.md explains each of them")]
pub struct Entry {
    /// Its name in the catalogue: that of its file.
    #[serde(skip)]
    pub name: String,
    pub display_name: String,
    pub auth_url: String,
    pub token_url: String,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    pub revocation_url: Option<String>,
    pub refresh_url: Option<String>,
    pub device_authorization_url: Option<String>,
    pub userinfo_url: Option<String>,
    #[serde(default = "post")]
    pub authentication: ClientAuthentication,
    #[serde(default)]
    pub pkce: bool,
    pub scope_separator: Option<String>,
    #[serde(default)]
    pub default_scopes: Vec<String>,
    #[serde(default)]
    pub always_scopes: Vec<String>,
    #[serde(default)]
    pub authorization_params: BTreeMap<String, String>,
    #[serde(default)]
    pub token_params: BTreeMap<String, String>,
    #[serde(default)]
    pub token_format: TokenFormat,
    pub renewal_grant: Option<String>,
    #[serde(default)]
    pub signed_callback: bool,
    pub provider_type: Option<String>,
    pub console: String,
    pub steps: Vec<String>,
}

fn post() -> ClientAuthentication {
    ClientAuthentication::ClientSecretPost
}

/// Why the placeholders of an entry cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// No value was given.
    #[error("{0} is required: {1}")]
    Missing(String, String),
    /// The value would do more than fill its place in a URL.
    #[error("{0} should have letters, digits, `.`, `-`, `_` and `:` only")]
    Unfit(String),
    /// The entry has no such placeholder.
    #[error("this template has no such placeholder")]
    Unknown(String),
}

impl Entry {
    /// The entry with its placeholders filled in.
    pub fn filled(&self, values: &BTreeMap<String, String>) -> Result<Self, Vec<ParamError>> {
        let mut errors: Vec<ParamError> = Vec::new();
        for (name, meaning) in &self.params {
            match values.get(name).map(String::as_str) {
                None | Some("") => errors.push(ParamError::Missing(name.clone(), meaning.clone())),
                Some(value) if !fits(value) => errors.push(ParamError::Unfit(name.clone())),
                Some(_) => {}
            }
        }
        errors.extend(values.keys().filter(|name| !self.params.contains_key(*name)).cloned().map(ParamError::Unknown));
        if !errors.is_empty() {
            return Err(errors);
        }
        let fill = |text: &mut String| {
            for (name, value) in values {
                *text = text.replace(&format!("{{{name}}}"), value);
            }
        };
        let mut filled = self.clone();
        fill(&mut filled.auth_url);
        fill(&mut filled.token_url);
        fill(&mut filled.console);
        [
            &mut filled.revocation_url,
            &mut filled.refresh_url,
            &mut filled.device_authorization_url,
            &mut filled.userinfo_url,
        ]
        .into_iter()
        .flatten()
        .for_each(fill);
        Ok(filled)
    }

    /// What a provider of this entry needs beyond the published fields.
    #[must_use]
    pub fn options(&self) -> ProviderOptions {
        ProviderOptions {
            template: Some(self.name.clone()),
            refresh_url: self.refresh_url.clone(),
            device_authorization_url: self.device_authorization_url.clone(),
            scope_separator: self.scope_separator.clone(),
            default_scopes: self.default_scopes.clone(),
            always_scopes: self.always_scopes.clone(),
            token_params: self.token_params.clone(),
            token_format: self.token_format,
            renewal_grant: self.renewal_grant.clone(),
            signed_callback: self.signed_callback,
            ..ProviderOptions::default()
        }
    }

    /// The same for a new provider that was recognised and not made from this entry: without a choice of scopes, and with
    /// an address only if it is at the very host that the provider's own record names.
    #[must_use]
    pub fn recognised_options(&self, same_host: bool) -> ProviderOptions {
        let mut options = ProviderOptions { template: None, default_scopes: Vec::new(), ..self.options() };
        // An address with a placeholder is not a real one.
        let there = |url: &String| same_host && !url.contains('{') && host(url).is_some_and(|host| self.is_at(&host));
        options.refresh_url = options.refresh_url.filter(there);
        options.device_authorization_url = options.device_authorization_url.filter(there);
        options
    }

    /// What has to be done at the provider, with our redirect URI.
    #[must_use]
    pub fn steps(&self, redirect_uri: &str) -> Vec<String> {
        self.steps.iter().map(|step| step.replace("{redirect_uri}", redirect_uri)).collect()
    }

    /// Whether the token endpoint is at that host: the very host, or one below it where the first part is a
    /// placeholder. A host that is a placeholder as a whole is never recognised.
    pub(super) fn is_at(&self, other: &str) -> bool {
        let authority = self.token_url.split('/').nth(2).unwrap_or_default();
        match authority.split_once('}') {
            None => host(&self.token_url).as_deref() == Some(other),
            Some((_, below)) => below.starts_with('.') && other.ends_with(below),
        }
    }

    /// That every address is a URL, and every placeholder is explained.
    pub(super) fn check(&self) -> Result<(), String> {
        let urls = [("auth_url", Some(&self.auth_url)), ("token_url", Some(&self.token_url))].into_iter().chain([
            ("revocation_url", self.revocation_url.as_ref()),
            ("refresh_url", self.refresh_url.as_ref()),
            ("device_authorization_url", self.device_authorization_url.as_ref()),
            ("userinfo_url", self.userinfo_url.as_ref()),
        ]);
        for (field, url) in urls {
            let Some(url) = url else { continue };
            let mut example = url.clone();
            for name in self.params.keys() {
                example = example.replace(&format!("{{{name}}}"), "x");
            }
            if example.contains(['{', '}']) {
                return Err(format!("{field} has a placeholder that `params` does not explain"));
            }
            if !Url::parse(&example).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host()) {
                return Err(format!("{field} is not a URL"));
            }
        }
        Ok(())
    }
}

pub(super) fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(ToOwned::to_owned)
}

/// A part of a host name or of a path, and nothing that could lead a URL elsewhere.
fn fits(value: &str) -> bool {
    value.len() <= 253
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
        && !value.contains("..")
}
