//! Metrics: which there are, that each has a value from the start, and what they count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use url::{Position, Url};

use crate::identity::routes::{OPERATIONS, OTHERS, PREFIXES};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary::Server;
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::database::Database;
use crate::support::eventually::eventually;
use crate::support::metrics::Scrape;

both_databases! {
    every_metric_is_documented_has_a_help_text_and_a_value_at_start,
    every_route_is_counted_from_the_start,
    a_bug_on_a_page_is_counted_where_there_was_a_zero,
    the_503_of_a_provider_and_that_of_the_server_are_counted_apart,
    refreshes_are_counted_by_provider_trigger_and_outcome,
    deaths_are_counted_by_cause,
    requests_to_providers_are_measured_by_endpoint_and_outcome,
    authorization_requests_are_counted_by_what_happens_to_them,
    authorization_requests_that_expire_are_counted,
    waiters_are_counted_as_long_as_they_wait,
    grants_and_revocations_that_wait_are_counted,
    hand_outs_that_cannot_be_written_are_measured,
    statements_connections_and_look_ups_are_measured,
}

const SOON: Duration = Duration::from_secs(20);
pub(super) const AUTHENTICATE: &str = "/v2/auth/authenticate";
const REQUESTS: &str = "agent_auth_requests_total";
/// What only PostgreSQL has.
const LISTENER: &str = "agent_auth_listener_connected";

/// A server with the provider `acme`.
pub(super) struct Stage {
    pub(super) server: Server,
    pub(super) provider: AuthorizationServer,
    pub(super) database: Database,
}

impl Stage {
    pub(super) async fn new(database: Database) -> Self {
        Self::with(database, AuthorizationServer::start().await).await
    }

    async fn with(database: Database, provider: AuthorizationServer) -> Self {
        let server = Server::start(&database.environment()).await;
        let stage = Self { server, provider, database };
        stage.post("/v2/auth/providers", &stage.provider.definition("acme")).await;
        stage
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Value {
        self.server.post(&self.database.bootstrap_key, path, body).await
    }

    async fn try_authenticate(&self, user: &str) -> (u16, String) {
        let question = asking(user, &["read"]);
        self.server.try_post(&self.database.bootstrap_key, AUTHENTICATE, &question).await.expect("an answer")
    }

    async fn begin(&self, user: &str) -> Value {
        self.post(AUTHENTICATE, &asking(user, &["read"])).await
    }

    async fn come_back(&self, callback: &Url) -> u16 {
        self.server.get(&callback[Position::BeforePath..]).await.expect("an answer").0
    }

    /// The user consents, and gets a token that lives for so many seconds.
    pub(super) async fn connect(&self, user: &str, seconds: u64) {
        let pending = self.begin(user).await;
        let token = json!({"access_token": format!("access-{user}"), "refresh_token": format!("refresh-{user}"),
                           "expires_in": seconds});
        self.provider.answer_token(Reply::json(token));
        let callback = self.provider.consent(pending["url"].as_str().expect("a url"));
        assert_eq!(self.come_back(&callback).await, 303);
    }

    /// The next refreshes are answered like this.
    fn refuse(&self, status: u16, error: &str) {
        self.provider.show("/token", Reply::json(json!({"error": error})).status(status));
    }

    pub(super) async fn scrape(&self) -> Scrape {
        Scrape::of(&self.server).await
    }

    /// Waits until the samples with these labels sum up to this.
    async fn until(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        eventually(SOON, async || self.scrape().await.value(name, labels) == Some(expected)).await;
    }
}

/// Name to type and labels, as the table in the document has them.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let (_, section) = document.split_once("\n## Metrics\n").expect("the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let mut metrics = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let ["", name, kind, labels, meaning, ""] = cells[..] else { panic!("not four columns: {row}") };
        assert!(!meaning.is_empty(), "an empty cell: {row}");
        // A label is followed by its values, in parentheses.
        let mut names = BTreeSet::new();
        let mut depth = 0;
        for (at, part) in labels.split('`').enumerate() {
            if at % 2 == 1 && depth == 0 {
                names.insert(part.to_owned());
            }
            depth = depth + part.matches('(').count() - part.matches(')').count();
        }
        let previous = metrics.insert(name.trim_matches('`').to_owned(), (kind.to_owned(), names));
        assert!(previous.is_none(), "{name} is listed twice");
    }
    metrics
}

async fn every_metric_is_documented_has_a_help_text_and_a_value_at_start(database: Database) {
    let is_shared = database.postgres.is_some();
    let server = Server::start(&database.environment()).await;
    let scrape = Scrape::of(&server).await;
    let mut exported: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for sample in &scrape.samples {
        let name = scrape.metric_of(sample);
        let labels: BTreeSet<String> = sample.labels.keys().filter(|label| *label != "le").cloned().collect();
        let kind = scrape.metrics[name].0.clone();
        let before = exported.insert(name.to_owned(), (kind.clone(), labels.clone()));
        assert!(before.is_none_or(|before| before == (kind, labels)), "the samples of {name} differ in their labels");
    }
    if !is_shared {
        exported.insert(LISTENER.to_owned(), ("gauge".to_owned(), BTreeSet::new()));
    }
    assert_eq!(exported, documented());
    for (name, (_, help)) in &scrape.metrics {
        assert!(exported.contains_key(name), "{name} has no value at start");
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
    }
    assert_eq!(scrape.value("agent_auth_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), Some(1.0));
    assert!(scrape.value("process_resident_memory_bytes", &[]).unwrap() > 1e6);
    let files = [scrape.value("process_open_fds", &[]).unwrap(), scrape.value("process_max_fds", &[]).unwrap()];
    assert!(files[0] > 3.0 && files[0] < files[1], "{files:?}");
}

async fn every_route_is_counted_from_the_start(database: Database) {
    let server = Server::start(&database.environment()).await;
    let scrape = Scrape::of(&server).await;
    for (method, path, _) in OPERATIONS {
        for prefix in PREFIXES {
            let route = format!("{prefix}{path}");
            for code in ["none", "database_unavailable", "provider_unavailable", "internal_error"] {
                let labels = [("method", method), ("route", route.as_str()), ("code", code)];
                assert_eq!(scrape.value(REQUESTS, &labels), Some(0.0), "{labels:?}");
            }
        }
    }
    for route in OTHERS.into_iter().chain(["/docs", "/openapi.json"]) {
        assert!(scrape.value(REQUESTS, &[("route", route), ("code", "none")]).is_some(), "{route}");
    }
    // Also of pages the first bug is an increase.
    for listed in scrape.samples.iter().filter(|sample| sample.name == REQUESTS && sample.labels["code"] == "none") {
        let [method, route] = ["method", "route"].map(|label| (label, listed.labels[label].as_str()));
        let bug = [method, route, ("status", "500"), ("code", "internal_error")];
        assert_eq!(scrape.value(REQUESTS, &bug), Some(0.0), "{bug:?}");
    }
    // No request is counted as one without a route unless it has none.
    for path in [
        "/docs/",
        "/docs/index.css",
        "/openapi.json",
        "/",
        "/connect/x",
        "/oauth/client-metadata.json/x",
        "/host-api-key/x",
    ] {
        server.get(path).await.expect("an answer");
    }
    assert_eq!(Scrape::of(&server).await.value(REQUESTS, &[("route", "none"), ("method", "GET")]), None);
    server.get("/nowhere").await.expect("an answer");
    let lost = [("route", "none"), ("status", "404"), ("code", "not_found")];
    assert_eq!(Scrape::of(&server).await.value(REQUESTS, &lost), Some(1.0));
}

async fn a_bug_on_a_page_is_counted_where_there_was_a_zero(database: Database) {
    let server = Server::start(&database.environment()).await;
    for table in ["connect_links", "authorization_requests"] {
        // No statement of ours expects this.
        database.tamper(&format!("ALTER TABLE {table} RENAME COLUMN expires_at TO expires_at_away")).await;
    }
    let random = "a".repeat(43);
    for (path, route) in [
        (format!("/connections/{random}"), "/connections/{secret}"),
        (format!("/connect/{random}"), "/connect/{reference}"),
        (format!("/host-api-key/acme?state={random}"), "/host-api-key/{provider_id}"),
    ] {
        let bugs = async || {
            let labels = [("method", "GET"), ("route", route), ("status", "500"), ("code", "internal_error")];
            Scrape::of(&server).await.value(REQUESTS, &labels)
        };
        assert_eq!(bugs().await, Some(0.0), "{route}");
        assert_eq!(server.get(&path).await.expect("an answer").0, 500, "{path}");
        assert_eq!(bugs().await, Some(1.0), "{route}");
    }
}

async fn the_503_of_a_provider_and_that_of_the_server_are_counted_apart(database: Database) {
    let stage = Stage::new(database).await;
    stage.connect("alice", 1).await;
    stage.refuse(503, "temporarily_unavailable");
    eventually(SOON, async || stage.try_authenticate("alice").await.0 == 503).await;
    stage.database.tamper("ALTER TABLE audit_events RENAME TO audit_events_away").await;
    assert_eq!(stage.try_authenticate("bob").await.0, 503);
    let scrape = stage.scrape().await;
    let count = |code| scrape.value(REQUESTS, &[("route", AUTHENTICATE), ("status", "503"), ("code", code)]);
    assert_eq!(count("provider_unavailable"), Some(1.0));
    assert_eq!(count("audit_unavailable"), Some(1.0));
    assert_eq!(count("database_unavailable"), Some(0.0));
    assert!(scrape.value(REQUESTS, &[("route", AUTHENTICATE), ("status", "200"), ("code", "none")]).unwrap() >= 1.0);
    let seconds = [("route", AUTHENTICATE)];
    let in_all = scrape.value(REQUESTS, &seconds).unwrap();
    assert_eq!(scrape.value("agent_auth_request_seconds_count", &seconds), Some(in_all));
}

async fn refreshes_are_counted_by_provider_trigger_and_outcome(database: Database) {
    let stage = Stage::new(database).await;
    let refreshes = "agent_auth_refreshes_total";
    let [refreshed, failed] = ["refreshed", "unavailable"]
        .map(|outcome| [("provider", "acme"), ("trigger", "request"), ("outcome", outcome)]);
    // Counted from 0 on, as soon as the provider is known.
    stage.until(refreshes, &failed, 0.0).await;
    stage.connect("alice", 1).await;
    stage.refuse(503, "temporarily_unavailable");
    eventually(SOON, async || stage.try_authenticate("alice").await.0 == 503).await;
    assert_eq!(stage.scrape().await.value(refreshes, &failed), Some(1.0));
    stage.provider.hide("/token");
    stage.connect("bob", 1).await;
    eventually(SOON, async || {
        assert_eq!(stage.try_authenticate("bob").await.0, 200);
        stage.scrape().await.value(refreshes, &refreshed) == Some(1.0)
    })
    .await;
    stage.connect("carol", 3600).await;
    let carols = stage.begin("carol").await;
    let report = format!("/v2/auth/tokens/{}/report-invalid", carols["metadata"]["token_id"].as_str().unwrap());
    stage.post(&report, &json!({})).await;
    let reported = [("provider", "acme"), ("trigger", "reported"), ("outcome", "refreshed")];
    assert_eq!(stage.scrape().await.value(refreshes, &reported), Some(1.0));
}

async fn deaths_are_counted_by_cause(database: Database) {
    let stage = Stage::new(database).await;
    for (user, error) in [("alice", "invalid_grant"), ("bob", "consent_required"), ("carol", "invalid_grant")] {
        stage.connect(user, 1).await;
        stage.refuse(400, error);
        eventually(SOON, async || stage.begin(user).await["status"] == "pending").await;
        stage.provider.hide("/token");
    }
    let scrape = stage.scrape().await;
    let deaths = |cause| scrape.value("agent_auth_grant_deaths_total", &[("provider", "acme"), ("cause", cause)]);
    assert_eq!(deaths("invalid_grant"), Some(2.0));
    assert_eq!(deaths("consent_required"), Some(1.0));
    assert_eq!(deaths("other"), Some(0.0));
    assert_eq!(scrape.value("agent_auth_refreshes_total", &[("outcome", "dead")]), Some(3.0));
}

async fn requests_to_providers_are_measured_by_endpoint_and_outcome(database: Database) {
    let stage = Stage::new(database).await;
    stage.connect("alice", 1).await;
    // It is asked three times.
    stage.refuse(503, "temporarily_unavailable");
    eventually(SOON, async || stage.try_authenticate("alice").await.0 == 503).await;
    let scrape = stage.scrape().await;
    let at_token = |outcome| {
        let labels = [("provider", "acme"), ("endpoint", "token"), ("outcome", outcome)];
        scrape.value("agent_auth_upstream_requests_total", &labels)
    };
    assert_eq!((at_token("ok"), at_token("unavailable"), at_token("timed_out")), (Some(1.0), Some(3.0), Some(0.0)));
    let labels = [("provider", "acme"), ("endpoint", "token")];
    assert_eq!(scrape.value("agent_auth_upstream_request_seconds_count", &labels), Some(4.0));
    // A provider whose port is closed.
    let gone = AuthorizationServer::start().await.definition("gone");
    stage.post("/v2/auth/providers", &with(gone, json!({"grant_type": "client_credentials"}))).await;
    let question = json!({"provider": "gone", "scopes": ["read"], "user_id": "alice"});
    let (status, _) = stage.server.try_post(&stage.database.bootstrap_key, AUTHENTICATE, &question).await.unwrap();
    assert_eq!(status, 503);
    let labels = [("provider", "gone"), ("endpoint", "token"), ("outcome", "not_connected")];
    assert!(stage.scrape().await.value("agent_auth_upstream_requests_total", &labels).unwrap() >= 1.0);
}

async fn authorization_requests_are_counted_by_what_happens_to_them(database: Database) {
    let stage = Stage::new(database).await;
    let url = |pending: &Value| pending["url"].as_str().expect("a url").to_owned();
    stage.connect("alice", 3600).await;
    let denied = stage.provider.deny(&url(&stage.begin("bob").await));
    assert_eq!(stage.come_back(&denied).await, 400);
    let refused = stage.provider.send_back(&url(&stage.begin("carol").await), &[("error", "invalid_scope")]);
    assert_eq!(stage.come_back(&refused).await, 400);
    let failed = stage.provider.consent(&url(&stage.begin("dave").await));
    stage.refuse(400, "invalid_grant");
    assert_eq!(stage.come_back(&failed).await, 502);
    stage.begin("erin").await;
    let scrape = stage.scrape().await;
    let events = |event| scrape.value("agent_auth_authorization_requests_total", &[("event", event)]);
    assert_eq!(events("begun"), Some(5.0));
    for event in ["completed", "denied", "refused", "failed"] {
        assert_eq!(events(event), Some(1.0), "{event}");
    }
    assert_eq!(events("expired"), Some(0.0));
}

async fn authorization_requests_that_expire_are_counted(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let expired = async || {
        let text = app.get("/metrics").await.text();
        let line = text.lines().find_map(|line| {
            line.strip_prefix("agent_auth_authorization_requests_total{event=\"expired\"} ").map(str::to_owned)
        });
        line.expect("a sample").parse::<u64>().expect("a number")
    };
    let before = expired().await;
    app.begin(&asking("alice", &["read"])).await;
    app.connect(&provider, &asking("bob", &["read"])).await;
    app.advance(599);
    assert_eq!(expired().await, before);
    app.advance(2);
    assert_eq!(expired().await, before + 1);
}

async fn waiters_are_counted_as_long_as_they_wait(database: Database) {
    let stage = Stage::new(database).await;
    stage.until("agent_auth_waiters", &[], 0.0).await;
    let pending = stage.begin("alice").await;
    let wait = format!("/v2/auth/wait/{}?timeout=60", pending["auth_id"].as_str().unwrap());
    let waiter = |path: String| {
        let request = stage.server.http.get(stage.server.url(&path)).header("x-api-key", &stage.database.bootstrap_key);
        tokio::spawn(async move { request.send().await.unwrap().text().await.unwrap() })
    };
    let waiters = [waiter(wait.clone()), waiter(wait)];
    stage.until("agent_auth_waiters", &[], 2.0).await;
    let [one, other] = waiters;
    // One disconnects, the other gets its token.
    one.abort();
    stage.until("agent_auth_waiters", &[], 1.0).await;
    let callback = stage.provider.consent(pending["url"].as_str().unwrap());
    assert_eq!(stage.come_back(&callback).await, 303);
    assert!(other.await.unwrap().contains("completed"));
    stage.until("agent_auth_waiters", &[], 0.0).await;
}

async fn grants_and_revocations_that_wait_are_counted(database: Database) {
    let stage = Stage::new(database).await;
    stage.connect("alice", 3600).await;
    stage.connect("bob", 3600).await;
    stage.database.tamper("UPDATE tokens SET state = 'consent_needed' WHERE user_id = 'bob'").await;
    stage
        .database
        .tamper(
            "INSERT INTO revocations (id, organization_id, workspace_id, provider_id, revocation_url, token_url, client_id,
                token_endpoint_auth_method, options, access_token, attempts, next_at, created_at)
             SELECT id, organization_id, workspace_id, 'acme', '', '', '', '', '{}', access_token, 0,
                '2999-01-01T00:00:00+00:00', created_at FROM tokens",
        )
        .await;
    // A server counts when it starts, and every minute.
    let (_, log) = stage.server.stop().await;
    assert!(!log.contains("job.failed"), "{log}");
    let server = Server::start(&stage.database.environment()).await;
    let counted = async || {
        let scrape = Scrape::of(&server).await;
        let grants = |state| scrape.value("agent_auth_grants", &[("state", state)]);
        let waiting = scrape.value("agent_auth_revocations_waiting", &[]);
        (grants("active"), grants("consent_needed"), waiting) == (Some(1.0), Some(1.0), Some(2.0))
    };
    eventually(SOON, counted).await;
    assert!(Scrape::of(&server).await.value("agent_auth_revocations_oldest_seconds", &[]).unwrap() < 600.0);
}

async fn hand_outs_that_cannot_be_written_are_measured(database: Database) {
    let stage = Stage::new(database).await;
    let [waiting, oldest, failures] = ["handouts_waiting", "handouts_oldest_seconds", "failures_total"]
        .map(|name| format!("agent_auth_audit_{name}"));
    stage.connect("alice", 3600).await;
    stage.until(&waiting, &[], 0.0).await;
    stage.database.tamper("ALTER TABLE audit_events RENAME TO audit_events_away").await;
    for _ in 0..3 {
        assert_eq!(stage.try_authenticate("alice").await.0, 200);
    }
    eventually(SOON, async || {
        let scrape = stage.scrape().await;
        scrape.value(&waiting, &[]) == Some(3.0)
            && scrape.value(&oldest, &[]).is_some_and(|seconds| seconds > 2.0)
            && scrape.value(&failures, &[]).is_some_and(|failures| failures > 0.0)
    })
    .await;
    assert_eq!(stage.scrape().await.value("agent_auth_database_reachable", &[]), Some(1.0));
    stage.database.tamper("ALTER TABLE audit_events_away RENAME TO audit_events").await;
    stage.until(&waiting, &[], 0.0).await;
    stage.until(&oldest, &[], 0.0).await;
}

async fn statements_connections_and_look_ups_are_measured(database: Database) {
    let is_shared = database.postgres.is_some();
    let stage = Stage::new(database).await;
    stage.connect("alice", 3600).await;
    for _ in 0..20 {
        assert_eq!(stage.try_authenticate("alice").await.0, 200);
    }
    let scrape = stage.scrape().await;
    for kind in ["read", "write", "commit"] {
        let count = scrape.value("agent_auth_database_statement_seconds_count", &[("kind", kind)]);
        assert!(count.unwrap() > 3.0, "{kind}: {count:?}");
    }
    let open = scrape.value("agent_auth_database_connections", &[]).unwrap();
    assert!(open >= 1.0 && open <= scrape.value("agent_auth_database_connections_max", &[]).unwrap(), "{open}");
    let found = |cache, result| {
        scrape.value("agent_auth_cache_lookups_total", &[("cache", cache), ("result", result)]).unwrap()
    };
    for cache in ["api_keys", "tokens"] {
        assert!(found(cache, "hit") >= 10.0, "{cache}: {}", found(cache, "hit"));
    }
    for cache in ["api_keys", "provider_names", "tokens"] {
        assert!(found(cache, "miss") >= 1.0, "{cache}: {}", found(cache, "miss"));
    }
    if is_shared {
        assert!(scrape.value("agent_auth_database_connection_wait_seconds_count", &[]).unwrap() > 20.0);
        stage.until(LISTENER, &[], 1.0).await;
    }
}
