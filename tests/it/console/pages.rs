//! The pages: what each shows, their headers, and that nothing of others becomes markup.

use std::collections::BTreeSet;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Operator, PAGES, at, connected, events, newest_token};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{acme, asking, with};

both_databases! {
    every_page_has_a_strict_policy_and_loads_nothing,
    every_page_can_be_read_by_a_screen_reader_and_used_by_keyboard,
    the_overview_counts_and_says_what_needs_attention_first,
    the_overview_draws_what_became_of_refreshes_in_the_last_day,
    the_charts_of_a_limited_key_are_of_what_is_inside,
    charts_of_a_log_that_is_too_long_say_so,
    the_list_of_connections_is_filtered_and_paged,
    a_connection_says_in_plain_words_what_was_granted_and_what_to_do,
    requests_under_way_are_listed_until_they_end,
    the_audit_log_is_filtered_and_exported,
    the_audit_log_is_verified,
    a_broken_audit_log_is_said_to_be_broken,
    settings_are_shown_without_secrets,
    no_page_shows_a_secret,
    texts_of_others_are_never_markup,
    an_address_without_a_page_leads_back_to_the_console,
}

/// The only script of the console.
const SCRIPT: &str = "<script src=\"/console/events.js\" defer></script>";

/// Every page, also those of a connection, a provider and a key.
async fn all_pages(app: &TestApp, operator: &Operator) -> Vec<(String, String)> {
    let (token, key) = (newest_token(app).await, events(app, "api_key.created").await);
    let key = key[0]["details"]["api_key_id"].as_str().unwrap().to_owned();
    let named = [
        format!("/connections/{token}"),
        format!("/connections/{token}/revoke"),
        format!("/connections/revoke?token={token}"),
        "/providers/acme".to_owned(),
        "/providers/acme/edit".to_owned(),
        "/providers/acme/try".to_owned(),
        "/providers/acme/delete".to_owned(),
        format!("/keys/{key}/revoke"),
        "/add-provider?template=github".to_owned(),
        "/add-provider?template=microsoft".to_owned(),
        "/connections?state=failing&user=nobody".to_owned(),
    ];
    let mut pages = Vec::new();
    for path in PAGES.iter().map(|path| (*path).to_owned()).chain(named) {
        let page = operator.page(&path).await;
        pages.push((path, page));
    }
    pages
}

async fn every_page_has_a_strict_policy_and_loads_nothing(app: TestApp) {
    connected(&app).await;
    let operator = Operator::admin(&app).await;
    let mut pages = all_pages(&app, &operator).await;
    pages.push(("/sign-in".to_owned(), app.browser().get("/console/sign-in").await.expect_html(200)));
    pages.push(("/nowhere".to_owned(), operator.open(&at("/connections/x")).await.expect_html(404)));
    for (path, page) in &pages {
        let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let calls = if page.contains(SCRIPT) { "script-src 'self'; connect-src 'self'; " } else { "" };
        assert_eq!(page.contains(SCRIPT), path == "/events", "{path}");
        let rest = page.replace(style, "").replace(SCRIPT, "");
        for forbidden in
            ["<script", "<iframe", "<img", "<link", "src=", " style=", " onclick", "javascript:", "@import"]
        {
            assert!(!rest.contains(forbidden), "{forbidden} in {path}");
        }
        assert!(!style.contains("url(") && !style.contains("@import") && !style.contains("</"));
        // Every address is one of ours, but for the provider's page for developers, which a person opens.
        for address in rest.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let is_own = address.starts_with("/console") || address == "#main";
            assert!(is_own || (path.contains("add-provider") && address.starts_with("https://")), "{path}: {address}");
        }
        for form in rest.split("<form ").skip(1).map(|rest| rest.split('>').next().unwrap()) {
            assert!(form.contains("action=\"/console"), "{path}: {form}");
        }
        let answer = match path.as_str() {
            "/sign-in" => app.browser().get("/console/sign-in").await,
            "/nowhere" => operator.open(&at("/connections/x")).await,
            path => operator.open(&at(path)).await,
        };
        let hash = BASE64_STANDARD.encode(Sha256::digest(style));
        assert_eq!(
            answer.header("content-security-policy"),
            format!(
                "default-src 'none'; style-src 'sha256-{hash}'; {calls}base-uri 'none'; form-action 'self'; \
                 frame-ancestors 'none'"
            )
        );
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "same-origin");
    }
}

async fn every_page_can_be_read_by_a_screen_reader_and_used_by_keyboard(app: TestApp) {
    connected(&app).await;
    let operator = Operator::admin(&app).await;
    let mut titles = BTreeSet::new();
    for (path, page) in all_pages(&app, &operator).await {
        assert!(page.contains("<html lang=\"en\">") && page.contains("<main id=\"main\""), "{path}");
        assert_eq!(page.matches("<h1>").count(), 1, "{path}");
        assert_eq!(page.matches("aria-current=\"page\"").count(), 1, "{path}: where one is");
        assert!(page.contains("href=\"#main\""), "{path}: a way past the navigation");
        titles.insert(page.split_once("<title>").unwrap().1.split_once("</title>").unwrap().0.to_owned());
        let ids: Vec<&str> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{path}: an id twice in {ids:?}");
        // Every field has a label, or is in one.
        for field in page.split("<input ").skip(1).map(|rest| rest.split('>').next().unwrap()) {
            if field.contains("type=\"hidden\"") || field.contains("type=\"radio\"") {
                continue;
            }
            let id = field.split_once("id=\"").unwrap().1.split('"').next().unwrap();
            assert!(page.contains(&format!("<label for=\"{id}\"")), "{path}: {field}");
        }
        for label in page.split("<label for=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(ids.contains(&label), "{path}: a label of nothing: {label}");
        }
    }
    assert!(titles.len() > 10, "{titles:?}");
}

async fn the_overview_counts_and_says_what_needs_attention_first(app: TestApp) {
    let operator = Operator::admin(&app).await;
    let page = operator.page("").await;
    assert!(page.contains("Nothing. Every token can be used"), "{page}");
    assert!(page.contains("0 providers<") && page.contains("0 authorization requests under way"), "{page}");
    let provider = connected(&app).await;
    for user in ["bob", "carol"] {
        app.connect(&provider, &asking(user, &["read"])).await;
    }
    app.begin(&asking("dora", &["read"])).await;
    let report = async |user: &str, answer: Reply| {
        let tokens = app.get(&format!("/v2/admin/tokens?user_id={user}")).await.expect(200);
        provider.answer_token(answer);
        let path = format!("/v2/auth/tokens/{}/report-invalid", tokens["data"][0]["id"].as_str().unwrap());
        app.post(&path, &json!({})).await;
    };
    report("bob", Reply::json(json!({"error": "invalid_grant"})).status(400)).await;
    report("carol", Reply::json(json!({"error": "invalid_client"})).status(401)).await;
    let page = operator.page("").await;
    let count = |state: &str| {
        let card = page.split_once(&format!("/console/connections?state={state}\"><span class=\"number\">")).unwrap().1;
        card.split('<').next().unwrap().to_owned()
    };
    assert_eq!(["active", "failing", "consent_needed"].map(count), ["1", "1", "1"].map(str::to_owned));
    let refuses = page.find("Acme Inc. refuses this server&#39;s client").unwrap();
    let dead = page.find("bob at acme: Needs consent").unwrap();
    let failing = page.find("carol at acme: Failing").unwrap();
    assert!(refuses < dead && dead < failing, "what affects most comes first");
    assert!(page.contains("1 provider<") && page.contains("1 authorization request under way"), "{page}");
}

async fn the_overview_draws_what_became_of_refreshes_in_the_last_day(app: TestApp) {
    let provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    let page = operator.page("").await;
    assert!(page.contains("No token was refreshed, and none failed.") && !page.contains("<svg"), "{page}");
    assert!(page.contains("1 replica of this server running") && page.contains("0 agents waiting"), "{page}");
    let path = format!("/connections/{}", newest_token(&app).await);
    let refresh = async |hours: u64| {
        app.advance(hours * 3600);
        operator.submit(&path, &[("action", "refresh")]).await;
    };
    refresh(0).await;
    refresh(2).await;
    refresh(0).await;
    provider.answer_token(Reply::text("text/plain", "").status(503).header("retry-after", "7"));
    refresh(1).await;
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    refresh(1).await;
    let page = operator.page("").await;
    assert!(page.contains("3 refreshes; at most 2 in an hour"), "{page}");
    assert!(page.contains("1 refresh failed and will be tried again; 1 token came to need a consent"), "{page}");
    let bars = |page: &str, kind: &str| -> Vec<u32> {
        let begins = format!("<rect class=\"{kind}\" x=\"");
        let bars = page.split(&begins).skip(1);
        bars.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
    };
    // Ten from one hour to the next; the hour under way is the last one.
    assert_eq!((bars(&page, "refreshed"), bars(&page, "failed")), (vec![191, 211], vec![221]));
    assert_eq!(bars(&page, "ended"), [231]);
    for part in
        ["role=\"img\" aria-labelledby=\"refreshes-title refreshes-desc\"", "1 refreshed; ", "UTC: 2 refreshed."]
    {
        assert!(page.contains(part), "what is drawn is also said: {part}: {page}");
    }
    app.advance(21 * 3600);
    let page = Operator::admin(&app).await.page("").await;
    assert!(page.contains("2 refreshes<") && bars(&page, "refreshed") == [1], "the first hour is over: {page}");
    app.advance(24 * 3600);
    let page = Operator::admin(&app).await.page("").await;
    assert!(page.contains("No token was refreshed, and none failed."), "{page}");
}

async fn the_charts_of_a_limited_key_are_of_what_is_inside(app: TestApp) {
    let provider = connected(&app).await;
    app.connect(&provider, &with(asking("bob", &["read"]), json!({"agent_id": "helper"}))).await;
    let operator = Operator::admin(&app).await;
    let path = format!("/connections/{}", newest_token(&app).await);
    operator.done(&path, &[("action", "refresh")]).await;
    for (limit, inside, is_inside) in [
        ("--only-user", "bob", true),
        ("--only-user", "alice", false),
        ("--only-provider", "acme", true),
        ("--only-provider", "other", false),
        ("--only-agent", "helper", true),
        ("--only-agent", "somebody", false),
    ] {
        let key = app.new_key(&["--role", "viewer", limit, inside]).await.key();
        let page = Operator::new(&app, &key).await.page("").await;
        assert_eq!(page.contains("1 refresh<"), is_inside, "{limit} {inside}: {page}");
        assert!(!page.contains("replica of this server"), "{page}");
    }
}

async fn charts_of_a_log_that_is_too_long_say_so(app: TestApp) {
    let _provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    operator.done(&format!("/connections/{}", newest_token(&app).await), &[("action", "refresh")]).await;
    let cut = "the first of these hours have more";
    assert!(!operator.page("").await.contains(cut));
    // As if 50,000 events had followed the first ones.
    app.database.tamper("UPDATE audit_heads SET sequence = 50001").await;
    let page = operator.page("").await;
    assert!(page.contains(cut) && page.contains("1 refresh<"), "{page}");
}

async fn the_list_of_connections_is_filtered_and_paged(app: TestApp) {
    let provider = connected(&app).await;
    let helper = with(asking("bob", &["read"]), json!({"agent_id": "helper"}));
    app.connect(&provider, &helper).await;
    for number in 0..50 {
        app.connect(&provider, &asking(&format!("user-{number:02}"), &["read"])).await;
    }
    let operator = Operator::admin(&app).await;
    let first = operator.page("/connections").await;
    assert_eq!(first.matches("<th scope=\"row\">").count(), 50);
    assert!(first.contains("user-49") && !first.contains(">alice<") && !first.contains(">Newest<"));
    let older = first.split_once("<a href=\"/console").unwrap().1;
    let next = older.rsplit_once("\" rel=\"next\"").unwrap().0.rsplit_once("href=\"/console").unwrap().1;
    let second = operator.page(&next.replace("&#38;", "&")).await;
    assert_eq!(second.matches("<th scope=\"row\">").count(), 2);
    assert!(second.contains(">alice<") && second.contains(">bob<") && second.contains(">Newest<"), "{second}");
    for (query, found) in [
        ("user=bob", 1),
        ("agent=helper", 1),
        ("provider=acme&user=user-07", 1),
        ("provider=nowhere", 0),
        ("state=active&user=alice", 1),
        ("state=failing", 0),
        ("user=%00bob", 1),
    ] {
        let page = operator.page(&format!("/connections?{query}")).await;
        assert_eq!(page.matches("<th scope=\"row\">").count(), found, "{query}");
        assert!(page.contains("Show all"), "{query}");
        assert_eq!(page.contains("No connection matches"), found == 0);
    }
    for (query, said) in [
        ("state=bogus", "No connection has the state bogus."),
        ("cursor=zzz", "cursor is no filter of this list."),
        ("before=zzz", "This is no address of a page of the list."),
        ("%3Cb%3E=1", "&#60;b&#62; is no filter"),
    ] {
        let page = operator.open(&at(&format!("/connections?{query}"))).await.expect_html(400);
        assert!(page.contains(said) && !page.contains("user-49"), "{page}");
    }
}

async fn a_connection_says_in_plain_words_what_was_granted_and_what_to_do(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    provider.answer_token(Reply::json(json!({"access_token": "a", "expires_in": 3600, "scope": "openid read"})));
    app.connect(&provider, &with(asking("alice", &["openid", "read"]), json!({"agent_id": "helper"}))).await;
    let operator = Operator::admin(&app).await;
    let page = operator.page(&format!("/connections/{}", newest_token(&app).await)).await;
    for part in
        [">alice<", ">helper<", ">acme<", ">Active<", "<code dir=\"auto\">read</code>", "there is no refresh token"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.contains("<code class=\"quiet\" dir=\"auto\">openid</code>"), "a known scope has its meaning: {page}");
}

async fn requests_under_way_are_listed_until_they_end(app: TestApp) {
    let provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    assert!(operator.page("/requests").await.contains("There are none."));
    let wanted = with(asking("dora", &["read", "write"]), json!({"agent_id": "helper"}));
    let pending = app.begin(&wanted).await;
    let page = operator.page("/requests").await;
    for part in [">dora<", "helper", ">write</code>", "approve at the provider"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains(&pending.state()));
    app.come_back(&provider.consent(&pending.url)).await;
    assert!(operator.page("/requests").await.contains("There are none."));
    app.begin(&asking("eve", &["read"])).await;
    app.advance(3601);
    assert!(operator.page("/requests").await.contains("There are none."), "it has expired");
}

async fn the_audit_log_is_filtered_and_exported(app: TestApp) {
    connected(&app).await;
    let operator = Operator::admin(&app).await;
    let page = operator.page("/audit").await;
    assert!(
        page.contains("<code>consent.completed</code>") && page.contains("<code>console.signed_in</code>"),
        "{page}"
    );
    let page = operator.page("/audit?event=provider.created").await;
    assert!(
        page.contains("<code>provider.created</code>") && !page.contains("<code>consent.completed</code>"),
        "{page}"
    );
    assert!(page.contains("href=\"/console/audit/export?event=provider.created\""), "{page}");
    // The form comes back with what was entered.
    for (query, value) in
        [("event=nothing.known&user_id=zoe", "zoe"), ("from=yesterday", "yesterday"), ("to=2026-13-01", "2026-13-01")]
    {
        let page = operator.open(&at(&format!("/audit?{query}"))).await.expect_html(422);
        assert!(page.contains(&format!("value=\"{value}\"")) && page.contains("Input should be"), "{page}");
        operator.open(&at(&format!("/audit/export?{query}"))).await.expect_html(422);
    }
    let at_utc = app.get("/v2/audit?event=provider.created").await.expect(200)["data"][0]["at"].clone();
    let exact = at_utc.as_str().unwrap();
    let (day, hour) = (&exact[..10], &exact[11..13]);
    let page = operator.page("/audit").await;
    assert!(page.contains(&format!(">{day} {}</time>", &exact[11..19])), "{exact}: {page}");
    for (from, is_found) in [
        (day.to_owned(), true),
        (format!("{day} {hour}:00"), true),
        (format!("{day}T{hour}:00Z"), true),
        ("2999-01-01".into(), false),
    ] {
        let query = format!("from={}&event=provider.created", from.replace(' ', "+"));
        let page = operator.page(&format!("/audit?{query}")).await;
        assert_eq!(page.contains("<code>provider.created</code>"), is_found, "{from}: {page}");
        assert!(page.contains(&format!("value=\"{from}\"")), "{page}");
    }
    let exported = operator.open(&at("/audit/export?event=provider.created")).await;
    assert_eq!(exported.header("content-type"), "application/x-ndjson");
    assert_eq!(exported.header("content-disposition"), "attachment; filename=\"audit.jsonl\"");
    assert_eq!(exported.text(), app.get("/v2/audit?event=provider.created&format=jsonl").await.text());
}

async fn the_audit_log_is_verified(app: TestApp) {
    connected(&app).await;
    // The token was handed out: nothing of it may be written down meanwhile.
    app.app.broker.handouts.write().await.unwrap();
    let operator = Operator::admin(&app).await;
    let last = app.get("/v2/audit?limit=1").await.expect(200)["data"][0].clone();
    let page = operator.submit("/audit/verify", &[]).await.expect_html(200);
    for part in [
        "<h1>The audit log is whole</h1>".to_owned(),
        format!("<dd>{}, of the whole organization</dd>", last["sequence"]),
        format!("<dd>1 to {}</dd>", last["sequence"]),
        format!("<code>{}</code>", last["hash"].as_str().unwrap()),
    ] {
        assert!(page.contains(&part), "{part}: {page}");
    }
    let first = app.get("/v2/audit?limit=1000").await.expect(200)["data"].as_array().unwrap().last().unwrap().clone();
    let second = first["at"].as_str().unwrap().get(..19).unwrap().to_owned();
    assert!(page.contains(&format!("<time datetime=\"{second}Z\">")), "since when: {second}: {page}");
}

async fn a_broken_audit_log_is_said_to_be_broken(app: TestApp) {
    connected(&app).await;
    let operator = Operator::admin(&app).await;
    app.database.tamper("UPDATE audit_events SET actor_id = 'somebody else' WHERE sequence = 2").await;
    let page = operator.submit("/audit/verify", &[]).await.expect_html(200);
    assert!(page.contains("<h1>The audit log is broken</h1>") && page.contains("Event 2: the event, or"), "{page}");
    assert!(!page.contains("The audit log is whole"), "{page}");
    app.database.tamper("UPDATE audit_heads SET sequence = sequence + 1").await;
    let page = operator.submit("/audit/verify", &[]).await.expect_html(200);
    assert!(page.contains("the recorded end of the chain was changed"), "{page}");
}

async fn settings_are_shown_without_secrets(app: TestApp) {
    let page = Operator::admin(&app).await.page("/settings").await;
    for part in
        ["<code>public_url</code>", "https://broker.example", "<code>failed_keys_per_minute</code>", "set, not shown"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains(&app.database.bootstrap_key) && !page.contains(&app.database.encryption_keys));
    let url = app.database.postgres.as_ref().map(|own| own.url.clone());
    assert!(url.is_none_or(|url| !page.contains(&url)));
}

async fn no_page_shows_a_secret(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let response =
        json!({"access_token": "access-77-secret", "refresh_token": "refresh-77-secret", "expires_in": 3600});
    provider.answer_token(Reply::json(response));
    app.connect(&provider, &asking("alice", &["read"])).await;
    let pending = app.begin(&asking("bob", &["read"])).await;
    let operator = Operator::admin(&app).await;
    let cookies = operator.cookies();
    let cookie = &cookies["__Host-agent-auth-console"];
    for (path, page) in all_pages(&app, &operator).await {
        for secret in ["77-secret", "acme-client-secret", &app.database.bootstrap_key, cookie, &pending.state()] {
            assert!(!page.contains(secret), "{secret} in {path}");
        }
    }
}

/// What attackers write into names, labels and ids.
const ATTACKS: [&str; 9] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "\" autofocus onfocus=\"alert(1)",
    "</style><script>alert(1)</script>",
    "</title><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}",
    "<!--",
];

async fn texts_of_others_are_never_markup(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let operator = Operator::admin(&app).await;
    for (number, attack) in ATTACKS.into_iter().enumerate() {
        let id = format!("acme-{number}");
        app.register_as(with(provider.definition(&id), json!({"name": attack, "default_scopes": ["a<b"]}))).await;
        provider.answer_token(Reply::json(json!({"access_token": "a", "refresh_token": attack, "scope": attack})));
        let wanted = with(asking(attack, &["read"]), json!({"provider": id, "agent_id": attack}));
        app.connect(&provider, &wanted).await;
        let token = newest_token(&app).await;
        operator.done(&format!("/connections/{token}"), &[("action", "label"), ("label", attack)]).await;
        provider.answer_token(Reply::json(json!({"error": attack, "error_description": attack})).status(400));
        operator.submit(&format!("/connections/{token}"), &[("action", "refresh")]).await;
        app.begin(&with(wanted, json!({"force_new": true}))).await;
        operator.submit("/keys", &[("name", attack), ("role", "viewer"), ("only_users", "<b>")]).await.expect_html(200);
        operator.submit("/keys", &[("name", attack), ("role", attack)]).await.expect_html(422);
        let form = [("template", "github"), ("provider_id", attack), ("client_id", attack), ("scopes", attack)];
        operator.submit("/add-provider", &form).await.expect_html(422);
    }
    let encoded = |attack: &str| url::form_urlencoded::byte_serialize(attack.as_bytes()).collect::<String>();
    app.register_as(acme()).await;
    let mut pages = all_pages(&app, &operator).await;
    for (number, attack) in ATTACKS.into_iter().enumerate() {
        let attack = encoded(attack);
        for path in [
            format!("/providers/acme-{number}"),
            format!("/providers/acme-{number}/edit"),
            format!("/providers/acme-{number}/try"),
            format!("/providers/acme-{number}/delete"),
            format!("/connections?user={attack}&agent={attack}&provider={attack}&done={attack}"),
            format!("/audit?user_id={attack}&actor={attack}&agent_id={attack}&provider_id={attack}"),
            format!("/add-provider?search={attack}&template={attack}"),
            format!("/events?event={attack}&provider={attack}&user={attack}"),
        ] {
            let page = operator.page(&path).await;
            pages.push((path, page));
        }
        for path in [format!("/connections?state={attack}"), format!("/connections?{attack}=x")] {
            let page = operator.open(&at(&path)).await.expect_html(400);
            pages.push((path, page));
        }
    }
    let tokens = app.get("/v2/admin/tokens").await.expect(200);
    for token in tokens["data"].as_array().unwrap() {
        let path = format!("/connections/{}", token["id"].as_str().unwrap());
        let page = operator.page(&path).await;
        pages.push((path, page));
    }
    assert!(pages.iter().any(|(_, page)| page.contains("&#60;script&#62;alert(1)")), "they are shown, as text");
    // What the script of the page of events is sent.
    let rows = operator.follow(&at("/events/stream?after=0")).await.brings("&#60;!--").await;
    pages.push(("/events/stream".to_owned(), rows));
    for (path, page) in &pages {
        let page = page.replace("autofocus>", "").replace("<svg class=\"bars\" role=\"img\"", "").replace(SCRIPT, "");
        for markup in [
            "<script",
            "<img",
            "<svg",
            "<!--",
            "onerror=alert(1)>",
            "href=\"javascript:",
            "' onmouseover",
            "\" onfocus",
        ] {
            assert!(!page.contains(markup), "{markup} in {path}: {page}");
        }
        assert_eq!(page.matches("</style>").count(), usize::from(path != "/events/stream"), "{path}");
        assert!(!page.contains(">49<") && !page.contains("\"49\""), "{path}");
    }
}

async fn an_address_without_a_page_leads_back_to_the_console(app: TestApp) {
    let operator = Operator::admin(&app).await;
    let with_slash = operator.open(&at("/")).await;
    assert_eq!((with_slash.status.as_u16(), with_slash.header("location")), (303, "/console"));
    for path in ["/nowhere", "/providers/acme/and/more", "/connections/x", "/providers/nobody"] {
        let page = operator.open(&at(path)).await.expect_html(404);
        assert!(page.contains("<h1>Not found</h1>") && page.contains("<a href=\"/console\">"), "{path}: {page}");
    }
}
