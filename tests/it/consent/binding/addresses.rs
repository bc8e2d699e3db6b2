//! No two providers share a callback address, so the administrator of one workspace gets no codes of another.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use url::Url;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary;
use crate::support::both_databases;
use crate::support::caller::{Caller, acme, asking, with};
use crate::support::database::PUBLIC_URL;

both_databases! {
    the_first_workspace_has_the_plain_address_and_others_their_own,
    a_copied_provider_gets_no_code_of_the_first,
    nor_does_the_first_get_codes_of_a_later_one,
    a_code_that_an_application_hands_in_goes_to_its_own_provider,
    an_error_at_another_address_ends_nothing,
    a_provider_with_an_address_of_its_own_has_no_other_spellings_of_it,
    simultaneous_creations_get_one_plain_address,
    deleting_the_owner_frees_the_plain_address_for_later_ones_only,
    a_record_that_shared_the_address_before_keeps_it_and_is_warned_of,
    the_commands_print_the_address,
    a_tag_is_not_taken_for_the_id_of_a_request,
    the_setup_url_of_a_provider_is_its_own_address,
}

const PLAIN: &str = "https://broker.example/host-oauth-callback/acme";

fn address(provider: &Value) -> String {
    provider["redirect_uri"].as_str().expect("a redirect_uri").to_owned()
}

/// What the administrator of another workspace writes: everything of `honest`, and a token endpoint of their own.
fn copied(honest: &AuthorizationServer, hostile: &AuthorizationServer) -> Value {
    with(public_client(honest), json!({"token_url": hostile.at("/token")}))
}

/// A client without a secret: the case in which a stolen code is worth most.
fn public_client(server: &AuthorizationServer) -> Value {
    let mut definition = server.definition("acme");
    definition.as_object_mut().unwrap().remove("client_secret");
    with(definition, json!({"token_endpoint_auth_method": "none"}))
}

async fn the_first_workspace_has_the_plain_address_and_others_their_own(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    assert_eq!(address(&app.register(&provider).await), PLAIN);
    let mut seen = BTreeSet::from([PLAIN.to_owned()]);
    for (organization, workspace) in [("other", "ws"), ("third", "ws"), ("other", "second")] {
        let caller = app.service_key_in(organization, workspace).await;
        let own = address(&caller.register(&provider).await);
        assert!(own.starts_with(&format!("{PLAIN}/at/")) && own.len() == PLAIN.len() + 4 + 16, "{own}");
        assert!(seen.insert(own.clone()), "{own} twice");
        let listed = caller.get("/v2/auth/providers/acme").await.expect(200);
        assert_eq!(address(&listed), own, "it is stored");
        let pending = caller.begin(&asking("alice", &["read"])).await;
        assert_eq!(pending.parameter("redirect_uri").as_deref(), Some(own.as_str()));
        caller.come_back(&provider.consent(&pending.url)).await;
        assert_eq!(provider.exchanges().last().unwrap().value("redirect_uri"), Some(own.as_str()));
        assert_eq!(caller.look(&pending.auth_id).await["status"], "completed");
    }
    let renamed = app.patch("/v2/auth/providers/acme", &json!({"name": "Renamed"})).await.expect(200);
    assert_eq!(address(&renamed), PLAIN, "a change keeps it");
}

/// `attacker` begins a request; the victim's browser goes to `honest` instead, as if for the provider whose callback
/// address is `victims`, and comes back there.
async fn bounced(attacker: &Caller, honest: &AuthorizationServer, victims: &str) -> (Url, String) {
    let pending = attacker.begin(&asking("mallory", &["read"])).await;
    let mut bounced = Url::parse(&pending.url).unwrap();
    let pairs: Vec<(String, String)> = bounced.query_pairs().into_owned().collect();
    bounced.query_pairs_mut().clear().extend_pairs(pairs.iter().map(|(name, value)| {
        let value = if name == "redirect_uri" { victims } else { value };
        (name, value)
    }));
    (honest.consent(bounced.as_str()), pending.auth_id)
}

async fn a_copied_provider_gets_no_code_of_the_first(app: TestApp) {
    let (honest, hostile) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    let victims = address(&app.register_as(public_client(&honest)).await);
    let attacker = app.service_key_in("evil", "ws").await;
    let own = address(&attacker.register_as(copied(&honest, &hostile)).await);
    assert_ne!(own, victims, "the honest server refuses a redirect URI that is not registered there");

    let (callback, auth_id) = bounced(&attacker, &honest, &victims).await;
    app.visit(&callback).await.expect_html(400);
    assert_eq!((honest.token_requests().len(), hostile.token_requests().len()), (0, 0), "the code went nowhere");
    assert_eq!(attacker.look(&auth_id).await["status"], "pending", "nothing was taken");
    assert!(attacker.tokens_of("mallory").await.is_empty());
}

async fn nor_does_the_first_get_codes_of_a_later_one(app: TestApp) {
    let (honest, hostile) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    let attacker = app.service_key().await;
    attacker.register_as(copied(&honest, &hostile)).await;
    let victim = app.service_key_in("honest", "ws").await;
    let victims = address(&victim.register_as(public_client(&honest)).await);

    let (callback, auth_id) = bounced(&attacker, &honest, &victims).await;
    assert!(callback.path().contains("/at/"));
    app.visit(&callback).await.expect_html(400);
    // Nor at the other addresses of the attacker, to which the victim's server sends nobody.
    assert_eq!((honest.token_requests().len(), hostile.token_requests().len()), (0, 0));
    assert_eq!(attacker.look(&auth_id).await["status"], "pending");
}

async fn a_code_that_an_application_hands_in_goes_to_its_own_provider(app: TestApp) {
    const APPLICATION: &str = "https://app.example/callback";
    let (honest, hostile) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    let listed = json!({"allowed_redirect_uris": [APPLICATION]});
    app.register_as(with(public_client(&honest), listed.clone())).await;
    let attacker = app.service_key_in("evil", "ws").await;
    attacker.register_as(with(copied(&honest, &hostile), listed)).await;

    let named = json!({"redirect_uri": APPLICATION});
    let pending = attacker.begin(&with(asking("mallory", &["read"]), named)).await;
    let callback = honest.consent(&pending.url);
    let pairs: serde_json::Map<String, Value> =
        callback.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
    // The victim's application receives the redirect, and hands it in with its own key.
    app.post("/v2/auth/callback/acme", &pairs.into()).await.expect_error(404, "not_found");
    assert_eq!((honest.token_requests().len(), hostile.token_requests().len()), (0, 0));
    // Nor does a browser complete it at an address of ours.
    for path in ["/host-oauth-callback/acme", "/v2/auth/callback/acme", "/v2/auth/setup/acme"] {
        let mut ours = callback.clone();
        ours.set_path(path);
        app.visit(&ours).await.expect_html(400);
    }
    assert_eq!((honest.token_requests().len(), hostile.token_requests().len()), (0, 0));
}

async fn an_error_at_another_address_ends_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let other = app.service_key_in("other", "ws").await;
    other.register(&provider).await;
    let pending = other.begin(&asking("alice", &["read"])).await;
    let mut denied = provider.deny(&pending.url);
    denied.set_path("/host-oauth-callback/acme");
    app.visit(&denied).await.expect_html(400);
    assert_eq!(other.look(&pending.auth_id).await["status"], "pending");
}

async fn a_provider_with_an_address_of_its_own_has_no_other_spellings_of_it(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let other = app.service_key_in("other", "ws").await;
    let own = address(&other.register(&provider).await);
    for taken in [PLAIN, &format!("{PUBLIC_URL}/v2/auth/callback/acme"), &format!("{own}0")] {
        let asked = with(asking("alice", &["read"]), json!({"redirect_uri": taken}));
        other.try_authenticate(&asked).await.expect_fault("body.redirect_uri", "value_error");
    }
    other.begin(&with(asking("alice", &["read"]), json!({"redirect_uri": own}))).await;
    let pending = other.begin(&asking("alice", &["read"])).await;
    for path in ["/host-oauth-callback/acme", "/v2/auth/callback/acme", "/host-oauth-callback/acme/at/0000000000000000"]
    {
        let mut elsewhere = provider.consent(&pending.url);
        elsewhere.set_path(path);
        app.visit(&elsewhere).await.expect_html(400);
    }
    assert_eq!(provider.token_requests().len(), 0);
}

async fn simultaneous_creations_get_one_plain_address(app: TestApp) {
    let mut callers = Vec::new();
    for number in 0..6 {
        callers.push(app.service_key_in(&format!("org-{number}"), "ws").await);
    }
    for round in 0..4 {
        let provider_id = format!("acme-{round}");
        let definition = with(acme(), json!({"provider_id": provider_id}));
        let created = callers.iter().map(|caller| {
            let (caller, definition) = (caller.clone(), definition.clone());
            tokio::spawn(async move { address(&caller.register_as(definition).await) })
        });
        let addresses: BTreeSet<String> = join_all(created).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(addresses.len(), callers.len(), "all differ: {addresses:?}");
        let plain = format!("{PUBLIC_URL}/host-oauth-callback/{provider_id}");
        assert!(addresses.contains(&plain), "one is plain: {addresses:?}");
        for caller in &callers {
            let again = caller.post("/v2/auth/providers", &definition).await;
            again.expect_error(409, "conflict");
        }
    }
}

async fn deleting_the_owner_frees_the_plain_address_for_later_ones_only(app: TestApp) {
    app.register_as(acme()).await;
    let second = app.service_key_in("second", "ws").await;
    let own = address(&second.register_as(acme()).await);
    app.delete("/v2/auth/providers/acme").await.expect(200);
    let unchanged = second.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(address(&unchanged), own);
    let third = app.service_key_in("third", "ws").await;
    assert_eq!(address(&third.register_as(acme()).await), PLAIN);
    assert!(address(&app.register_as(acme()).await).contains("/at/"), "it is taken again");
}

async fn a_record_that_shared_the_address_before_keeps_it_and_is_warned_of(app: TestApp) {
    app.register_as(acme()).await;
    let second = app.service_key_in("second", "ws").await;
    second.register_as(acme()).await;
    // As the migration leaves records of earlier versions.
    let changed = app
        .database
        .tamper("UPDATE providers SET callback_tag = '', shares_callback = TRUE WHERE organization_id = 'second'")
        .await;
    assert_eq!(changed, 1);
    let shared = second.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(address(&shared), PLAIN, "it is registered at the provider");

    let mut environment = app.database.environment();
    app.stop().await;
    environment.retain(|(name, _)| name != "AGENT_AUTH_CONSENT");
    let server = binary::Server::start(&environment).await;
    let (_, said) = server.stop().await;
    let warned = said.lines().find(|line| line.contains("provider.callback_shared")).expect("a warning");
    assert!(warned.contains("acme") && warned.contains("\"WARN\""), "{warned}");

    app.delete("/v2/auth/providers/acme").await.expect(200);
    let third = app.service_key_in("third", "ws").await;
    let own = address(&third.register_as(acme()).await);
    assert!(own.contains("/at/"), "the plain one is still in use: {own}");
}

async fn the_commands_print_the_address(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.stop().await;
    let (auth_url, token_url) = (provider.at("/authorize"), provider.at("/token"));
    let tenant = ["--organization", "other", "--workspace", "ws"];
    let endpoints = ["--client-id", "id", "--name", "Acme", "--auth-url", &auth_url, "--token-url", &token_url];
    let add = [&["provider", "add", "acme"][..], &endpoints, &tenant].concat();
    let added = binary::run(&add, &app.database.environment()).await;
    assert!(added.status.success(), "{added:?}");
    let own = added.stdout.lines().find(|line| line.starts_with(PLAIN)).expect("the address").to_owned();
    assert!(own.starts_with(&format!("{PLAIN}/at/")), "{own}");
    let check = [&["provider", "check", "acme"][..], &tenant].concat();
    let checked = binary::run(&check, &app.database.environment()).await;
    assert!(checked.stdout.contains(&format!("enter exactly {own} at the provider")), "{checked:?}");
}

async fn a_tag_is_not_taken_for_the_id_of_a_request(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let other = app.service_key_in("other", "ws").await;
    other.register(&provider).await;
    let pending = other.begin(&asking("alice", &["read"])).await;
    let page = other.come_back(&provider.consent(&pending.url)).await;
    assert!(page.text().contains("Connected to Acme Inc."), "{}", page.text());
    app.visit(&Url::parse(&format!("{PLAIN}/at")).unwrap()).await.expect_html(404);
}

async fn the_setup_url_of_a_provider_is_its_own_address(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let other = app.service_key_in("other", "ws").await;
    let own = address(&other.register(&provider).await);
    let updated = app.visit(&Url::parse(&format!("{own}?setup_action=update&installation_id=1")).unwrap()).await;
    assert!(updated.expect_html(200).contains("Installation updated"));
    let installed = app.visit(&Url::parse(&format!("{own}?setup_action=install&installation_id=1")).unwrap()).await;
    assert!(installed.expect_html(200).contains("One step left"));
    let pending = other.begin(&asking("alice", &["read"])).await;
    let mut callback = provider.consent(&pending.url);
    callback.query_pairs_mut().append_pair("setup_action", "install");
    let mut shared = callback.clone();
    shared.set_path("/v2/auth/setup/acme");
    app.visit(&shared).await.expect_html(400);
    other.come_back(&callback).await;
}
