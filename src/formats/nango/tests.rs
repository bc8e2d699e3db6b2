//! What is read of rows.

use std::collections::HashMap;

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::{
    choices::{Choices, UserFrom},
    rows::{Integration, connection_record},
};
use crate::{broker::transfer::records::Record, model::moved_grant::MovedGrant};

fn row(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn integration() -> Integration {
    let row = row(&json!({
        "id": 7, "unique_key": "github-prod", "provider": "github", "oauth_client_id": "client",
        "oauth_client_secret": "secret", "oauth_scopes": "repo,read:user",
    }));
    Integration::of(&row, None).unwrap()
}

fn read(change: &Value, choices: &Choices) -> Result<MovedGrant, String> {
    let mut connection = row(&json!({
        "id": 70, "environment_id": 3, "config_id": 7, "provider_config_key": "github-prod", "connection_id": "conn-1",
        "end_user_id": 9, "credentials": {
            "type": "OAUTH2", "access_token": "a", "refresh_token": "r", "expires_at": "2026-11-27T10:00:00.000Z",
            "raw": {"access_token": "a", "scope": "repo"},
        },
    }));
    connection.extend(row(change));
    let end_users = HashMap::from([(9, "alice".to_owned())]);
    match connection_record(&connection, &[integration()], &end_users, None, choices).unwrap().1 {
        Record::Grant(grant) => Ok(*grant),
        Record::Unusable(why) => Err(why),
        _ => panic!("not a grant"),
    }
}

#[test]
fn a_connection_belongs_to_its_end_user_or_is_a_user_itself() {
    let user = |change: Value, user_from| read(&change, &Choices { user_from, ..Choices::default() }).unwrap().user_id;
    assert_eq!(user(json!({}), UserFrom::EndUser), "alice");
    assert_eq!(user(json!({}), UserFrom::Connection), "conn-1");
    assert_eq!(user(json!({"end_user_id": null}), UserFrom::EndUser), "conn-1");
    let tags = json!({"end_user_id": null, "tags": {"end_user_id": "bob"}});
    assert_eq!(user(tags, UserFrom::EndUser), "bob");
}

#[test]
fn a_connection_is_known_by_its_row_and_belongs_to_its_integration() {
    let choices = Choices { providers: HashMap::from([("github-prod".into(), "github".into())]), ..Choices::default() };
    // Its key is an old one: the integration was renamed.
    let grant = read(&json!({"provider_config_key": "gh"}), &choices).unwrap();
    assert!(grant.source_id.starts_with("nango:3:70:"), "{}", grant.source_id);
    assert_eq!(grant.provider_id, "github");
    let made = |at: &str| read(&json!({"created_at": at}), &choices).unwrap().source_id;
    assert_eq!(made("2026-11-27T10:00:00.123456+00:00"), made("2026-11-27T11:00:00.123456+01:00"));
    assert_ne!(made("2026-11-27T10:00:00.123456+00:00"), made("2026-11-27T10:00:00.123457+00:00"), "another database");
    assert_eq!(grant.scopes, ["repo", "read:user"]);
    assert_eq!(grant.refresh_token.unwrap().expose_secret(), "r");
    assert_eq!(read(&json!({"config_id": 8}), &choices).unwrap_err(), "its integration was deleted");
}

#[test]
fn what_has_no_place_here_is_refused_with_the_reason() {
    for (credentials, why) in [
        (json!({"type": "OAUTH1", "oauth_token": "t"}), "only OAuth 2.0 and API keys"),
        (json!({"type": "OAUTH2_CC", "token": "t"}), "without a person"),
        (json!({}), "no credentials"),
        (
            json!({"type": "OAUTH2", "access_token": "a", "config_override": {"client_id": "other"}}),
            "a client of its own",
        ),
        (json!({"type": "OAUTH2", "access_token": "a", "expires_at": "soon"}), "not a time"),
    ] {
        let said = read(&json!({"credentials": credentials}), &Choices::default()).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
}
