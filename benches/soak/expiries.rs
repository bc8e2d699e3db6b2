//! Many calls over two replicas while grants expire again and again, at a provider that forgives nothing.
//! Owns: that every expiry costs exactly one refresh, and that everybody gets the new token.
//! Must not know: how replicas agree.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::{Connection, PgConnection};

use super::client::{Client, Reply};
use super::figures::Figures;
use crate::support::authorization_server::{AuthorizationServer, identity};
use crate::support::binary::Server;
use crate::support::database::Database;

const GRANTS: usize = 20;
const CALLERS: usize = 40;
/// After so many calls all grants expire.
const ROUND: usize = 500;

struct Run {
    client: Client,
    provider: AuthorizationServer,
    database: Mutex<Option<PgConnection>>,
    calls: AtomicUsize,
    /// How often each grant has expired.
    expiries: Vec<AtomicUsize>,
    took: Mutex<Vec<Duration>>,
    violations: Mutex<Vec<String>>,
}

pub async fn run(database: Database, calls: usize) -> Figures {
    let mut environment = super::kills::environment(&database);
    // Grants expire by a statement of ours, and each call after it must see that. A token in memory is returned until the
    // report of that change has arrived.
    environment.push(("AGENT_AUTH_TOKEN_CACHE".into(), "off".into()));
    let servers = [Server::start(&environment).await, Server::start(&environment).await];
    let provider = AuthorizationServer::rotating(Duration::ZERO).await;
    let key = &database.bootstrap_key;
    servers[0].post(key, "/v2/auth/providers", &provider.definition("acme")).await;
    let url = &database.postgres.as_ref().expect("two replicas share PostgreSQL").url;
    let run = Arc::new(Run {
        client: Client::new(key, &servers),
        provider,
        database: Mutex::new(Some(PgConnection::connect(url).await.expect("connects"))),
        calls: AtomicUsize::new(0),
        expiries: (0..GRANTS).map(|_| AtomicUsize::new(0)).collect(),
        took: Mutex::default(),
        violations: Mutex::default(),
    });
    for user in 0..GRANTS {
        run.connect(user).await;
    }
    let begun = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let run = Arc::clone(&run);
        tokio::spawn(async move { while run.one_of(calls).await {} })
    });
    for caller in join_all(callers).await {
        caller.expect("no panic");
    }
    // Whatever expired last is asked for once more, so that every expiry has had its refresh.
    for user in 0..GRANTS {
        run.call(user).await;
    }
    run.figures(calls, begun.elapsed())
}

impl Run {
    async fn connect(&self, user: usize) {
        let Reply::Answer { body, .. } = self.client.authenticate("acme", &name(user)).await else {
            panic!("no answer");
        };
        let url = body["url"].as_str().unwrap_or_else(|| panic!("no url: {body}"));
        let page = self.client.come_back(&self.provider.consent(url)).await;
        assert!(matches!(page, Reply::Answer { status: 303, .. }), "{page:?}");
    }

    /// One of so many calls; false when they are all made.
    async fn one_of(&self, calls: usize) -> bool {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if number >= calls {
            return false;
        }
        if number % ROUND == ROUND / 2 {
            self.expire_all().await;
            println!("{number:>6} of {calls} calls, {} refreshes", self.provider.rotations());
        }
        self.call(rand::random_range(0..GRANTS)).await;
        true
    }

    async fn call(&self, user: usize) {
        let expired_before = self.expiries[user].load(Ordering::SeqCst);
        let begun = Instant::now();
        let reply = self.client.authenticate("acme", &name(user)).await;
        self.took.lock().unwrap().push(begun.elapsed());
        let given = match &reply {
            Reply::Answer { status: 200, body, .. } => body["token"].as_str().map(identity),
            _ => None,
        };
        match given {
            None => self.violated(format!("{}: no token but {reply:?}", name(user))),
            Some((_, serial)) if serial < expired_before => {
                self.violated(format!("{}: token {serial} although {expired_before} have expired", name(user)));
            }
            Some(_) => {}
        }
    }

    fn violated(&self, violation: String) {
        self.violations.lock().unwrap().push(violation);
    }

    /// Makes every token that is good an expired one, behind the servers' backs.
    async fn expire_all(&self) {
        // Taken out, so that no lock is held meanwhile; whoever finds nothing leaves it to the other.
        let Some(mut database) = self.database.lock().unwrap().take() else { return };
        let users: Vec<String> = sqlx::query_scalar(
            "UPDATE tokens SET expires_at = now() - interval '1 second', refresh_due_at = now() - interval '1 minute'
             WHERE expires_at > now() RETURNING user_id",
        )
        .fetch_all(&mut database)
        .await
        .expect("tokens expire");
        *self.database.lock().unwrap() = Some(database);
        let numbers: HashMap<String, usize> = (0..GRANTS).map(|user| (name(user), user)).collect();
        for user in users {
            self.expiries[numbers[&user]].fetch_add(1, Ordering::SeqCst);
        }
    }

    fn figures(&self, calls: usize, in_all: Duration) -> Figures {
        let mut figures =
            Figures::new("Calls over two replicas on PostgreSQL while grants expire; no grace at the provider");
        let mut took = std::mem::take(&mut *self.took.lock().unwrap());
        took.sort_unstable();
        let expiries: usize = self.expiries.iter().map(|count| count.load(Ordering::SeqCst)).sum();
        let milliseconds = |part: usize| format!("{:.1}", took[(took.len() - 1) * part / 100].as_secs_f64() * 1000.0);
        figures.note("authenticate calls", &calls);
        figures.note("seconds", &&in_all.as_secs());
        figures.note("milliseconds a call, median", &milliseconds(50));
        figures.note("milliseconds a call, 99 of 100", &milliseconds(99));
        figures.note("grants", &GRANTS);
        figures.note("expired grants", &expiries);
        figures.promise("refreshes at the provider", &self.provider.rotations(), &expiries);
        figures.promise("reused refresh tokens", &self.provider.reuses(), &0);
        figures.promise("grants the provider has ended", &self.provider.dead_grants(), &0);
        figures.violations(std::mem::take(&mut *self.violations.lock().unwrap()));
        figures
    }
}

fn name(user: usize) -> String {
    format!("user-{user}")
}
