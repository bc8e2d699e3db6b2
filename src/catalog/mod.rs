//! The catalogue: what is known of well-known providers, as data.
//! Owns: the entries, and which of them a name or an address stands for.
//! Must not know: how a provider is stored, or spoken to.

mod check;
mod entry;
mod files;
mod hosts;
mod near;
mod quirks;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use url::Url;

use self::{
    entry::host,
    hosts::Hosts,
    near::near,
    quirks::{authorization_of, claims, family, quirks_of, revokes_at, unrecognised},
};
pub use self::{
    entry::{Entry, ParamError},
    files::CatalogError,
};
use crate::model::{
    client::Client,
    provider::Provider,
    quirks::{AuthorizationQuirks, Quirks, Revocation, Userinfo},
};

/// The entries, by name, and what follows from them.
#[derive(Clone, Debug)]
pub struct Catalog {
    entries: BTreeMap<String, Entry>,
    /// The entry that is meant by another name.
    aliases: HashMap<String, String>,
    /// By the hosts of the entries' own token endpoints, and by all hosts that they name.
    at_token_url: Hosts,
    at_any_host: Hosts,
    /// By the host of the authorization endpoint, without the entries of a type.
    at_auth_host: HashMap<String, String>,
    /// Those of the entries that say something of their own.
    quirks: HashMap<String, Quirks>,
    /// Those of a provider that is not recognised.
    unrecognised: Quirks,
    authorization: HashMap<String, AuthorizationQuirks>,
    /// What scopes allow that every provider may have.
    scope_descriptions: BTreeMap<String, String>,
    /// Nothing is added to what a record says.
    plain: AuthorizationQuirks,
}

/// The category of the demo's own entries, which need no account elsewhere.
pub const DEMO: &str = "demo";

/// Whether an entry is one of the demo's own.
#[must_use]
pub fn is_of_demo(entry: &Entry) -> bool {
    entry.category.as_deref() == Some(DEMO)
}

impl Catalog {
    /// The built-in entries, with those of the operator's file or folder over them.
    ///
    /// # Errors
    /// [`CatalogError`] names the file, and the field or the line.
    pub fn load(operators: Option<&Path>) -> Result<Self, CatalogError> {
        let entries = files::load(operators)?;
        let others = files::unrecognised()?;
        let unrecognised = unrecognised(&entries, &others);
        let each = |entry: &Entry| {
            let quirks = quirks_of(entry, family(entry, &entries), &unrecognised);
            (quirks != unrecognised).then(|| (entry.name.clone(), quirks))
        };
        let each_request = |entry: &Entry| {
            let quirks = authorization_of(entry, family(entry, &entries));
            (quirks != AuthorizationQuirks::default()).then(|| (entry.name.clone(), quirks))
        };
        let mut aliases = HashMap::new();
        let mut at_auth_host = HashMap::new();
        for entry in entries.values() {
            for alias in &entry.aliases {
                aliases.entry(alias.clone()).or_insert_with(|| entry.name.clone());
            }
            if let Some(host) = host(&entry.auth_url).filter(|_| entry.provider_type.is_none()) {
                at_auth_host.entry(host).or_insert_with(|| entry.name.clone());
            }
        }
        let at_token_url = Hosts::of_token_urls(entries.values());
        Ok(Self {
            aliases,
            at_any_host: at_token_url.clone().with_token_hosts(entries.values()),
            at_token_url,
            at_auth_host,
            quirks: entries.values().filter_map(each).collect(),
            authorization: entries.values().filter_map(each_request).collect(),
            plain: AuthorizationQuirks::default(),
            scope_descriptions: others.scope_descriptions,
            unrecognised,
            entries,
        })
    }

    /// Every entry, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The entry of that name, or else the first with that alias.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name).or_else(|| self.entries.get(self.aliases.get(name)?))
    }

    /// The entries that every word of a search is part of: of the name, an alias, the provider's name or the category.
    pub fn search(&self, words: &str) -> impl Iterator<Item = &Entry> {
        let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
        self.entries().filter(move |entry| words.iter().all(|word| entry.says(word)))
    }

    /// Whether this is the catalogue of the demo.
    #[must_use]
    pub fn is_of_demo(&self) -> bool {
        self.entries().any(is_of_demo)
    }

    /// The names that may have been meant, the likeliest first.
    #[must_use]
    pub fn near(&self, name: &str) -> Vec<&str> {
        let name = name.to_lowercase();
        let known = self.entries.keys().chain(self.aliases.keys()).map(String::as_str);
        near(known, &name)
    }

    /// The entry whose token endpoint is at the same host, else the one of that `provider_type`. `true` with the
    /// former.
    #[must_use]
    pub fn recognise(&self, token_url: &str, provider_type: Option<&str>) -> Option<(&Entry, bool)> {
        let at_host = self.at_token_url.find(token_url).and_then(|name| self.entries.get(name));
        let of_type = || self.of_type(provider_type?).map(|entry| (entry, false));
        at_host.map(|entry| (entry, true)).or_else(of_type)
    }

    /// How the responses of a client's provider are read. Those of a provider that is not recognised are read in every
    /// way that an entry names.
    #[must_use]
    pub fn quirks_of(&self, client: &Client) -> &Quirks {
        self.of_client(client).and_then(|entry| self.quirks.get(&entry.name)).unwrap_or(&self.unrecognised)
    }

    /// What is added to a provider's authorization requests. An entry with a `provider_type` adds to records of that type
    /// only: their `authorization_params` may mean something else to others.
    #[must_use]
    pub fn authorization_quirks_of(&self, provider: &Provider) -> &AuthorizationQuirks {
        let kind = provider.provider_type.as_deref();
        let at_host = || self.entries.get(self.at_auth_host.get(&host(&provider.auth_url)?)?);
        let by_template = self.template(&provider.client).filter(|entry| entry.provider_type.as_deref() == kind);
        let entry = by_template.or_else(|| self.of_type(kind?)).or_else(at_host);
        entry.and_then(|entry| self.authorization.get(&entry.name)).unwrap_or(&self.plain)
    }

    /// Which parameters of the redirect are read like fields of the token response.
    #[must_use]
    pub fn callback_parameters_of(&self, client: &Client) -> &[String] {
        self.of_client(client).map_or(&[], |entry| &entry.callback_parameters)
    }

    /// What a scope allows, in plain words, if the entry of a client says it.
    #[must_use]
    pub fn scope_meaning(&self, client: &Client, scope: &str) -> Option<&str> {
        let entry = self.of_client(client);
        let family = entry.and_then(|entry| family(entry, &self.entries));
        let own = entry.into_iter().chain(family).find_map(|entry| entry.scope_description(scope));
        own.or_else(|| self.scope_descriptions.get(scope).map(String::as_str))
    }

    /// Where to ask which account a grant with these scopes is for: `recorded`, the address in the provider's record, else
    /// that of the entry with the same token endpoint. `None`: nowhere.
    #[must_use]
    pub fn userinfo_of(&self, client: &Client, recorded: Option<&str>, scopes: &[String]) -> Option<Userinfo> {
        if let Some(url) = recorded {
            let own = self.of_client(client).and_then(|entry| entry.userinfo.as_ref());
            let own = own.filter(|userinfo| userinfo.url.is_empty());
            let same = || self.entries().filter_map(|entry| entry.userinfo.as_ref()).find(|known| known.url == url);
            let known = own.or_else(same);
            return Some(
                known.map_or_else(|| Userinfo::at(url), |known| Userinfo { url: url.into(), ..known.clone() }),
            );
        }
        let entry = self.at_token_endpoint(client)?;
        let userinfo = entry.userinfo.as_ref().filter(|userinfo| !userinfo.url.is_empty())?;
        let allowed = userinfo.scopes.is_empty() || scopes.iter().any(|scope| userinfo.scopes.contains(scope));
        let url = entry.beside_token_endpoint(&userinfo.url, &client.token_url).filter(|_| allowed)?;
        Some(Userinfo { url, ..userinfo.clone() })
    }

    /// Where grants of a client are revoked whose record does not say: at the entry's endpoint, if the token endpoint is
    /// the entry's too.
    #[must_use]
    pub fn revocation_url_of(&self, client: &Client) -> Option<String> {
        self.at_token_endpoint(client)?.revocation_url(client)
    }

    /// How grants of a client are revoked at `url`: as its entry says if that is the entry's endpoint, else as an entry
    /// says that claims the path for every provider.
    #[must_use]
    pub fn revocation_at(&self, client: &Client, url: &str) -> Revocation {
        let url = Url::parse(url).ok();
        let path = url.as_ref().map_or("", Url::path);
        let format = client.options.token_format;
        let own = self.of_client(client).filter(|entry| revokes_at(entry, path, format));
        let entry = own.or_else(|| self.entries().find(|entry| claims(entry, path, format)));
        Revocation {
            style: entry.and_then(|entry| entry.revocation).unwrap_or_default(),
            ends_account: entry.is_some_and(|entry| entry.revocation_ends_account),
            dead_access_token: self.quirks_of(client).errors.dead_access_token.clone(),
        }
    }

    /// The entry of a client: the one it was made from, else the one with its token endpoint.
    fn of_client(&self, client: &Client) -> Option<&Entry> {
        self.template(client).or_else(|| self.at_token_endpoint(client))
    }

    /// The entry with the client's token endpoint, the one it was made from first. Only at an address of this entry a
    /// token may be sent to another.
    fn at_token_endpoint(&self, client: &Client) -> Option<&Entry> {
        let at_host = || self.entries.get(self.at_any_host.find(&client.token_url)?);
        let template = self
            .template(client)
            .filter(|template| host(&client.token_url).is_some_and(|host| template.has_host(&host)));
        template.or_else(at_host)
    }

    fn template(&self, client: &Client) -> Option<&Entry> {
        self.entry(client.options.template.as_ref()?)
    }

    fn of_type(&self, provider_type: &str) -> Option<&Entry> {
        let is_of_type = |entry: &&Entry| entry.provider_type.as_deref() == Some(provider_type);
        self.entry(provider_type).filter(is_of_type).or_else(|| self.entries().find(is_of_type))
    }
}
