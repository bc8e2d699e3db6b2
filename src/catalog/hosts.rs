//! Which entry is at a host: computed once, because it is looked up for every response of a provider.
//! Owns: which of several entries at one host is meant.
//! Must not know: what an entry says beyond its token endpoint.

use std::{cmp::Reverse, collections::HashMap};

use url::Url;

use super::entry::Entry;

/// The entries by the hosts of their token endpoints.
///
/// Of several entries at one host, the one with the very path of the token endpoint is meant; else one whose `token_url`
/// is there rather than one that only names the host in `token_hosts`; else the first by name. An entry of a host comes
/// before those of every host below a domain, and a longer domain before a shorter one.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    at: HashMap<String, Vec<Place>>,
    /// By a domain with a leading dot, the longest first.
    below: Vec<(String, String)>,
}

/// An entry at a host.
#[derive(Clone, Debug)]
struct Place {
    entry: String,
    /// The path of its token endpoint, if that is at this host.
    path: Option<String>,
}

impl Hosts {
    /// Those at the hosts of their own `token_url`.
    pub fn of_token_urls<'e>(entries: impl Iterator<Item = &'e Entry>) -> Self {
        let mut hosts = Self::default();
        for entry in entries {
            if let Some(host) = entry.token_host() {
                let path = Url::parse(&entry.token_url).ok().map(|url| url.path().to_owned());
                hosts.add(host, entry, path);
            }
        }
        hosts.below.sort_by_key(|(domain, _)| Reverse(domain.len()));
        hosts
    }

    /// The same, with the hosts that the entries name in `token_hosts`.
    pub fn with_token_hosts<'e>(mut self, entries: impl Iterator<Item = &'e Entry>) -> Self {
        for entry in entries {
            for host in &entry.token_hosts {
                self.add(host.clone(), entry, None);
            }
        }
        self.below.sort_by_key(|(domain, _)| Reverse(domain.len()));
        self
    }

    fn add(&mut self, host: String, entry: &Entry, path: Option<String>) {
        if host.starts_with('.') {
            self.below.push((host, entry.name.clone()));
        } else {
            self.at.entry(host).or_default().push(Place { entry: entry.name.clone(), path });
        }
    }

    /// The name of the entry that is at the host of this token endpoint.
    pub fn find(&self, token_url: &str) -> Option<&str> {
        let url = Url::parse(token_url).ok()?;
        let host = url.host_str()?;
        if let Some(places) = self.at.get(host) {
            let same_path = places.iter().find(|place| place.path.as_deref() == Some(url.path()));
            return same_path.or(places.first()).map(|place| place.entry.as_str());
        }
        self.below.iter().find(|(domain, _)| host.ends_with(domain.as_str())).map(|(_, entry)| entry.as_str())
    }
}
