//! `/connections`: what a person is connected to, and what they can connect.
//! Owns: what each connection is shown with.
//! Must not know: which of them the person may see; their link says that.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::Response,
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    elsewhere::{go_on, message_of, other_account_of},
    failure::Failure,
    frame::Frame,
    session::{Form, Session},
    words::{Moment, moment, notice, state, what_to_do},
};
use crate::{
    broker::{
        connect_links::{LISTED_MAX, connect, connectable, last_use},
        providers,
        tokens::{explain::Explanation, workspace},
    },
    http::{
        app::App,
        browser::{languages::texts::Texts, message::Message},
        console::words::{parameter, shown, shown_if_any},
    },
    model::{
        provider::Provider,
        token_state::{Condition, OwnedToken, TokenFilter},
    },
};

/// A connection, as the pages show it.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) provider: String,
    pub(super) account: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) state: &'static str,
    pub(super) label: &'static str,
    pub(super) what_to_do: &'static str,
    pub(super) has_ended: bool,
    /// What its buttons are called for those who do not see the row.
    pub(super) reconnect: String,
    pub(super) revoke: String,
    pub(super) connected: Moment,
    pub(super) last_used: Option<Moment>,
}

struct Choice {
    id: String,
    label: String,
}

#[derive(Template)]
#[template(path = "http/people/connections.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
    is_cut: bool,
    choices: Vec<Choice>,
    message: Option<Message>,
}

/// Lists the connections.
pub async fn list(
    State(app): State<Arc<App>>,
    session: Session,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    let (link, tenant, now) = (&session.link, session.link.tenant(), app.broker.clock.now());
    let reach = link.reach(&tenant);
    // The filter has an index; the reach selects the same user, and the providers of the link.
    let filter = TokenFilter { user_id: Some(link.user_id.clone()), ..TokenFilter::default() };
    let found = workspace::page(&app.broker, reach, &filter, None, LISTED_MAX).await?;
    let names = names(&providers::list::list(&app.broker, reach).await?);
    let connectable = connectable(&app.broker, link).await?;
    let t = &session.view.t.people;
    let choices = connectable.into_iter().map(|provider| {
        let is_connected = found.tokens.iter().any(|(token, _)| token.state.provider_id == provider.provider_id);
        let label = if is_connected { t.connect_another } else { t.connect };
        Choice { label: label(&shown(&provider.name)), id: provider.provider_id }
    });
    let rows = found.tokens.iter().map(|(token, why)| {
        let last_used = last_use(&app.broker, token, &[]);
        Row::of(session.view.t, token, why, &names, last_used, now)
    });
    let asked = asked.as_deref();
    let notice = match other_account_of(&app, &session, asked).await? {
        Some(other) => Some((t.done_other_account)(&shown(&other.approved), &shown(&other.still_ended))),
        None => notice(t, &parameter(asked, "done")).map(ToOwned::to_owned),
    };
    let page = ListPage {
        frame: Frame { notice, ..Frame::new(&session, t.title) },
        rows: rows.collect(),
        is_cut: found.next.is_some(),
        choices: choices.collect(),
        message: message_of(&app, &session, asked).await?,
    };
    let view = &session.view;
    Ok(match page.message {
        Some(_) => view.people_with_script(StatusCode::OK, &page),
        None => view.people(StatusCode::OK, &page),
    })
}

/// Begins to connect an account, and goes to the page that says who asks for what.
pub async fn connect_to(
    State(app): State<Arc<App>>,
    Path(provider_id): Path<String>,
    Form(session): Form,
) -> Result<Response, Failure> {
    let comes_back = !session.view.is_embedded;
    let begun = connect(&app.broker, &session.link, &provider_id, comes_back, &session.act).await?;
    Ok(go_on(&session, &begun))
}

/// The providers' names for people, by their names on the wire.
pub(super) fn names(providers: &[Provider]) -> BTreeMap<String, String> {
    providers.iter().map(|provider| (provider.provider_id.clone(), provider.name.clone())).collect()
}

impl Row {
    pub(super) fn of(
        t: &Texts,
        token: &OwnedToken,
        explanation: &Explanation,
        names: &BTreeMap<String, String>,
        last_used: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Self {
        let (of, condition) = (&token.state, explanation.condition);
        let provider = shown(names.get(&of.provider_id).unwrap_or(&of.provider_id));
        Self {
            id: of.id,
            reconnect: (t.people.reconnect_named)(&provider),
            revoke: (t.people.revoke_named)(&provider),
            provider,
            account: of.account_label.as_deref().and_then(shown_if_any),
            agent: shown_if_any(&token.agent_id),
            state: condition.as_str(),
            label: state(&t.people, condition),
            what_to_do: what_to_do(&t.people, condition),
            has_ended: condition == Condition::ConsentNeeded,
            connected: moment(t, of.created_at, now),
            last_used: last_used.map(|at| moment(t, at, now)),
        }
    }
}
