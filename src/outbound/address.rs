//! Which addresses outbound requests may connect to.
//! Owns: the special-purpose ranges, the operator's exceptions, and the check at every resolution.
//! Must not know: what is fetched from there.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::{Arc, LazyLock},
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// The IANA special-purpose registries: nothing on the public internet is there. (IPv4-mapped IPv6 addresses are turned
/// into IPv4 before the look-up; `64:ff9b::/96` and `2002::/16` can carry any IPv4 address and are refused whole.)
const SPECIAL: [&str; 30] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/9",
    "ff00::/8",
];

/// Names under these are never on the public internet (RFC 6762, RFC 8375, ICANN's resolution on `.internal`).
const PRIVATE_SUFFIXES: [&str; 3] = [".internal", ".local", ".home.arpa"];

static SPECIAL_RANGES: LazyLock<Vec<IpNet>> =
    LazyLock::new(|| SPECIAL.iter().filter_map(|range| range.parse().ok()).collect());

/// The operator's exceptions to the rule that only public addresses are connected to.
#[derive(Clone, Debug)]
pub struct AddressGuard(Arc<Exceptions>);

#[derive(Debug)]
enum Exceptions {
    None,
    All,
    Listed { hosts: Vec<String>, ranges: Vec<IpNet> },
}

/// Why a URL is not connected to.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// Neither https, nor http to a host the operator allowed.
    #[error("must be an https:// URL (http:// is accepted for hosts in ALLOW_PRIVATE_UPSTREAMS)")]
    Scheme,
    /// The host is, or resolves to, an address that is not public.
    #[error("leads to a private address; its host must be listed in ALLOW_PRIVATE_UPSTREAMS")]
    PrivateAddress,
}

impl AddressGuard {
    /// Reads the setting `ALLOW_PRIVATE_UPSTREAMS`.
    ///
    /// # Errors
    /// The entry that is neither a host name, an address nor a CIDR block.
    pub fn parse(setting: &str) -> Result<Self, String> {
        let exceptions = match setting.trim() {
            "" | "false" => Exceptions::None,
            "true" => Exceptions::All,
            list => {
                let (mut hosts, mut ranges) = (Vec::new(), Vec::new());
                for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
                    if let Ok(range) = IpNet::from_str(entry) {
                        ranges.push(range);
                    } else if let Ok(address) = IpAddr::from_str(entry) {
                        ranges.push(IpNet::from(address));
                    } else if let Ok(Host::Domain(host)) = Host::parse(entry) {
                        hosts.push(host.trim_end_matches('.').to_owned());
                    } else {
                        return Err(format!(
                            "`{entry}` is neither `true`, `false`, a host name, an address nor a CIDR block"
                        ));
                    }
                }
                Exceptions::Listed { hosts, ranges }
            }
        };
        Ok(Self(Arc::new(exceptions)))
    }

    /// For an address that is a setting: it may be private, and then use plain http.
    #[must_use]
    pub fn of_operator() -> Self {
        Self(Arc::new(Exceptions::All))
    }

    /// Checks the URL itself, before any look-up: its scheme, and its host if that is an address. (The parser has
    /// already turned `2130706433`, `0x7f.1` and the like into addresses, which no resolver would ever see.)
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        let host = url.host().ok_or(Refusal::Scheme)?;
        let plain_http = match &host {
            Host::Domain(name) => is_loopback_name(name) || self.allows_plain_http(name),
            Host::Ipv4(address) => self.allows_plain_http_at(IpAddr::V4(*address)),
            Host::Ipv6(address) => self.allows_plain_http_at(IpAddr::V6(*address)),
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && plain_http) {
            return Err(Refusal::Scheme);
        }
        let allowed = match host {
            Host::Domain(name) => !is_loopback_name(name) || self.allows_host(name) || self.allows_loopback(),
            Host::Ipv4(address) => self.permits(IpAddr::V4(address)),
            Host::Ipv6(address) => self.permits(IpAddr::V6(address)),
        };
        if allowed { Ok(()) } else { Err(Refusal::PrivateAddress) }
    }

    /// True when we may connect to this address.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        is_public(address) || self.allows_address(address)
    }

    fn allows_host(&self, name: &str) -> bool {
        match &*self.0 {
            Exceptions::None => false,
            Exceptions::All => true,
            Exceptions::Listed { hosts, .. } => {
                hosts.iter().any(|host| host.eq_ignore_ascii_case(name.trim_end_matches('.')))
            }
        }
    }

    /// Plain http is for hosts the operator named, and, where every private host is allowed, for names that cannot be
    /// on the public internet.
    fn allows_plain_http(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        match &*self.0 {
            Exceptions::All => !name.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)),
            Exceptions::None | Exceptions::Listed { .. } => self.allows_host(&name),
        }
    }

    fn allows_plain_http_at(&self, address: IpAddr) -> bool {
        match &*self.0 {
            Exceptions::All => !is_public(address),
            Exceptions::None | Exceptions::Listed { .. } => {
                address.to_canonical().is_loopback() || self.allows_address(address)
            }
        }
    }

    fn allows_address(&self, address: IpAddr) -> bool {
        match &*self.0 {
            Exceptions::None => false,
            Exceptions::All => true,
            Exceptions::Listed { ranges, .. } => {
                ranges.iter().any(|range| range.contains(&address) || range.contains(&address.to_canonical()))
            }
        }
    }

    fn allows_loopback(&self) -> bool {
        self.allows_address(IpAddr::V4(Ipv4Addr::LOCALHOST)) || self.allows_address(IpAddr::V6(Ipv6Addr::LOCALHOST))
    }
}

/// `localhost` and its subdomains never leave the machine (RFC 6761 section 6.3).
fn is_loopback_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn is_public(address: IpAddr) -> bool {
    let address = address.to_canonical();
    !SPECIAL_RANGES.iter().any(|range| range.contains(&address))
}

/// Names are resolved here and nowhere else: the addresses that were checked are the ones connected to, so a name
/// that resolves differently the second time has no effect.
impl Resolve for AddressGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let resolved = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let by_name = guard.allows_host(&host);
            let permitted: Vec<SocketAddr> =
                resolved.filter(|address| by_name || guard.permits(address.ip())).collect();
            if permitted.is_empty() {
                return Err(Refusal::PrivateAddress.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(setting: &str, url: &str) -> Result<(), Refusal> {
        AddressGuard::parse(setting).unwrap().check_url(&Url::parse(url).unwrap())
    }

    #[test]
    fn every_way_to_write_a_private_address_is_refused() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "0x7f.1",
            "127.0.0.1.",
            "0",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
            "[fec0::1]",
            "[fd00::1]",
            "10.0.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "192.168.1.1",
            "172.31.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "localhost",
            "LOCALHOST.",
            "x.localhost",
            "１２７.0.0.1",
        ] {
            assert_eq!(check("false", &format!("https://{host}/token")), Err(Refusal::PrivateAddress), "{host}");
        }
    }

    #[test]
    fn public_hosts_are_reached_by_https_only() {
        assert_eq!(check("false", "https://github.com/login"), Ok(()));
        assert_eq!(check("false", "https://140.82.112.3/login"), Ok(()));
        assert_eq!(check("false", "https://[2606:50c0:8000::153]/"), Ok(()));
        assert_eq!(check("false", "http://github.com/login"), Err(Refusal::Scheme));
        assert_eq!(check("10.0.0.0/8", "http://github.com/login"), Err(Refusal::Scheme));
    }

    #[test]
    fn the_operator_can_name_hosts_addresses_and_blocks() {
        let list = "gitlab.corp, 10.20.0.0/16, 127.0.0.1";
        assert_eq!(check(list, "http://gitlab.corp/token"), Ok(()));
        assert_eq!(check(list, "https://10.20.3.4/token"), Ok(()));
        assert_eq!(check(list, "http://127.0.0.1:9000/token"), Ok(()));
        assert_eq!(check(list, "https://10.21.0.1/token"), Err(Refusal::PrivateAddress));
        assert_eq!(check(list, "http://127.0.0.2/token"), Err(Refusal::PrivateAddress));
        assert_eq!(check("true", "http://anything.internal/token"), Ok(()));
        assert_eq!(check("true", "http://keycloak:8080/token"), Ok(()));
        assert_eq!(check("true", "http://acme.example/token"), Err(Refusal::Scheme));
        assert!(AddressGuard::parse("a b").unwrap_err().contains("`a b`"));
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_refused_at_connect() {
        let guard = AddressGuard::parse("false").unwrap();
        let refused = guard.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert_eq!(refused.downcast_ref::<Refusal>(), Some(&Refusal::PrivateAddress));
        let allowed = AddressGuard::parse("localhost").unwrap();
        assert!(allowed.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
