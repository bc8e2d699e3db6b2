//! From entries to quirks: what an entry says, and what stands in where it says nothing.
//! Owns: that an entry without a list gets that of all entries, and which entry's style a revocation endpoint has.
//! Must not know: which entry a provider is of, or how a quirk is applied.

use std::{cmp::Reverse, collections::BTreeMap};

use super::entry::{Enforced, Entry, Unrecognised};
use crate::model::{
    options::TokenFormat,
    quirks::{AccountPaths, AuthorizationQuirks, ErrorCodes, Quirks},
};

/// The quirks of a provider that is not recognised: the lists of all entries.
pub(super) fn unrecognised(entries: &BTreeMap<String, Entry>, others: &Unrecognised) -> Quirks {
    let union = |list: fn(&Entry) -> &Option<Vec<String>>| {
        without_repeats(entries.values().filter_map(|entry| list(entry).as_ref()).flatten())
    };
    let mut metadata = union(|entry| &entry.metadata);
    metadata.extend(others.metadata.iter().filter(|name| !metadata.contains(name)).cloned().collect::<Vec<_>>());
    let texts = entries.values().filter_map(|entry| entry.dead_grant_texts.as_ref()).flatten();
    let dead_grant_texts = without_repeats(texts.chain(&others.dead_grant_texts));
    let named = entries.values().filter_map(|entry| entry.accounts.as_ref()).flatten();
    // What unknown services may use is looked for last, also where an entry names it too.
    let named = named.filter(|account| !others.accounts.contains(account));
    let mut accounts: Vec<AccountPaths> = without_repeats(named.chain(&others.accounts));
    // An id of several parts is the more precise one.
    accounts.sort_by_key(|account| Reverse(account.id.len()));
    Quirks {
        included_scopes: BTreeMap::new(),
        scope_prefix: None,
        token_paths: union(|entry| &entry.token_paths),
        metadata,
        accounts,
        errors: ErrorCodes {
            dead_grant: union(|entry| &entry.dead_grant),
            dead_grant_texts,
            misconfigured_client: union(|entry| &entry.misconfigured_client),
            rate_limited: union(|entry| &entry.rate_limited),
            unknown_grant: union(|entry| &entry.unknown_grant),
            dead_access_token: union(|entry| &entry.dead_access_token),
        },
    }
}

fn without_repeats<'a, T: Clone + PartialEq + 'a>(all: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut seen: Vec<T> = Vec::new();
    for one in all {
        if !seen.contains(one) {
            seen.push(one.clone());
        }
    }
    seen
}

/// The entry that is named like another one's `provider_type`: what that one leaves out of its family's quirks is as here.
pub(super) fn family<'e>(entry: &Entry, entries: &'e BTreeMap<String, Entry>) -> Option<&'e Entry> {
    let named = entries.get(entry.provider_type.as_ref()?)?;
    (named.name != entry.name && named.provider_type == entry.provider_type).then_some(named)
}

/// The quirks of an entry's providers. A list that the entry leaves out is that of all entries.
pub(super) fn quirks_of(entry: &Entry, family: Option<&Entry>, unrecognised: &Quirks) -> Quirks {
    let all = &unrecognised.errors;
    let or = |own: &Option<Vec<String>>, all: &Vec<String>| own.as_ref().unwrap_or(all).clone();
    Quirks {
        included_scopes: match family {
            Some(family) if entry.included_scopes.is_empty() => family.included_scopes.clone(),
            _ => entry.included_scopes.clone(),
        },
        scope_prefix: entry.scope_prefix.clone().or_else(|| family?.scope_prefix.clone()),
        token_paths: or(&entry.token_paths, &unrecognised.token_paths),
        metadata: or(&entry.metadata, &unrecognised.metadata),
        accounts: entry.accounts.as_ref().unwrap_or(&unrecognised.accounts).clone(),
        errors: ErrorCodes {
            dead_grant: or(&entry.dead_grant, &all.dead_grant),
            dead_grant_texts: or(&entry.dead_grant_texts, &all.dead_grant_texts),
            misconfigured_client: or(&entry.misconfigured_client, &all.misconfigured_client),
            rate_limited: or(&entry.rate_limited, &all.rate_limited),
            unknown_grant: or(&entry.unknown_grant, &all.unknown_grant),
            dead_access_token: or(&entry.dead_access_token, &all.dead_access_token),
        },
    }
}

/// What an entry adds to authorization requests, whatever the provider's record leaves out.
pub(super) fn authorization_of(entry: &Entry, family: Option<&Entry>) -> AuthorizationQuirks {
    let enforced = |field| entry.enforced.contains(&field);
    let own = AuthorizationQuirks {
        always_scopes: entry.always_scopes.iter().filter(|_| enforced(Enforced::AlwaysScopes)).cloned().collect(),
        parameters: if enforced(Enforced::AuthorizationParams) {
            entry.authorization_params.clone()
        } else {
            BTreeMap::new()
        },
        scope_separator: entry.scope_separator.clone().filter(|_| enforced(Enforced::ScopeSeparator)),
        scope_parameter: entry.scope_parameter.clone(),
    };
    let Some(family) = family.map(|family| authorization_of(family, None)) else { return own };
    AuthorizationQuirks {
        always_scopes: without_repeats(family.always_scopes.iter().chain(&own.always_scopes)),
        parameters: family.parameters.into_iter().chain(own.parameters).collect(),
        scope_separator: own.scope_separator.or(family.scope_separator),
        scope_parameter: own.scope_parameter.or(family.scope_parameter),
    }
}

/// Whether that is the path of the entry's own revocation endpoint, and the entry says how it works.
pub(super) fn revokes_at(entry: &Entry, path: &str, format: TokenFormat) -> bool {
    let own = entry.revocation_url.as_deref().map(|url| url.splitn(4, '/').nth(3).unwrap_or_default());
    let is_own = own.is_some_and(|own| ends_with(path, own));
    let says_how = entry.revocation.is_some() || entry.revocation_ends_account;
    (is_own && says_how && fits(entry, format)) || claims(entry, path, format)
}

/// Whether the entry's style is that of every revocation endpoint with this path.
pub(super) fn claims(entry: &Entry, path: &str, format: TokenFormat) -> bool {
    entry.revocation_paths.iter().any(|end| ends_with(path, end)) && fits(entry, format)
}

/// Where the token endpoint takes JSON, a style is not that of a provider whose token endpoint takes forms.
fn fits(entry: &Entry, format: TokenFormat) -> bool {
    entry.token_format == TokenFormat::Form || format == entry.token_format
}

/// Whether a path ends with these segments. `*`, or a placeholder, is any one segment.
fn ends_with(path: &str, end: &str) -> bool {
    let mut segments = path.trim_start_matches('/').rsplit('/');
    let is_any = |segment: &str| segment == "*" || segment.contains('{');
    end.trim_start_matches('/').rsplit('/').all(|end| segments.next().is_some_and(|it| is_any(end) || it == end))
}
