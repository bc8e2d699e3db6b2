//! Every operation that changes what a hand-out depends on: the next answer is the one that the database gives, on the same
//! replica at once, on another one as soon as the report has arrived.

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{SOON, until_remembered, until_reported, without_memory};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    after_any_change_on_the_same_replica_the_next_answer_is_that_of_the_database,
}

const ROUNDS: usize = 4;
/// Also one whose name has more bytes than characters, and some that are not in PostgreSQL's own alphabet.
const USERS: [&str; 2] = ["alice", "zoë \u{1f600} 'quoted' \\ 中文"];
const AGENT: &str = "helper";

/// An operation of the API, or something that happens to a token.
#[derive(Clone, Copy, Debug)]
enum Change {
    Consent,
    ConsentForAnotherAccount,
    ConsentForAgent,
    RefreshWhenDue,
    RefreshForLongerLifetime,
    Report,
    ReportOfDeadGrant,
    RefreshThatFails,
    Label,
    Default,
    DeleteOne,
    DeleteAllOfUser,
    DeleteAllOfType,
    DeleteProvider,
    ConnectAgent,
    DisconnectAgent,
    ReplaceWorkspaceKey,
    DeleteWorkspaceKey,
    Sweep,
}

const CHANGES: [Change; 19] = [
    Change::Consent,
    Change::ConsentForAnotherAccount,
    Change::ConsentForAgent,
    Change::RefreshWhenDue,
    Change::RefreshForLongerLifetime,
    Change::Report,
    Change::ReportOfDeadGrant,
    Change::RefreshThatFails,
    Change::Label,
    Change::Default,
    Change::DeleteOne,
    Change::DeleteAllOfUser,
    Change::DeleteAllOfType,
    Change::DeleteProvider,
    Change::ConnectAgent,
    Change::DisconnectAgent,
    Change::ReplaceWorkspaceKey,
    Change::DeleteWorkspaceKey,
    Change::Sweep,
];

/// Where changes are made, and by whom.
struct World<'a> {
    app: &'a TestApp,
    service: Caller,
    provider: AuthorizationServer,
    random: StdRng,
}

impl<'a> World<'a> {
    async fn make(app: &'a TestApp) -> Self {
        let seed = rand::random::<u64>();
        #[expect(clippy::print_stdout, reason = "a failure needs its seed to be repeated")]
        {
            println!("changes: the seed is {seed}");
        }
        let provider = AuthorizationServer::start().await;
        let service = app.service_key().await;
        let world = Self { app, service, provider, random: StdRng::seed_from_u64(seed) };
        world.register().await;
        world.register_key().await;
        world
    }

    async fn register(&self) {
        let definition = with(self.provider.definition("acme"), json!({"provider_type": "slack"}));
        self.app.register_as(definition).await;
    }

    async fn register_key(&self) {
        let key =
            json!({"provider_id": "shared", "name": "Shared", "grant_type": "api_key", "client_secret": "sk-first"});
        self.app.register_as(key).await;
    }

    fn user(&mut self) -> (&'static str, Caller) {
        let user = *USERS.choose(&mut self.random).unwrap();
        // A header cannot name every user, the body can; so tokens are managed with a personal key's way of asking.
        (user, self.service.clone())
    }

    /// A token of the user at `acme`, made now if it is missing.
    async fn token_of(&self, user: &str) -> Value {
        let answer = self.service.authenticate(&with(asking(user, &["read"]), json!({"check_only": true}))).await;
        if answer["status"] != "completed" {
            self.service.connect(&self.provider, &asking(user, &["read"])).await;
        }
        self.service.authenticate(&asking(user, &["read"])).await["metadata"]["token_id"].clone()
    }

    async fn make_change(&mut self, change: Change) {
        let (user, service) = self.user();
        let question = asking(user, &["read"]);
        let alice = service.acting_for("alice");
        match change {
            Change::Consent => {
                self.provider.answer_token_for_account("a");
                self.consent(&with(question, json!({"force_new": true}))).await;
            }
            Change::ConsentForAnotherAccount => {
                let account = ["b", "c"].choose(&mut self.random).unwrap();
                self.provider.answer_token_for_account(account);
                let is_default = self.random.random::<bool>();
                self.consent(&with(question, json!({"force_new": true, "is_default": is_default}))).await;
            }
            Change::ConsentForAgent => {
                self.consent(&with(question, json!({"force_new": true, "agent_id": AGENT}))).await;
            }
            Change::RefreshWhenDue => {
                self.token_of(user).await;
                self.app.advance(3600);
                self.service.token(&question).await;
            }
            Change::RefreshForLongerLifetime => {
                self.token_of(user).await;
                self.app.advance(1500);
                self.service.token(&with(question, json!({"min_ttl": 3000}))).await;
            }
            Change::Report => {
                self.token_of("alice").await;
                self.app.advance(60);
                let id = self.token_of("alice").await;
                self.report(&id).await;
            }
            Change::ReportOfDeadGrant => {
                let id = self.token_of("alice").await;
                self.app.advance(60);
                self.provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
                self.report(&id).await;
                self.provider.forget_answers();
            }
            Change::RefreshThatFails => {
                self.token_of(user).await;
                self.app.advance(1500);
                self.provider.answer_token(Reply::json(json!({"error": "temporarily_unavailable"})).status(503));
                self.service.try_authenticate(&with(question, json!({"min_ttl": 3000}))).await;
                self.provider.forget_answers();
            }
            Change::Label => {
                let id = self.token_of("alice").await;
                let label = json!({"provider_account_label": Uuid::new_v4()});
                alice.patch(&format!("/v2/auth/tokens/{}/metadata", text(&id)), &label).await.expect(200);
            }
            Change::Default => self.change_default(&alice).await,
            Change::DeleteOne => {
                let id = self.token_of("alice").await;
                alice.delete(&format!("/v2/auth/tokens/{}", text(&id))).await.expect(204);
            }
            Change::DeleteAllOfUser => {
                self.token_of("alice").await;
                alice.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
            }
            Change::DeleteAllOfType => {
                self.token_of(user).await;
                alice.delete("/v2/auth/tokens/workspace/slack").await.expect(200);
            }
            Change::DeleteProvider => {
                self.token_of(user).await;
                alice.delete("/v2/auth/providers/acme").await.expect(200);
                self.register().await;
            }
            Change::ConnectAgent => {
                let id = self.token_of(user).await;
                service.connect_agent(AGENT, &id).await;
            }
            Change::DisconnectAgent => {
                let id = self.token_of(user).await;
                let connection = service.connect_agent(AGENT, &id).await;
                let path = format!("/v2/auth/agents/{AGENT}/connections/{}", text(&connection["id"]));
                service.delete(&path).await.expect(204);
            }
            Change::ReplaceWorkspaceKey => {
                let key = json!({"client_secret": Uuid::new_v4()});
                alice.patch("/v2/auth/providers/shared", &key).await.expect(200);
            }
            Change::DeleteWorkspaceKey => {
                alice.delete("/v2/auth/providers/shared").await.expect(200);
                self.register_key().await;
            }
            Change::Sweep => {
                self.app.database.tamper("UPDATE tokens SET state = 'consent_needed' WHERE user_id = 'alice'").await;
                self.app.advance(40 * 24 * 3600);
                agent_auth::broker::jobs::sweep::run_once(&self.app.app.broker).await.unwrap();
            }
        }
    }

    async fn change_default(&mut self, alice: &Caller) {
        self.token_of("alice").await;
        let tokens = alice.tokens().await;
        let token = tokens.choose(&mut self.random).unwrap();
        let change = json!({"is_default": self.random.random::<bool>()});
        alice.patch(&format!("/v2/auth/tokens/{}/metadata", text(&token["id"])), &change).await.expect(200);
    }

    /// Refreshes what is due or soon will be, so that no caller begins a refresh in the background.
    async fn settle(&self) {
        for question in questions() {
            self.service.authenticate(&with(question, json!({"min_ttl": 1000}))).await;
        }
    }

    async fn consent(&self, question: &Value) {
        let pending = self.service.begin(question).await;
        self.service.come_back(&self.provider.consent(&pending.url)).await;
    }

    async fn report(&self, id: &Value) {
        let path = format!("/v2/auth/tokens/{}/report-invalid", text(id));
        let alice = self.service.acting_for("alice");
        assert!([200, 502].contains(&alice.post_text(&path, "").await.status.as_u16()));
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn questions() -> Vec<Value> {
    let of_user = |user| {
        let all = [asking(user, &["read"]), with(asking(user, &["read"]), json!({"agent_id": AGENT}))];
        let shared = with(asking(user, &[]), json!({"provider": "shared"}));
        all.into_iter().map(|question| with(question, json!({"check_only": true}))).chain([shared]).collect::<Vec<_>>()
    };
    USERS.into_iter().flat_map(of_user).collect()
}

/// What is answered, but for links, which are new each time.
async fn answers(app: &Caller) -> Vec<Value> {
    let mut answers = Vec::new();
    for question in questions() {
        let answer = app.authenticate(&question).await;
        answers.push(json!([answer["status"], answer["token"], answer["metadata"]]));
    }
    answers
}

/// Makes every change several times on `writer`. After each, `reader` answers as `without`, which remembers nothing.
async fn compare(writer: &TestApp, reader: &TestApp, without: &TestApp) {
    let mut world = World::make(writer).await;
    let key = world.service.key();
    let (reader_calls, without_calls) = (reader.anonymous().with_key(&key), without.anonymous().with_key(&key));
    world.token_of("alice").await;
    until_reported(writer, reader).await;
    until_remembered(reader, &reader_calls, &asking("alice", &["read"])).await;
    // The same again, so that everybody learns of what was changed quietly.
    reader.database.tamper("UPDATE tokens SET account_label = account_label").await;
    until_reported(writer, reader).await;
    eventually(SOON, async || answers(&reader_calls).await == answers(&without_calls).await).await;
    for round in 0..ROUNDS {
        let mut changes = CHANGES;
        changes.shuffle(&mut world.random);
        for change in changes {
            // Everything that can be is remembered.
            answers(&reader_calls).await;
            world.make_change(change).await;
            world.settle().await;
            until_reported(writer, reader).await;
            let read = answers(&reader_calls).await;
            assert_eq!(read, answers(&without_calls).await, "after {change:?} in round {round}");
            assert_eq!(read, answers(&reader_calls).await, "after {change:?} in round {round}, from memory");
        }
    }
}

async fn after_any_change_on_the_same_replica_the_next_answer_is_that_of_the_database(app: TestApp) {
    let without = app.replica_with(without_memory).await;
    compare(&app, &app, &without).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_any_change_on_another_replica_the_next_answer_is_that_of_the_database() {
    let app = TestApp::start(Database::postgres().await).await;
    let there = app.replica().await;
    let without = app.replica_with(without_memory).await;
    compare(&app, &there, &without).await;
}
