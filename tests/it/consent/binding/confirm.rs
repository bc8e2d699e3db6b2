//! `confirm`: a page of ours says who asks for what, and only the browser that went on from it comes back.

use axum::body::Body;
use axum::http::Method;
use futures_util::future::join_all;
use url::Url;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden, post_form};
use crate::support::caller::asking;
use crate::support::database::{Database, PUBLIC_URL};

both_databases! {
    looking_at_the_page_uses_nothing_up,
    going_on_leads_to_the_provider_and_back,
    the_cookie_is_for_this_host_alone,
    on_loopback_the_cookie_is_an_ordinary_one,
    another_browser_comes_back_for_nothing,
    a_second_browser_can_neither_go_on_nor_cancel,
    the_same_browser_may_go_on_again,
    pressing_twice_at_once_goes_on_once,
    of_many_browsers_one_gets_the_link,
    cancelling_ends_the_wait_at_once,
    a_form_from_another_site_is_refused,
    a_planted_cookie_is_worth_nothing,
    a_denied_consent_ends_only_from_its_own_browser,
    a_link_that_is_over_or_made_up_asks_for_nothing,
    neither_reference_nor_cookie_is_stored,
    previews_of_chat_programs_see_the_page_and_nothing_happens,
}

pub(super) async fn confirming(database: Database) -> (TestApp, AuthorizationServer) {
    let app = TestApp::start_with(database, |settings| settings.consent = "confirm".into()).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    (app, provider)
}

async fn looking_at_the_page_uses_nothing_up(database: Database) {
    let (app, provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    for _ in 0..3 {
        let page = Browser::new(&app).open(&pending.url).await;
        page.expect_html(200);
        assert_eq!(page.header("set-cookie"), "", "a look sets no cookie");
    }
    let path = Url::parse(&pending.url).unwrap().path().to_owned();
    assert_eq!(app.anonymous().send(Method::HEAD, &path, Body::empty()).await.status, 200);
    let untouched = "SELECT count(*) FROM authorization_requests WHERE status = 'pending' AND browser_hash IS NULL";
    assert_eq!(app.database.number(untouched).await, 1, "a look writes nothing");
    let person = Browser::new(&app);
    let at_provider = person.go_on(&pending.url).await;
    person.come_back(&provider.consent(&at_provider)).await;
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
}

async fn going_on_leads_to_the_provider_and_back(database: Database) {
    let (app, provider) = confirming(database).await;
    let asked = asking("alice", &["read"]);
    let pending = app.begin(&asked).await;
    let person = Browser::new(&app);
    let at_provider = person.go_on(&pending.url).await;
    assert!(at_provider.starts_with(&provider.at("/authorize?")), "{at_provider}");
    let page = person.come_back(&provider.consent(&at_provider)).await;
    assert!(page.text().contains("Connected to Acme Inc."));
    assert_eq!(app.wait(&pending.auth_id).await["status"], "completed");
    app.token(&asked).await;
    let again = person.open(&pending.url).await;
    assert_eq!(again.status, 303, "the link says that it was used");
    assert!(person.open(again.header("location")).await.text().contains("Already connected"));
}

async fn the_cookie_is_for_this_host_alone(database: Database) {
    let (app, _provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let answer = Browser::new(&app).press(&pending.url, "continue").await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (303, "no-store"));
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    let cookie = answer.header("set-cookie");
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    assert!(pair.starts_with("__Host-agent-auth="), "{cookie}");
    assert_eq!(attributes, "Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure");
}

async fn on_loopback_the_cookie_is_an_ordinary_one(database: Database) {
    let app = TestApp::start_with(database, |settings| {
        settings.consent = "confirm".into();
        settings.public_url = Some("http://127.0.0.1:8080".to_owned());
    })
    .await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let answer = person.press(&pending.url, "continue").await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("agent-auth=") && !cookie.contains("Secure"), "{cookie}");
    person.come_back(&provider.consent(answer.header("location"))).await;
}

async fn another_browser_comes_back_for_nothing(database: Database) {
    let (app, provider) = confirming(database).await;
    let pending = app.begin(&asking("mallory", &["read"])).await;
    let mallory = Browser::new(&app);
    let at_provider = mallory.go_on(&pending.url).await;

    // Mallory sends that URL to Alice, who approves.
    let alice = Browser::new(&app);
    let page = alice.open(provider.consent(&at_provider).as_str()).await;
    assert!(page.expect_html(400).contains("another browser"), "{}", page.text());
    assert_eq!(provider.token_requests().len(), 0, "nothing is exchanged");
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");

    mallory.come_back(&provider.consent(&at_provider)).await;
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed", "the right browser still can");
}

async fn a_second_browser_can_neither_go_on_nor_cancel(database: Database) {
    let (app, provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let second = Browser::new(&app);
    let html = second.open(&pending.url).await.expect_html(200);
    let first = Browser::new(&app);
    let at_provider = first.go_on(&pending.url).await;

    second.open(&pending.url).await.expect_html(400);
    for decision in ["continue", "cancel"] {
        let fields = [("browser", hidden(&html, "browser")), ("decision", decision.to_owned())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = second.send(&pending.url, &fields).await;
        assert!(answer.expect_html(400).contains("another browser"), "{}", answer.text());
        assert_eq!(answer.header("set-cookie"), "");
    }
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
    first.come_back(&provider.consent(&at_provider)).await;
}

async fn the_same_browser_may_go_on_again(database: Database) {
    let (app, provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let first = person.go_on(&pending.url).await;
    let second = person.go_on(&pending.url).await;
    assert_eq!(first, second, "one state for one request");
    person.come_back(&provider.consent(&second)).await;
    // A second link in the same browser does not end the first.
    let (one, two) = (app.begin(&asking("bob", &["read"])).await, app.begin(&asking("bob", &["write"])).await);
    let (at_one, at_two) = (person.go_on(&one.url).await, person.go_on(&two.url).await);
    person.come_back(&provider.consent(&at_one)).await;
    person.come_back(&provider.consent(&at_two)).await;
}

async fn pressing_twice_at_once_goes_on_once(database: Database) {
    let (app, provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let html = Browser::new(&app).open(&pending.url).await.expect_html(200);
    let browser = hidden(&html, "browser");
    let fields = [("browser", browser.as_str()), ("decision", "continue")];
    // Two clicks in one moment: the second is sent before the first one's cookie has come.
    let sent = app.anonymous().with("sec-fetch-site", "same-origin");
    let (one, two) = tokio::join!(post_form(&sent, &pending.url, &fields), post_form(&sent, &pending.url, &fields));
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (303, 303));
    assert_eq!(one.header("location"), two.header("location"));
    assert_eq!(one.header("set-cookie"), two.header("set-cookie"));
    let person = Browser::new(&app);
    person.plant("__Host-agent-auth", &browser);
    person.come_back(&provider.consent(two.header("location"))).await;
}

async fn of_many_browsers_one_gets_the_link(database: Database) {
    let (app, _provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let attempts = (0..12).map(|_| {
        let (person, url) = (Browser::new(&app), pending.url.clone());
        tokio::spawn(async move {
            let html = person.open(&url).await.text();
            let Some((_, rest)) = html.split_once("name=\"browser\" value=\"") else { return 400 };
            let value = rest.split('"').next().unwrap_or_default().to_owned();
            person.send(&url, &[("browser", &value), ("decision", "continue")]).await.status.as_u16()
        })
    });
    let statuses: Vec<u16> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [303, 400].contains(status)), "{statuses:?}");
}

async fn cancelling_ends_the_wait_at_once(database: Database) {
    let (app, provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let (waited, page) = tokio::join!(app.wait(&pending.auth_id), person.press(&pending.url, "cancel"));
    assert_eq!((&waited["status"], &waited["error"]), (&"not_found".into(), &"access_denied".into()), "{waited}");
    assert!(page.expect_html(400).contains("Access was not granted"), "{}", page.text());
    person.open(&pending.url).await.expect_html(400);
    assert_eq!(provider.token_requests().len(), 0);
    app.begin(&asking("alice", &["read"])).await;
}

async fn a_form_from_another_site_is_refused(database: Database) {
    let (app, _provider) = confirming(database).await;
    let pending = app.begin(&asking("mallory", &["read"])).await;
    let html = Browser::new(&app).open(&pending.url).await.expect_html(200);
    let browser = hidden(&html, "browser");
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("origin", "null"),
        ("origin", "https://evil.example"),
        ("referer", "https://broker.example/connect/x"),
    ] {
        for decision in ["continue", "cancel"] {
            let caller = app.anonymous().with(name, value);
            let fields = [("browser", browser.as_str()), ("decision", decision)];
            let answer = post_form(&caller, &pending.url, &fields).await;
            answer.expect_html(403);
            assert_eq!(answer.header("set-cookie"), "", "{name}: {value}");
        }
    }
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
    // Browsers that send no Sec-Fetch-Site name their origin.
    let caller = app.anonymous().with("origin", PUBLIC_URL);
    let answer = post_form(&caller, &pending.url, &[("browser", &browser), ("decision", "continue")]).await;
    assert_eq!(answer.status, 303);
}

async fn a_planted_cookie_is_worth_nothing(database: Database) {
    let (app, provider) = confirming(database).await;
    let pending = app.begin(&asking("mallory", &["read"])).await;
    let mallory = Browser::new(&app);
    let at_provider = mallory.go_on(&pending.url).await;
    let (name, value) = mallory.cookies().into_iter().next().unwrap();
    let callback = provider.consent(&at_provider);

    // Another host of the domain can plant a cookie, but none of the name that browsers keep for this host.
    let alice = Browser::new(&app);
    alice.plant("agent-auth", &value);
    alice.plant(&name.to_lowercase(), &value);
    alice.open(callback.as_str()).await.expect_html(400);

    // A value that is not the one, and the right one beside her own.
    let alices = app.begin(&asking("alice", &["read"])).await;
    let alice = Browser::new(&app);
    alice.go_on(&alices.url).await;
    alice.open(callback.as_str()).await.expect_html(400);
    let own = &alice.cookies()[&name];
    let both = app.browser().with("cookie", &format!("{name}={value}; {name}={own}"));
    let path = &callback[url::Position::BeforePath..];
    both.get(path).await.expect_html(400);
    assert_eq!(provider.token_requests().len(), 0);
}

async fn a_denied_consent_ends_only_from_its_own_browser(database: Database) {
    let (app, provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let at_provider = person.go_on(&pending.url).await;
    let denied = provider.deny(&at_provider);
    Browser::new(&app).open(denied.as_str()).await.expect_html(400);
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
    assert!(person.open(denied.as_str()).await.expect_html(400).contains("Access was not granted"));
    assert_eq!(app.look(&pending.auth_id).await["error"], "access_denied");
}

async fn a_link_that_is_over_or_made_up_asks_for_nothing(database: Database) {
    let (app, provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let html = person.open(&pending.url).await.expect_html(200);
    let at_provider = person.go_on(&pending.url).await;
    let made_up = format!("{PUBLIC_URL}/connect/{}", "A".repeat(43));
    let by_id = format!("{PUBLIC_URL}/connect/{}", pending.auth_id);
    let by_state = {
        let url = Url::parse(&at_provider).unwrap();
        let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        format!("{PUBLIC_URL}/connect/{state}")
    };
    for url in [&made_up, &by_id, &by_state] {
        person.open(url).await.expect_html(400);
        let fields = [("browser", hidden(&html, "browser")), ("decision", "continue".to_owned())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        person.send(url, &fields).await.expect_html(400);
    }
    app.advance(601);
    person.open(&pending.url).await.expect_html(400);
    person.open(provider.consent(&at_provider).as_str()).await.expect_html(400);
    assert_eq!(provider.token_requests().len(), 0);
}

async fn neither_reference_nor_cookie_is_stored(database: Database) {
    let (app, _provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let at_provider = person.go_on(&pending.url).await;
    let cookie = person.cookies().into_values().next().unwrap();
    let reference = pending.url.rsplit('/').next().unwrap().to_owned();
    let url = Url::parse(&at_provider).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let stored = app.database.everything_at_rest().await;
    for secret in [&cookie, &reference, &state] {
        let is_there = stored.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_there, "{secret} is stored in the clear");
    }
}

async fn previews_of_chat_programs_see_the_page_and_nothing_happens(database: Database) {
    let (app, provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let path = Url::parse(&pending.url).unwrap().path().to_owned();
    for agent in ["Slackbot-LinkExpanding 1.0", "facebookexternalhit/1.1", "WhatsApp/2.0", "Mozilla/5.0"] {
        let answer = app.anonymous().with("user-agent", agent).with("sec-purpose", "prefetch").get(&path).await;
        assert!(answer.status.is_success(), "{agent}: {answer:?}");
    }
    let person = Browser::new(&app);
    let at_provider = person.go_on(&pending.url).await;
    person.come_back(&provider.consent(&at_provider)).await;
}
