//! What an import meets, and what it has done with it.
//! Owns: both nouns.
//! Must not know: how anything is brought in.

use crate::{
    broker::providers::draft::ProviderDraft,
    model::{moved_grant::MovedGrant, options::ProviderOptions},
};

/// What an import meets in its source.
pub enum Record {
    /// A provider.
    Provider(Box<MovedProvider>),
    /// A grant.
    Grant(Box<MovedGrant>),
    /// A provider that cannot be created from what is known of it, and why. If it is here, its grants are taken.
    UnlessHere {
        /// Its id here.
        provider_id: String,
        /// Why it cannot be created, and what to do.
        why: String,
    },
    /// Something that cannot be brought here, and why. No secret.
    Unusable(String),
}

/// A provider that comes from elsewhere.
#[derive(Debug, Default)]
pub struct MovedProvider {
    /// What is known of it.
    pub draft: ProviderDraft,
    /// What another installation of this program knows beyond a draft.
    pub restored: Option<Restored>,
}

/// What a record of a provider holds beyond a draft.
#[derive(Debug, Default)]
pub struct Restored {
    /// Its options, in place of those that the catalogue would give it.
    pub options: ProviderOptions,
    /// The MCP server it was discovered from.
    pub mcp_server_url: Option<String>,
    /// True when the client was registered by the program itself.
    pub is_dynamic_client: bool,
}

/// What was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// Where it is in its source.
    pub place: String,
    /// Why, in a sentence. No secret.
    pub why: String,
}

/// What an import has done so far; with a dry run, what it would have done.
#[derive(Clone, Debug, Default)]
pub struct ImportReport {
    /// Providers that were created.
    pub providers_created: Vec<String>,
    /// Providers that were here, and are as they were.
    pub providers_kept: Vec<String>,
    /// Grants that were taken and are refreshed before anybody gets them.
    pub taken: u64,
    /// Grants without a refresh token, which were taken as they are.
    pub as_they_are: u64,
    /// Of these, how many say nothing of when they expire.
    pub without_expiry: u64,
    /// Grants that an earlier run has taken.
    pub before: u64,
    /// What was not taken.
    pub not_taken: Vec<NotTaken>,
}

impl ImportReport {
    /// How many records were looked at.
    #[must_use]
    pub fn looked_at(&self) -> u64 {
        let providers = self.providers_created.len() + self.providers_kept.len() + self.not_taken.len();
        self.taken + self.as_they_are + self.before + providers as u64
    }
}
