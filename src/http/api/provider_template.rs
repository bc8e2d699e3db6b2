//! What the catalogue adds to a provider, and the fields beside the published ones.
//! Owns: their rules, and the order in which they count: the body, then the catalogue, then what is there.
//! Must not know: how a provider is kept, or spoken to.

use std::collections::BTreeMap;

use crate::{
    catalog::{Catalog, Entry, ParamError},
    http::body::{Fields, Problem, Rule, rules},
    model::options::{ProviderOptions, TokenFormat},
    outbound::address::AddressGuard,
    store::providers::Provider,
};

/// The entry of the catalogue that the body names, with its placeholders filled in.
pub(in crate::http) fn asked(fields: &mut Fields<'_>, catalog: &Catalog) -> Option<Entry> {
    let name = fields.optional_text("template", &|name| {
        if catalog.entry(name).is_some() { Ok(()) } else { Err(unknown(catalog, name)) }
    });
    let values = fields.optional_map("template_params", rules::PARAMETERS_MAX, &rules::parameter_value);
    let Some(name) = name else {
        if values.is_some() && fields.is_absent("template") {
            fields.fault(&["template".into()], ("missing", "Field required beside template_params".into()));
        }
        return None;
    };
    match catalog.entry(&name)?.filled(&values.unwrap_or_default()) {
        Ok(entry) => Some(entry),
        Err(errors) => {
            for error in errors {
                // A name that is not in the catalogue is input, and input is not echoed.
                let (name, kind) = match &error {
                    ParamError::Missing(name, _) => (name.as_str(), "missing"),
                    ParamError::Unfit(name) => (name.as_str(), "string_pattern_mismatch"),
                    ParamError::Unknown(_) => ("[key]", "extra_forbidden"),
                };
                fields.fault(&["template_params".into(), name.into()], (kind, error.to_string()));
            }
            None
        }
    }
}

fn unknown(catalog: &Catalog, name: &str) -> Problem {
    let near = catalog.near(name);
    let hint = if near.is_empty() { String::new() } else { format!(" Near: {}.", near.join(", ")) };
    ("value_error", format!("The catalogue has no template of that name.{hint}"))
}

/// Gives a provider everything that its template says. What the body says is read after this.
pub(in crate::http) fn apply(provider: &mut Provider, entry: &Entry) {
    provider.name.clone_from(&entry.display_name);
    provider.auth_url.clone_from(&entry.auth_url);
    provider.token_url.clone_from(&entry.token_url);
    provider.revocation_url.clone_from(&entry.revocation_url);
    provider.userinfo_url.clone_from(&entry.userinfo_url);
    provider.uses_pkce = entry.pkce;
    provider.provider_type.clone_from(&entry.provider_type);
    provider.token_endpoint_auth_method = entry.authentication;
    provider.authorization_params.clone_from(&entry.authorization_params);
    let kept = std::mem::take(&mut provider.options);
    provider.options = ProviderOptions {
        grant_type: kept.grant_type,
        resource: kept.resource,
        omit_resource: kept.omit_resource,
        issuer: kept.issuer,
        iss_required: kept.iss_required,
        registration_url: kept.registration_url,
        client_secret_expires_at: kept.client_secret_expires_at,
        registered_scopes: kept.registered_scopes,
        ..entry.options()
    };
}

/// Reads the fields beside the published ones: what is absent or null stays.
pub(in crate::http) fn options(fields: &mut Fields<'_>, guard: &AddressGuard, options: &mut ProviderOptions) {
    let endpoint = |url: &str| rules::endpoint(guard, url);
    let set = |current: &mut Option<String>, new: Option<String>| {
        if new.is_some() {
            *current = new;
        }
    };
    set(&mut options.device_authorization_url, fields.optional_text("device_authorization_url", &endpoint));
    set(&mut options.refresh_url, fields.optional_text("refresh_url", &endpoint));
    set(&mut options.scope_separator, fields.optional_text("scope_separator", &rules::scope_separator));
    set(&mut options.resource, fields.optional_text("resource", &rules::resource));
    if let Some(scopes) = fields.optional_texts("default_scopes", rules::SCOPES_MAX, &rules::scope) {
        options.default_scopes = scopes;
    }
    if let Some(scopes) = fields.optional_texts("always_scopes", rules::SCOPES_MAX, &rules::scope) {
        options.always_scopes = scopes;
    }
    if let Some(omit) = fields.optional_boolean("omit_resource") {
        options.omit_resource = omit;
    }
    if let Some(params) = fields.optional_map("token_params", rules::PARAMETERS_MAX, &rules::parameter_value) {
        options.token_params = params;
    }
    let format = fields.optional_text("token_format", &|text| {
        if ["form", "json"].contains(&text) {
            Ok(())
        } else {
            Err(("literal_error", "Input should be 'form' or 'json'".into()))
        }
    });
    if let Some(format) = format {
        options.token_format = if format == "json" { TokenFormat::Json } else { TokenFormat::Form };
    }
}

/// `authorization_params` of the body, each over that of the catalogue.
pub(in crate::http) fn merged(
    catalogue: &BTreeMap<String, String>,
    body: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut merged = catalogue.clone();
    merged.extend(body);
    merged
}

/// Gives a new provider without a template the habits that its token endpoint or type is known for. Only what leaves
/// the published fields as they were asked for, except for `authorization_params`, which are added to, and the client
/// authentication where the body named none.
pub(in crate::http) fn recognise(provider: &mut Provider, catalog: &Catalog, method_named: bool) {
    let known = catalog.recognise(&provider.token_url, provider.provider_type.as_deref());
    let Some((entry, same_host)) = known else { return };
    provider.options = entry.habits(same_host);
    provider.authorization_params =
        merged(&entry.authorization_params, std::mem::take(&mut provider.authorization_params));
    if !method_named && provider.client_secret.is_some() {
        provider.token_endpoint_auth_method = entry.authentication;
    }
}

/// Checks the endpoints as a whole: that they are not in each other's place, and those of a template, which the body
/// does not name and so were not checked yet (an operator's catalogue is held to the same rules).
pub(in crate::http) fn check_endpoints(fields: &mut Fields<'_>, provider: &Provider, rule: Rule<'_>) {
    let by_template = !fields.is_absent("template");
    if by_template || !fields.is_absent("auth_url") || !fields.is_absent("token_url") {
        refuse_swapped(fields, &provider.auth_url, &provider.token_url);
    }
    if !by_template {
        return;
    }
    let urls = [
        ("auth_url", Some(&provider.auth_url)),
        ("token_url", Some(&provider.token_url)),
        ("revocation_url", provider.revocation_url.as_ref()),
        ("userinfo_url", provider.userinfo_url.as_ref()),
        ("refresh_url", provider.options.refresh_url.as_ref()),
        ("device_authorization_url", provider.options.device_authorization_url.as_ref()),
    ];
    for (name, url) in urls {
        let Some(url) = url.filter(|url| !url.is_empty() && fields.is_absent(name)) else { continue };
        if let Err(problem) = rule(url) {
            fields.fault(&[name.into()], problem);
        }
    }
}

fn refuse_swapped(fields: &mut Fields<'_>, auth_url: &str, token_url: &str) {
    let last = |url: &str| {
        let path = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        path.rsplit('/').next().unwrap_or_default().to_lowercase()
    };
    let (auth, token) = (last(auth_url), last(token_url));
    if auth.contains("token") && (token.contains("authori") || token == "auth" || token == "oauth") {
        let problem = "auth_url and token_url look swapped: the first is where people go, the second where codes go";
        fields.fault(&["auth_url".into()], ("value_error", problem.into()));
    }
}
