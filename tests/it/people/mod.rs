//! Connect links of people: making one, opening it, and what a person sees and changes at it.

mod embedding;
mod isolation;
mod links;
mod looks;
mod pages;

use std::ops::Deref;

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::browser::{Browser, hidden};
use crate::support::caller::{Caller, asking, with};
use crate::support::database::PUBLIC_URL;

const LINKS: &str = "/v2/auth/connect-links";

/// A person who has opened a link.
struct Person(Browser);

impl Deref for Person {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.0
    }
}

fn at(path: &str) -> String {
    format!("{PUBLIC_URL}/connections{path}")
}

/// The address of a new link.
async fn link(caller: &Caller, body: &Value) -> String {
    caller.post(LINKS, body).await.expect(201)["url"].as_str().unwrap().to_owned()
}

/// Presses the button of a link's page.
async fn open(browser: &Browser, url: &str) -> Answer {
    let page = browser.open(url).await.expect_html(200);
    browser.send(url, &[("browser", &hidden(&page, "browser"))]).await
}

impl Person {
    /// Somebody with a link that `caller` makes.
    async fn new(app: &Caller, caller: &Caller, body: &Value) -> Self {
        let browser = Browser::new(app);
        let answer = open(&browser, &link(caller, body).await).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/connections"), "{}", answer.text());
        Self(browser)
    }

    /// A page, which must be there.
    async fn page(&self, path: &str) -> String {
        self.open(&at(path)).await.expect_html(200)
    }

    /// Sends a form as the session's own pages do.
    async fn submit(&self, path: &str) -> Answer {
        let token = hidden(&self.page("").await, "form_token");
        self.send(&at(path), &[("form_token", &token)]).await
    }
}

/// Alice is connected to `acme`, whose grants can be revoked. With a service key that names no user.
async fn connected(app: &TestApp) -> (AuthorizationServer, Caller) {
    let provider = AuthorizationServer::start().await;
    let maker = app.service_key().await;
    app.register_as(with(provider.definition("acme"), json!({"revocation_url": provider.at("/revoke")}))).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    (provider, maker)
}

/// The id of the only token of a user.
async fn token_of(app: &TestApp, user: &str) -> String {
    let tokens = app.get(&format!("/v2/admin/tokens?user_id={user}")).await.expect(200);
    assert_eq!(tokens["data"].as_array().unwrap().len(), 1, "{tokens}");
    tokens["data"][0]["id"].as_str().unwrap().to_owned()
}

/// The events of that name, newest first.
async fn events(app: &TestApp, name: &str) -> Vec<Value> {
    let events = app.get(&format!("/v2/audit?event={name}")).await.expect(200);
    events["data"].as_array().unwrap().clone()
}
