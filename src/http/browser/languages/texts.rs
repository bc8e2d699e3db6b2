//! What a language has to say: every text of the pages that people see.
//! Owns: the list of texts, by page.
//! Must not know: any language. Texts are not HTML; the templates escape them.

use chrono::{DateTime, Utc};

use crate::http::browser::pages::page::FailureReason;

/// A language. Adding one means writing one file like `english.rs`, and naming it in `LANGUAGES`.
#[derive(Clone, Copy)]
pub struct Texts {
    /// Its language tag (BCP 47), in lower case, as `Accept-Language` names it.
    pub tag: &'static str,
    /// Whether it is written from right to left.
    pub is_rtl: bool,
    /// A day and a time in UTC.
    pub moment: fn(DateTime<Utc>) -> String,
    /// How long ago something was.
    pub ago: fn(Ago) -> String,
    /// Below every page.
    pub footer: FooterTexts,
    /// The page before a consent.
    pub connect: ConnectTexts,
    /// The page for a static key.
    pub key: KeyTexts,
    /// How a consent ended.
    pub outcome: OutcomeTexts,
    /// A person's connections.
    pub people: PeopleTexts,
}

/// A time that has passed, in its largest unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ago {
    /// Less than a minute.
    Now,
    /// So many minutes.
    Minutes(i64),
    /// So many hours.
    Hours(i64),
    /// So many days.
    Days(i64),
}

/// Below every page.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the English text says what each is")]
pub struct FooterTexts {
    pub support: &'static str,
    pub privacy: &'static str,
}

/// The page before a consent. Texts with `{user}` have the user's name in its place.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the English text says what each is")]
pub struct ConnectTexts {
    pub title: fn(provider: &str) -> String,
    pub title_again: fn(provider: &str) -> String,
    pub requested: fn(provider: &str) -> String,
    pub missing: fn(provider: &str) -> String,
    pub ended: fn(provider: &str, account: Option<&str>) -> String,
    pub agent: &'static str,
    pub agent_not_named: &'static str,
    pub user: &'static str,
    pub provider: &'static str,
    pub permissions: &'static str,
    pub enter_code: fn(provider: &str) -> String,
    pub only_if: &'static str,
    pub go_on: &'static str,
    pub cancel: &'static str,
}

/// The page for a static key.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the English text says what each is")]
pub struct KeyTexts {
    pub title: fn(provider: &str) -> String,
    pub requested: fn(provider: &str) -> String,
    pub label: &'static str,
    pub save: &'static str,
    pub empty: &'static str,
    pub too_long: &'static str,
    pub unusable: &'static str,
    /// With `{user}`.
    pub stored: &'static str,
    /// The same if the request names an agent.
    pub stored_for_agent: &'static str,
    /// With `{user}`.
    pub only_if: fn(provider: &str) -> String,
}

/// What a page says of how a consent ended.
pub struct Said {
    /// The heading.
    pub title: String,
    /// What happened.
    pub happened: String,
    /// What to do next.
    pub next: &'static str,
}

/// How a consent ended.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the English text says what each is")]
pub struct OutcomeTexts {
    pub connected: fn(provider: &str) -> Said,
    pub already_connected: fn(provider: &str) -> Said,
    pub no_consent_needed: fn(provider: &str) -> Said,
    pub updated: fn() -> Said,
    pub installed: fn() -> Said,
    pub failed: fn(FailureReason, provider: Option<&str>) -> Said,
    /// Above the error that the provider sent.
    pub answered: fn(provider: Option<&str>) -> String,
    /// Above an error of this server.
    pub details: &'static str,
    /// Above an error that belongs to no request.
    pub error_in_address: &'static str,
    /// In place of what is next, for a person who came from their connections.
    pub next_in_visit: &'static str,
    pub to_connections: &'static str,
    pub request_id: &'static str,
}

/// A person's connections. Texts with `{user}` have the user's name in its place.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the English text says what each is")]
pub struct PeopleTexts {
    pub skip: &'static str,
    pub title: &'static str,
    pub leave: &'static str,
    pub go_on: &'static str,
    pub link_shows: &'static str,
    pub link_only_if: &'static str,
    pub link_once: &'static str,
    pub left: &'static str,
    pub left_again: &'static str,

    pub nothing: &'static str,
    pub table: &'static str,
    pub provider: &'static str,
    pub account: &'static str,
    pub agent: &'static str,
    pub state: &'static str,
    pub connected: &'static str,
    pub last_used: &'static str,
    pub actions: &'static str,
    pub account_not_known: &'static str,
    pub any_agent: &'static str,
    pub never: &'static str,
    pub only_newest: &'static str,
    pub reconnect: &'static str,
    pub reconnect_named: fn(provider: &str) -> String,
    pub revoke: &'static str,
    pub revoke_named: fn(provider: &str) -> String,
    pub connect_heading: &'static str,
    pub nothing_to_connect: &'static str,
    pub before_connecting: &'static str,
    pub connect: fn(provider: &str) -> String,
    pub connect_another: fn(provider: &str) -> String,

    pub elsewhere_title: fn(provider: &str) -> String,
    pub elsewhere: &'static str,
    pub elsewhere_open: &'static str,
    pub elsewhere_done: &'static str,

    pub what_to_do: &'static str,
    pub permits: &'static str,
    pub no_permissions: &'static str,
    pub agents: &'static str,
    pub no_agent_yet: &'static str,
    pub agents_not_recorded: &'static str,
    pub agent_without_name: &'static str,
    pub agent_last_used: &'static str,
    pub agent_no_use: &'static str,
    pub all: &'static str,

    pub revoke_title: fn(provider: &str) -> String,
    pub revoke_means: &'static str,
    pub revoke_now: &'static str,
    pub cancel: &'static str,

    pub state_connected: &'static str,
    pub state_interrupted: &'static str,
    pub state_ended: &'static str,
    pub do_nothing: &'static str,
    pub do_wait: &'static str,
    pub do_reconnect: &'static str,

    pub done_connected: &'static str,
    pub done_other_account: fn(approved: &str, still_ended: &str) -> String,
    pub done_revoked: &'static str,
    pub done_revoking: &'static str,
    pub done_not_revocable: &'static str,
    pub done_gone: &'static str,

    pub failures: PeopleFailures,
}

/// Why a page of a person's connections cannot be shown, each with a heading and what happened.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the English text says what each is")]
pub struct PeopleFailures {
    pub signed_out: [&'static str; 2],
    pub not_opened: [&'static str; 2],
    pub new_link: &'static str,
    pub not_found: [&'static str; 2],
    pub foreign_form: [&'static str; 2],
    pub too_many: [&'static str; 2],
    pub internal: [&'static str; 2],
    pub refused: [&'static str; 2],
    pub later: &'static str,
}

impl Texts {
    /// The value of the attribute `dir`.
    #[must_use]
    pub fn direction(&self) -> &'static str {
        if self.is_rtl { "rtl" } else { "ltr" }
    }
}
