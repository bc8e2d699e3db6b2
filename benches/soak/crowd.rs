//! People and agents who use a broker whose servers are killed under them.
//! Owns: what each of them was told, and noticing when a promise to them is broken.
//! Must not know: who kills, or what is wrong with the network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, Reply};
use crate::support::authorization_server::{AuthorizationServer, identity};

/// After the last fault a grant is settled within this: the longest cool-down of a provider and some more.
const SETTLED_WITHIN: Duration = Duration::from_mins(2);
/// One in so many calls is for somebody new, who has to consent first.
const NEWCOMER: usize = 40;

/// A user of one provider, whom several agents work for at the same time.
struct User {
    name: String,
    /// The newest token anybody was told of: which grant, after how many refreshes.
    told: Mutex<Option<(usize, usize)>>,
    /// One person consents once at a time.
    consenting: tokio::sync::Mutex<()>,
}

impl User {
    fn new(number: usize) -> Arc<Self> {
        Arc::new(Self {
            name: format!("user-{number}"),
            told: Mutex::default(),
            consenting: tokio::sync::Mutex::default(),
        })
    }
}

/// The users of one provider.
pub struct Crowd {
    pub provider_id: &'static str,
    pub provider: AuthorizationServer,
    /// How many of the users are there from the beginning and come all the time.
    regulars: usize,
    users: Mutex<Vec<Arc<User>>>,
    tally: Mutex<BTreeMap<String, usize>>,
    violations: Mutex<Vec<String>>,
}

/// How the grants stand in the end.
#[derive(Default)]
pub struct Standing {
    /// Users who were ever told of a token.
    pub told: usize,
    /// Of those, who have one.
    pub kept: usize,
    /// Of those, who are asked for consent.
    pub asked: usize,
}

impl Crowd {
    pub fn new(provider_id: &'static str, provider: AuthorizationServer, regulars: usize) -> Self {
        let users = Mutex::new((0..regulars).map(User::new).collect());
        Self { provider_id, provider, regulars, users, tally: Mutex::default(), violations: Mutex::default() }
    }

    /// Mostly one of the regulars, sometimes one of the others, now and then somebody new.
    fn any_user(&self) -> Arc<User> {
        let mut users = self.users.lock().unwrap();
        let among = match rand::random_range(0..NEWCOMER) {
            0 => {
                let newcomer = User::new(users.len());
                users.push(Arc::clone(&newcomer));
                return newcomer;
            }
            1..4 => users.len(),
            _ => self.regulars,
        };
        Arc::clone(&users[rand::random_range(0..among)])
    }

    /// How often each answer was given.
    pub fn tally(&self) -> BTreeMap<String, usize> {
        self.tally.lock().unwrap().clone()
    }

    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut *self.violations.lock().unwrap())
    }

    /// An agent of any user asks for the token, and the person consents where that is asked for.
    pub async fn use_once(&self, client: &Client) {
        let user = &*self.any_user();
        if self.ask(client, user).await.is_some() {
            let _consenting = user.consenting.lock().await;
            // Somebody else may have consented meanwhile.
            if let Some(pending) = self.ask(client, user).await {
                self.consent(client, user, &pending).await;
            }
        }
    }

    /// Asks for the token; gives the answer if it asks for consent.
    async fn ask(&self, client: &Client, user: &User) -> Option<Value> {
        let told_before = *user.told.lock().unwrap();
        let reply = client.authenticate(self.provider_id, &user.name).await;
        let body = self.judge("authenticate", user, reply)?;
        match body["status"].as_str() {
            Some("completed") => self.told(user, told_before, &body),
            Some("pending") => {
                if let Some((grant, _)) = told_before.filter(|(grant, _)| !self.provider.is_dead(*grant)) {
                    self.violated(user, &format!("asked for consent although grant {grant} lives"));
                }
                return Some(body);
            }
            _ => self.violated(user, &format!("authenticate answered {body}")),
        }
        None
    }

    async fn consent(&self, client: &Client, user: &User, pending: &Value) {
        let (Some(url), Some(auth_id)) = (pending["url"].as_str(), pending["auth_id"].as_str()) else {
            return self.violated(user, &format!("pending without a way on: {pending}"));
        };
        let told_before = *user.told.lock().unwrap();
        let page = client.come_back(&self.provider.consent(url)).await;
        self.judge("callback", user, page);
        let reply = client.wait(auth_id).await;
        let Some(body) = self.judge("wait", user, reply) else { return };
        match body["status"].as_str() {
            Some("completed") => self.told(user, told_before, &body),
            // The callback was lost with its server: whoever asks again is sent to consent again.
            Some("timeout" | "pending" | "not_found") => {}
            _ => self.violated(user, &format!("wait answered {body}")),
        }
    }

    /// The body of a 200. Everything else has to be an honest "try again".
    fn judge(&self, what: &str, user: &User, reply: Reply) -> Option<Value> {
        let seen = match &reply {
            Reply::Answer { status, .. } => format!("{what} {status}"),
            Reply::Gone => format!("{what} cut by a kill"),
            Reply::Hung => format!("{what} hung"),
        };
        *self.tally.lock().unwrap().entry(seen).or_default() += 1;
        match reply {
            Reply::Answer { status: 200, body, .. } => return Some(body),
            Reply::Gone
            | Reply::Answer { status: 303 | 502, .. }
            | Reply::Answer { status: 503 | 504, retry_after: Some(_), .. } => {}
            // A page of the callback: the person is told that it failed.
            Reply::Answer { status: 400 | 503 | 504, .. } if what == "callback" => {}
            _ => self.violated(user, &format!("{what}: {reply:?}")),
        }
        None
    }

    /// Told of this token: it may not be older than what was told before the question was asked.
    fn told(&self, user: &User, told_before: Option<(usize, usize)>, body: &Value) {
        let Some(token) = body["token"].as_str().map(identity) else {
            return self.violated(user, &format!("completed without a token: {body}"));
        };
        if told_before.is_some_and(|before| token < before) {
            self.violated(user, &format!("given token {token:?} after {told_before:?}"));
        }
        let mut told = user.told.lock().unwrap();
        *told = (*told).max(Some(token));
    }

    fn violated(&self, user: &User, violation: &str) {
        let violation = format!("{} at {}: {violation}", user.name, self.provider_id);
        println!("VIOLATED: {violation}");
        self.violations.lock().unwrap().push(violation);
    }

    /// Nothing is wrong any more: every grant that anybody was told of can be refreshed, or its loss is shown.
    pub async fn settle(&self, client: &Client) -> Standing {
        let mut standing = Standing::default();
        let users = self.users.lock().unwrap().clone();
        for user in &users {
            let Some((grant, serial)) = *user.told.lock().unwrap() else { continue };
            standing.told += 1;
            let begun = Instant::now();
            loop {
                let Reply::Answer { status: 200, body, .. } = client.authenticate(self.provider_id, &user.name).await
                else {
                    if begun.elapsed() > SETTLED_WITHIN {
                        self.violated(user, "told to try again for ever");
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    continue;
                };
                match body["token"].as_str().map(identity) {
                    Some(token) if token >= (grant, serial) && !self.provider.is_dead(token.0) => standing.kept += 1,
                    Some(token) => self.violated(user, &format!("{token:?} in the end, after {:?}", (grant, serial))),
                    None if body["status"] == "pending" && self.provider.is_dead(grant) => standing.asked += 1,
                    None => self.violated(user, &format!("grant {grant} is gone: {body}")),
                }
                break;
            }
        }
        standing
    }
}
