//! What is measured for each provider, under a bounded number of names.
//! Owns: which providers have a label of their own.
//! Must not know: what a provider is.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;

use super::{
    text::Samples,
    value::{Counter, Each, Histogram, label},
};

/// So many providers have a label of their own, each from the first moment in which this process knows of it until it
/// ends. Names are chosen by the administrators of all workspaces, and each one is some hundred lines of text at every
/// scrape.
pub const NAMED_PROVIDERS_MAX: u32 = 50;
/// The label of all others, also of a provider that is called so, or [`NO_PROVIDER`]: a series must not come twice.
pub(super) const OTHER: &str = "other";
/// The label of requests that belong to no provider's record.
pub const NO_PROVIDER: &str = "none";

label! {
    /// Why a token is refreshed.
    Trigger {
        /// A caller waits for it.
        Request = "request",
        /// A caller got the old token, which is valid for a while.
        Background = "background",
        /// A job keeps tokens fresh.
        KeepAlive = "keep_alive",
        /// An earlier refresh was interrupted.
        Resumed = "resumed",
        /// An agent reported that an API rejects the token.
        Reported = "reported",
        /// An operator wants it now.
        Operator = "operator",
    }
}

label! {
    /// How a refresh ended.
    RefreshOutcome {
        /// With a new access token.
        Refreshed = "refreshed",
        /// The grant is dead.
        Dead = "dead",
        /// The provider did not respond, or was broken.
        Unavailable = "unavailable",
        /// The provider was too slow.
        TimedOut = "timed_out",
        /// The provider wants fewer requests.
        RateLimited = "rate_limited",
        /// The provider does not accept our client.
        MisconfiguredClient = "misconfigured_client",
        /// The provider refused for another reason.
        Refused = "refused",
        /// The response is not valid.
        Unreadable = "unreadable",
        /// The provider's address is not allowed.
        AddressRefused = "address_refused",
        /// The result came too late, and another one counts.
        Discarded = "discarded",
        /// The result could not be stored.
        NotStored = "not_stored",
    }
}

label! {
    /// Why a grant is dead: the provider's error code, or ours.
    DeathCause {
        /// RFC 6749: expired, revoked or used before.
        InvalidGrant = "invalid_grant",
        /// The person has to do something at the provider.
        InteractionRequired = "interaction_required",
        /// The person has to consent again.
        ConsentRequired = "consent_required",
        /// The person has to sign in again.
        LoginRequired = "login_required",
        /// Our client may not have these scopes any more.
        InvalidScope = "invalid_scope",
        /// An agent reported that an API rejects a token that cannot be refreshed.
        ReportedInvalid = "reported_invalid",
        /// The access token expired, and there is no refresh token.
        AccessTokenExpired = "access_token_expired",
        /// An administrator replaced the key.
        KeyReplaced = "key_replaced",
        /// Another code of the provider.
        Other = "other",
    }
}

impl DeathCause {
    /// The cause with this error code.
    #[must_use]
    pub fn of(error: &str) -> Self {
        match error {
            "invalid_grant" => Self::InvalidGrant,
            "interaction_required" => Self::InteractionRequired,
            "consent_required" => Self::ConsentRequired,
            "login_required" => Self::LoginRequired,
            "invalid_scope" => Self::InvalidScope,
            "reported_invalid" => Self::ReportedInvalid,
            "access_token_expired" => Self::AccessTokenExpired,
            "key_replaced" => Self::KeyReplaced,
            _ => Self::Other,
        }
    }
}

label! {
    /// What a request to another server is for.
    Endpoint {
        /// The token endpoint.
        Token = "token",
        /// The device authorization endpoint.
        DeviceAuthorization = "device_authorization",
        /// The revocation endpoint, or what a provider has in its place.
        Revocation = "revocation",
        /// Where the account of a token is read.
        Userinfo = "userinfo",
        /// Dynamic client registration.
        Registration = "registration",
        /// Metadata of authorization servers and protected resources.
        Metadata = "metadata",
        /// An MCP server, which says where its metadata is.
        McpServer = "mcp_server",
        /// The authorization endpoint, which only a check of a provider calls.
        Authorization = "authorization",
        /// LangSmith, which identifies callers.
        Identity = "identity",
        /// Vault, which decrypts encryption keys.
        Vault = "vault",
        /// The collector of traces.
        Traces = "traces",
        /// A webhook of an application.
        Webhook = "webhook",
    }
}

label! {
    /// How a request to another server ended.
    UpstreamOutcome {
        /// With a response that is not an error.
        Ok = "ok",
        /// With a status of 400 to 499.
        Refused = "refused",
        /// With 429.
        RateLimited = "rate_limited",
        /// With 408, or with 500 or above.
        Unavailable = "unavailable",
        /// No connection could be opened.
        NotConnected = "not_connected",
        /// The connection was lost.
        Broken = "broken",
        /// No response came in time.
        TimedOut = "timed_out",
        /// The response is too large.
        TooLarge = "too_large",
        /// The address is not allowed.
        AddressRefused = "address_refused",
        /// Nobody waited for it any longer: a deadline of several requests passed, or the caller disconnected.
        Abandoned = "abandoned",
    }
}

/// What is measured for one provider.
#[derive(Debug, Default)]
pub struct Provider {
    /// Refreshes of its tokens.
    pub refreshes: Each<Trigger, Each<RefreshOutcome, Counter>>,
    /// Grants that ended.
    pub deaths: Each<DeathCause, Counter>,
    /// Requests to its servers.
    pub upstream: Each<Endpoint, Upstream>,
}

/// Requests to one endpoint.
#[derive(Debug, Default)]
pub struct Upstream {
    /// By how they ended.
    pub requests: Each<UpstreamOutcome, Counter>,
    /// How long they took, with or without a response.
    pub seconds: Histogram,
}

/// The providers of this process.
#[derive(Debug, Default)]
pub struct Providers {
    named: RwLock<HashMap<String, Arc<Provider>>>,
    other: Arc<Provider>,
    none: Arc<Provider>,
}

impl Providers {
    /// What is measured for the provider of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> Arc<Provider> {
        if [OTHER, NO_PROVIDER].contains(&name) {
            return Arc::clone(&self.other);
        }
        if let Some(known) = self.named.read().get(name) {
            return Arc::clone(known);
        }
        let mut named = self.named.write();
        if named.len() >= NAMED_PROVIDERS_MAX as usize && !named.contains_key(name) {
            return Arc::clone(&self.other);
        }
        Arc::clone(named.entry(name.to_owned()).or_default())
    }

    /// What is measured where no provider's record is involved.
    #[must_use]
    pub fn none(&self) -> Arc<Provider> {
        Arc::clone(&self.none)
    }

    pub(super) fn write_refreshes(&self, samples: &mut Samples<'_>) {
        for (name, provider) in self.sorted().iter().filter(|(name, _)| name != NO_PROVIDER) {
            for (trigger, outcomes) in provider.refreshes.iter() {
                let labels = [("provider", name.as_str()), ("trigger", trigger)];
                samples.add_each(&labels, "outcome", outcomes, Counter::value);
            }
        }
    }

    pub(super) fn write_deaths(&self, samples: &mut Samples<'_>) {
        for (name, provider) in self.sorted().iter().filter(|(name, _)| name != NO_PROVIDER) {
            samples.add_each(&[("provider", name)], "cause", &provider.deaths, Counter::value);
        }
    }

    pub(super) fn write_requests(&self, samples: &mut Samples<'_>) {
        self.each_endpoint(|labels, upstream| samples.add_each(labels, "outcome", &upstream.requests, Counter::value));
    }

    pub(super) fn write_seconds(&self, samples: &mut Samples<'_>) {
        self.each_endpoint(|labels, upstream| samples.add_histogram(labels, &upstream.seconds));
    }

    /// The token endpoint of each provider, and every other endpoint that was called.
    fn each_endpoint(&self, mut write: impl FnMut(&[(&str, &str)], &Upstream)) {
        for (name, provider) in self.sorted() {
            for (at, (endpoint, upstream)) in provider.upstream.iter().enumerate() {
                let is_expected = at == Endpoint::Token as usize && name != NO_PROVIDER;
                if is_expected || upstream.seconds.is_used() {
                    write(&[("provider", &name), ("endpoint", endpoint)], upstream);
                }
            }
        }
    }

    fn sorted(&self) -> Vec<(String, Arc<Provider>)> {
        let mut all: Vec<_> =
            self.named.read().iter().map(|(name, provider)| (name.clone(), Arc::clone(provider))).collect();
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        all.push((OTHER.to_owned(), Arc::clone(&self.other)));
        all.push((NO_PROVIDER.to_owned(), self.none()));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_providers_have_a_label_and_all_others_share_one() {
        let providers = Providers::default();
        for number in 0..NAMED_PROVIDERS_MAX + 10 {
            providers.of(&format!("provider-{number}")).deaths.of(DeathCause::InvalidGrant).increment();
        }
        providers.of("provider-0").deaths.of(DeathCause::InvalidGrant).increment();
        let deaths = |name: &str| providers.of(name).deaths.of(DeathCause::InvalidGrant).value();
        assert_eq!(deaths("provider-0"), 2);
        assert_eq!(deaths(&format!("provider-{}", NAMED_PROVIDERS_MAX - 1)), 1);
        assert_eq!(deaths("a-new-one"), 10);
        assert_eq!(providers.sorted().len(), NAMED_PROVIDERS_MAX as usize + 2);
    }

    #[test]
    fn a_provider_that_is_called_as_a_label_of_ours_shares_the_one_of_all_others() {
        let providers = Providers::default();
        for name in [OTHER, NO_PROVIDER] {
            providers.of(name).deaths.of(DeathCause::InvalidGrant).increment();
        }
        assert_eq!(providers.other.deaths.of(DeathCause::InvalidGrant).value(), 2);
        let names: Vec<String> = providers.sorted().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [OTHER, NO_PROVIDER]);
    }
}
