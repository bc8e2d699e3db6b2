//! Rows of Nango's tables as records.
//! Owns: which columns mean what, and which kinds of connections can be brought over.
//! Must not know: how rows are read.

use std::collections::HashMap;

use anyhow::{Context, anyhow};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    choices::{Choices, UserFrom},
    credentials::Key,
};
use crate::{
    broker::{
        providers::draft::ProviderDraft,
        transfer::records::{MovedProvider, Record},
    },
    model::{
        client::ClientAuthentication,
        moved_grant::{ID_IN_NANGO, MovedGrant},
        options::OptionsDraft,
    },
};

/// A row as JSON.
type Row = Map<String, Value>;

fn text<'r>(row: &'r Row, name: &str) -> Option<&'r str> {
    row.get(name)?.as_str().filter(|text| !text.is_empty())
}

pub(super) fn id(row: &Row) -> Option<i64> {
    row.get("id")?.as_i64()
}

pub(super) fn is_deleted(row: &Row) -> bool {
    row.get("deleted") == Some(&Value::Bool(true)) || row.get("deleted_at").is_some_and(|at| !at.is_null())
}

/// The application's id of an end user, by the row's id.
pub(super) fn end_user(row: &Row) -> Option<(i64, String)> {
    Some((id(row)?, text(row, "end_user_id")?.to_owned()))
}

/// An integration: our client at one provider.
#[derive(Debug)]
pub(super) struct Integration {
    id: i64,
    /// What the application calls it.
    pub(super) unique_key: String,
    /// What Nango calls the provider.
    provider: String,
    display_name: Option<String>,
    client_id: Option<String>,
    client_secret: Option<SecretString>,
    scopes: Vec<String>,
}

impl Integration {
    pub(super) fn of(row: &Row, key: Option<&Key>) -> anyhow::Result<Self> {
        let unique_key = text(row, "unique_key").context("an integration of Nango has no unique_key")?.to_owned();
        let secret = text(row, "oauth_client_secret").map(SecretString::from);
        let sealed = (text(row, "oauth_client_secret_iv"), text(row, "oauth_client_secret_tag"));
        let client_secret = match (secret, sealed) {
            (Some(secret), (Some(nonce), Some(tag))) => {
                let opened = needed(key)?.open(secret.expose_secret(), nonce, tag);
                Some(opened.with_context(|| format!("the client secret of the integration {unique_key}"))?)
            }
            (secret, _) => secret,
        };
        Ok(Self {
            id: id(row).context("an integration of Nango has no id")?,
            provider: text(row, "provider").unwrap_or_default().to_owned(),
            display_name: text(row, "display_name").map(ToOwned::to_owned),
            client_id: text(row, "oauth_client_id").map(ToOwned::to_owned),
            client_secret,
            scopes: scopes(text(row, "oauth_scopes").unwrap_or_default()),
            unique_key,
        })
    }

    /// Its id here.
    pub(super) fn provider_id<'c>(&'c self, choices: &'c Choices) -> &'c str {
        choices.providers.get(&self.unique_key).unwrap_or(&self.unique_key)
    }

    pub(super) fn record(&self, choices: &Choices) -> Record {
        let template = choices.templates.get(&self.unique_key).unwrap_or(&self.provider);
        let public = self.client_secret.is_none().then_some(ClientAuthentication::None);
        let draft = ProviderDraft {
            provider_id: Some(self.provider_id(choices).to_owned()),
            name: self.display_name.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            authentication: public,
            template: Some(template.clone()),
            options: OptionsDraft {
                default_scopes: Some(self.scopes.clone()).filter(|scopes| !scopes.is_empty()),
                ..OptionsDraft::default()
            },
            ..ProviderDraft::default()
        };
        match self.client_id {
            Some(_) => Record::Provider(Box::new(MovedProvider { draft, restored: None })),
            None => Record::UnlessHere {
                provider_id: self.provider_id(choices).to_owned(),
                why: "it has no OAuth client. If people enter static keys there, add it first with `agent-auth provider add \
                      ID --grant-type api_key`"
                    .into(),
            },
        }
    }
}

fn needed(key: Option<&Key>) -> anyhow::Result<&Key> {
    key.ok_or_else(|| {
        anyhow!("Nango's secrets are encrypted: set NANGO_ENCRYPTION_KEY, or name a file with --encryption-key-file")
    })
}

/// Nango separates scopes with commas, providers with spaces; some with commas.
fn scopes(text: &str) -> Vec<String> {
    let scopes = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|scope| !scope.is_empty());
    scopes.map(ToOwned::to_owned).collect()
}

/// A connection, and its place.
pub(super) fn connection_record(
    row: &Row,
    integrations: &[Integration],
    end_users: &HashMap<i64, String>,
    key: Option<&Key>,
    choices: &Choices,
) -> anyhow::Result<(String, Record)> {
    let connection_id = text(row, "connection_id").unwrap_or_default();
    let config_key = text(row, "provider_config_key").unwrap_or_default();
    let config_id = row.get("config_id").and_then(Value::as_i64);
    let integration = integrations.iter().find(|one| match config_id {
        Some(id) => one.id == id,
        None => one.unique_key == config_key,
    });
    let place = format!("connection {connection_id} of {config_key}");
    let Some(integration) = integration else {
        return Ok((place, Record::Unusable("its integration was deleted".into())));
    };
    let credentials = match credentials(row, key)? {
        Ok(credentials) => credentials,
        Err(why) => return Ok((place, Record::Unusable(why))),
    };
    let record = grant(&credentials, row, integration, end_users, choices);
    Ok((place, record.map_or_else(Record::Unusable, |grant| Record::Grant(Box::new(grant)))))
}

/// The credentials of a connection. The inner error is of this connection only.
fn credentials(row: &Row, key: Option<&Key>) -> anyhow::Result<Result<Row, String>> {
    let stored = row.get("credentials").and_then(Value::as_object).cloned().unwrap_or_default();
    let (Some(nonce), Some(tag)) = (text(row, "credentials_iv"), text(row, "credentials_tag")) else {
        return Ok(Ok(stored));
    };
    let opened = needed(key)?.open(text(&stored, "encrypted_credentials").unwrap_or_default(), nonce, tag);
    Ok(match opened {
        Ok(opened) => serde_json::from_str(opened.expose_secret()).map_err(|_| "its credentials are not JSON".into()),
        Err(error) => Err(format!("its credentials: {error}")),
    })
}

fn grant(
    credentials: &Row,
    row: &Row,
    integration: &Integration,
    end_users: &HashMap<i64, String>,
    choices: &Choices,
) -> Result<MovedGrant, String> {
    let connection_id = text(row, "connection_id").ok_or("it has no connection_id")?;
    let end_user = || {
        let by_row = row.get("end_user_id").and_then(Value::as_i64).and_then(|id| end_users.get(&id));
        by_row.cloned().or_else(|| text(row.get("tags")?.as_object()?, "end_user_id").map(ToOwned::to_owned))
    };
    let user_id = match choices.user_from {
        UserFrom::EndUser => end_user().unwrap_or_else(|| connection_id.to_owned()),
        UserFrom::Connection => connection_id.to_owned(),
    };
    let row_id = id(row).ok_or("it has no id")?;
    let secret = |name: &str| text(credentials, name).map(SecretString::from);
    let grant = MovedGrant {
        source_id: source_id(row, row_id, connection_id),
        provider_id: integration.provider_id(choices).to_owned(),
        user_id,
        ..MovedGrant::default()
    };
    match text(credentials, "type").unwrap_or_default() {
        "OAUTH2" => {
            let overridden = credentials.get("config_override").and_then(Value::as_object);
            let client_id = overridden.and_then(|overridden| text(overridden, "client_id"));
            if client_id.is_some_and(|client_id| Some(client_id) != integration.client_id.as_deref()) {
                return Err(
                    "it was obtained with a client of its own (config_override): its refresh token does not belong \
                            to the client of the integration"
                        .into(),
                );
            }
            let raw = credentials.get("raw").filter(|raw| raw.is_object());
            let config = row.get("connection_config").and_then(Value::as_object);
            let own_scopes = config.and_then(|config| text(config, "oauth_scopes")).map(scopes);
            Ok(MovedGrant {
                access_token: secret("access_token"),
                refresh_token: secret("refresh_token"),
                expires_at: time(credentials.get("expires_at"))?,
                scopes: own_scopes.unwrap_or_else(|| integration.scopes.clone()),
                response: raw.map(|raw| SecretString::from(raw.to_string())),
                ..grant
            })
        }
        "API_KEY" => Ok(MovedGrant { access_token: secret("apiKey"), is_static_key: true, ..grant }),
        "OAUTH2_CC" => Err("its tokens are obtained without a person (client credentials): add the provider with \
                            `agent-auth provider add ID --grant-type client_credentials`"
            .into()),
        "" => Err("it has no credentials".into()),
        _ => Err("its kind of credentials has no place here: only OAuth 2.0 and API keys have".into()),
    }
}

/// The row's id: a connection that is deleted and made again under the same name is another grant. Each database counts its rows
/// from 1 on, so the id is kept apart from that of another database by what else a row keeps for ever.
fn source_id(row: &Row, row_id: i64, connection_id: &str) -> String {
    let environment = row.get("environment_id").and_then(Value::as_i64).unwrap_or_default();
    let made = row.get("created_at").and_then(Value::as_str).and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    let mut hash = Sha256::new();
    hash.update(made.map_or(0, |at| at.timestamp_micros()).to_be_bytes());
    hash.update(connection_id);
    format!("{ID_IN_NANGO}{environment}:{row_id}:{}", hex::encode(&hash.finalize()[..8]))
}

fn time(value: Option<&Value>) -> Result<Option<DateTime<Utc>>, String> {
    let Some(text) = value.and_then(Value::as_str) else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| "expires_at is not a time")?;
    Ok(Some(time.with_timezone(&Utc)))
}
