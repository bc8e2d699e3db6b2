//! An entry: everything known of one provider.
//! Owns: the fields, which `config/providers/README.md` explains, and the filling in of placeholders.
//! Must not know: which file an entry came from, or which provider it is used for.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::{Url, form_urlencoded};

use crate::model::{
    client::{Client, ClientAuthentication},
    options::{ProviderOptions, TokenFormat},
    quirks::{AccountPaths, RevocationStyle, Userinfo},
    web_address,
};

/// What is known of one provider. The fields are explained in `config/providers/README.md`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, as it is written in the file")]
#[expect(missing_docs, reason = "config/providers/README.md explains each of them")]
pub struct Entry {
    /// Its name in the catalogue: that of its file.
    #[serde(skip)]
    pub name: String,
    pub display_name: String,
    pub category: Option<String>,
    #[serde(default)]
    pub aliases: Vec<String>,
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
    pub client_id_parameter: Option<String>,
    pub provider_type: Option<String>,
    #[serde(default)]
    pub token_hosts: Vec<String>,
    #[serde(default)]
    pub enforced: Vec<Enforced>,
    pub scope_parameter: Option<String>,
    #[serde(default)]
    pub included_scopes: BTreeMap<String, Vec<String>>,
    pub scope_prefix: Option<String>,
    #[serde(default)]
    pub scope_descriptions: BTreeMap<String, String>,
    pub userinfo: Option<Userinfo>,
    pub accounts: Option<Vec<AccountPaths>>,
    pub metadata: Option<Vec<String>>,
    #[serde(default)]
    pub callback_parameters: Vec<String>,
    pub token_paths: Option<Vec<String>>,
    pub dead_grant: Option<Vec<String>>,
    pub dead_grant_texts: Option<Vec<String>>,
    pub misconfigured_client: Option<Vec<String>>,
    pub rate_limited: Option<Vec<String>>,
    pub unknown_grant: Option<Vec<String>>,
    pub dead_access_token: Option<Vec<String>>,
    pub revocation: Option<RevocationStyle>,
    #[serde(default)]
    pub revocation_paths: Vec<String>,
    #[serde(default)]
    pub revocation_ends_account: bool,
    #[serde(default)]
    pub revocation_only_if_named: bool,
    pub console: Option<String>,
    #[serde(default = "usual_steps")]
    pub steps: Vec<String>,
    pub sources: Option<u16>,
    #[serde(default = "yes")]
    pub confirmed: bool,
    #[serde(default)]
    pub references: Vec<String>,
}

/// What responses of services without an entry may contain, and the scopes that every service may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unrecognised {
    pub accounts: Vec<AccountPaths>,
    pub metadata: Vec<String>,
    pub dead_grant_texts: Vec<String>,
    /// What the scopes of `OpenID` Connect allow.
    pub scope_descriptions: BTreeMap<String, String>,
}

/// A field that applies to every authorization request, also where the provider's record leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforced {
    AlwaysScopes,
    AuthorizationParams,
    ScopeSeparator,
}

/// Filled in with our client id when the address is used.
pub(super) const CLIENT_ID: &str = "{client_id}";
/// Filled in with our redirect URI when the steps are shown.
pub(super) const REDIRECT_URI: &str = "{redirect_uri}";

fn post() -> ClientAuthentication {
    ClientAuthentication::ClientSecretPost
}

fn yes() -> bool {
    true
}

fn usual_steps() -> Vec<String> {
    vec!["Create an OAuth app.".to_owned(), format!("Enter the redirect URI {REDIRECT_URI}")]
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
                Some(value) if !web_address::is_part(value) => errors.push(ParamError::Unfit(name.clone())),
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
        [
            &mut filled.console,
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

    /// The revocation endpoint as a provider's record gets it: not where it depends on the client, or is used only if the
    /// operator names it.
    #[must_use]
    pub fn recorded_revocation_url(&self) -> Option<String> {
        self.revocation_url.clone().filter(|url| !self.revocation_only_if_named && !url.contains(CLIENT_ID))
    }

    /// The revocation endpoint for a client whose record names none.
    pub(super) fn revocation_url(&self, client: &Client) -> Option<String> {
        let url = self.revocation_url.as_ref().filter(|_| !self.revocation_only_if_named)?;
        let client_id: String = form_urlencoded::byte_serialize(client.id.as_bytes()).collect();
        self.beside_token_endpoint(&url.replace(CLIENT_ID, &client_id), &client.token_url)
    }

    /// An address without placeholders: where its host is the token endpoint's in the entry, it is so in the record too.
    pub(super) fn beside_token_endpoint(&self, url: &str, token_url: &str) -> Option<String> {
        let own = authority(&self.token_url).filter(|own| own.contains('{') && authority(url) == Some(own));
        let filled = match own {
            Some(own) => url.replacen(own, authority(token_url)?, 1),
            None => url.to_owned(),
        };
        (!filled.contains('{')).then_some(filled)
    }

    /// Whether providers whose token endpoint is at that host are of this entry.
    pub(super) fn has_host(&self, other: &str) -> bool {
        self.is_at(other) || self.token_hosts.iter().any(|name| covers(name, other))
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
            client_id_parameter: self.client_id_parameter.clone(),
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

    /// What a scope allows, with or without the prefix of the provider's scopes.
    pub(super) fn scope_description(&self, scope: &str) -> Option<&str> {
        let without_prefix = self.scope_prefix.as_deref().and_then(|prefix| scope.strip_prefix(prefix));
        let named = [Some(scope), without_prefix].into_iter().flatten();
        named.filter_map(|scope| self.scope_descriptions.get(scope)).map(String::as_str).next()
    }

    /// Whether a word, in lower case, is part of one of the entry's names or of its category.
    pub(super) fn says(&self, word: &str) -> bool {
        let names = [&self.name, &self.display_name].into_iter().chain(&self.aliases).chain(&self.category);
        names.into_iter().any(|name| name.to_lowercase().contains(word))
    }

    /// What has to be done at the provider, with our redirect URI.
    #[must_use]
    pub fn steps(&self, redirect_uri: &str) -> Vec<String> {
        self.steps.iter().map(|step| step.replace(REDIRECT_URI, redirect_uri)).collect()
    }

    /// The host of the token endpoint, as `token_hosts` would name it: the very host, or all below it where the first part
    /// is a placeholder. `None` where the host is a placeholder as a whole, or ends with one: it is never recognised.
    pub(super) fn token_host(&self) -> Option<String> {
        match authority(&self.token_url)?.split_once('}') {
            None => host(&self.token_url),
            Some((_, below)) => below.starts_with('.').then(|| below.to_owned()),
        }
    }

    /// Whether the token endpoint is at that host.
    pub(super) fn is_at(&self, other: &str) -> bool {
        self.token_host().is_some_and(|own| covers(&own, other))
    }
}

/// Whether a name of `token_hosts` means that host: the host itself, or with a leading dot every host below it.
fn covers(name: &str, host: &str) -> bool {
    host == name || (name.starts_with('.') && host.ends_with(name))
}

/// The host of a URL and its port, placeholders included.
fn authority(url: &str) -> Option<&str> {
    url.split('/').nth(2)
}

pub(super) fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(ToOwned::to_owned)
}
