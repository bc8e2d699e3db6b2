//! What an incoming grant must be like.
//! Owns: the rules of its fields, and when it counts as expired.
//! Must not know: where it comes from, or what is stored already.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::records::Restored;
use crate::{
    broker::{
        context::Broker,
        rules::{self, Problem, SCOPES_MAX},
        tokens::response::grant_from_response,
    },
    model::{grant::Grant, moved_grant::MovedGrant, options::GrantType, provider::Provider, token::Token},
    oauth::token_response::{is_printable, is_printable_text, stored_response},
};

/// The longest token, in bytes.
const TOKEN_MAX: usize = 64 * 1024;
/// The longest metadata, in bytes as JSON.
const METADATA_MAX: usize = 16 * 1024;
/// Agents of one grant.
const AGENTS_MAX: usize = 1000;

/// Checks the fields of a grant.
///
/// # Errors
/// Which field is wrong and why, without its value if that is a secret.
pub(super) fn check(grant: &MovedGrant) -> Result<(), String> {
    let of = |field: &str, checked: Result<(), Problem>| checked.map_err(|(_, problem)| format!("{field}: {problem}"));
    of("id", rules::identifier(&grant.source_id))?;
    of("provider_id", rules::provider_id(&grant.provider_id))?;
    of("user_id", rules::identifier(&grant.user_id))?;
    for (field, text) in [
        ("agent_id", Some(&grant.agent_id).filter(|agent_id| !agent_id.is_empty())),
        ("ls_user_id", grant.ls_user_id.as_ref()),
        ("account_id", grant.account_id.as_ref()),
    ] {
        of(field, text.map_or(Ok(()), |text| rules::identifier(text)))?;
    }
    of("account_label", grant.account_label.as_ref().map_or(Ok(()), |label| rules::display_name(label)))?;
    if grant.scopes.len() > SCOPES_MAX {
        return Err(format!("scopes: at most {SCOPES_MAX}, not {}", grant.scopes.len()));
    }
    for scope in &grant.scopes {
        of("scopes", rules::scope(scope))?;
    }
    if grant.agents.len() > AGENTS_MAX {
        return Err(format!("agents: at most {AGENTS_MAX}, not {}", grant.agents.len()));
    }
    for agent_id in &grant.agents {
        of("agents", rules::identifier(agent_id))?;
    }
    if serde_json::to_string(&grant.metadata).map_or(0, |text| text.len()) > METADATA_MAX {
        return Err(format!("metadata: at most {METADATA_MAX} bytes"));
    }
    // Agents build URLs and headers of it, as of that of a token response; and PostgreSQL stores no NUL.
    if !grant.metadata.iter().all(|(name, value)| is_printable_text(name) && is_printable(value)) {
        return Err("metadata: its texts should not have control characters".into());
    }
    check_token("access_token", grant.access_token.as_ref())?;
    check_token("refresh_token", grant.refresh_token.as_ref())
}

/// Checks what a record of a provider says beyond a draft, which has rules of its own.
///
/// # Errors
/// Which field is wrong and why.
pub(super) fn check_restored(restored: &Restored) -> Result<(), String> {
    if !serde_json::to_value(&restored.options).is_ok_and(|options| is_printable(&options)) {
        return Err("options: their texts should not have control characters".into());
    }
    if !restored.mcp_server_url.as_deref().is_none_or(is_printable_text) {
        return Err("mcp_server_url: it should not have control characters".into());
    }
    Ok(())
}

/// Tokens are put into headers and forms as they are (RFC 6749 appendix A.12 and A.17).
fn check_token(field: &str, token: Option<&SecretString>) -> Result<(), String> {
    let Some(token) = token.map(ExposeSecret::expose_secret) else { return Ok(()) };
    if token.is_empty() || token.len() > TOKEN_MAX {
        return Err(format!(
            "{field}: a token has 1 to {TOKEN_MAX} characters; leave the field out if the grant has no such token"
        ));
    }
    if token.starts_with(' ') || token.ends_with(' ') {
        return Err(format!("{field}: it has a blank at its start or its end"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(format!("{field}: it has characters that no token has, such as line breaks"));
    }
    Ok(())
}

/// The grant with what its token response says, where its own fields say nothing.
pub(super) fn with_response(mut grant: MovedGrant, provider: &Provider, broker: &Broker) -> MovedGrant {
    let Some(response) = grant.response.take() else { return grant };
    let quirks = broker.catalog.quirks_of(&provider.client);
    let Some(response) = stored_response(&response, quirks, broker.clock.now()) else { return grant };
    let said = grant_from_response(broker, &provider.client, &response, &grant.scopes);
    // What was granted counts, and not what was asked for.
    grant.scopes = said.scopes.unwrap_or(grant.scopes);
    grant.account_id = grant.account_id.or(said.account_id);
    grant.account_label = grant.account_label.or(said.account_label);
    if grant.metadata.is_empty() {
        grant.metadata = said.metadata;
    }
    grant
}

/// The grant as it is stored. One with a refresh token counts as expired from this moment on: nobody gets it before it
/// was refreshed here once. One without is what it is until it expires.
///
/// # Errors
/// Why it is of no use.
pub(super) fn usable_grant(grant: MovedGrant, provider: &Provider, now: DateTime<Utc>) -> Result<Grant, String> {
    let options = &provider.client.options;
    match options.grant_type {
        GrantType::ClientCredentials => {
            return Err("this provider needs no grants: its tokens are obtained without a person".into());
        }
        GrantType::ApiKey if provider.client.secret.is_some() => {
            return Err("this provider needs no grants: its key belongs to the workspace".into());
        }
        GrantType::ApiKey => return static_key(grant),
        GrantType::AuthorizationCode if grant.is_static_key => {
            return Err("it is a static key, and the provider here has OAuth clients".into());
        }
        GrantType::AuthorizationCode => {}
    }
    // Where the access token is exchanged for a new one, it is its own refresh token.
    let renewable = options.renewal_grant.as_ref().and(grant.access_token.clone());
    let refresh_token = grant.refresh_token.or(renewable);
    let (expires_at, access_token) = match (&refresh_token, grant.access_token) {
        (Some(_), access_token) => (Some(now), access_token.unwrap_or_default()),
        (None, None) => return Err("it has neither a refresh token nor an access token".into()),
        (None, Some(_)) if grant.expires_at.is_some_and(|at| at <= now) => {
            return Err("it has expired and has no refresh token".into());
        }
        (None, Some(access_token)) => (grant.expires_at, access_token),
    };
    if refresh_token.is_some() && grant.refresh_token_expires_at.is_some_and(|at| at <= now) {
        return Err("its refresh token has expired".into());
    }
    let mut metadata = grant.metadata;
    // Only providers with static keys have tokens that are marked so.
    Token::static_key_metadata().keys().for_each(|mark| drop(metadata.remove(mark)));
    Ok(Grant {
        access_token,
        refresh_token,
        scopes: Some(grant.scopes),
        metadata,
        account_id: grant.account_id,
        account_label: grant.account_label,
        expires_at,
        refresh_due_at: expires_at,
        refresh_token_expires_at: grant.refresh_token_expires_at,
    })
}

/// A person's static key. It has no scopes, and nothing that could be refreshed.
fn static_key(grant: MovedGrant) -> Result<Grant, String> {
    let key = grant.access_token.ok_or("it has no key: a static key is its access_token")?;
    Ok(Grant {
        access_token: key,
        refresh_token: None,
        scopes: Some(Vec::new()),
        metadata: Token::static_key_metadata(),
        account_id: grant.account_id,
        account_label: grant.account_label,
        expires_at: None,
        refresh_due_at: None,
        refresh_token_expires_at: None,
    })
}
