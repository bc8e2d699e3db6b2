//! The operators' console: signing in, the pages, the forms, and who sees what.

mod events;
mod forms;
mod isolation;
mod langsmith;
mod mcp_servers;
mod openid;
mod pages;
mod providers;
mod signing_in;
mod trials;

use std::ops::Deref;

use serde_json::json;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::browser::{Browser, hidden};
use crate::support::caller::{Caller, asking, with};
use crate::support::database::{Database, PUBLIC_URL};

/// Every page that somebody who is signed in can open without naming anything.
const PAGES: [&str; 10] = [
    "",
    "/connections",
    "/requests",
    "/events",
    "/providers",
    "/add-provider",
    "/add-mcp",
    "/keys",
    "/audit",
    "/settings",
];

/// A browser at the console.
struct Operator(Browser);

impl Deref for Operator {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.0
    }
}

fn at(path: &str) -> String {
    format!("{PUBLIC_URL}/console{path}")
}

/// A server with an entry in its catalogue such as those of the demo.
async fn as_demo(database: Database) -> TestApp {
    let file = database.folder.path().join("demo.toml");
    let entry = "[sample-contacts]\ndisplay_name = 'Sample contacts'\ncategory = 'demo'\n\
                 auth_url = 'https://sample.example/authorize'\ntoken_url = 'https://sample.example/token'\n\
                 console = 'https://sample.example/apps'\nsteps = ['Enter {redirect_uri}']\n";
    std::fs::write(&file, entry).unwrap();
    TestApp::start_with(database, |settings| settings.catalog_file = Some(file)).await
}

impl Operator {
    /// Signs in with this key.
    async fn new(app: &Caller, key: &str) -> Self {
        let browser = Browser::new(app);
        let answer = browser.send(&at("/sign-in"), &[("key", key)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/console"), "{}", answer.text());
        Self(browser)
    }

    /// The administrator of the first workspace.
    async fn admin(app: &TestApp) -> Self {
        Self::new(app, &app.database.bootstrap_key).await
    }

    /// A page, which must be there.
    async fn page(&self, path: &str) -> String {
        self.open(&at(path)).await.expect_html(200)
    }

    /// Sends a form as the session's own pages do.
    async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = hidden(&self.page("").await, "form_token");
        let fields = [&[("form_token", &*token)][..], fields].concat();
        self.send(&at(path), &fields).await
    }

    /// Sends a form that must be taken; gives the page that it leads to.
    async fn done(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.submit(path, fields).await;
        assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
        let location = answer.header("location").to_owned();
        self.open(&format!("{PUBLIC_URL}{location}")).await.expect_html(200)
    }
}

/// Alice is connected to `acme`, whose grants can be revoked.
async fn connected(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"revocation_url": provider.at("/revoke")}))).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    provider
}

/// The id of the newest token of the workspace.
async fn newest_token(caller: &Caller) -> String {
    let tokens = caller.get("/v2/admin/tokens?limit=1").await.expect(200);
    tokens["data"][0]["id"].as_str().unwrap().to_owned()
}

/// The events of that name, newest first.
async fn events(app: &TestApp, name: &str) -> Vec<serde_json::Value> {
    let events = app.get(&format!("/v2/audit?event={name}")).await.expect(200);
    events["data"].as_array().unwrap().clone()
}
