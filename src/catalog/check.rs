//! The checks of an entry: what would otherwise be noticed at a person's consent, or never.
//! Owns: that a fault names its field, and says what is expected there.
//! Must not know: which file an entry came from.

use super::entry::{CLIENT_ID, Entry, REDIRECT_URI, host};
use crate::model::{provider::ProviderType, web_address};

/// Names that mean something of their own in requests and responses.
const PROTOCOL: [&str; 17] = [
    "response_type",
    "client_id",
    "client_secret",
    "redirect_uri",
    "scope",
    "state",
    "code",
    "code_challenge",
    "code_challenge_method",
    "grant_type",
    "access_token",
    "refresh_token",
    "id_token",
    "expires_in",
    "iss",
    "error",
    "error_description",
];

/// The first fault of an entry.
pub(super) fn check(entry: &Entry) -> Result<(), String> {
    addresses(entry)?;
    steps(entry)?;
    pointers(entry)?;
    for host in &entry.token_hosts {
        token_host(host)?;
    }
    for url in &entry.references {
        web_address::parse(url).ok_or_else(|| format!("references has `{url}`, which is not a URL"))?;
    }
    for name in &entry.callback_parameters {
        if PROTOCOL.contains(&name.as_str()) {
            return Err(format!("callback_parameters has `{name}`, which is a parameter of the protocol"));
        }
    }
    if let Some(name) = entry.client_id_parameter.as_ref().filter(|name| !is_parameter(name)) {
        return Err(format!("client_id_parameter is `{name}`, but it must be a name of its own, such as `client_key`"));
    }
    let types = ProviderType::NAMES.map(|(name, _)| name);
    if let Some(kind) = entry.provider_type.as_deref().filter(|kind| !types.contains(kind)) {
        return Err(format!("provider_type is `{kind}`, but it must be one of {}", types.join(", ")));
    }
    if entry.revocation.is_none() && !entry.revocation_paths.is_empty() {
        return Err("revocation_paths needs `revocation`, the style that is used there".into());
    }
    Ok(())
}

/// Every address is a URL, and every placeholder in it is explained.
fn addresses(entry: &Entry) -> Result<(), String> {
    let own_userinfo = entry.userinfo.as_ref().map(|userinfo| &userinfo.url).filter(|url| !url.is_empty());
    for (field, url) in [
        ("auth_url", Some(&entry.auth_url)),
        ("token_url", Some(&entry.token_url)),
        ("revocation_url", entry.revocation_url.as_ref()),
        ("refresh_url", entry.refresh_url.as_ref()),
        ("device_authorization_url", entry.device_authorization_url.as_ref()),
        ("userinfo_url", entry.userinfo_url.as_ref()),
        ("userinfo.url", own_userinfo),
        ("console", entry.console.as_ref()),
    ] {
        let Some(url) = url else { continue };
        let mut example = if field == "revocation_url" { url.replace(CLIENT_ID, "x") } else { url.clone() };
        for name in entry.params.keys() {
            example = example.replace(&format!("{{{name}}}"), "x");
        }
        if let Some(name) = placeholders(&example).next() {
            return Err(format!("{field} has a placeholder `{{{name}}}` that `params` does not explain"));
        }
        if example.contains(['{', '}']) || web_address::parse(&example).is_none() {
            return Err(format!("{field} is not a URL"));
        }
    }
    Ok(())
}

/// The steps have no placeholder but the redirect URI.
fn steps(entry: &Entry) -> Result<(), String> {
    for step in &entry.steps {
        let rest = step.replace(REDIRECT_URI, "");
        if let Some(name) = placeholders(&rest).next() {
            return Err(format!("steps has `{{{name}}}`, but the only placeholder there is `{REDIRECT_URI}`"));
        }
    }
    Ok(())
}

/// What stands in braces and could be the name of a placeholder.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).filter(is_name)
}

/// Every JSON pointer begins with a slash (RFC 6901 section 3), and an id has at least one.
fn pointers(entry: &Entry) -> Result<(), String> {
    let mut lists = Vec::new();
    for account in entry.accounts.iter().flatten() {
        lists.extend([("accounts.id", &account.id, true), ("accounts.label", &account.label, false)]);
    }
    if let Some(userinfo) = &entry.userinfo {
        lists.extend([("userinfo.id", &userinfo.id, true), ("userinfo.label", &userinfo.label, false)]);
    }
    lists.extend(entry.token_paths.iter().map(|paths| ("token_paths", paths, false)));
    for (field, list, is_needed) in lists {
        if let Some(wrong) = list.iter().find(|pointer| !pointer.starts_with('/')) {
            return Err(format!("{field} has `{wrong}`, but a JSON pointer begins with `/`, such as `/user/id`"));
        }
        if is_needed && list.is_empty() {
            return Err(format!("{field} is empty, but it needs a JSON pointer, such as `/user/id`"));
        }
    }
    Ok(())
}

/// A host, or with a leading dot every host below a domain of at least two parts.
fn token_host(name: &str) -> Result<(), String> {
    let below = name.strip_prefix('.');
    let domain = below.unwrap_or(name);
    let is_host =
        !domain.contains(['*', '/', ':', '{', ' ']) && host(&format!("https://{domain}/")).as_deref() == Some(domain);
    if !is_host {
        return Err(format!(
            "token_hosts has `{name}`, which is not a host name in lower case; `.example.com` means every host below it"
        ));
    }
    if below.is_some() && !domain.contains('.') {
        return Err(format!("token_hosts has `{name}`, which would mean every host that ends with it"));
    }
    Ok(())
}

/// A parameter's name that the protocol does not use for something else.
fn is_parameter(name: &str) -> bool {
    let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    fits && !name.is_empty() && !PROTOCOL.contains(&name)
}
