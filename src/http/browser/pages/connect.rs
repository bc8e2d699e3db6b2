//! The page before a consent: who asks for what, and whether to go on.
//! Owns: which of its texts are shown.
//! Must not know: which browser may go on, or where it goes.

use askama::Template;
use axum::{http::StatusCode, response::Response};
use secrecy::{ExposeSecret, SecretString};

use super::text::{PERSON_CHARS, PROVIDER_CHARS, cleaned};
use crate::{
    broker::consent::interaction::{Facts, ScopeFact},
    http::browser::view::{View, with_own_referrer},
};

/// Why the person is asked.
#[derive(Clone, Copy, Debug)]
pub enum Why<'a> {
    /// An agent has begun a consent.
    Requested,
    /// An agent has no token that it may use.
    Missing,
    /// The provider ended the access of a token.
    Ended {
        /// The token's account, if it has a name for people.
        account: Option<&'a str>,
    },
}

/// The page's form.
pub struct ConnectForm {
    /// Where it is sent.
    pub action: String,
    /// The cookie that the browser has, or will get.
    pub browser: SecretString,
}

/// The facts in a page, cleaned.
#[derive(Clone, Debug)]
pub(super) struct ShownFacts {
    pub(super) provider: String,
    pub(super) agent: Option<String>,
    pub(super) user: String,
    pub(super) scopes: Vec<ShownScope>,
}

/// A scope in a page: its meaning, or else its name.
#[derive(Clone, Debug)]
pub(super) struct ShownScope {
    pub(super) meaning: Option<String>,
    pub(super) name: String,
}

#[derive(Template)]
#[template(path = "http/browser/pages/connect.html")]
struct ConnectPage<'a> {
    view: &'a View,
    facts: ShownFacts,
    title: String,
    happened: String,
    enter_code: String,
    user_code: Option<&'a str>,
    action: &'a str,
    browser: &'a str,
}

impl ShownFacts {
    pub(super) fn of(facts: &Facts) -> Self {
        let scope =
            |ScopeFact { name, meaning }: &ScopeFact| ShownScope { meaning: meaning.clone(), name: name.clone() };
        Self {
            provider: cleaned(&facts.provider, PROVIDER_CHARS).unwrap_or_default(),
            agent: facts.agent.as_deref().and_then(|agent| cleaned(agent, PERSON_CHARS)),
            user: cleaned(&facts.user, PERSON_CHARS).unwrap_or_default(),
            scopes: facts.scopes.iter().map(scope).collect(),
        }
    }
}

/// The page, with its headers.
#[must_use]
pub(in crate::http) fn connect_page(view: &View, facts: &Facts, why: Why<'_>, form: &ConnectForm) -> Response {
    let (shown, t) = (ShownFacts::of(facts), &view.t.connect);
    let provider = &shown.provider;
    let (title, happened) = match why {
        Why::Requested => ((t.title)(provider), (t.requested)(provider)),
        Why::Missing => ((t.title)(provider), (t.missing)(provider)),
        Why::Ended { account } => {
            let account = account.and_then(|account| cleaned(account, PERSON_CHARS));
            ((t.title_again)(provider), (t.ended)(provider, account.as_deref()))
        }
    };
    let enter_code = (t.enter_code)(provider);
    let page = ConnectPage {
        view,
        title,
        happened,
        facts: shown,
        enter_code,
        user_code: facts.user_code.as_deref(),
        action: &form.action,
        browser: form.browser.expose_secret(),
    };
    // The form leads to the provider, which may lead on to the sign-in of any company: Chromium applies `form-action` to
    // every redirect on that way. There is no other form on the page, and no script.
    let mut response = view.consent(StatusCode::OK, &page, "'self' https: http:");
    with_own_referrer(&mut response);
    response
}
