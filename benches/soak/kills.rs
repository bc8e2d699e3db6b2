//! Servers killed and providers failing, again and again, under mixed load.
//! Owns: the kills, the faults, and the figures of what they cost.
//! Must not know: what the load does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::client::Client;
use super::crowd::{Crowd, Standing};
use super::figures::Figures;
use crate::support::authorization_server::{AuthorizationServer, Reply, TOKEN};
use crate::support::binary::Server;
use crate::support::caller::with;
use crate::support::database::Database;
use crate::support::fault_proxy::{Fault, FaultProxy, PHASES};

const USERS: usize = 16;
const AGENTS: usize = 12;
/// What real providers give, about.
const GRACE: Duration = Duration::from_mins(1);
/// How long access tokens live. Short, so that there is always one to be refreshed.
const EXPIRES_IN: u64 = 2;

/// How much is done.
#[derive(Clone, Copy)]
pub struct Plan {
    pub kills: usize,
    pub faults: usize,
}

/// What a server is started with here.
pub fn environment(database: &Database) -> Vec<(String, String)> {
    let mut environment = database.environment();
    for (key, value) in [("PROVIDER_TIMEOUT_SECONDS", "2"), ("LOG", "error")] {
        environment.push((format!("AGENT_AUTH_{key}"), value.to_owned()));
    }
    environment
}

struct Site {
    client: Client,
    /// At a provider with grace, and at one that forgives nothing.
    crowds: [Crowd; 2],
    proxies: [FaultProxy; 2],
    over: AtomicBool,
}

pub async fn run(title: &str, database: Database, replicas: usize, plan: Plan) -> Figures {
    let environment = environment(&database);
    let mut servers = Vec::new();
    for _ in 0..replicas {
        servers.push(Server::start(&environment).await);
    }
    let site = Arc::new(site(&database, &servers).await);
    let begun = Instant::now();
    let agents: Vec<_> = (0..AGENTS)
        .map(|number| {
            let site = Arc::clone(&site);
            tokio::spawn(async move {
                while !site.over.load(Ordering::SeqCst) {
                    site.crowds[number % 2].use_once(&site.client).await;
                    tokio::time::sleep(Duration::from_millis(rand::random_range(0..60))).await;
                }
            })
        })
        .collect();
    let mut figures = Figures::new(&format!("{title}: kills and faults under mixed load"));
    let (mut faults, mut panics) = (0, 0);
    for kill in 1..=plan.kills {
        while faults < plan.faults * kill / plan.kills {
            site.spoil();
            faults += 1;
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..800))).await;
        if kill % 2 == 0 {
            site.in_a_bad_moment().await;
        }
        let replica = rand::random_range(0..replicas);
        let server = servers.swap_remove(replica);
        server.signal("KILL");
        panics += usize::from(server.ended().await.1.contains("panicked"));
        let server = Server::start(&environment).await;
        site.client.moved(replica, &server);
        servers.push(server);
        servers.swap(replica, replicas - 1);
        if kill % 10 == 0 {
            println!("{title}: {kill} kills, {faults} faults, {:.0} s", begun.elapsed().as_secs_f64());
        }
    }
    site.over.store(true, Ordering::SeqCst);
    for agent in join_all(agents).await {
        agent.expect("no panic");
    }
    site.proxies.iter().for_each(FaultProxy::relent);
    site.crowds.iter().for_each(|crowd| crowd.provider.forget_answers());
    figures.note("seconds", &format!("{:.0}", begun.elapsed().as_secs_f64()));
    figures.note("kill -9", &plan.kills);
    figures.note("provider faults", &faults);
    // Now every access token has expired: in the end each grant has to prove that it can be refreshed.
    tokio::time::sleep(Duration::from_secs(EXPIRES_IN + 1)).await;
    site.figures(&mut figures).await;
    figures.promise("servers that panicked", &panics, &0);
    figures
}

async fn site(database: &Database, servers: &[Server]) -> Site {
    let key = &database.bootstrap_key;
    let (graceful, strict) =
        (AuthorizationServer::rotating(GRACE).await, AuthorizationServer::rotating(Duration::ZERO).await);
    let proxies = [FaultProxy::before(graceful.address()).await, FaultProxy::before(strict.address()).await];
    let crowds = [Crowd::new("graceful", graceful, USERS), Crowd::new("strict", strict, USERS)];
    for (crowd, proxy) in crowds.iter().zip(&proxies) {
        crowd.provider.expires_in(EXPIRES_IN);
        let definition = with(crowd.provider.definition(crowd.provider_id), json!({"token_url": proxy.at("/token")}));
        servers[0].post(key, "/v2/auth/providers", &definition).await;
    }
    Site { client: Client::new(key, servers), crowds, proxies, over: AtomicBool::new(false) }
}

impl Site {
    /// One fault at one of the providers.
    fn spoil(&self) {
        let side = rand::random_range(0..2);
        let provider = &self.crowds[side].provider;
        let phase = PHASES[rand::random_range(0..PHASES.len())];
        let dead = json!({"error": "invalid_grant"});
        match rand::random_range(0..7) {
            0 => self.proxies[side].spoil_next(phase, Fault::Cut),
            1 => self.proxies[side].spoil_next(phase, Fault::Reset),
            2 => self.proxies[side].spoil_next(phase, Fault::Stall),
            3 => self.proxies[side].spoil_next(phase, Fault::Late(Duration::from_millis(500))),
            4 => provider.answer_token(Reply::json(dead).status(503)),
            5 => provider.answer_token(Reply::json(dead).status(429).header("retry-after", "1")),
            _ => provider.answer_token(Reply::text("text/html", "<h1>Forbidden</h1>").status(403)),
        }
    }

    /// Waits until a provider is asked for a token, and a moment more.
    async fn in_a_bad_moment(&self) {
        let asked = || self.crowds.iter().map(|crowd| crowd.provider.count(TOKEN)).sum::<usize>();
        let (before, begun) = (asked(), Instant::now());
        while asked() == before && begun.elapsed() < Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..8000))).await;
    }

    async fn figures(&self, figures: &mut Figures) {
        let mut violations = Vec::new();
        for crowd in &self.crowds {
            let Standing { told, kept, asked } = crowd.settle(&self.client).await;
            let (id, provider) = (crowd.provider_id, &crowd.provider);
            for (answer, count) in crowd.tally() {
                figures.note(&format!("{id}: {answer}"), &count);
            }
            figures.note(&format!("{id}: grants"), &provider.grants());
            figures.note(&format!("{id}: refreshes"), &provider.rotations());
            figures.note(&format!("{id}: refresh tokens used again"), &provider.reuses());
            let longest = provider.longest_grace_taken();
            figures.note(
                &format!("{id}: longest time until one was used again (s)"),
                &format!("{:.1}", longest.as_secs_f64()),
            );
            if id == "graceful" {
                figures.promise("graceful: grants lost", &provider.dead_grants(), &0);
            } else {
                figures.note("strict: grants lost, each shown as consent needed", &provider.dead_grants());
            }
            figures.note(&format!("{id}: users who are asked for consent in the end"), &asked);
            figures.promise(
                &format!("{id}: users whose token is readable in the end, or who are asked"),
                &(kept + asked),
                &told,
            );
            violations.extend(crowd.take_violations());
        }
        figures.violations(violations);
    }
}
