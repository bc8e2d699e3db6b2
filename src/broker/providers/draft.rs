//! Drafts: a provider as an operator describes it, before it is checked.
//! Owns: the fields, and the rule of each.
//! Must not know: what a field means for a provider; that is `definition.rs`.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use crate::{
    broker::rules::{self, Fault, PARAMETERS_MAX, Problem, REDIRECT_URIS_MAX, SCOPES_MAX},
    model::{
        audit::EventName,
        client::ClientAuthentication,
        options::{GrantType, OptionsDraft},
    },
    outbound::address::AddressGuard,
};

/// A provider as an operator describes it. `None`: the operator does not say.
#[derive(Clone, Debug, Default)]
pub struct ProviderDraft {
    /// The provider's name on the wire. Only for a new provider.
    pub provider_id: Option<String>,
    /// The name for people.
    pub name: Option<String>,
    /// How tokens are obtained. Only for a new provider.
    pub grant_type: Option<GrantType>,
    /// The client id.
    pub client_id: Option<String>,
    /// The client secret, or the static key of the workspace.
    pub client_secret: Option<SecretString>,
    /// The client authentication method.
    pub authentication: Option<ClientAuthentication>,
    /// The authorization endpoint.
    pub auth_url: Option<String>,
    /// The token endpoint.
    pub token_url: Option<String>,
    /// The userinfo endpoint.
    pub userinfo_url: Option<String>,
    /// The revocation endpoint.
    pub revocation_url: Option<String>,
    /// Whether a code challenge is sent.
    pub uses_pkce: Option<bool>,
    /// A family of providers with its own quirks. Only for a new provider.
    pub provider_type: Option<String>,
    /// Parameters added to every authorization URL.
    pub authorization_params: Option<BTreeMap<String, String>>,
    /// Redirect URIs of applications that receive the redirect themselves.
    pub allowed_redirect_uris: Option<Vec<String>>,
    /// The issuer whose metadata says what this draft does not. Only for a new provider.
    pub issuer: Option<String>,
    /// The entry of the catalogue that says what this draft does not.
    pub template: Option<String>,
    /// Values for the placeholders of that entry.
    pub template_params: Option<BTreeMap<String, String>>,
    /// What the provider needs beyond the published fields.
    pub options: OptionsDraft,
    /// How many grants a change of endpoints may expose. Only for a change.
    pub expose_grants: Option<u64>,
    /// What was wrong with fields that could not be read. Such a field is `None` above, and counts as present.
    pub unreadable: Vec<Fault>,
    /// Fields that were named as null, which a required field must not be.
    pub nulls: Vec<&'static str>,
}

/// The rule of a text field.
///
/// # Errors
/// What is wrong with the text.
pub fn check_text(field: &str, text: &str, guard: &AddressGuard) -> Result<(), Problem> {
    match field {
        "provider_id" => rules::new_provider_id(text),
        "name" => rules::display_name(text),
        "client_id" => rules::identifier(text),
        "client_secret" => rules::secret(text),
        "scope_separator" => rules::scope_separator(text),
        "resource" => rules::resource(text),
        "default_scopes" | "always_scopes" => rules::scope(text),
        "allowed_redirect_uris" | "return_urls" => rules::redirect_uri(text),
        "authorization_params" | "token_params" | "template_params" => rules::parameter_value(text),
        field if field.ends_with("_url") || field == "issuer" => rules::endpoint(guard, text),
        _ => Ok(()),
    }
}

impl ProviderDraft {
    /// What the audit log calls it when a provider is made of this.
    #[must_use]
    pub fn creation(&self) -> EventName {
        match self.issuer {
            Some(_) => EventName::ProviderDiscovered,
            None => EventName::ProviderCreated,
        }
    }

    /// True when the field was named, even if it could not be read.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        let is_there = match field {
            "provider_id" => self.provider_id.is_some(),
            "name" => self.name.is_some(),
            "client_id" => self.client_id.is_some(),
            "client_secret" => self.client_secret.is_some(),
            "token_endpoint_auth_method" => self.authentication.is_some(),
            "auth_url" => self.auth_url.is_some(),
            "token_url" => self.token_url.is_some(),
            "userinfo_url" => self.userinfo_url.is_some(),
            "revocation_url" => self.revocation_url.is_some(),
            "refresh_url" => self.options.refresh_url.is_some(),
            "device_authorization_url" => self.options.device_authorization_url.is_some(),
            "uses_pkce" => self.uses_pkce.is_some(),
            "template" => self.template.is_some(),
            _ => false,
        };
        is_there || self.unreadable.iter().any(|fault| fault.field() == field)
    }

    /// Every field that breaks its rule, and those that could not be read.
    #[must_use]
    pub fn faults(&self, guard: &AddressGuard) -> Vec<Fault> {
        let mut faults = self.unreadable.clone();
        let own = [
            ("provider_id", self.provider_id.as_deref()),
            ("name", self.name.as_deref()),
            ("client_id", self.client_id.as_deref()),
            ("client_secret", self.client_secret.as_ref().map(ExposeSecret::expose_secret)),
            ("auth_url", self.auth_url.as_deref()),
            ("token_url", self.token_url.as_deref()),
            ("userinfo_url", self.userinfo_url.as_deref()),
            ("revocation_url", self.revocation_url.as_deref()),
        ];
        for (field, text) in own.into_iter().chain(self.options.texts()) {
            let problem = text.and_then(|text| check_text(field, text, guard).err());
            faults.extend(problem.map(|problem| Fault::of(field, problem)));
        }
        let redirect_uris = ("allowed_redirect_uris", self.allowed_redirect_uris.as_deref(), REDIRECT_URIS_MAX);
        let return_urls = ("return_urls", self.options.return_urls.as_deref(), REDIRECT_URIS_MAX);
        let scopes = self.options.lists().map(|(field, list)| (field, list, SCOPES_MAX));
        for (field, list, max) in [redirect_uris, return_urls].into_iter().chain(scopes) {
            let list = list.unwrap_or_default();
            if list.len() > max {
                let message = format!("List should have at most {max} items after validation, not {}", list.len());
                faults.push(Fault::of(field, ("too_long", message)));
                continue;
            }
            for (index, text) in list.iter().enumerate() {
                if let Err((kind, message)) = check_text(field, text, guard) {
                    faults.push(Fault { path: vec![field.into(), index.into()], kind, message });
                }
            }
        }
        let parameters = ("authorization_params", self.authorization_params.as_ref());
        for (field, map) in std::iter::once(parameters).chain(self.options.maps()) {
            if map.is_some_and(|map| map.len() > PARAMETERS_MAX) {
                let message = format!("Dictionary should have at most {PARAMETERS_MAX} items");
                faults.push(Fault::of(field, ("too_long", message)));
                continue;
            }
            for (name, value) in map.into_iter().flatten() {
                let checked = rules::parameter_name(name).and_then(|()| check_text(field, value, guard));
                if let Err((kind, message)) = checked {
                    faults.push(Fault { path: vec![field.into(), name.as_str().into()], kind, message });
                }
            }
        }
        faults
    }
}
