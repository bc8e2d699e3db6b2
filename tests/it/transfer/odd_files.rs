//! Files with faults: what is wrong is reported by its line, and the rest is taken.

use serde_json::{Value, json};

use super::{file, import, lines};
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary::Finished;
use crate::support::both_databases;
use crate::support::database::Database;

both_databases! {
    control_characters_are_refused_and_end_nothing,
    what_a_database_does_not_store_ends_nothing,
    a_line_that_is_not_text_ends_nothing,
    a_quote_that_is_not_closed_swallows_no_rows,
    a_table_is_read_as_it_is_meant,
    times_in_milliseconds_are_times_of_today,
    an_array_of_auth0_with_faults_is_read_to_its_end,
}

fn provider_line(provider: &AuthorizationServer, provider_id: &str) -> Value {
    let mut line = provider.definition(provider_id);
    line["type"] = "provider".into();
    line
}

fn grant(user: &str, more: &Value) -> Value {
    let mut grant =
        json!({"type": "grant", "provider_id": "acme", "user_id": user, "refresh_token": format!("refresh-of-{user}")});
    grant.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    grant
}

async fn with_provider(database: &Database) -> AuthorizationServer {
    let provider = AuthorizationServer::silent().await;
    let line = lines(&[provider_line(&provider, "acme")]);
    assert!(import(database, &["jsonl", &file(database, "provider.jsonl", &line)]).await.status.success());
    provider
}

async fn tokens(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM tokens").await
}

/// The report, without what a dry run says in other words.
fn report(done: &Finished) -> String {
    done.stdout.replace("Would create", "Created").replace("Would take", "Took")
}

/// Writes bytes to a file and imports it.
async fn bytes(database: &Database, format: &str, bytes: &[u8]) -> Finished {
    let path = file(database, "bytes", "");
    std::fs::write(&path, bytes).unwrap();
    import(database, &[format, &path]).await
}

async fn control_characters_are_refused_and_end_nothing(database: Database) {
    let provider = AuthorizationServer::silent().await;
    let mut other = provider_line(&provider, "other");
    other["options"] = json!({"template": "a\u{0}b"});
    let records = [
        provider_line(&provider, "acme"),
        grant("alice", &json!({"metadata": {"note": "a\u{0}b"}})),
        grant("bob", &json!({"metadata": {"note": [{"a\u{0}b": 1}]}})),
        grant("carol", &json!({"account_label": "a\u{0}b"})),
        other,
        provider_line(&provider, "a\u{0}b"),
        grant("dave", &json!({})),
    ];
    let grants = file(&database, "grants.jsonl", &lines(&records));
    let dry = import(&database, &["jsonl", &grants, "--dry-run"]).await;
    let done = import(&database, &["jsonl", &grants]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert_eq!(report(&dry), report(&done), "the dry run says the same, though the provider is new");
    for said in [
        "Took 1 grants",
        "line 2: metadata: its texts should not have control characters",
        "line 3: metadata: its texts should not have control characters",
        "line 4: account_label: ",
        "line 5: options: ",
        "line 6: provider_id: ",
    ] {
        assert!(done.stdout.contains(said), "{said}: {done:?}");
    }
    assert_eq!(tokens(&database).await, 1);
    let table =
        "provider_id,user_id,refresh_token,metadata\nacme,ed,r-1,\"{\"\"k\"\": \"\"\\u0000\"\"}\"\nacme,flo,r-2,\n";
    let done = bytes(&database, "csv", table.as_bytes()).await;
    assert!(done.stdout.contains("line 2: metadata: ") && done.stdout.contains("Took 1 grants"), "{done:?}");
}

/// PostgreSQL has no index entry of so many bytes; SQLite has.
async fn what_a_database_does_not_store_ends_nothing(database: Database) {
    let _provider = with_provider(&database).await;
    let mut state = 1_u32;
    let mut long = || -> String {
        let characters = (0..500).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from_u32(0x2_0000 + (state >> 16) % 0xa000).unwrap()
        });
        characters.collect()
    };
    let (user, agent) = (long(), long());
    let records = [
        grant("alice", &json!({})),
        grant(&user, &json!({"agent_id": agent, "refresh_token": "r"})),
        grant("bob", &json!({})),
    ];
    let done = import(&database, &["jsonl", &file(&database, "grants.jsonl", &lines(&records))]).await;
    let is_postgres = database.postgres.is_some();
    assert_eq!(done.stdout.contains("Not taken: line 2: the database does not store"), is_postgres, "{done:?}");
    assert_eq!(tokens(&database).await, if is_postgres { 2 } else { 3 });
}

async fn a_line_that_is_not_text_ends_nothing(database: Database) {
    let _provider = with_provider(&database).await;
    let line = |user: &str| grant(user, &json!({})).to_string();
    let twice = line("twice").replace("\"user_id\"", "\"refresh_token\":\"x\",\"user_id\"");
    let (alice, bob) = (line("alice"), line("bob"));
    let text: [&[u8]; 7] = [
        "\u{feff}".as_bytes(),
        alice.as_bytes(),
        b"\r\n{\"type\": \"grant\", \"user_id\": \"\xff\"}\n\n{\"type\": \"grant\", \n",
        twice.as_bytes(),
        b"\n[]\n",
        bob.as_bytes(),
        b"\n",
    ];
    let done = bytes(&database, "jsonl", &text.concat()).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    for said in [
        "Took 2 grants",
        "Not taken: line 2: it is not UTF-8",
        "Not taken: line 4: not JSON, at column ",
        "Not taken: line 5: not a JSON object, or one that has a field twice",
        "Not taken: line 6: not a JSON object, or one that has a field twice",
    ] {
        assert!(done.stdout.contains(said), "{said}: {done:?}");
    }
}

async fn a_quote_that_is_not_closed_swallows_no_rows(database: Database) {
    let _provider = with_provider(&database).await;
    let row = |number: u32| match number {
        6 => "acme,\"user-6,refresh-6\n".to_owned(),
        number => format!("acme,user-{number},refresh-{number}\n"),
    };
    let table = ["provider_id,user_id,refresh_token\n".to_owned(), (2..=1001).map(row).collect()].concat();
    let done = bytes(&database, "csv", table.as_bytes()).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(done.stdout.contains("Took 999 grants"), "{done:?}");
    assert!(done.stdout.contains("Not taken: line 6: a quote is opened in it and not closed"), "{done:?}");
    assert_eq!(tokens(&database).await, 999);
    // A field in quotes may have line breaks, and what looks like a row in it is none.
    let table = "provider_id,user_id,account_label,refresh_token\n\
                 acme,ann,\"Ann\nacme,victim,,stolen\n\",r-1\nacme,ben,,r-2\n";
    let done = bytes(&database, "csv", table.as_bytes()).await;
    assert!(
        done.stdout.contains("Not taken: lines 2 to 4: account_label: a line break; is a quote missing?"),
        "{done:?}"
    );
    assert!(done.stdout.contains("Took 1 grants"), "{done:?}");
    assert_eq!(database.number("SELECT count(*) FROM tokens WHERE user_id = 'victim'").await, 0);
}

async fn a_table_is_read_as_it_is_meant(database: Database) {
    let _provider = with_provider(&database).await;
    let twice = bytes(&database, "csv", b"provider_id,user_id,refresh_token, user_id\nacme,alice,r,bob\n").await;
    assert!(twice.stderr.contains("columns 2 and 4 have the same name"), "{twice:?}");
    let table = b"\xef\xbb\xbfprovider_id, user_id ,refresh_token,metadata\r\n acme ,\t\"alice\" , r-1 ,\"{\r\n}\"\r\n\
                  acme,b\xffb,r-2,\r\nacme,\"carol\"x,r-3,\r\n";
    let done = bytes(&database, "csv", table).await;
    assert!(done.stdout.contains("Took 1 grants"), "{done:?}");
    assert!(done.stdout.contains("Not taken: line 4: it is not UTF-8"), "{done:?}");
    assert!(done.stdout.contains("Not taken: line 5: after a quote that closes a field"), "{done:?}");
    assert_eq!(database.number("SELECT count(*) FROM tokens WHERE user_id = 'alice'").await, 1);
    let blank = grant("dave", &json!({"refresh_token": " r-4"}));
    let done = bytes(&database, "jsonl", blank.to_string().as_bytes()).await;
    assert!(
        done.stdout.contains("Not taken: line 1: refresh_token: it has a blank at its start or its end"),
        "{done:?}"
    );
}

async fn times_in_milliseconds_are_times_of_today(database: Database) {
    let _provider = with_provider(&database).await;
    let key = |user: &str, expires_at: i64| {
        grant(user, &json!({"refresh_token": null, "access_token": user, "expires_at": expires_at}))
    };
    let records = [
        key("alice", 32_503_680_000),
        key("bob", 32_503_680_000_000),
        key("carol", 1_500_000_000_000),
        key("dave", 32_503_680_000_000_000),
    ];
    let done = import(&database, &["jsonl", &file(&database, "grants.jsonl", &lines(&records))]).await;
    assert!(done.stdout.contains("Took 2 grants without a refresh token"), "{done:?}");
    assert!(done.stdout.contains("Not taken: line 3: it has expired"), "{done:?}");
    assert!(done.stdout.contains("Not taken: line 4: expires_at: expected a time such as"), "{done:?}");
    let times = "SELECT count(DISTINCT expires_at) FROM tokens";
    assert_eq!(database.number(times).await, 1, "the year 3000, both times");
}

async fn an_array_of_auth0_with_faults_is_read_to_its_end(database: Database) {
    let _provider = with_provider(&database).await;
    let user = |name: &str| {
        let identity =
            json!({"provider": "p", "connection": "acme", "user_id": name, "refresh_token": format!("r-{name}")});
        json!({"user_id": name, "identities": [identity]}).to_string()
    };
    let (alice, carol) = (user("alice"), user("carol"));
    let text: [&[u8]; 5] = [
        "\u{feff}[\n  ".as_bytes(),
        alice.as_bytes(),
        b",\n  {\"user_id\": \"\xff\", \"identities\": []},\n  {\"user_id\": \"bob\", \"identities\": [\n  ",
        carol.as_bytes(),
        b",\n  {\"user_id\": \"dave\", \"identities\": \"none\"}\n]\n",
    ];
    let done = bytes(&database, "auth0", &text.concat()).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    for said in [
        "Took 2 grants",
        "Not taken: line 3: not JSON",
        "Not taken: line 4: not JSON",
        "Not taken: user 5: its identities are not a list",
    ] {
        assert!(done.stdout.contains(said), "{said}: {done:?}");
    }
}
