//! `/console/add-mcp`: a new provider from the URL of an MCP server, with what was found on the way.
//! Owns: the form, and the id that is proposed for a server.
//! Must not know: how a server is discovered, or how a client is registered.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use secrecy::SecretString;
use url::{Host, Url};

use super::{
    failure::{Failure, with_facts_of},
    form::{AdminForm, AnyForm},
    frame::Frame,
    page::show,
    providers::Checked,
    session::Session,
};
use crate::{
    broker::{
        error::BrokerError,
        providers::mcp::{McpDraft, Report, connect_and_report},
    },
    http::{app::App, error::ApiError},
};

/// A label of a host that says nothing of whose it is.
const GENERAL: [&str; 6] = ["mcp", "www", "api", "com", "co", "org"];

#[derive(Template)]
#[template(path = "http/console/add_mcp.html")]
struct McpPage {
    frame: Frame,
    url: String,
    provider_id: String,
    name: String,
    client_id: String,
    allow_missing_pkce: bool,
    omit_resource: bool,
    problem: Option<String>,
    steps: Vec<Checked>,
    what_to_do: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "http/console/added_mcp.html")]
struct ConnectedPage {
    frame: Frame,
    provider_id: String,
    steps: Vec<Checked>,
    /// The redirect URI to register a client with by hand, if the server registers none.
    redirect_uri: Option<String>,
    can_try: bool,
}

/// Shows the form.
pub async fn get(session: Session) -> Result<Response, Failure> {
    session.caller.administers_providers()?;
    Ok(show(StatusCode::OK, &McpPage::new(&session, None)))
}

/// Connects the server, and shows step by step what was found.
pub async fn post(State(app): State<Arc<App>>, AdminForm(form): AdminForm) -> Result<Response, Failure> {
    let caller = &form.session.caller;
    caller.administers_providers()?;
    let draft = draft(&form);
    let provider_id = draft.provider_id.clone().unwrap_or_default();
    caller.reaches_provider(&provider_id)?;
    let mut report = Report::default();
    let connected =
        Box::pin(connect_and_report(&app.broker, caller.tenant.clone(), draft, &caller.act, &mut report)).await;
    let steps = report.steps.into_iter().map(Checked::step).collect();
    let redirect_uri = match connected {
        Ok(_) => None,
        Err(BrokerError::RegistrationRequired(needed)) => Some(needed.redirect_uri),
        Err(
            error @ (BrokerError::Faults(_)
            | BrokerError::Conflict(_)
            | BrokerError::Discovery { .. }
            | BrokerError::Busy { .. }),
        ) => {
            let error = ApiError::from(error);
            let mut page = McpPage::new(&form.session, Some(&form));
            // As the form names the field.
            page.problem = Some(error.for_people().replace("mcp_server_url: ", "URL: "));
            (page.steps, page.what_to_do) = (steps, report.what_to_do);
            let refused = error.into_response();
            return Ok(with_facts_of(show(refused.status(), &page), refused));
        }
        Err(error) => return Err(error.into()),
    };
    let title = if redirect_uri.is_none() { "The MCP server is connected" } else { "A client has to be registered" };
    let can_try = redirect_uri.is_none() && caller.reaches_agent("").is_ok();
    let frame = Frame::new(&form.session, "/providers", title);
    Ok(show(StatusCode::OK, &ConnectedPage { frame, provider_id, steps, redirect_uri, can_try }))
}

fn draft(form: &AnyForm) -> McpDraft {
    let text = |name: &str| Some(form.field(name)).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let url = text("url");
    let host = url.as_deref().and_then(|url| Url::parse(url).ok()?.host().map(|host| host.to_owned()));
    McpDraft {
        provider_id: text("provider_id").or_else(|| host.as_ref().map(proposed_id)),
        name: text("name").or_else(|| host.as_ref().map(ToString::to_string)),
        url,
        client_id: text("client_id"),
        client_secret: text("client_secret").map(SecretString::from),
        allow_missing_pkce: text("allow_missing_pkce").is_some(),
        omit_resource: text("omit_resource").is_some(),
        ..McpDraft::default()
    }
}

/// The label of a host that says whose server it is: `linear` of `mcp.linear.app`.
fn proposed_id(host: &Host<String>) -> String {
    let labels: Vec<&str> = match host {
        Host::Domain(name) => name.split('.').collect(),
        Host::Ipv4(_) | Host::Ipv6(_) => Vec::new(),
    };
    let own = labels.iter().rev().skip(1).find(|label| !GENERAL.contains(label));
    own.map_or("mcp-server", |label| label).to_owned()
}

impl McpPage {
    /// The form, filled in as it was sent, without the secret.
    fn new(session: &Session, sent: Option<&AnyForm>) -> Self {
        let field = |name: &str| sent.map_or_else(String::new, |form| form.field(name).to_owned());
        Self {
            frame: Frame::new(session, "/providers", "Connect an MCP server"),
            url: field("url"),
            provider_id: field("provider_id"),
            name: field("name"),
            client_id: field("client_id"),
            allow_missing_pkce: !field("allow_missing_pkce").is_empty(),
            omit_resource: !field("omit_resource").is_empty(),
            problem: None,
            steps: Vec::new(),
            what_to_do: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proposed_id_says_whose_server_it_is() {
        for (url, id) in [
            ("https://mcp.linear.app/mcp", "linear"),
            ("https://api.githubcopilot.com/mcp/", "githubcopilot"),
            ("https://mcp.shop.example.co.uk", "example"),
            ("https://mcp.example", "mcp-server"),
            ("http://127.0.0.1:8080/mcp", "mcp-server"),
            ("http://[::1]/mcp", "mcp-server"),
        ] {
            let host = Url::parse(url).unwrap().host().unwrap().to_owned();
            assert_eq!(proposed_id(&host), id, "{url}");
        }
    }
}
