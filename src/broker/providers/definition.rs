//! Definition: a checked draft becomes a provider.
//! Owns: which fields a provider needs, and the order in which sources count: the draft, then the catalogue, then what is
//! there.
//! Must not know: how a provider is stored or called.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::draft::{ProviderDraft, check_text};
use crate::{
    broker::rules::{Fault, Problem},
    catalog::{Catalog, Entry, ParamError},
    model::{
        client::{Client, ClientAuthentication},
        options::{GrantType, ProviderOptions},
        provider::Provider,
        subject::Tenant,
    },
    outbound::address::AddressGuard,
};

/// The order in which the faults of a new provider are reported.
const FIELDS: [&str; 30] = [
    "",
    "template",
    "template_params",
    "grant_type",
    "token_endpoint_auth_method",
    "code_challenge_method",
    "provider_id",
    "client_id",
    "client_secret",
    "allowed_redirect_uris",
    "name",
    "auth_url",
    "token_url",
    "userinfo_url",
    "revocation_url",
    "uses_pkce",
    "provider_type",
    "authorization_params",
    "device_authorization_url",
    "refresh_url",
    "scope_separator",
    "resource",
    "default_scopes",
    "always_scopes",
    "omit_resource",
    "token_params",
    "token_format",
    "consent",
    "return_urls",
    "issuer",
];

/// In a change, the fields before this place come first, and the others as they were read ...
const FIRST: usize = 3;
/// ... but these come last.
const LAST: [&str; 4] = ["code_challenge_method", "token_endpoint_auth_method", "client_secret", "grant_type"];

/// What drafts are checked with.
pub(super) struct Definition<'a> {
    /// What is known of providers.
    pub catalog: &'a Catalog,
    /// Which addresses may be connected to.
    pub guard: &'a AddressGuard,
}

impl Definition<'_> {
    /// The new provider of a draft, or every fault of the draft.
    pub fn new_provider(
        &self,
        tenant: Tenant,
        draft: &ProviderDraft,
        now: DateTime<Utc>,
    ) -> Result<Provider, Vec<Fault>> {
        let grant_type = draft.grant_type.unwrap_or_default();
        let mut faults = draft.faults(self.guard);
        let entry = self.entry(draft, &mut faults);
        faults.extend(missing(draft, grant_type));
        faults.sort_by_key(rank);
        if faults.first().is_some_and(|fault| fault.path.is_empty()) {
            return Err(faults.drain(..1).collect());
        }

        let provider_id = draft.provider_id.clone().unwrap_or_default();
        let client = Client::new(String::new(), None, ClientAuthentication::ClientSecretPost);
        let mut provider = Provider::new(tenant, provider_id, String::new(), client, now);
        if let Some(entry) = &entry {
            apply_entry(&mut provider, entry);
        }
        provider.provider_type = draft.provider_type.clone().or(provider.provider_type);
        apply_fields(&mut provider, draft);
        if let Some(params) = &draft.authorization_params {
            provider.authorization_params.extend(params.clone());
        }
        if entry.is_none() {
            self.recognise(&mut provider, draft.has("token_endpoint_auth_method"));
        }
        if let Some(method) = draft.authentication {
            provider.client.authentication = method;
        }
        draft.options.clone().apply(&mut provider.client.options);
        provider.client.options.grant_type = grant_type;

        if grant_type == GrantType::ClientCredentials && provider.client.secret.is_none() {
            faults.push(secret_missing());
        }
        faults.extend(self.endpoint_faults(draft, &provider));
        if faults.is_empty() { Ok(provider) } else { Err(faults) }
    }

    /// The provider with the changes of a draft, or every fault of the draft.
    pub fn changed_provider(&self, provider: &Provider, draft: &ProviderDraft) -> Result<Provider, Vec<Fault>> {
        let mut faults = draft.faults(self.guard);
        let entry = self.entry(draft, &mut faults);
        // Those of the template come first, and some after those of the endpoints.
        faults.sort_by_key(|fault| rank(fault).min(FIRST));
        let is_last = |fault: &mut Fault| LAST.contains(&fault.field());
        let last: Vec<Fault> = faults.extract_if(.., is_last).collect();
        let mut changed = provider.clone();
        if let Some(entry) = &entry {
            apply_entry(&mut changed, entry);
        }
        apply_fields(&mut changed, draft);
        if let Some(params) = &draft.authorization_params {
            changed.authorization_params = entry.map(|entry| entry.authorization_params).unwrap_or_default();
            changed.authorization_params.extend(params.clone());
        }
        draft.options.clone().apply(&mut changed.client.options);
        faults.extend(self.endpoint_faults(draft, &changed));
        faults.extend(last);
        if draft.client_secret.is_some() && changed.client.authentication == ClientAuthentication::None {
            // A public client that is given a secret is meant to use it.
            changed.client.authentication = ClientAuthentication::ClientSecretPost;
        }
        if let Some(method) = draft.authentication {
            changed.client.authentication = method;
        }
        if draft.grant_type.is_some_and(|grant_type| grant_type != provider.client.options.grant_type) {
            let problem = "grant_type cannot be changed: tokens would become of another kind. Create another provider";
            faults.push(Fault::of("grant_type", ("value_error", problem.into())));
        }
        if faults.is_empty() { Ok(changed) } else { Err(faults) }
    }

    /// The entry of the catalogue that the draft names, with its placeholders filled in.
    fn entry(&self, draft: &ProviderDraft, faults: &mut Vec<Fault>) -> Option<Entry> {
        let Some(name) = &draft.template else {
            if draft.template_params.is_some() && !draft.has("template") {
                let problem = ("missing", "Field required beside template_params".into());
                faults.push(Fault::of("template", problem));
            }
            return None;
        };
        let Some(entry) = self.catalog.entry(name) else {
            faults.push(Fault::of("template", self.unknown_template(name)));
            return None;
        };
        match entry.filled(&draft.template_params.clone().unwrap_or_default()) {
            Ok(entry) => Some(entry),
            Err(errors) => {
                faults.extend(errors.iter().map(param_fault));
                None
            }
        }
    }

    fn unknown_template(&self, name: &str) -> Problem {
        let near = self.catalog.near(name);
        let hint = if near.is_empty() { String::new() } else { format!(" Near: {}.", near.join(", ")) };
        ("value_error", format!("The catalogue has no template of that name.{hint}"))
    }

    /// Gives a new provider without a template the quirks that its token endpoint or type is known for. Only what leaves
    /// the published fields as the draft has them, except for `authorization_params`, which are added to, and the client
    /// authentication if the draft names none.
    fn recognise(&self, provider: &mut Provider, method_named: bool) {
        let known = self.catalog.recognise(&provider.client.token_url, provider.provider_type.as_deref());
        let Some((entry, same_host)) = known else { return };
        provider.client.options = entry.recognised_options(same_host);
        let named = std::mem::take(&mut provider.authorization_params);
        provider.authorization_params = entry.authorization_params.clone();
        provider.authorization_params.extend(named);
        if !method_named && provider.client.secret.is_some() {
            provider.client.authentication = entry.authentication;
        }
    }

    /// Faults of the endpoints as a whole: that they are swapped, and those of a template, which the draft does not name
    /// and which were not checked yet (an operator's own entry is held to the same rules).
    fn endpoint_faults(&self, draft: &ProviderDraft, provider: &Provider) -> Vec<Fault> {
        let by_template = draft.has("template");
        let mut faults = Vec::new();
        if by_template || draft.has("auth_url") || draft.has("token_url") {
            faults.extend(swapped(&provider.auth_url, &provider.client.token_url));
        }
        if !by_template {
            return faults;
        }
        for (field, url) in [
            ("auth_url", Some(&provider.auth_url)),
            ("token_url", Some(&provider.client.token_url)),
            ("revocation_url", provider.client.revocation_url.as_ref()),
            ("userinfo_url", provider.userinfo_url.as_ref()),
            ("refresh_url", provider.client.options.refresh_url.as_ref()),
            ("device_authorization_url", provider.client.options.device_authorization_url.as_ref()),
        ] {
            let Some(url) = url.filter(|url| !url.is_empty() && !draft.has(field)) else { continue };
            faults.extend(check_text(field, url, self.guard).err().map(|problem| Fault::of(field, problem)));
        }
        faults
    }
}

/// The fault of a client that has nothing else to authenticate with.
pub(super) fn secret_missing() -> Fault {
    Fault::of("client_secret", ("missing", "Field required with client_credentials".into()))
}

/// The required fields that a draft of a new provider lacks. A draft that names a template, even wrongly, is not asked
/// for what the template would have said.
fn missing(draft: &ProviderDraft, grant_type: GrantType) -> Vec<Fault> {
    let by_template = draft.has("template");
    let needed: Vec<&'static str> = match grant_type {
        GrantType::ApiKey if by_template => vec!["provider_id"],
        _ if by_template => vec!["provider_id", "client_id"],
        GrantType::AuthorizationCode => vec!["provider_id", "client_id", "name", "auth_url", "token_url"],
        GrantType::ClientCredentials => vec!["provider_id", "client_id", "name", "token_url"],
        GrantType::ApiKey => vec!["provider_id", "name"],
    };
    let missing = needed.into_iter().filter(|field| !draft.has(field));
    missing.map(|field| required(field, draft.nulls.contains(&field))).collect()
}

/// The fault of a required field that is absent, or null.
pub(super) fn required(field: &'static str, is_null: bool) -> Fault {
    if is_null {
        Fault::of(field, ("string_type", "Input should be a valid string".into()))
    } else {
        Fault::of(field, ("missing", "Field required".into()))
    }
}

/// The place of a fault among the others: that of its field. The whole body comes first.
fn rank(fault: &Fault) -> usize {
    let field = match (fault.field(), fault.kind) {
        // That it is missing follows from its parameters.
        ("template", "missing") => "template_params",
        (field, _) => field,
    };
    FIELDS.iter().position(|known| *known == field).unwrap_or(FIELDS.len())
}

fn param_fault(error: &ParamError) -> Fault {
    // A name that the catalogue does not have is input, and input is not echoed.
    let (name, kind) = match error {
        ParamError::Missing(name, _) => (name.as_str(), "missing"),
        ParamError::Unfit(name) => (name.as_str(), "string_pattern_mismatch"),
        ParamError::Unknown(_) => ("[key]", "extra_forbidden"),
    };
    Fault { path: vec!["template_params".into(), name.into()], kind, message: error.to_string() }
}

/// Gives a provider everything that an entry of the catalogue says. What the draft says is applied after this.
fn apply_entry(provider: &mut Provider, entry: &Entry) {
    provider.name.clone_from(&entry.display_name);
    provider.auth_url.clone_from(&entry.auth_url);
    provider.client.token_url.clone_from(&entry.token_url);
    provider.client.revocation_url = entry.recorded_revocation_url();
    provider.userinfo_url.clone_from(&entry.userinfo_url);
    provider.uses_pkce = entry.pkce;
    provider.provider_type.clone_from(&entry.provider_type);
    provider.client.authentication = entry.authentication;
    provider.authorization_params.clone_from(&entry.authorization_params);
    let kept = std::mem::take(&mut provider.client.options);
    provider.client.options = ProviderOptions {
        grant_type: kept.grant_type,
        resource: kept.resource,
        omit_resource: kept.omit_resource,
        issuer: kept.issuer,
        iss_required: kept.iss_required,
        registration_url: kept.registration_url,
        client_secret_expires_at: kept.client_secret_expires_at,
        registered_scopes: kept.registered_scopes,
        consent: kept.consent,
        return_urls: kept.return_urls,
        ..entry.options()
    };
}

/// Gives a provider what the draft says, except for what a new provider and a changed one treat differently.
fn apply_fields(provider: &mut Provider, draft: &ProviderDraft) {
    let set = |current: &mut String, new: &Option<String>| {
        if let Some(new) = new {
            current.clone_from(new);
        }
    };
    set(&mut provider.name, &draft.name);
    set(&mut provider.client.id, &draft.client_id);
    set(&mut provider.auth_url, &draft.auth_url);
    set(&mut provider.client.token_url, &draft.token_url);
    provider.userinfo_url = draft.userinfo_url.clone().or(provider.userinfo_url.take());
    provider.client.revocation_url = draft.revocation_url.clone().or(provider.client.revocation_url.take());
    provider.client.secret = draft.client_secret.clone().or(provider.client.secret.take());
    provider.uses_pkce = draft.uses_pkce.unwrap_or(provider.uses_pkce);
    if let Some(uris) = &draft.allowed_redirect_uris {
        let mut seen = HashSet::new();
        provider.allowed_redirect_uris = uris.iter().filter(|uri| seen.insert(*uri)).cloned().collect();
    }
}

fn swapped(auth_url: &str, token_url: &str) -> Option<Fault> {
    let last = |url: &str| {
        let path = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        path.rsplit('/').next().unwrap_or_default().to_lowercase()
    };
    let (auth, token) = (last(auth_url), last(token_url));
    let is_swapped = auth.contains("token") && (token.contains("authori") || token == "auth" || token == "oauth");
    let problem = "auth_url and token_url look swapped: the first is where people go, the second where codes go";
    is_swapped.then(|| Fault::of("auth_url", ("value_error", problem.into())))
}
