//! How much a client may send: requests of a caller and of an address in a second, failed keys of an address in a minute.
//! Owns: the counts, in a bounded amount of memory.
//! Must not know: what the requests are for.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use axum::http::{Extensions, HeaderMap};
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use moka::sync::Cache;
use uuid::Uuid;

use super::{
    address::TrustedProxies,
    error::{ApiError, Excess},
};
use crate::{config::Settings, identity::Caller};

/// Keys and addresses that are counted at a time. Beyond it, the ones that were idle longest are forgotten.
const COUNTED_MAX: u64 = 100_000;
/// After this long without a request, every count here is back at its start.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(2);

/// The limits of this process.
pub struct Limits {
    proxies: TrustedProxies,
    of_caller: Option<Buckets<Uuid>>,
    of_address: Option<Buckets<IpAddr>>,
    failed_keys: Option<Buckets<IpAddr>>,
}

impl Limits {
    /// The limits that the settings name. Zero is no limit.
    ///
    /// # Errors
    /// What is wrong with `TRUSTED_PROXIES`.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            proxies: TrustedProxies::parse(&settings.trusted_proxies)?,
            of_caller: NonZeroU32::new(settings.key_requests_per_second)
                .map(|count| Buckets::new(Quota::per_second(count))),
            of_address: NonZeroU32::new(settings.address_requests_per_second)
                .map(|count| Buckets::new(Quota::per_second(count))),
            failed_keys: NonZeroU32::new(settings.failed_keys_per_minute)
                .map(|count| Buckets::new(Quota::per_minute(count))),
        })
    }

    /// The address of a request's client, as far as it can be trusted.
    #[must_use]
    pub fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        self.proxies.client(extensions, headers)
    }

    /// Counts a request of an address.
    pub(super) fn count_address(&self, extensions: &Extensions, headers: &HeaderMap) -> Result<(), ApiError> {
        self.of_address.as_ref().map_or(Ok(()), |buckets| self.take(buckets, extensions, headers, Excess::OfAddress))
    }

    /// Counts a request of an identified caller.
    pub(super) fn count_caller(&self, caller: &Caller) -> Result<(), ApiError> {
        let Some(buckets) = &self.of_caller else { return Ok(()) };
        buckets.take(caller.counted_as()).map_err(|wait| ApiError::TooMany(Excess::OfCaller, wait))
    }

    /// Counts a key that does not exist. It is counted only after the key was looked up, so that a valid key is never
    /// slowed by others behind the same address.
    pub(super) fn count_failed_key(&self, extensions: &Extensions, headers: &HeaderMap) -> Result<(), ApiError> {
        self.failed_keys.as_ref().map_or(Ok(()), |buckets| self.take(buckets, extensions, headers, Excess::FailedKeys))
    }

    fn take(
        &self,
        buckets: &Buckets<IpAddr>,
        extensions: &Extensions,
        headers: &HeaderMap,
        excess: Excess,
    ) -> Result<(), ApiError> {
        let Some(address) = self.proxies.client(extensions, headers) else { return Ok(()) };
        buckets.take(network(address)).map_err(|wait| ApiError::TooMany(excess, wait))
    }
}

/// A token bucket for each key.
struct Buckets<K> {
    quota: Quota,
    clock: DefaultClock,
    by_key: Cache<K, Arc<DefaultDirectRateLimiter>>,
}

impl<K: Copy + Eq + Hash + Send + Sync + 'static> Buckets<K> {
    fn new(quota: Quota) -> Self {
        let by_key = Cache::builder().max_capacity(COUNTED_MAX).time_to_idle(FORGOTTEN_AFTER).build();
        Self { quota, clock: DefaultClock::default(), by_key }
    }

    /// Takes one, or says how long to wait for it.
    fn take(&self, key: K) -> Result<(), Duration> {
        let bucket =
            self.by_key.get_with(key, || Arc::new(RateLimiter::direct_with_clock(self.quota, self.clock.clone())));
        bucket.check().map_err(|refused| refused.wait_time_from(self.clock.now()))
    }
}

/// What counts as one address: with IPv6, a customer has a /64 at least, and could otherwise use a new address each time.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_counts_with_its_network() {
        let network = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2:ffff::"), network("2001:db8:1:2::1"));
        assert_ne!(network("2001:db8:1:3::1"), network("2001:db8:1:2::1"));
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn each_key_has_a_bucket_of_its_own_and_the_wait_is_named() {
        let buckets = Buckets::new(Quota::per_minute(NonZeroU32::new(3).unwrap()));
        for _ in 0..3 {
            assert_eq!(buckets.take(1), Ok(()));
        }
        let wait = buckets.take(1).unwrap_err();
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        assert_eq!(buckets.take(2), Ok(()));
    }
}
