//! Changing a provider from its page.

use serde_json::{Value, json};

use super::{Operator, as_demo, at, connected, events};
use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::CLIENT_SECRET;
use crate::support::both_databases;
use crate::support::caller::{acme, with};
use crate::support::database::Database;

both_databases! {
    in_the_demo_its_own_entries_come_first,
    a_provider_is_changed_and_keeps_what_was_not,
    an_endpoint_is_changed_with_the_secret_again,
    an_endpoint_is_changed_with_a_new_secret_after_a_confirmation,
    a_wrong_change_of_a_provider_is_shown_again,
    a_static_key_is_replaced_from_the_page,
    only_who_administers_providers_changes_one,
}

async fn in_the_demo_its_own_entries_come_first(database: Database) {
    let app = as_demo(database).await;
    let operator = Operator::admin(&app).await;
    let page = operator.page("/add-provider").await;
    let first = page.split_once("class=\"card\"").unwrap().1.split("</a>").next().unwrap();
    assert!(first.contains("Sample contacts") && first.contains("works here, without an account"), "{first}");
    assert_eq!(page.matches("works here, without an account").count(), 1);
    assert!(operator.page("/add-provider?search=zoom").await.contains("Zoom"));
}

/// The fields of the form on a page that takes changes, as a browser sends them back, but for one of them.
fn filled<'f>(page: &'f str, changed: &[(&'f str, &'f str)]) -> Vec<(&'f str, String)> {
    let form = page.split_once("<form class=\"stack\"").unwrap().1;
    let inputs = form.split("<input ").skip(1).map(|rest| rest.split('>').next().unwrap());
    let of = |input: &'f str, name: &str| {
        let value = input.split_once(&format!("{name}=\""))?.1;
        Some(value.split('"').next().unwrap())
    };
    let mut fields: Vec<(&str, String)> = Vec::new();
    for input in inputs.filter(|input| !input.contains("type=\"checkbox\"")) {
        let name = of(input, "name").unwrap();
        let change = changed.iter().find(|(changed, _)| *changed == name);
        let value = change
            .map_or_else(|| of(input, "value").unwrap_or_default().replace("&#38;", "&"), |(_, to)| (*to).to_owned());
        fields.push((name, value));
    }
    fields.retain(|(name, _)| *name != "form_token");
    let boxes = changed.iter().filter(|(name, _)| *name == "expose_grants");
    fields.extend(boxes.map(|(name, value)| (*name, (*value).to_owned())));
    fields
}

/// Sends the form of `acme` with these changes.
async fn change(operator: &Operator, changed: &[(&str, &str)]) -> Answer {
    let page = operator.page("/providers/acme/edit").await;
    let fields = filled(&page, changed);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    operator.submit("/providers/acme/edit", &fields).await
}

async fn record(app: &TestApp) -> Value {
    app.get("/v2/auth/providers/acme").await.expect(200)
}

async fn a_provider_is_changed_and_keeps_what_was_not(app: TestApp) {
    let provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    assert!(operator.page("/providers/acme").await.contains("href=\"/console/providers/acme/edit\""));
    let page = operator.page("/providers/acme/edit").await;
    assert!(page.contains(&format!("value=\"{}\"", provider.at("/token"))) && !page.contains(CLIENT_SECRET));
    let before = record(&app).await;
    // Nothing is changed by a form that changes nothing.
    assert_eq!(change(&operator, &[]).await.header("location"), "/console/providers/acme?done=changed");
    let mut same = record(&app).await;
    same["updated_at"] = before["updated_at"].clone();
    assert_eq!(same, before);
    let answer = change(&operator, &[("name", "Renamed"), ("scopes", "read, write")]).await;
    assert_eq!(answer.header("location"), "/console/providers/acme?done=changed");
    assert!(operator.page("/providers/acme?done=changed").await.contains("Saved."));
    let after = record(&app).await;
    assert_eq!((&after["name"], &after["default_scopes"]), (&json!("Renamed"), &json!(["read", "write"])));
    for kept in ["client_id", "auth_url", "token_url", "revocation_url", "uses_pkce"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
    assert_eq!(events(&app, "provider.changed").await[0]["actor"], "console_user");
    assert_eq!(app.get("/v2/admin/tokens").await.expect(200)["data"][0]["state"], "active", "the token is kept");
}

async fn an_endpoint_is_changed_with_the_secret_again(app: TestApp) {
    let provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    let (before, elsewhere) = (record(&app).await, provider.at("/elsewhere"));
    let page = change(&operator, &[("token_url", &elsewhere)]).await.expect_html(409);
    assert!(page.contains("role=\"alert\"") && page.contains("client_secret"), "it says what it takes: {page}");
    assert!(page.contains(&format!("value=\"{elsewhere}\"")), "what was entered is kept: {page}");
    assert_eq!(record(&app).await, before);
    let answer = change(&operator, &[("token_url", &elsewhere), ("client_secret", CLIENT_SECRET)]).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    assert_eq!(record(&app).await["token_url"], elsewhere);
}

async fn an_endpoint_is_changed_with_a_new_secret_after_a_confirmation(app: TestApp) {
    let provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    let elsewhere = provider.at("/elsewhere");
    let changed = [("token_url", &*elsewhere), ("client_secret", "another-secret-77")];
    let page = change(&operator, &changed).await.expect_html(409);
    assert!(page.contains("name=\"expose_grants\" value=\"1\"") && !page.contains("another-secret-77"), "{page}");
    let wrong = [&changed[..], &[("expose_grants", "2")]].concat();
    change(&operator, &wrong).await.expect_html(409);
    let right = [&changed[..], &[("expose_grants", "1")]].concat();
    let answer = change(&operator, &right).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    assert_eq!(record(&app).await["token_url"], elsewhere);
}

async fn a_wrong_change_of_a_provider_is_shown_again(app: TestApp) {
    connected(&app).await;
    let operator = Operator::admin(&app).await;
    let before = record(&app).await;
    for (field, value) in
        [("token_url", "no address"), ("client_id", "a\u{7}b"), ("revocation_url", ""), ("auth_url", "")]
    {
        let page = change(&operator, &[(field, value), ("client_secret", "secret-77")]).await.expect_html(422);
        assert!(
            page.contains("role=\"alert\"") && page.contains(field) && !page.contains("secret-77"),
            "{field}: {page}"
        );
    }
    assert_eq!(record(&app).await, before);
    for id in ["nobody", "%00", "a%00b", "..%2f", "%F0%9F%98%80"] {
        for page in ["", "/edit", "/try", "/delete"] {
            operator.open(&at(&format!("/providers/{id}{page}"))).await.expect_html(404);
            // What is deleted already is no fault.
            if (id, page) != ("nobody", "/delete") {
                operator.submit(&format!("/providers/{id}{page}"), &[("user", "alice")]).await.expect_html(404);
            }
        }
    }
    operator.submit("/providers/nobody/edit", &[("name", "x")]).await.expect_html(404);
}

async fn a_static_key_is_replaced_from_the_page(app: TestApp) {
    app.register_as(
        json!({"provider_id": "acme", "name": "Keyed", "grant_type": "api_key", "client_secret": "first-key-77"}),
    )
    .await;
    let operator = Operator::admin(&app).await;
    let page = operator.page("/providers/acme/edit").await;
    assert!(page.contains("A new key ends every connection") && !page.contains("name=\"token_url\""), "{page}");
    let answer = change(&operator, &[("client_secret", "second-key-77"), ("name", "Keyed again")]).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    assert_eq!(record(&app).await["name"], "Keyed again");
}

async fn only_who_administers_providers_changes_one(app: TestApp) {
    connected(&app).await;
    let before = record(&app).await;
    for (options, status) in [
        (&["--role", "viewer"][..], 403),
        (&["--role", "admin", "--only-user", "alice"], 403),
        (&["--role", "admin", "--only-provider", "other"], 403),
    ] {
        let operator = Operator::new(&app, &app.new_key(options).await.key()).await;
        operator.open(&at("/providers/acme/edit")).await.expect_html(status);
        operator.submit("/providers/acme/edit", &[("name", "Mine")]).await.expect_html(status);
    }
    let intruder = app.service_key_in("other", "place").await;
    intruder.register_as(with(acme(), json!({"provider_id": "own", "name": "Own"}))).await;
    let intruder = Operator::new(&app, &intruder.key()).await;
    intruder.open(&at("/providers/acme/edit")).await.expect_html(404);
    intruder.submit("/providers/acme/edit", &[("name", "Mine")]).await.expect_html(404);
    assert_eq!(record(&app).await, before);
}
