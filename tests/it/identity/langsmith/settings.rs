//! The settings of `IDENTITY=langsmith`, as the built server reads them, and what it logs.

use crate::support::binary::{Server, run};
use crate::support::both_databases;
use crate::support::database::Database;
use crate::support::langsmith::{ALICES_KEY, COOKIE, LangSmith, WORKSPACE, service_jwt};

both_databases! {
    settings_that_contradict_each_other_are_refused,
    an_endpoint_that_cannot_be_used_is_refused,
    an_endpoint_in_the_cluster_may_use_plain_http,
    langsmiths_cloud_without_a_list_of_workspaces_is_warned_of,
    langsmith_may_be_on_a_private_address_although_providers_may_not,
    no_credential_of_a_call_is_logged,
}

fn environment(database: &Database, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let more = more.iter().map(|(name, value)| (format!("AGENT_AUTH_{name}"), (*value).to_owned()));
    database.environment().into_iter().chain(more).collect()
}

async fn refused(database: &Database, more: &[(&str, &str)]) -> String {
    run(&["serve"], &environment(database, more)).await.expect_refusal().to_owned()
}

async fn settings_that_contradict_each_other_are_refused(database: Database) {
    let endpoint = ("LANGSMITH_ENDPOINT", "https://api.smith.langchain.com");
    let langsmith = ("IDENTITY", "langsmith");
    for (settings, name, reason) in [
        (&[langsmith][..], "LANGSMITH_ENDPOINT", "required with AGENT_AUTH_IDENTITY=langsmith"),
        (&[endpoint], "LANGSMITH_ENDPOINT", "has no effect without AGENT_AUTH_IDENTITY=langsmith"),
        (&[("LANGSMITH_TENANT_IDS", WORKSPACE)], "LANGSMITH_TENANT_IDS", "has no effect without"),
        (&[("LANGSMITH_ROLE", "agent")], "LANGSMITH_ROLE", "has no effect without"),
        (&[("IDENTITY", "LangSmith"), endpoint], "IDENTITY", "expected `api-key` or `langsmith`"),
        (&[langsmith, endpoint, ("LANGSMITH_ROLE", "viewer")], "LANGSMITH_ROLE", "expected `admin` or `agent`"),
        (&[langsmith, endpoint, ("LANGSMITH_TENANT_IDS", " , ")], "LANGSMITH_TENANT_IDS", "separated by commas"),
    ] {
        let line = refused(&database, settings).await;
        assert!(line.contains(&format!("AGENT_AUTH_{name}: ")) && line.contains(reason), "{line}");
    }
}

async fn an_endpoint_that_cannot_be_used_is_refused(database: Database) {
    for (endpoint, reason) in [
        ("api.smith.langchain.com", "expected the base address"),
        ("ftp://langsmith.example.com", "expected the base address"),
        ("https://user:password@langsmith.example.com", "without user, query or fragment"),
        ("https://langsmith.example.com/api/v1?x=1", "without user, query or fragment"),
        ("http://api.smith.langchain.com", "use https"),
        ("http://198.51.100.300", "expected the base address"),
        ("http://140.82.112.3:1986", "use https"),
        ("http://langsmith-platform-backend.langsmith:1986", "use https, or in a cluster the full name"),
    ] {
        let line = refused(&database, &[("IDENTITY", "langsmith"), ("LANGSMITH_ENDPOINT", endpoint)]).await;
        assert!(line.contains("AGENT_AUTH_LANGSMITH_ENDPOINT: ") && line.contains(reason), "{endpoint}: {line}");
        assert!(!line.contains("password@"), "{line}");
    }
}

async fn an_endpoint_in_the_cluster_may_use_plain_http(database: Database) {
    for endpoint in [
        "http://prod-langsmith-platform-backend.langsmith.svc.cluster.local:1986",
        "http://langsmith-platform-backend:1986/",
        "http://10.20.30.40:1986",
        "http://[fd00::1]:1986",
    ] {
        let settings = environment(&database, &[("IDENTITY", "langsmith"), ("LANGSMITH_ENDPOINT", endpoint)]);
        let (status, said) = Server::start(&settings).await.stop().await;
        assert!(status.success() && said.contains("server.listening"), "{endpoint}: {said}");
    }
}

async fn langsmiths_cloud_without_a_list_of_workspaces_is_warned_of(database: Database) {
    let cloud = ("LANGSMITH_ENDPOINT", "https://api.smith.langchain.com");
    let own = ("LANGSMITH_ENDPOINT", "https://langsmith.example.com/api/v1");
    for (settings, is_warned) in [
        (&[cloud][..], true),
        (&[("LANGSMITH_ENDPOINT", "https://eu.api.smith.langchain.com")], true),
        (&[cloud, ("LANGSMITH_TENANT_IDS", WORKSPACE)], false),
        (&[own], false),
    ] {
        let settings = [&[("IDENTITY", "langsmith")], settings].concat();
        let (_, said) = Server::start(&environment(&database, &settings)).await.stop().await;
        assert_eq!(said.contains("identity.open_to_everyone"), is_warned, "{settings:?}: {said}");
        assert!(said.contains("\"identity\":\"langsmith\""), "{said}");
    }
}

async fn langsmith_may_be_on_a_private_address_although_providers_may_not(database: Database) {
    let langsmith = LangSmith::start().await;
    let settings = [
        ("IDENTITY", "langsmith"),
        ("LANGSMITH_ENDPOINT", &format!("{}/", langsmith.endpoint())),
        ("ALLOW_PRIVATE_UPSTREAMS", "false"),
    ];
    let mut environment = environment(&database, &[]);
    environment.retain(|(name, _)| name != "AGENT_AUTH_ALLOW_PRIVATE_UPSTREAMS");
    environment.extend(settings.map(|(name, value)| (format!("AGENT_AUTH_{name}"), value.to_owned())));
    let server = Server::start(&environment).await;
    let (status, body) = server.get_with_key(ALICES_KEY, "/v2/auth/providers").await.unwrap();
    assert_eq!((status, body.as_str()), (200, "[]"));
    let definition = serde_json::json!({
        "provider_id": "acme", "name": "Acme", "client_id": "c", "auth_url": format!("{}/authorize", langsmith.endpoint()),
        "token_url": format!("{}/token", langsmith.endpoint()),
    });
    let (status, body) = server.try_post(ALICES_KEY, "/v2/auth/providers", &definition).await.unwrap();
    assert_eq!(status, 422, "{body}");
}

async fn no_credential_of_a_call_is_logged(database: Database) {
    let langsmith = LangSmith::start().await;
    let endpoint = langsmith.endpoint();
    let everything = "trace,hyper=trace,reqwest=trace";
    let settings = [("IDENTITY", "langsmith"), ("LANGSMITH_ENDPOINT", endpoint.as_str()), ("LOG", everything)];
    let server = Server::start(&environment(&database, &settings)).await;
    let jwt = service_jwt("ls-alice", WORKSPACE);
    let bearer = "Bearer the-token-of-an-agent";
    let secrets = [("x-api-key", ALICES_KEY), ("x-service-key", &jwt), ("cookie", COOKIE), ("authorization", bearer)];
    for (name, value) in secrets {
        let request = server.http.get(server.url("/v2/auth/providers")).header(name, value);
        request.send().await.expect("an answer");
        let unknown = server.http.get(server.url("/v2/auth/providers")).header(name, format!("{value}-unknown"));
        unknown.send().await.expect("an answer");
    }
    assert_eq!(langsmith.count(), 8);
    let (status, said) = server.stop().await;
    assert!(status.success(), "{status}");
    for secret in [ALICES_KEY, &jwt, "session=alice", "the-token-of-an-agent"] {
        assert!(!said.contains(secret), "{secret} is logged");
    }
}
