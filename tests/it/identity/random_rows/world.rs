//! The rows, the keys, and what each key should reach: computed from what was made, without the server's rules.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::super::routes::PREFIXES;
use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::caller::Caller;
use crate::support::database::random_text;

/// Names repeat in all workspaces. The last two providers send people; the others give their client tokens at once.
pub const PROVIDERS: [&str; 6] = ["p0", "p1", "p2", "p3", "people0", "people1"];
pub const USERS: [&str; 3] = ["u0", "u1", "u2"];
/// The first, an empty text, means no agent.
pub const AGENTS: [&str; 4] = ["", "a0", "a1", "a2"];
/// Two of an organization, and one of the same name in another.
const WORKSPACES: [(&str, &str); 3] = [("org-a", "main"), ("org-a", "other"), ("org-b", "main")];
const TOKENS: usize = 90;
const ROWS: usize = 200;

#[derive(Clone, Debug)]
pub struct Token {
    workspace: usize,
    pub id: String,
    pub provider: String,
    user: String,
    ls_user: String,
    agent: String,
}

impl Token {
    /// True when it is in the list of this user.
    pub fn is_of(&self, user: &str) -> bool {
        self.user == user || self.ls_user == user
    }
}

#[derive(Clone, Debug)]
pub enum Row {
    Provider { workspace: usize, id: String, is_slack: bool },
    Token(Token),
    Connection { id: String, agent: String, token: String },
    Request { workspace: usize, auth_id: String, state: String, provider: String, user: String, agent: String },
}

pub struct Key {
    pub name: &'static str,
    caller: Caller,
    pub workspace: usize,
    providers: Option<BTreeSet<&'static str>>,
    agents: Option<BTreeSet<&'static str>>,
    users: Option<BTreeSet<&'static str>>,
}

impl Key {
    pub fn reaches_provider(&self, provider: &str) -> bool {
        self.providers.as_ref().is_none_or(|inside| inside.contains(provider))
    }

    pub fn reaches_agent(&self, agent: &str) -> bool {
        self.agents.as_ref().is_none_or(|inside| inside.contains(agent))
    }

    pub fn reaches_user(&self, user: &str) -> bool {
        self.users.as_ref().is_none_or(|inside| inside.contains(user))
    }

    pub fn has_limits(&self) -> bool {
        self.providers.is_some() || self.is_for_some()
    }

    /// True for a key that is limited to agents or users.
    pub fn is_for_some(&self) -> bool {
        self.agents.is_some() || self.users.is_some()
    }

    /// A user it may act for.
    pub fn a_user(&self) -> String {
        (*USERS.iter().find(|user| self.reaches_user(user)).unwrap()).to_owned()
    }

    /// The user in whose list the token is, if the key may act for them.
    pub fn a_user_of(&self, token: &Token) -> String {
        let users = [&token.user, &token.ls_user];
        users.into_iter().find(|user| self.reaches_user(user)).cloned().unwrap_or_else(|| self.a_user())
    }
}

pub struct World {
    pub rows: Vec<Row>,
    pub keys: Vec<Key>,
    pub random: StdRng,
    /// Prefix, method and template of everything that was asked.
    pub asked: BTreeSet<(usize, &'static str, &'static str)>,
    /// Gives every client a new token.
    server: AuthorizationServer,
}

fn grant(_: &crate::support::authorization_server::Request) -> Reply {
    Reply::json(json!({"access_token": random_text("access-"), "token_type": "Bearer", "expires_in": 3600}))
}

impl World {
    pub async fn make(app: &TestApp, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let server = AuthorizationServer::custom(grant).await;
        let mut world = Self { rows: Vec::new(), keys: Vec::new(), random, asked: BTreeSet::new(), server };
        for (workspace, name) in ["a/main", "a/other", "b/main"].into_iter().enumerate() {
            world.add_key(app, name, workspace, [None, None, None]).await;
        }
        let providers = Some(world.some(&PROVIDERS[..4], 2).union(&world.some(&PROVIDERS[4..], 1)).copied().collect());
        world.add_key(app, "some providers of a/main", 0, [providers, None, None]).await;
        let (agents, users) = (world.some(&AGENTS[1..], 2), world.some(&USERS, 2));
        world.add_key(app, "some agents and users of a/main", 0, [None, Some(agents), Some(users)]).await;

        for workspace in 0..WORKSPACES.len() {
            // At least one provider in each workspace is not there.
            let absent = world.random.random_range(0..4);
            for (index, provider) in PROVIDERS.into_iter().enumerate().filter(|(index, _)| *index != absent) {
                world.add_provider(workspace, provider, index < 4).await;
            }
        }
        let mut subjects = world.all_subjects();
        while world.tokens().count() < TOKENS {
            let subject = subjects.swap_remove(world.random.random_range(0..subjects.len()));
            world.add_token(subject).await;
        }
        while world.rows.len() < ROWS {
            if world.random.random() {
                world.add_connection().await;
            } else {
                world.add_request().await;
            }
        }
        world
    }

    fn some(&mut self, names: &[&'static str], count: usize) -> BTreeSet<&'static str> {
        names.sample(&mut self.random, count).copied().collect()
    }

    async fn add_key(
        &mut self,
        app: &TestApp,
        name: &'static str,
        workspace: usize,
        limits: [Option<BTreeSet<&'static str>>; 3],
    ) {
        let (organization, named) = WORKSPACES[workspace];
        let tenant = ["--role", "admin", "--kind", "service", "--organization", organization, "--workspace", named];
        let mut options = tenant.to_vec();
        for (option, limit) in ["--only-provider", "--only-agent", "--only-user"].into_iter().zip(&limits) {
            options.extend(limit.iter().flatten().flat_map(|inside| [option, inside]));
        }
        let caller = app.new_key(&options).await;
        let [providers, agents, users] = limits;
        self.keys.push(Key { name, caller, workspace, providers, agents, users });
    }

    async fn add_provider(&mut self, workspace: usize, id: &str, is_client: bool) {
        let is_slack = is_client && self.random.random();
        let mut definition = self.server.definition(id);
        definition["provider_type"] = if is_slack { "slack".into() } else { Value::Null };
        if is_client {
            definition["grant_type"] = "client_credentials".into();
        }
        self.keys[workspace].caller.register_as(definition).await;
        self.rows.push(Row::Provider { workspace, id: id.to_owned(), is_slack });
    }

    /// Everybody who could have a token: workspace, provider, user, agent.
    fn all_subjects(&self) -> Vec<(usize, String, &'static str, &'static str)> {
        let mut subjects = Vec::new();
        for row in &self.rows {
            let Row::Provider { workspace, id, .. } = row else { continue };
            if id.starts_with("people") {
                continue;
            }
            for user in USERS {
                subjects.extend(AGENTS.map(|agent| (*workspace, id.clone(), user, agent)));
            }
        }
        subjects
    }

    async fn add_token(&mut self, (workspace, provider, user, agent): (usize, String, &str, &str)) {
        let ls_user = *USERS.choose(&mut self.random).unwrap();
        let mut body = json!({"provider": provider, "scopes": ["read"], "user_id": user});
        if !agent.is_empty() {
            body["agent_id"] = agent.into();
        }
        let answer = self.keys[workspace].caller.acting_for(ls_user).authenticate(&body).await;
        let id = answer["metadata"]["token_id"].as_str().unwrap_or_else(|| panic!("{body}: {answer}")).to_owned();
        let (user, ls_user, agent) = (user.to_owned(), ls_user.to_owned(), agent.to_owned());
        self.rows.push(Row::Token(Token { workspace, id, provider, user, ls_user, agent }));
    }

    async fn add_connection(&mut self) {
        let tokens: Vec<Token> = self.tokens().cloned().collect();
        let token = tokens.choose(&mut self.random).unwrap();
        let agent = *AGENTS[1..].choose(&mut self.random).unwrap();
        let is_there =
            |row: &Row| matches!(row, Row::Connection { agent: a, token: t, .. } if a == agent && *t == token.id);
        if !self.rows.iter().any(is_there) {
            let caller = &self.keys[token.workspace].caller;
            let connection = caller.connect_agent(agent, &json!(token.id)).await;
            let id = connection["id"].as_str().unwrap().to_owned();
            self.rows.push(Row::Connection { id, agent: agent.to_owned(), token: token.id.clone() });
        }
    }

    async fn add_request(&mut self) {
        let workspace = self.random.random_range(0..WORKSPACES.len());
        let provider = *PROVIDERS[4..].choose(&mut self.random).unwrap();
        let (user, agent) = (*USERS.choose(&mut self.random).unwrap(), *AGENTS.choose(&mut self.random).unwrap());
        let mut body = json!({"provider": provider, "scopes": ["read"], "user_id": user});
        if !agent.is_empty() {
            body["agent_id"] = agent.into();
        }
        let pending = self.keys[workspace].caller.begin(&body).await;
        self.rows.push(Row::Request {
            workspace,
            state: pending.state(),
            auth_id: pending.auth_id,
            provider: provider.to_owned(),
            user: user.to_owned(),
            agent: agent.to_owned(),
        });
    }

    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.rows.iter().filter_map(|row| if let Row::Token(token) = row { Some(token) } else { None })
    }

    /// Forgets tokens that were deleted, with their connections.
    pub fn forget(&mut self, gone: &BTreeSet<String>) {
        self.rows.retain(|row| match row {
            Row::Token(Token { id: token, .. }) | Row::Connection { token, .. } => !gone.contains(token),
            Row::Provider { .. } | Row::Request { .. } => true,
        });
    }

    pub fn is_slack(&self, token: &Token) -> bool {
        self.rows.iter().any(|row| match row {
            Row::Provider { workspace, id, is_slack } => {
                *is_slack && *workspace == token.workspace && *id == token.provider
            }
            _ => false,
        })
    }

    pub fn providers_of(&self, key: usize) -> BTreeSet<String> {
        let key = &self.keys[key];
        let of_key = self.rows.iter().filter_map(|row| match row {
            Row::Provider { workspace, id, .. } if *workspace == key.workspace && key.reaches_provider(id) => Some(id),
            _ => None,
        });
        of_key.cloned().collect()
    }

    /// What a request that names the provider gets: refused, not found, or an answer.
    pub fn status_of_provider(&self, key: usize, provider: &str) -> u16 {
        if !self.keys[key].reaches_provider(provider) {
            403
        } else if self.providers_of(key).contains(provider) {
            200
        } else {
            404
        }
    }

    fn reaches(&self, key: usize, token: &Token) -> bool {
        let key = &self.keys[key];
        token.workspace == key.workspace && key.reaches_provider(&token.provider) && key.reaches_user(&token.user)
    }

    /// The key may change and delete it.
    pub fn owned(&self, key: usize, token: &Token) -> bool {
        self.reaches(key, token) && self.keys[key].reaches_agent(&token.agent)
    }

    /// The key may see and use it.
    pub fn usable(&self, key: usize, token: &Token) -> bool {
        let connected = AGENTS[1..].iter().filter(|agent| self.is_connected(agent, token));
        let mut connected = connected.filter(|agent| self.keys[key].reaches_agent(agent));
        self.owned(key, token) || (self.reaches(key, token) && connected.next().is_some())
    }

    fn is_connected(&self, agent: &str, token: &Token) -> bool {
        self.rows.iter().any(
            |row| matches!(row, Row::Connection { agent: connected, token: to, .. } if connected == agent && *to == token.id),
        )
    }

    /// The tokens in the list of a user.
    pub fn listed(&self, key: usize, user: &str, provider: Option<&str>) -> impl Iterator<Item = &Token> {
        let is_listed = move |token: &&Token| {
            token.is_of(user) && provider.is_none_or(|provider| token.provider == provider) && self.usable(key, token)
        };
        self.tokens().filter(is_listed)
    }

    /// The tokens that an agent of a user may use.
    pub fn usable_by(&self, key: usize, provider: &str, user: &str, agent: &str) -> impl Iterator<Item = &Token> {
        self.tokens().filter(move |token| {
            let is_usable = token.agent == agent || (!agent.is_empty() && self.is_connected(agent, token));
            self.reaches(key, token) && token.provider == provider && token.user == user && is_usable
        })
    }

    pub fn connections_of(&self, key: usize, agent: &str) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for row in &self.rows {
            let Row::Connection { id, agent: of, token } = row else { continue };
            let token = self.tokens().find(|known| known.id == *token).unwrap();
            if of == agent && self.keys[key].reaches_agent(agent) && self.reaches(key, token) {
                ids.insert(id.clone());
            }
        }
        ids
    }

    pub fn reaches_request(&self, key: usize, row: &Row) -> bool {
        let key = &self.keys[key];
        match row {
            Row::Request { workspace, provider, user, agent, .. } => {
                *workspace == key.workspace
                    && key.reaches_provider(provider)
                    && key.reaches_user(user)
                    && key.reaches_agent(agent)
            }
            _ => false,
        }
    }

    /// How many rows each table has, and everything that the keys of whole workspaces see.
    pub async fn stored(&mut self, app: &TestApp) -> (BTreeMap<String, i64>, Vec<Value>) {
        let mut seen = Vec::new();
        for key in 0..WORKSPACES.len() {
            for user in USERS {
                seen.push(self.get(key, user, "/v2/auth/providers", &[], "").await.expect(200));
                seen.push(self.get(key, user, "/v2/auth/tokens", &[], "").await.expect(200));
            }
            for agent in &AGENTS[1..] {
                seen.push(
                    self.get(key, "u0", "/v2/auth/agents/{agent_id}/connections", &[agent], "").await.expect(200),
                );
            }
        }
        let mut counts = app.database.row_counts().await;
        // What the server does on its own, and its record of what it refused.
        counts.retain(|table, _| !["jobs", "servers", "audit_events"].contains(&&**table));
        (counts, seen)
    }

    pub async fn get(&mut self, key: usize, user: &str, path: &'static str, names: &[&str], query: &str) -> Answer {
        self.ask(key, user, "GET", path, names, query, None).await
    }

    pub async fn post(&mut self, key: usize, user: &str, path: &'static str, names: &[&str], body: &Value) -> Answer {
        self.ask(key, user, "POST", path, names, "", Some(body)).await
    }

    /// Sends a request below either prefix; `names` are put into the template of the path.
    #[expect(clippy::too_many_arguments, reason = "the parts of a request")]
    pub async fn ask(
        &mut self,
        key: usize,
        user: &str,
        method: &'static str,
        template: &'static str,
        names: &[&str],
        query: &str,
        body: Option<&Value>,
    ) -> Answer {
        let random = self.random.random_range(0..PREFIXES.len());
        // First one that it was not asked below yet: some are asked only a few times.
        let asked = |prefix: &usize| self.asked.contains(&(*prefix, method, template));
        let prefix = (0..PREFIXES.len()).find(|prefix| !asked(prefix)).unwrap_or(random);
        self.asked.insert((prefix, method, template));
        let mut names = names.iter();
        let steps = template.split('/').map(|step| {
            if step.starts_with('{') {
                (*names.next().expect("a name for each step")).to_owned()
            } else {
                step.to_owned()
            }
        });
        let path = format!("{}{}{query}", PREFIXES[prefix], steps.collect::<Vec<_>>().join("/"));
        let caller = self.keys[key].caller.acting_for(user).with("content-type", "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        caller.send(method.parse().expect("a method"), &path, body).await
    }
}
