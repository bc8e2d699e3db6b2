//! Checking entries of the catalogue, with the internet and without any client of ours.
//! Owns: which entries can be checked, and the pace.
//! Must not know: what a response means; that is `oauth/alive.rs` and `oauth/probe.rs`.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt, stream};
use secrecy::SecretString;

use super::{definition::Definition, draft::ProviderDraft};
use crate::{
    broker::{clients::redirect_uri::callback_address, pace::Pace},
    catalog::{Catalog, Entry},
    model::subject::Tenant,
    oauth::{
        alive,
        probe::{self, Finding, Verdict},
    },
    outbound::client::Outbound,
};

/// So many entries are checked at a time ...
const AT_ONCE: usize = 8;
/// ... and so much later the next one begins: many entries have the same host.
const PACE: Duration = Duration::from_millis(200);
/// The client that is registered nowhere.
const CLIENT: &str = "agent-auth-provider-check";

/// What was found out about an entry.
#[derive(Clone, Debug)]
pub struct EntryCheck {
    /// The entry's name.
    pub name: String,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Why it was not checked, if it was not.
    pub skipped: Option<String>,
}

impl EntryCheck {
    /// The worst verdict; `None` if it was not checked.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let has = |verdict| self.findings.iter().any(|finding| finding.verdict == verdict);
        match self.skipped {
            Some(_) => None,
            None if has(Verdict::Wrong) => Some(Verdict::Wrong),
            None if has(Verdict::Unclear) => Some(Verdict::Unclear),
            None => Some(Verdict::Right),
        }
    }
}

/// Checks these entries, each when its turn comes. Each request has the deadline of `outbound`, and is held to its address
/// guard.
pub fn check_catalog<'a>(
    catalog: &'a Catalog,
    entries: Vec<&'a Entry>,
    outbound: &'a Outbound,
    public_url: &'a str,
    now: DateTime<Utc>,
) -> impl Stream<Item = EntryCheck> + 'a {
    let pace = Pace::every(PACE);
    let one = move |entry: &'a Entry| {
        let pace = pace.clone();
        async move {
            if entry.params.is_empty() {
                pace.turn().await;
            }
            check_one(catalog, entry, outbound, public_url, now).await
        }
    };
    stream::iter(entries).map(one).buffered(AT_ONCE)
}

async fn check_one(
    catalog: &Catalog,
    entry: &Entry,
    outbound: &Outbound,
    public_url: &str,
    now: DateTime<Utc>,
) -> EntryCheck {
    let name = entry.name.clone();
    let done = |findings| EntryCheck { name: name.clone(), findings, skipped: None };
    if !entry.params.is_empty() {
        let params: Vec<&str> = entry.params.keys().map(String::as_str).collect();
        let skipped = format!("its addresses depend on {}", params.join(", "));
        return EntryCheck { name, findings: Vec::new(), skipped: Some(skipped) };
    }
    let draft = ProviderDraft {
        provider_id: Some(entry.name.clone()),
        client_id: Some(CLIENT.into()),
        client_secret: Some(SecretString::from(CLIENT)),
        template: Some(entry.name.clone()),
        template_params: Some(BTreeMap::new()),
        ..ProviderDraft::default()
    };
    let nobody = Tenant { organization: String::new(), workspace: String::new() };
    let provider = match (Definition { catalog, guard: outbound.guard() }).new_provider(nobody, &draft, now) {
        Ok(provider) => provider,
        Err(faults) => {
            let said = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return done(vec![Finding { of: "entry", said, verdict: Verdict::Wrong }]);
        }
    };
    let outbound = outbound.of_provider(&entry.name);
    let quirks = catalog.quirks_of(&provider.client);
    let redirect_uri = callback_address(public_url, &entry.name, "");
    let authorization = catalog.authorization_quirks_of(&provider);
    done(vec![
        probe::authorization(&outbound, &provider, authorization, &redirect_uri, now).await,
        alive::token(&outbound, &provider.client, quirks, &redirect_uri, provider.uses_pkce, now).await,
    ])
}
