//! The address of a client, as far as it can be trusted.
//! Owns: `TRUSTED_PROXIES`, and how `X-Forwarded-For` is read.
//! Must not know: what an address is used for.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

/// The other end of the connection that a request came over.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The proxies whose word about a client's address counts.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Reads the setting `TRUSTED_PROXIES`: addresses and CIDR blocks, separated by commas.
    ///
    /// # Errors
    /// The entry that is neither an address nor a CIDR block.
    pub fn parse(setting: &str) -> Result<Self, String> {
        let entries = setting.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let range = |entry: &str| {
            IpNet::from_str(entry)
                .or_else(|_| IpAddr::from_str(entry).map(IpNet::from))
                .map_err(|_| format!("`{entry}` is neither an address nor a CIDR block, such as 10.0.0.0/8"))
        };
        entries.map(range).collect::<Result<_, _>>().map(Self)
    }

    /// The address of the client of a request. `None` without a connection, as in a test of the router alone.
    #[must_use]
    pub fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let Peer(peer) = *extensions.get::<Peer>()?;
        Some(self.forwarded(peer.to_canonical(), headers))
    }

    /// Each proxy appends the address that it was called from. So the list is read from its end, and only for as long as
    /// the address that named the entry is trusted: everything further left may be made up by the client.
    fn forwarded(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        if self.0.is_empty() {
            return client;
        }
        let lists: Vec<&str> =
            headers.get_all("x-forwarded-for").iter().map(|list| list.to_str().unwrap_or_default()).collect();
        for entry in lists.iter().rev().flat_map(|list| list.rsplit(',')).map(str::trim) {
            if !self.0.iter().any(|range| range.contains(&client)) {
                break;
            }
            // Some proxies append the port.
            let address = IpAddr::from_str(entry).or_else(|_| SocketAddr::from_str(entry).map(|entry| entry.ip()));
            let Ok(address) = address else { break };
            client = address.to_canonical();
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, lists: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append("x-forwarded-for", list.parse().unwrap());
        }
        TrustedProxies::parse(proxies).unwrap().forwarded(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn without_a_trusted_proxy_the_header_is_ignored() {
        assert_eq!(client("", "10.0.0.1", &["203.0.113.9"]), "10.0.0.1");
        assert_eq!(client("10.0.0.0/8", "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
    }

    #[test]
    fn the_last_address_that_no_trusted_proxy_has_is_the_client() {
        let proxies = "10.0.0.0/8, fd00::/8, 192.0.2.1";
        assert_eq!(client(proxies, "10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(proxies, "10.0.0.1", &["1.2.3.4, 203.0.113.9, 192.0.2.1"]), "203.0.113.9");
        assert_eq!(client(proxies, "10.0.0.1", &["1.2.3.4", "203.0.113.9,10.1.1.1"]), "203.0.113.9");
        assert_eq!(client(proxies, "fd00::1", &["[2001:db8::9]:4711"]), "2001:db8::9");
        assert_eq!(client(proxies, "10.0.0.1", &["203.0.113.9:80"]), "203.0.113.9");
        assert_eq!(client(proxies, "10.0.0.1", &["10.0.0.2"]), "10.0.0.2");
    }

    #[test]
    fn what_is_not_an_address_ends_the_list() {
        assert_eq!(client("10.0.0.1", "10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1, 192.0.2.1", "10.0.0.1", &["1.2.3.4, x, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn an_entry_that_is_not_an_address_is_refused() {
        assert!(TrustedProxies::parse("10.0.0.1, proxy.corp").unwrap_err().contains("`proxy.corp`"));
        assert!(TrustedProxies::parse("10.0.0.0/40").is_err());
    }
}
