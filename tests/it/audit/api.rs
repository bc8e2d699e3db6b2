//! `GET /v2/audit`: who may read it, filters, pages and JSON lines.

use serde_json::{Value, json};

use super::{names, recorded};
use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{acme, asking, with};

both_databases! {
    only_an_administrator_reads_it,
    a_workspace_sees_its_own_events_only,
    filters_narrow_it_down,
    pages_give_every_event_once,
    json_lines_give_all_of_them_in_one_response,
    what_cannot_be_a_filter_is_refused_by_name,
}

async fn busy(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for user in ["alice", "bob"] {
        app.connect(&provider, &asking(user, &["read"])).await;
    }
    app.begin(&with(asking("alice", &["read"]), json!({"agent_id": "helper"}))).await;
    app.post("/v2/auth/providers", &with(acme(), json!({"provider_id": "other"}))).await.expect(200);
    recorded(app).await;
    provider
}

async fn found(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = app.get(&format!("/v2/audit?limit=1000&{query}")).await.expect(200);
    answer["data"].as_array().unwrap().clone()
}

async fn only_an_administrator_reads_it(app: TestApp) {
    for role in ["agent", "viewer"] {
        let caller = app.new_key(&["--role", role]).await;
        caller.get("/v2/audit").await.expect_error(403, "forbidden");
        caller.get("/v2/audit?format=jsonl").await.expect_error(403, "forbidden");
    }
    app.anonymous().get("/v2/audit").await.expect_error(401, "unauthorized");
    app.get("/api-host/v2/audit").await.expect(200);
}

async fn a_workspace_sees_its_own_events_only(app: TestApp) {
    let organization = super::organization(&app).await;
    let beside = app.service_key_in(&organization, "beside").await;
    let elsewhere = app.service_key_in("another", "elsewhere").await;
    for (caller, id) in [(&beside, "beside"), (&elsewhere, "elsewhere")] {
        caller.post("/v2/auth/providers", &with(acme(), json!({"provider_id": id}))).await.expect(200);
    }
    app.post("/v2/auth/providers", &with(acme(), json!({"provider_id": "here"}))).await.expect(200);
    for (caller, id) in [(&*app, "here"), (&beside, "beside"), (&elsewhere, "elsewhere")] {
        let answer = caller.get("/v2/audit?event=provider.created").await.expect(200);
        let providers: Vec<_> = answer["data"].as_array().unwrap().iter().map(|event| &event["provider_id"]).collect();
        assert_eq!(providers, [id]);
        let lines = caller.get("/v2/audit?event=provider.created&format=jsonl").await.text();
        assert_eq!(lines.lines().count(), 1, "{lines}");
    }
}

async fn filters_narrow_it_down(app: TestApp) {
    let _provider = busy(&app).await;
    let all = found(&app, "").await;
    assert_eq!(found(&app, "event=consent.completed").await.len(), 2);
    assert_eq!(found(&app, "user_id=bob").await.len(), 4);
    assert_eq!(found(&app, "user_id=bob&event=token.handed_out").await.len(), 1);
    let helper = found(&app, "agent_id=helper").await;
    assert_eq!(names(&helper, 0), ["consent.begun"]);
    let other = found(&app, "provider_id=other").await;
    assert_eq!(names(&other, 0), ["provider.created"]);
    let browser = found(&app, "actor=browser").await;
    assert_eq!(names(&browser, 0), ["consent.completed", "consent.returned"].repeat(2));
    let key = helper[0]["actor_id"].as_str().unwrap();
    let by_key = found(&app, &format!("actor={key}")).await;
    assert!(by_key.len() > 4 && by_key.iter().all(|event| event["actor_id"] == key), "{by_key:?}");
    let at = helper[0]["at"].as_str().unwrap();
    let (from, to) = (found(&app, &format!("from={at}")).await, found(&app, &format!("to={at}")).await);
    assert_eq!(from.len() + to.len(), all.len());
    assert_eq!(from.last().unwrap()["sequence"], helper[0]["sequence"]);
}

async fn pages_give_every_event_once(app: TestApp) {
    let _provider = busy(&app).await;
    let all = found(&app, "").await;
    for (limit, filter) in [(1, ""), (4, ""), (5, "&user_id=bob"), (1, "&event=consent.begun")] {
        let expected = found(&app, filter).await;
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.get(&format!("/v2/audit?limit={limit}{filter}{cursor}")).await.expect(200);
            let events = page["data"].as_array().unwrap();
            assert!(events.len() <= limit);
            paged.extend(events.clone());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, expected, "{limit} {filter}");
    }
    let sequences: Vec<_> = all.iter().map(|event| event["sequence"].as_i64().unwrap()).collect();
    assert!(sequences.is_sorted_by(|a, b| a > b), "newest first: {sequences:?}");
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    answer.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

async fn json_lines_give_all_of_them_in_one_response(app: TestApp) {
    let _provider = busy(&app).await;
    let all = found(&app, "").await;
    assert_eq!(lines(&app.get("/v2/audit?format=jsonl").await), all);
    let accepting = app.with("accept", "application/x-ndjson, application/json;q=0.5");
    assert_eq!(lines(&accepting.get("/v2/audit").await), all);
    assert_eq!(lines(&app.get("/v2/audit?format=jsonl&limit=3").await), all[..3]);
    let bobs = found(&app, "user_id=bob").await;
    assert_eq!(lines(&app.get("/v2/audit?format=jsonl&user_id=bob").await), bobs);
}

async fn what_cannot_be_a_filter_is_refused_by_name(app: TestApp) {
    let too_long = format!("actor={}", "x".repeat(513));
    for (query, parameter) in [
        ("event=token.stolen", "query.event"),
        ("from=yesterday", "query.from"),
        ("to=2026-13-01", "query.to"),
        ("limit=0", "query.limit"),
        ("limit=1001", "query.limit"),
        ("cursor=-1", "query.cursor"),
        ("cursor=x", "query.cursor"),
        ("format=xml", "query.format"),
        (too_long.as_str(), "query.actor"),
    ] {
        app.get(&format!("/v2/audit?{query}")).await.expect_fault_at(parameter);
    }
    app.get("/v2/audit?user_id=%00&actor=%27%3B--&from=2026-01-01T00:00:00%2B01:00").await.expect(200);
}
