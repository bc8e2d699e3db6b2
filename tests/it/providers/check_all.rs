//! `agent-auth provider check --all`: the endpoints of the catalogue's entries, each against a scripted twin.

use serde_json::json;
use tempfile::TempDir;

use crate::support::authorization_server::{AuthorizationServer, Reply, TOKEN};
use crate::support::binary::{Finished, run};

/// A folder with entries, and the command over them alone: the built-in ones are on the internet.
struct Entries(TempDir);

impl Entries {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn add(&self, name: &str, server: &AuthorizationServer, more: &str) {
        let (auth, token) = (server.at("/authorize"), server.at(TOKEN));
        self.add_at(name, &auth, &token, more);
    }

    fn add_at(&self, name: &str, auth: &str, token: &str, more: &str) {
        let entry = format!(
            "display_name = \"{name}\"\ncategory = \"scripted-twins\"\nauth_url = \"{auth}\"\ntoken_url = \"{token}\"\n{more}"
        );
        std::fs::write(self.0.path().join(format!("{name}.toml")), entry).unwrap();
    }

    async fn check(&self, private: &str) -> Finished {
        let settings = [
            ("DATA_DIR", self.0.path().join("data").display().to_string()),
            ("CATALOG_FILE", self.0.path().display().to_string()),
            ("ALLOW_PRIVATE_UPSTREAMS", private.to_owned()),
        ];
        let environment: Vec<_> =
            settings.into_iter().map(|(name, value)| (format!("AGENT_AUTH_{name}"), value)).collect();
        run(&["provider", "check", "--all", "--search", "scripted-twins"], &environment).await
    }
}

fn row<'f>(done: &'f Finished, name: &str) -> &'f str {
    let mut rows = done.stdout.lines().filter(|line| line.split_whitespace().next() == Some(name));
    rows.next().unwrap_or_else(|| panic!("no row of {name}: {done:?}"))
}

async fn twin(reply: Reply) -> AuthorizationServer {
    let server = AuthorizationServer::silent().await;
    server.show("/authorize", Reply::text("text/html", "sign in"));
    server.show(TOKEN, reply);
    server
}

fn refusal(code: &str) -> Reply {
    Reply::json(json!({"error": code})).status(400)
}

/// As Slack refuses.
fn own_refusal() -> Reply {
    Reply::json(json!({"ok": false, "error": "bad_client_secret"}))
}

#[tokio::test]
async fn an_entry_is_right_when_its_endpoints_refuse_as_oauth_says() {
    let entries = Entries::new();
    let (known, own) = (twin(refusal("invalid_client")).await, twin(own_refusal()).await);
    entries.add("one", &known, "pkce = true\n");
    entries.add("two", &own, "misconfigured_client = [\"bad_client_secret\"]\n");
    let done = entries.check("true").await;
    assert!(done.status.success(), "{done:?}");
    assert!(row(&done, "one").contains(" right "), "{done:?}");
    assert!(row(&done, "one").contains("token endpoint refuses with invalid_client"), "{done:?}");
    assert!(done.stdout.contains("2 right, 0 unclear, 0 wrong, 0 skipped"), "{done:?}");
    let asked = &known.requests(TOKEN)[0];
    assert_eq!(asked.value("client_id"), Some("agent-auth-provider-check"));
    assert!(asked.value("code_verifier").is_some());
    assert!(!entries.0.path().join("data").exists(), "no database is needed");
}

#[tokio::test]
async fn what_is_wrong_is_in_the_table_and_in_the_exit_code() {
    let entries = Entries::new();
    let moved = twin(Reply::text("text/html", "").status(301).header("location", "/new-token")).await;
    let gone = twin(Reply::text("text/html", "not here").status(404)).await;
    let down = twin(Reply::text("text/html", "down").status(503)).await;
    let page = twin(Reply::text("text/html", "<html>hello</html>")).await;
    let generous = twin(Reply::json(json!({"access_token": "t", "token_type": "bearer"}))).await;
    let busy = twin(refusal("slow_down").status(429)).await;
    let closed = twin(Reply::json(json!({"error": "gone"})).status(410)).await;
    let wordy = twin(Reply::json(json!({"message": "bad"})).status(400)).await;
    let unknown = twin(refusal("not_found").status(404)).await;
    for (name, server) in [("moved", &moved), ("gone", &gone), ("down", &down), ("page", &page), ("busy", &busy)] {
        entries.add(name, server, "");
    }
    for (name, server) in [("removed", &closed), ("wordy", &wordy), ("unknown", &unknown)] {
        entries.add(name, server, "");
    }
    entries.add("generous", &generous, "");
    // A server that does not speak TLS, and one that does not listen.
    let plain = moved.at(TOKEN).replace("http://", "https://");
    entries.add_at("plain", &plain, &plain, "");
    entries.add_at("closed", "https://127.0.0.1:9/a", "https://127.0.0.1:9/t", "");
    entries.add_at(
        "tenant",
        "https://{tenant}.acme.example/a",
        "https://{tenant}.acme.example/t",
        "params = { tenant = \"yours\" }\n",
    );
    let done = entries.check("true").await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    for (name, result, said) in [
        ("moved", "wrong", "redirects (status 301), which a token request does not follow"),
        ("gone", "wrong", "status 404: nothing is there"),
        ("down", "unclear", "status 503"),
        ("page", "unclear", "answers with status 200, and not with an OAuth error"),
        ("generous", "wrong", "gave a token for a made-up code"),
        ("busy", "unclear", "is busy or broken (status 429)"),
        ("removed", "wrong", "status 410: nothing is there"),
        ("wordy", "unclear", "status 400"),
        ("unknown", "unclear", "which neither OAuth nor the entry names"),
        ("plain", "wrong", "no TLS connection to the provider"),
        ("closed", "wrong", "no connection to the provider"),
        ("tenant", "skipped", "its addresses depend on tenant"),
    ] {
        let row = row(&done, name);
        assert!(row.contains(&format!(" {result} ")) && row.contains(said), "{name}: {row}");
    }
    assert!(done.stdout.contains("0 right, 5 unclear, 6 wrong, 1 skipped"), "{done:?}");
    assert!(done.stderr.contains("6 of 12 entries failed"), "{done:?}");
    assert_eq!(moved.count("/new-token"), 0, "a redirect is not followed");
}

#[tokio::test]
async fn the_address_guard_holds_for_the_catalogue_too() {
    let entries = Entries::new();
    let server = twin(refusal("invalid_client")).await;
    entries.add("inside", &server, "");
    let done = entries.check("false").await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(row(&done, "inside").contains(" wrong "), "{done:?}");
    assert_eq!(server.count(TOKEN), 0);
}

#[tokio::test]
async fn all_and_one_provider_do_not_go_together() {
    for arguments in [&["provider", "check"][..], &["provider", "check", "acme", "--all"]] {
        let refused = run(arguments, &[]).await;
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }
}
