//! Two organizations, three workspaces, five keys and two hundred random rows: each key sees, uses and changes exactly
//! what is its own, at every route of the API, with and without the prefix.

mod world;

use std::collections::BTreeSet;

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use self::world::{AGENTS, PROVIDERS, Row, Token, USERS, World};
use super::routes::{Needs, OPERATIONS};
use crate::support::app::TestApp;
use crate::support::both_databases;

both_databases! {
    every_key_sees_uses_and_changes_exactly_its_own_at_every_route,
}

#[expect(clippy::print_stdout, reason = "a failure needs its seed to be repeated")]
async fn every_key_sees_uses_and_changes_exactly_its_own_at_every_route(app: TestApp) {
    let seed = rand::random::<u64>();
    println!("random rows: the seed is {seed}; World::make takes it");
    let mut world = World::make(&app, seed).await;
    assert_eq!(world.rows.len(), 200);
    assert_eq!(world.keys.len(), 5);
    for key in 0..world.keys.len() {
        for user in USERS {
            if world.keys[key].reaches_user(user) {
                sees_its_own(&mut world, key, user).await;
                waits_for_its_own(&mut world, key, user).await;
                uses_its_own(&mut world, key, user).await;
                sees_its_own_events(&mut world, key, user).await;
            } else {
                is_refused_everywhere(&mut world, key, user).await;
            }
        }
    }
    let before = world.stored(&app).await;
    for key in 0..world.keys.len() {
        changes_nothing_of_others(&mut world, key).await;
    }
    assert_eq!(world.stored(&app).await, before, "what was refused has changed nothing");
    for key in 0..world.keys.len() {
        has_its_own_webhooks(&mut world, key).await;
        changes_its_own(&mut world, key).await;
    }
    for key in 0..world.keys.len() {
        deletes_its_own(&mut world, key).await;
    }
    // Two prefixes, so each route is asked twice.
    let keyed = OPERATIONS.iter().filter(|(_, _, needs)| *needs != Needs::NoKey);
    let all: BTreeSet<_> = keyed.flat_map(|(method, path, _)| [(0, *method, *path), (1, *method, *path)]).collect();
    let missing: Vec<_> = all.difference(&world.asked).collect();
    assert!(missing.is_empty(), "add to this test what a key may see and change there: {missing:?}");
}

/// The texts at `field` in a list of objects.
fn texts(list: &Value, field: &str) -> BTreeSet<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

fn ids<'w>(tokens: impl Iterator<Item = &'w Token>) -> BTreeSet<String> {
    tokens.map(|token| token.id.clone()).collect()
}

async fn sees_its_own(world: &mut World, key: usize, user: &str) {
    let providers = world.get(key, user, "/v2/auth/providers", &[], "").await.expect(200);
    assert_eq!(texts(&providers, "provider_id"), world.providers_of(key), "{}", world.keys[key].name);
    for provider in PROVIDERS {
        let answer = world.get(key, user, "/v2/auth/providers/{provider_id}", &[provider], "").await;
        assert_eq!(answer.status, world.status_of_provider(key, provider), "{provider}: {answer:?}");
    }

    let tokens = world.get(key, user, "/v2/auth/tokens", &[], "").await.expect(200);
    assert_eq!(texts(&tokens, "id"), ids(world.listed(key, user, None)), "{} {user}", world.keys[key].name);
    for provider in PROVIDERS {
        let query = format!("?provider_id={provider}");
        let (list, exists) = ("/v2/auth/tokens", "/v2/auth/tokens/exists");
        let listed = world.get(key, user, list, &[], &query).await;
        let exists = world.get(key, user, exists, &[], &query).await;
        if world.keys[key].reaches_provider(provider) {
            let expected = ids(world.listed(key, user, Some(provider)));
            assert_eq!(texts(&listed.expect(200), "id"), expected);
            assert_eq!(exists.expect(200)["has_token"], !expected.is_empty());
        } else {
            listed.expect_error(403, "outside_key_limits");
            exists.expect_error(403, "outside_key_limits");
        }
    }
    let batch = json!({"provider_ids": PROVIDERS});
    let batch = world.post(key, user, "/v2/auth/tokens/exists/batch", &[], &batch).await.expect(200);
    for provider in PROVIDERS {
        let has_token = world.listed(key, user, Some(provider)).next().is_some();
        assert_eq!(batch["has_token"][provider], has_token, "{provider}: {batch}");
    }
    let all: Vec<Token> = world.tokens().cloned().collect();
    let expected = ids(world.listed(key, user, None));
    for token in all {
        let answer = world.get(key, user, "/v2/auth/tokens/{token_id}", &[&token.id], "").await;
        assert_eq!(answer.status, if expected.contains(&token.id) { 200 } else { 404 }, "{token:?}");
    }
    let all: Vec<Token> = world.tokens().cloned().collect();
    let overseen = ids(world.tokens().filter(|token| world.usable(key, token)));
    let listed = world.get(key, user, "/v2/admin/tokens", &[], "").await.expect(200);
    assert_eq!(texts(&listed["data"], "id"), overseen, "{}", world.keys[key].name);
    for token in all {
        let answer = world.get(key, user, "/v2/admin/tokens/{token_id}", &[&token.id], "").await;
        assert_eq!(answer.status, if overseen.contains(&token.id) { 200 } else { 404 }, "{token:?}");
    }
    let slack = world.get(key, user, "/v2/auth/tokens/workspace/slack/exists", &[], "").await.expect(200);
    let has_slack = world.tokens().any(|token| world.usable(key, token) && world.is_slack(token));
    assert_eq!(slack["has_token"], has_slack);

    for provider in PROVIDERS {
        let body = json!({"providers": [provider]});
        let status = world.post(key, user, "/v2/auth/connect-links", &[], &body).await.status.as_u16();
        let expected = match world.status_of_provider(key, provider) {
            _ if !world.keys[key].reaches_agent("") => 403,
            200 => 201,
            refused => refused,
        };
        assert_eq!(status, expected, "{} {provider}", world.keys[key].name);
    }

    for agent in AGENTS.iter().filter(|agent| !agent.is_empty()) {
        let answer = world.get(key, user, "/v2/auth/agents/{agent_id}/connections", &[agent], "").await;
        if world.keys[key].reaches_agent(agent) {
            let listed = texts(&answer.expect(200)["data"], "id");
            assert_eq!(listed, world.connections_of(key, agent), "{} {agent}", world.keys[key].name);
        } else {
            answer.expect_error(403, "outside_key_limits");
        }
    }
}

/// The events of its workspace, of all users: for a key without limits.
async fn sees_its_own_events(world: &mut World, key: usize, user: &str) {
    let answer = world.get(key, user, "/v2/audit", &[], "?limit=1000").await;
    if world.keys[key].has_limits() {
        answer.expect_error(403, "outside_key_limits");
        return;
    }
    let events = answer.expect(200);
    let events = events["data"].as_array().unwrap();
    let own = |field: &str, event: &str| -> BTreeSet<String> {
        let events = events.iter().filter(|seen| seen["event"] == event);
        events.map(|seen| seen[field].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(own("provider_id", "provider.created"), world.providers_of(key), "{}", world.keys[key].name);
    let others = world.tokens().filter(|token| !world.usable(key, token)).map(|token| token.id.clone());
    let others: BTreeSet<String> = others.collect();
    let named: BTreeSet<String> =
        events.iter().filter_map(|event| event["token_id"].as_str()).map(str::to_owned).collect();
    assert!(!named.is_empty() && named.is_disjoint(&others), "{}", world.keys[key].name);
    let stream = world.get(key, user, "/v2/events", &[], "?after=0&timeout=0").await;
    assert_eq!(stream.status, 200, "{stream:?}");
    let stream = stream.text();
    assert!(others.iter().all(|other| !stream.contains(other)), "{}", world.keys[key].name);
    let own = world.tokens().find(|token| world.usable(key, token)).unwrap();
    assert!(stream.contains(&own.id), "{}", world.keys[key].name);
}

const WEBHOOKS: &str = "/v2/admin/webhooks";
const WEBHOOK: &str = "/v2/admin/webhooks/{webhook_id}";
/// What is done with a webhook, and the status of the webhook's own workspace.
const OF_WEBHOOK: [(&str, &str, u16); 5] = [
    ("GET", "/v2/admin/webhooks/{webhook_id}/deliveries", 200),
    ("POST", "/v2/admin/webhooks/{webhook_id}/test", 200),
    ("POST", "/v2/admin/webhooks/{webhook_id}/enable", 204),
    ("POST", "/v2/admin/webhooks/{webhook_id}/replay", 200),
    ("DELETE", WEBHOOK, 204),
];

/// Webhooks are a workspace's, and for keys without limits.
async fn has_its_own_webhooks(world: &mut World, key: usize) {
    let user = world.keys[key].a_user();
    // Nobody listens there.
    let body = json!({"url": "http://127.0.0.1:1/", "since": "2999-01-01T00:00:00Z"});
    let added = world.post(key, &user, WEBHOOKS, &[], &body).await;
    if world.keys[key].has_limits() {
        added.expect_error(403, "outside_key_limits");
        return;
    }
    let id = added.expect(201)["id"].as_str().unwrap().to_owned();
    let others: Vec<usize> = (0..world.keys.len()).filter(|other| *other != key).collect();
    for other in others {
        let user = world.keys[other].a_user();
        let listed = world.get(other, &user, WEBHOOKS, &[], "").await;
        if world.keys[other].has_limits() {
            listed.expect_error(403, "outside_key_limits");
        } else if world.keys[other].workspace == world.keys[key].workspace {
            assert_eq!(texts(&listed.expect(200)["data"], "id"), BTreeSet::from([id.clone()]));
        } else {
            assert_eq!(listed.expect(200)["data"], json!([]));
            for (method, path, _) in OF_WEBHOOK {
                world.ask(other, &user, method, path, &[&id], "", Some(&body)).await.expect_error(404, "not_found");
            }
        }
    }
    for (method, path, status) in OF_WEBHOOK {
        let answer = world.ask(key, &user, method, path, &[&id], "", Some(&body)).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
}

async fn waits_for_its_own(world: &mut World, key: usize, user: &str) {
    for row in world.rows.clone() {
        let Row::Request { auth_id, .. } = &row else { continue };
        let answer = world.get(key, user, "/v2/auth/wait/{auth_id}", &[auth_id], "?timeout=0").await.expect(200);
        let expected = if world.reaches_request(key, &row) { "pending" } else { "not_found" };
        assert_eq!(answer["status"], expected, "{}: {row:?}", world.keys[key].name);
    }
}

async fn uses_its_own(world: &mut World, key: usize, user: &str) {
    let path = "/v2/auth/authenticate";
    for provider in PROVIDERS {
        for agent in AGENTS {
            let mut body = json!({"provider": provider, "scopes": [], "user_id": user, "check_only": true});
            if !agent.is_empty() {
                body["agent_id"] = agent.into();
            }
            let answer = world.post(key, user, path, &[], &body).await;
            if !world.keys[key].reaches_provider(provider) || !world.keys[key].reaches_agent(agent) {
                answer.expect_error(403, "outside_key_limits");
                continue;
            }
            let usable = ids(world.usable_by(key, provider, user, agent));
            let status = world.status_of_provider(key, provider);
            assert_eq!(answer.status, status, "{}: {body}: {answer:?}", world.keys[key].name);
            if status == 200 {
                let answer = answer.json();
                let expected = if usable.is_empty() { "connection_required" } else { "completed" };
                assert_eq!(answer["status"], expected, "{}: {body}", world.keys[key].name);
                let token_id = answer["metadata"]["token_id"].as_str();
                assert!(token_id.is_none_or(|id| usable.contains(id)), "{answer}");
            }
            // And any token by its id.
            let all: Vec<Token> = world.tokens().cloned().collect();
            let token = all.choose(&mut world.random).unwrap();
            body["token_id"] = json!(token.id);
            let answer = world.post(key, user, path, &[], &body).await;
            let expected = if usable.contains(&token.id) { 200 } else { 404 };
            assert_eq!(answer.status, expected, "{}: {body}: {answer:?}", world.keys[key].name);
        }
    }
}

/// A user outside its limits is refused whatever is asked, and whether it exists or not.
async fn is_refused_everywhere(world: &mut World, key: usize, user: &str) {
    for (method, path, needs) in OPERATIONS {
        if needs != Needs::NoKey {
            let names = ["p0"; 2];
            let answer = world.ask(key, user, method, path, &names, "?provider_id=p0", Some(&json!({}))).await;
            answer.expect_error(403, "outside_key_limits");
        }
    }
}

async fn changes_nothing_of_others(world: &mut World, key: usize) {
    let user = world.keys[key].a_user();
    for provider in PROVIDERS {
        let path = "/v2/auth/providers/{provider_id}";
        let (limited, status) = (world.keys[key].is_for_some(), world.status_of_provider(key, provider));
        if limited || status != 200 {
            let expected = if limited { 403 } else { status };
            let patched = world.ask(key, &user, "PATCH", path, &[provider], "", Some(&json!({"name": "Mine"}))).await;
            let deleted = world.ask(key, &user, "DELETE", path, &[provider], "", None).await;
            assert_eq!((patched.status.as_u16(), deleted.status.as_u16()), (expected, expected), "{provider}");
        }
        // What exists in another workspace is no conflict here, and no limit is passed by creating.
        let draft = json!({"provider_id": provider, "name": "", "mcp_server_url": ""});
        let created = world.post(key, &user, "/v2/auth/providers", &[], &draft).await.status;
        let connected = world.post(key, &user, "/v2/auth/providers/mcp-discover", &[], &draft).await.status;
        let expected = if limited || !world.keys[key].reaches_provider(provider) { 403 } else { 422 };
        assert_eq!((created.as_u16(), connected.as_u16()), (expected, expected), "{provider}");
    }
    for row in world.rows.clone() {
        match &row {
            Row::Provider { .. } => {}
            Row::Token(token) => {
                let user = world.keys[key].a_user_of(token);
                let names = [&*token.id];
                let label = json!({"provider_account_label": "mine", "is_default": true});
                let path = "/v2/auth/tokens/{token_id}/metadata";
                if !world.owned(key, token) {
                    world.ask(key, &user, "PATCH", path, &names, "", Some(&label)).await.expect_error(404, "not_found");
                    let path = "/v2/auth/tokens/{token_id}";
                    world.ask(key, &user, "DELETE", path, &names, "", None).await.expect_error(404, "not_found");
                    let path = "/v2/admin/tokens/{token_id}";
                    world.ask(key, &user, "DELETE", path, &names, "", None).await.expect_error(404, "not_found");
                }
                if !world.usable(key, token) {
                    let path = "/v2/auth/tokens/{token_id}/report-invalid";
                    world.post(key, &user, path, &names, &json!({})).await.expect_error(404, "not_found");
                    let path = "/v2/auth/agents/{agent_id}/connections";
                    for agent in AGENTS.iter().filter(|agent| !agent.is_empty()) {
                        let body = json!({"oauth_token_id": token.id});
                        let answer = world.post(key, &user, path, &[agent], &body).await;
                        let expected = if world.keys[key].reaches_agent(agent) { 404 } else { 403 };
                        assert_eq!(answer.status, expected, "{row:?}: {answer:?}");
                    }
                }
            }
            Row::Connection { id, agent, token } => {
                let path = "/v2/auth/agents/{agent_id}/connections/{connection_id}";
                let is_inside = world.connections_of(key, agent).contains(id);
                if !is_inside {
                    let answer = world.ask(key, &user, "DELETE", path, &[agent, id], "", None).await;
                    let expected = if world.keys[key].reaches_agent(agent) { 404 } else { 403 };
                    assert_eq!(answer.status, expected, "{token}: {answer:?}");
                }
            }
            Row::Request { auth_id, provider, state, .. } => {
                // Even inside, a reference that the browser did not bring confirms nothing.
                let path = "/v2/auth/authorizations/{auth_id}/confirm";
                let body = json!({"user_id": user, "reference": "made-up"});
                world.post(key, &user, path, &[auth_id], &body).await.expect_error(404, "not_found");
                if !world.reaches_request(key, &row) {
                    let path = "/v2/auth/callback/{provider_id}";
                    let body = json!({"code": "a-code", "state": state});
                    let answer = world.post(key, &user, path, &[provider], &body).await;
                    let expected = if world.keys[key].reaches_provider(provider) { 404 } else { 403 };
                    assert_eq!(answer.status, expected, "{row:?}: {answer:?}");
                }
            }
        }
    }
}

async fn changes_its_own(world: &mut World, key: usize) {
    let owned: Vec<Token> = world.tokens().filter(|token| world.owned(key, token)).cloned().collect();
    assert!(!owned.is_empty(), "{} has nothing; another seed would say more", world.keys[key].name);
    for token in owned.iter().take(5) {
        let user = world.keys[key].a_user_of(token);
        let path = "/v2/auth/tokens/{token_id}/metadata";
        let label = json!({"provider_account_label": world.keys[key].name});
        let seen = world.ask(key, &user, "PATCH", path, &[&token.id], "", Some(&label)).await;
        assert_eq!(seen.expect(200)["provider_account_label"], label["provider_account_label"]);
        let path = "/v2/auth/tokens/{token_id}/report-invalid";
        world.post(key, &user, path, &[&token.id], &json!({})).await.expect(200);
    }
    for agent in AGENTS.iter().filter(|agent| !agent.is_empty()) {
        for id in world.connections_of(key, agent).into_iter().take(2) {
            let user = world.keys[key].a_user();
            let path = "/v2/auth/agents/{agent_id}/connections/{connection_id}";
            world.ask(key, &user, "DELETE", path, &[agent, &id], "", None).await.expect(204);
            world.rows.retain(|row| !matches!(row, Row::Connection { id: removed, .. } if *removed == id));
            sees_its_own(world, key, &user).await;
        }
    }
}

/// Deletes in several ways; whatever another key sees is checked after each.
async fn deletes_its_own(world: &mut World, key: usize) {
    let user = world.keys[key].a_user();
    let owned = |world: &World, keep: &dyn Fn(&Token) -> bool| -> BTreeSet<String> {
        ids(world.tokens().filter(|token| world.owned(key, token) && keep(token)))
    };
    let one = owned(world, &|_| true).into_iter().next();
    if let Some(id) = one {
        let token = world.tokens().find(|token| token.id == id).unwrap().clone();
        let of_token = world.keys[key].a_user_of(&token);
        let path = "/v2/auth/tokens/{token_id}";
        world.ask(key, &of_token, "DELETE", path, &[&id], "", None).await.expect(204);
        world.forget(&BTreeSet::from([id]));
        everyone_sees_their_own(world).await;
    }
    let provider = PROVIDERS[world.random.random_range(0..PROVIDERS.len())];
    let query = format!("?provider_id={provider}");
    let answer = world.ask(key, &user, "DELETE", "/v2/auth/tokens", &[], &query, None).await;
    assert_eq!(answer.status, world.status_of_provider(key, provider), "{answer:?}");
    if answer.status == 200 {
        let gone = owned(world, &|token| token.provider == provider && token.is_of(&user));
        assert_eq!(answer.json()["tokens"], gone.len(), "{} {user} {provider}", world.keys[key].name);
        world.forget(&gone);
        everyone_sees_their_own(world).await;
    }
    let gone = owned(world, &|token| world.is_slack(token));
    let answer = world.ask(key, &user, "DELETE", "/v2/auth/tokens/workspace/slack", &[], "", None).await;
    assert_eq!(answer.expect(200)["tokens"], gone.len(), "{}", world.keys[key].name);
    world.forget(&gone);
    everyone_sees_their_own(world).await;
}

async fn everyone_sees_their_own(world: &mut World) {
    for key in 0..world.keys.len() {
        for user in USERS.iter().filter(|user| world.keys[key].reaches_user(user)).copied().collect::<Vec<_>>() {
            let tokens = world.get(key, user, "/v2/auth/tokens", &[], "").await.expect(200);
            assert_eq!(texts(&tokens, "id"), ids(world.listed(key, user, None)), "{} {user}", world.keys[key].name);
        }
    }
}
