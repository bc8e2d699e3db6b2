//! The page of events, and the stream that its script follows.

use std::time::Duration;

use serde_json::json;

use super::{Operator, at, connected, events, newest_token};
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::eventually::eventually;
use crate::support::stream::Stream;

both_databases! {
    the_page_says_what_happened_newest_first_and_what_to_do,
    events_are_filtered_and_paged,
    a_stream_brings_what_happens_from_the_page_on_as_a_row_of_it,
    a_stream_goes_on_after_the_last_event_that_came,
    a_stream_brings_only_what_the_page_would_list,
    no_page_and_no_stream_has_events_of_another_workspace,
    a_limited_key_sees_events_inside_its_limits,
    a_stream_ends_with_its_session,
    a_stream_ends_when_its_key_is_revoked,
    a_session_has_only_so_many_streams,
    the_streams_of_a_session_count_as_waits_of_its_key,
}

/// Where the script of this page finds what happens from now on.
fn stream_of(page: &str) -> String {
    let (_, rest) = page.split_once("data-stream=\"/console").unwrap_or_else(|| panic!("{page}"));
    rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
}

/// Follows what happens from now on, as the page does.
async fn follow(operator: &Operator, path: &str) -> Stream {
    operator.follow(&at(&stream_of(&operator.page(path).await))).await
}

/// What the rows of a page or of a stream are called, in their order.
fn labels(html: &str) -> Vec<&str> {
    let labels = html.split("<th scope=\"row\"><span class=\"badge ").skip(1);
    labels.map(|rest| rest.split_once("\">").unwrap().1.split('<').next().unwrap()).collect()
}

async fn dies(app: &TestApp, provider: &crate::support::authorization_server::AuthorizationServer, user: &str) {
    app.advance(3600);
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    app.begin(&asking(user, &["read"])).await;
}

async fn the_page_says_what_happened_newest_first_and_what_to_do(app: TestApp) {
    let operator = Operator::admin(&app).await;
    assert!(operator.page("/events").await.contains("Nothing was reported in the last three days."));
    let provider = connected(&app).await;
    let token = newest_token(&app).await;
    dies(&app, &provider, "alice").await;
    let page = operator.page("/events").await;
    assert_eq!(labels(&page), ["Needs consent", "Connected"]);
    assert!(page.contains(&format!("<a href=\"/console/connections/{token}\">alice</a>")), "{page}");
    assert!(page.contains("<code dir=\"auto\">invalid_grant</code> Ask the user to connect again"), "{page}");
    assert!(page.contains("<td data-label=\"Provider\" dir=\"auto\">acme</td>"), "{page}");
    operator.done(&format!("/connections/{token}/revoke"), &[]).await;
    let page = operator.page("/events?event=token.revoked").await;
    assert_eq!(labels(&page), ["Disconnected"]);
    assert!(page.contains("alice") && !page.contains(&token), "what is gone has no link: {page}");
}

async fn events_are_filtered_and_paged(app: TestApp) {
    let provider = connected(&app).await;
    app.register_as(provider.definition("other")).await;
    app.connect(&provider, &with(asking("bob", &["read"]), json!({"provider": "other"}))).await;
    dies(&app, &provider, "alice").await;
    let operator = Operator::admin(&app).await;
    let listed = async |path: &str| labels(&operator.page(path).await).len();
    assert_eq!(listed("/events").await, 3);
    assert_eq!(listed("/events?event=token.connected").await, 2);
    assert_eq!((listed("/events?user=alice").await, listed("/events?provider=other").await), (2, 1));
    assert_eq!(listed("/events?user=alice&event=token.connected&provider=acme").await, 1);
    let page = operator.page("/events?user=nobody").await;
    assert!(page.contains("No event of the last three days matches these filters.") && page.contains("Show all"));

    // More than fit on a page.
    let more = "INSERT INTO reported_events (organization_id, workspace_id, sequence, event, payload, at)
                SELECT organization_id, workspace_id, sequence + 100000 * n, event, payload, at FROM reported_events
                CROSS JOIN (SELECT row_number() OVER (ORDER BY a.name, b.name) AS n FROM
                    (SELECT 1 AS name UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6) AS a,
                    (SELECT 1 AS name UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5) AS b) AS many";
    app.database.tamper(more).await;
    let (mut path, mut found, mut pages) = ("/events?user=alice".to_owned(), 0, 0);
    loop {
        let page = operator.page(&path).await;
        found += labels(&page).len();
        pages += 1;
        assert_eq!(page.contains("<script"), pages == 1, "what is new is on the first page");
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else { break };
        let next = before.rsplit_once("href=\"/console").unwrap().1;
        path = next.replace("&#38;", "&").replace("&amp;", "&");
    }
    assert_eq!((found, pages), (62, 2), "31 times two of alice");
}

async fn a_stream_brings_what_happens_from_the_page_on_as_a_row_of_it(app: TestApp) {
    let provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    let path = stream_of(&operator.page("/events").await);
    // What happens before the script asks is not lost.
    app.connect(&provider, &asking("bob", &["read"])).await;
    let stream = operator.follow(&at(&path)).await;
    stream.brings("bob").await;
    app.connect(&provider, &asking("zoe<b>", &["read"])).await;
    let brought = stream.brings("zoe").await;
    assert_eq!(labels(&brought), ["Connected", "Connected"]);
    assert!(!brought.contains("alice") && brought.contains("zoe&#60;b&#62;"), "{brought}");
    // The same row as on the page.
    let row = operator.page("/events").await;
    let row = row.lines().find(|line| line.contains("zoe")).unwrap();
    assert!(brought.lines().any(|line| line == format!("data: {row}")), "{row} in {brought}");
}

async fn a_stream_goes_on_after_the_last_event_that_came(app: TestApp) {
    let provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    let path = at(&stream_of(&operator.page("/events").await));
    let stream = operator.follow(&path).await;
    app.connect(&provider, &asking("bob", &["read"])).await;
    let brought = stream.brings("id: ").await;
    let last = brought.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    drop(stream);
    app.connect(&provider, &asking("zoe", &["read"])).await;
    let brought = operator.follow_after(&path, &last).await.brings("zoe").await;
    assert!(!brought.contains("bob"), "{brought}");
    let refused = operator.open(&at("/events?event=%22%3E%3Cb%3E&before=x")).await.expect_html(200);
    assert!(!refused.contains("<b>") && labels(&refused).len() == 3, "what is no filter filters nothing: {refused}");
}

async fn a_stream_brings_only_what_the_page_would_list(app: TestApp) {
    let provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    let of_zoe = follow(&operator, "/events?user=zoe&provider=acme&event=token.connected").await;
    app.connect(&provider, &asking("bob", &["read"])).await;
    app.connect(&provider, &asking("zoe", &["read"])).await;
    assert_eq!(labels(&of_zoe.brings("zoe").await), ["Connected"]);
}

async fn no_page_and_no_stream_has_events_of_another_workspace(app: TestApp) {
    let home = app.app.broker.home_tenant().await.unwrap().organization;
    let provider = connected(&app).await;
    for (organization, workspace) in [(home.as_str(), "beside"), ("elsewhere", "far")] {
        let stranger = app.service_key_in(organization, workspace).await;
        let operator = Operator::new(&app, &stranger.key()).await;
        stranger.register(&provider).await;
        let stream = operator.follow(&at("/events/stream?after=0")).await;
        app.connect(&provider, &asking(&format!("bob-before-{workspace}"), &["read"])).await;
        stranger.acting_for("carol").connect(&provider, &asking("carol", &["read"])).await;
        let brought = stream.brings("carol").await;
        for seen in [brought, operator.page("/events").await] {
            assert_eq!(labels(&seen), ["Connected"]);
            assert!(!seen.contains("alice") && !seen.contains("bob"), "{seen}");
        }
    }
}

async fn a_limited_key_sees_events_inside_its_limits(app: TestApp) {
    let provider = connected(&app).await;
    app.register_as(provider.definition("other")).await;
    let limited = async |options: &[&str]| {
        let options = [&["--role", "viewer"][..], options].concat();
        Operator::new(&app, &app.new_key(&options).await.key()).await
    };
    let of_alice = limited(&["--only-user", "alice"]).await;
    let of_other = limited(&["--only-provider", "other"]).await;
    let of_helper = limited(&["--only-agent", "helper"]).await;
    let streams =
        [follow(&of_alice, "/events").await, follow(&of_other, "/events").await, follow(&of_helper, "/events").await];
    app.connect(&provider, &with(asking("bob", &["read"]), json!({"provider": "other"}))).await;
    app.connect(&provider, &with(asking("carol", &["read"]), json!({"agent_id": "helper"}))).await;
    app.connect(&provider, &with(asking("alice", &["read", "more"]), json!({"force_new": true}))).await;
    let seen = [("alice", ["bob", "carol"]), ("bob", ["alice", "carol"]), ("carol", ["alice", "bob"])];
    for ((operator, stream), (own, others)) in [&of_alice, &of_other, &of_helper].into_iter().zip(streams).zip(seen) {
        let brought = stream.brings(own).await;
        let page = operator.page("/events").await;
        for other in others {
            assert!(page.contains(own) && !page.contains(other), "{own}: {page}");
            assert!(!brought.contains(other), "{own}: {brought}");
        }
    }
}

async fn a_stream_ends_with_its_session(app: TestApp) {
    let provider = connected(&app).await;
    let (operator, other) = (Operator::admin(&app).await, Operator::admin(&app).await);
    let (stream, beside) = (follow(&operator, "/events").await, follow(&other, "/events").await);
    operator.submit("/sign-out", &[]).await;
    app.connect(&provider, &asking("bob", &["read"])).await;
    assert_eq!(labels(&stream.ends().await), [""; 0], "nothing after the sign-out");
    beside.brings("bob").await;
    // Also when nothing happens.
    app.advance(12 * 3600 + 1);
    assert!(!beside.ends().await.contains("carol"));
}

async fn a_stream_ends_when_its_key_is_revoked(app: TestApp) {
    let provider = connected(&app).await;
    let viewer = app.new_key(&["--role", "viewer"]).await;
    let stream = follow(&Operator::new(&app, &viewer.key()).await, "/events").await;
    let id = events(&app, "api_key.created").await[0]["details"]["api_key_id"].as_str().unwrap().to_owned();
    Operator::admin(&app).await.done(&format!("/keys/{id}/revoke"), &[]).await;
    app.connect(&provider, &asking("bob", &["read"])).await;
    assert_eq!(labels(&stream.ends().await), [""; 0], "nothing after the revocation");
}

async fn a_session_has_only_so_many_streams(app: TestApp) {
    let (operator, other) = (Operator::admin(&app).await, Operator::admin(&app).await);
    let path = at("/events/stream");
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(operator.follow(&path).await);
    }
    let refused = operator.open(&path).await;
    refused.expect_html(429);
    assert!(!refused.header("retry-after").is_empty());
    operator.page("/events").await;
    let _beside = other.follow(&path).await;
    streams.pop();
    let accepted = async || {
        let again = tokio::time::timeout(Duration::from_secs(1), operator.open(&path)).await;
        // A stream that is accepted goes on.
        again.is_err()
    };
    eventually(Duration::from_secs(20), accepted).await;
}

async fn the_streams_of_a_session_count_as_waits_of_its_key(app: TestApp) {
    let app = app.replica_with(|settings| settings.waits_per_key = 1).await;
    let operator = Operator::new(&app, &app.database.bootstrap_key).await;
    let _stream = operator.follow(&at("/events/stream")).await;
    Operator::new(&app, &app.database.bootstrap_key).await.open(&at("/events/stream")).await.expect_html(429);
    app.get("/v2/events?timeout=0").await.expect_error(429, "too_many_waits");
}
