//! An authorization server that rotates refresh tokens and takes the use of an old one for theft (RFC 9700, section 4.14.2).
//! Owns the families of tokens, the grace it gives, and the record of what became of each grant.
//! Must not know the application: it sees only what goes over the wire.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::watch;
use url::{Url, form_urlencoded};
use uuid::Uuid;

use super::scripted::Scripted;
use super::served::Served;

/// One consent and all tokens that came of it.
#[derive(Debug)]
struct Grant {
    refresh_token: String,
    access_token: String,
    /// Refresh tokens that were used, and when first.
    spent: HashMap<String, Instant>,
    refreshes: usize,
    is_dead: bool,
}

struct Records {
    grace: Duration,
    expires_in: AtomicU64,
    grants: Mutex<Vec<Grant>>,
    codes: Mutex<HashSet<String>>,
    script: Mutex<VecDeque<Scripted>>,
    reuses: AtomicUsize,
    longest_grace_taken: Mutex<Duration>,
    requests: AtomicUsize,
    held: watch::Sender<bool>,
    holding: AtomicUsize,
}

pub struct RotatingProvider {
    pub served: Served,
    records: Arc<Records>,
}

impl RotatingProvider {
    /// A refresh token works for `grace` more after its first use; with none, its second use kills the grant.
    pub async fn start(grace: Duration) -> Self {
        let records = Arc::new(Records {
            grace,
            expires_in: AtomicU64::new(3600),
            grants: Mutex::default(),
            codes: Mutex::default(),
            script: Mutex::default(),
            reuses: AtomicUsize::new(0),
            longest_grace_taken: Mutex::default(),
            requests: AtomicUsize::new(0),
            held: watch::Sender::new(false),
            holding: AtomicUsize::new(0),
        });
        let routes = Router::new().route("/token", post(token_endpoint)).with_state(Arc::clone(&records));
        Self { served: Served::start(routes).await, records }
    }

    pub fn at(&self, path: &str) -> String {
        self.served.at(path)
    }

    /// What registers this server, with its token endpoint there.
    pub fn definition(&self, provider_id: &str, token_url: &str) -> Value {
        json!({
            "provider_id": provider_id,
            "name": "Rotating Inc.",
            "client_id": "rotating-client",
            "client_secret": "rotating-client-secret",
            "auth_url": self.at("/authorize"),
            "token_url": token_url,
            "uses_pkce": true,
        })
    }

    /// Access tokens live so many seconds from now on.
    pub fn expires_in(&self, seconds: u64) {
        self.records.expires_in.store(seconds, Ordering::SeqCst);
    }

    /// The person at `url` agrees: where the provider sends the browser then.
    pub fn consent(&self, url: &str) -> Url {
        let url = Url::parse(url).expect("a URL");
        let value = |name: &str| {
            let mut pairs = url.query_pairs();
            let found = pairs.find(|(key, _)| key == name);
            found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
        };
        let code = format!("code-{}", Uuid::new_v4().simple());
        self.records.codes.lock().unwrap().insert(code.clone());
        let mut target = Url::parse(&value("redirect_uri")).expect("redirect_uri is a URL");
        target.query_pairs_mut().append_pair("code", &code).append_pair("state", &value("state"));
        target
    }

    /// The next token request is answered with this, and nothing else happens.
    pub fn answer_next(&self, answer: Scripted) {
        self.records.script.lock().unwrap().push_back(answer);
    }

    /// Scripted answers that were not given yet are forgotten.
    pub fn relent(&self) {
        self.records.script.lock().unwrap().clear();
    }

    /// Answers are held back from now on; what was asked for is done nevertheless.
    pub fn hold(&self) {
        self.records.held.send_replace(true);
    }

    /// Answers go out again, also those that were held.
    pub fn let_go(&self) {
        self.records.held.send_replace(false);
    }

    /// Waits until so many answers are held.
    pub async fn holds(&self, answers: usize) {
        let begun = Instant::now();
        while self.records.holding.load(Ordering::SeqCst) < answers {
            assert!(begun.elapsed() < Duration::from_secs(30), "the provider was never asked");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// All requests to the token endpoint.
    pub fn requests(&self) -> usize {
        self.records.requests.load(Ordering::SeqCst)
    }

    /// How often a refresh gave a new token, over all grants.
    pub fn refreshes(&self) -> usize {
        self.records.grants.lock().unwrap().iter().map(|grant| grant.refreshes).sum()
    }

    /// How often a spent refresh token was used, within the grace or after it.
    pub fn reuses(&self) -> usize {
        self.records.reuses.load(Ordering::SeqCst)
    }

    /// The longest time from the first use of a refresh token to its last.
    pub fn longest_grace_taken(&self) -> Duration {
        *self.records.longest_grace_taken.lock().unwrap()
    }

    /// How many grants there were ever.
    pub fn grants(&self) -> usize {
        self.records.grants.lock().unwrap().len()
    }

    /// How many of them the use of an old refresh token has killed.
    pub fn dead_grants(&self) -> usize {
        self.records.grants.lock().unwrap().iter().filter(|grant| grant.is_dead).count()
    }

    pub fn is_dead(&self, grant: usize) -> bool {
        self.records.grants.lock().unwrap()[grant].is_dead
    }

    /// True for the newest access token of a grant that lives.
    pub fn is_newest(&self, access_token: &str) -> bool {
        let (grant, _) = identity(access_token);
        let grants = self.records.grants.lock().unwrap();
        !grants[grant].is_dead && grants[grant].access_token == access_token
    }
}

/// Which grant an access token is of, and after how many refreshes it was given.
pub fn identity(access_token: &str) -> (usize, usize) {
    let mut parts = access_token.split('-').skip(1).map(|part| part.parse().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(grant), Some(serial)) => (grant, serial),
        _ => panic!("{access_token} is no token of this provider"),
    }
}

async fn token_endpoint(State(records): State<Arc<Records>>, body: Bytes) -> Response {
    let scripted = records.script.lock().unwrap().pop_front();
    let answer = scripted.unwrap_or_else(|| answer(&records, &body));
    records.requests.fetch_add(1, Ordering::SeqCst);
    let mut held = records.held.subscribe();
    if *held.borrow_and_update() {
        records.holding.fetch_add(1, Ordering::SeqCst);
        let _holding = Holding(&records.holding);
        // An error would mean that the provider is gone, and with it this answer.
        drop(held.wait_for(|held| !held).await);
    }
    let mut response = answer.give(Arc::default()).await;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Counts one less when the answer went out, and also when nobody wants it any more.
struct Holding<'a>(&'a AtomicUsize);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn answer(records: &Records, body: &[u8]) -> Scripted {
    let form: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let value = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let given = match value("grant_type") {
        "authorization_code" => exchange(records, value("code")),
        "refresh_token" => refresh(records, value("refresh_token")),
        _ => None,
    };
    let Some((access_token, refresh_token)) = given else {
        return Scripted::json(json!({"error": "invalid_grant"})).status(400);
    };
    Scripted::json(json!({
        "access_token": access_token,
        "refresh_token": refresh_token,
        "token_type": "Bearer",
        "expires_in": records.expires_in.load(Ordering::SeqCst),
    }))
}

fn exchange(records: &Records, code: &str) -> Option<(String, String)> {
    records.codes.lock().unwrap().take(code)?;
    let mut grants = records.grants.lock().unwrap();
    let (access_token, refresh_token) = pair(grants.len(), 0);
    grants.push(Grant {
        refresh_token: refresh_token.clone(),
        access_token: access_token.clone(),
        spent: HashMap::new(),
        refreshes: 0,
        is_dead: false,
    });
    Some((access_token, refresh_token))
}

fn refresh(records: &Records, presented: &str) -> Option<(String, String)> {
    let mut grants = records.grants.lock().unwrap();
    let number = presented.split('-').nth(1)?.parse::<usize>().ok()?;
    let grant = grants.get_mut(number)?;
    if grant.refresh_token != presented && !grant.spent.contains_key(presented) {
        return None;
    }
    let first_use = *grant.spent.entry(presented.to_owned()).or_insert_with(Instant::now);
    if grant.refresh_token != presented {
        records.reuses.fetch_add(1, Ordering::SeqCst);
        let mut longest = records.longest_grace_taken.lock().unwrap();
        *longest = longest.max(first_use.elapsed());
        grant.is_dead |= first_use.elapsed() >= records.grace;
    }
    if grant.is_dead {
        return None;
    }
    grant.refreshes += 1;
    let superseded = std::mem::take(&mut grant.refresh_token);
    if superseded != presented {
        // Its answer was lost: it never gets old, but may still be used if it was not lost after all.
        grant.spent.entry(superseded).or_insert_with(Instant::now);
    }
    let (access_token, refresh_token) = pair(number, grant.refreshes);
    grant.refresh_token.clone_from(&refresh_token);
    grant.access_token.clone_from(&access_token);
    Some((access_token, refresh_token))
}

fn pair(grant: usize, serial: usize) -> (String, String) {
    let random = Uuid::new_v4().simple();
    (format!("access-{grant}-{serial}-{random}"), format!("refresh-{grant}-{serial}-{random}"))
}
