//! The revocation endpoint: telling a provider that a grant is over (RFC 7009, and the styles beside it).
//! Owns: in which order the tokens go there, and what a response means.
//! Must not know: why a grant is over, or when it is tried again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{
    RequestBuilder,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use super::{client_authentication::Authentication, redaction::Redaction};
use crate::{
    model::{
        client::Client,
        failure::TokenFailure,
        quirks::{Revocation, RevocationStyle},
    },
    outbound::client::{Answer, CallError, Outbound},
    telemetry::metrics::Endpoint,
};

/// The version of its API whose revocation endpoint the style is of: every request names one.
const NOTION_VERSION: &str = "2025-09-03";
/// Part of the sentence by which Stripe says that the account is not, or no longer, connected to the platform. The code
/// is the same as for a wrong client.
const STRIPE_NOT_CONNECTED: &str = "not connected";

/// A grant to revoke.
#[derive(Clone, Copy, Debug)]
pub struct Granted<'a> {
    /// Its access token.
    pub access_token: &'a SecretString,
    /// Its refresh token, if there is one.
    pub refresh_token: Option<&'a SecretString>,
    /// Whose account it is for at the provider, if that is known.
    pub account_id: Option<&'a str>,
}

/// What a provider said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The grant is over there.
    Yes,
    /// The provider takes nothing but a live access token, and this one is not. A refresh token may still live.
    AccessTokenDead,
    /// The provider revokes neither kind of token (RFC 7009 section 2.2.1, `unsupported_token_type`), or asks for what
    /// is not known.
    Unsupported,
}

/// The provider could not be reached, or did not revoke it. Worth another try. Holds no secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{problem}")]
pub struct RevocationFailure {
    /// What went wrong.
    pub problem: String,
    /// How long the provider asked us to stay away.
    pub retry_after: Option<Duration>,
    /// The status of the provider's response, if it was a response of a revocation endpoint.
    pub status: Option<u16>,
}

impl RevocationFailure {
    /// A failure that is no response of a revocation endpoint.
    #[must_use]
    pub fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), retry_after: None, status: None }
    }
}

impl From<CallError> for RevocationFailure {
    fn from(error: CallError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<TokenFailure> for RevocationFailure {
    fn from(failure: TokenFailure) -> Self {
        Self { retry_after: failure.retry_after, ..Self::new(failure.to_string()) }
    }
}

/// Where a token is revoked whose account has another one that is to live on, instead of at `revocation_url`. `None` where
/// nothing but all of the account's grants can be ended.
#[must_use]
pub fn endpoint_of_one_token(revocation_url: &str, revocation: &Revocation) -> Option<String> {
    if revocation.ends_account {
        return None;
    }
    let application = revocation_url.strip_suffix("/grant").filter(|_| revocation.style == RevocationStyle::Github);
    Some(application.map_or_else(|| revocation_url.to_owned(), |application| format!("{application}/token")))
}

/// Revokes a grant at `revocation_url`.
pub async fn revoke(
    outbound: &Outbound,
    client: &Client,
    revocation_url: &str,
    revocation: &Revocation,
    granted: Granted<'_>,
    now: DateTime<Utc>,
) -> Result<Revoked, RevocationFailure> {
    let url =
        Url::parse(revocation_url).map_err(|_| RevocationFailure::new("the provider's revocation_url is not a URL"))?;
    let access_token = granted.access_token.expose_secret();
    let request = match revocation.style {
        RevocationStyle::Rfc7009 => return revoke_both(outbound, client, &url, granted, now).await,
        RevocationStyle::Github => by_client_in_json(outbound.delete(&url)?, client, "access_token", access_token),
        RevocationStyle::PostBearer => outbound.post(&url)?.bearer_auth(access_token),
        RevocationStyle::DeleteBearer => outbound.delete(&url)?.bearer_auth(access_token),
        RevocationStyle::Shopify => outbound.delete(&url)?.header("x-shopify-access-token", sensitive(access_token)?),
        RevocationStyle::Notion => by_client_in_json(outbound.post(&url)?, client, "token", access_token)
            .header("notion-version", NOTION_VERSION),
        RevocationStyle::Stripe => {
            let (Some(secret), Some(account_id)) = (&client.secret, granted.account_id) else {
                return Ok(Revoked::Unsupported);
            };
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("client_id", &client.id).append_pair("stripe_user_id", account_id);
            let request = outbound.post(&url)?.bearer_auth(secret.expose_secret());
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish())
        }
    };
    let redaction = secrets(client, granted.access_token);
    read_response(revocation, &answer(outbound, request, now).await?, &redaction)
}

/// What a request of our client with this token sends that its response may repeat.
fn secrets(client: &Client, token: &SecretString) -> Redaction {
    let mut redaction = Redaction::of_client(client);
    redaction.add(token.expose_secret());
    redaction
}

fn by_client_in_json(request: RequestBuilder, client: &Client, field: &str, token: &str) -> RequestBuilder {
    request
        .basic_auth(&client.id, client.secret.as_ref().map(ExposeSecret::expose_secret))
        .header(CONTENT_TYPE, "application/json")
        .body(json!({field: token}).to_string())
}

fn sensitive(token: &str) -> Result<HeaderValue, RevocationFailure> {
    let mut value =
        HeaderValue::from_str(token).map_err(|_| RevocationFailure::new("the access token does not fit a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The refresh token first: it is what the grant lives by, and with it the provider should drop the access tokens too
/// (RFC 7009 section 2.1). Not every provider does, so the access token follows.
async fn revoke_both(
    outbound: &Outbound,
    client: &Client,
    url: &Url,
    granted: Granted<'_>,
    now: DateTime<Utc>,
) -> Result<Revoked, RevocationFailure> {
    let refresh = match granted.refresh_token {
        Some(token) => revoke_one(outbound, client, url, (token, "refresh_token"), now).await?,
        None => Revoked::Unsupported,
    };
    match (refresh, revoke_one(outbound, client, url, (granted.access_token, "access_token"), now).await) {
        // Some providers take refresh tokens only, and say so in words of their own.
        (Revoked::Yes, Err(failure)) if failure.status == Some(400) => Ok(Revoked::Yes),
        (Revoked::Yes, Ok(_)) => Ok(Revoked::Yes),
        (_, access) => access,
    }
}

async fn revoke_one(
    outbound: &Outbound,
    client: &Client,
    url: &Url,
    (token, kind): (&SecretString, &str),
    now: DateTime<Utc>,
) -> Result<Revoked, RevocationFailure> {
    let request =
        outbound.post(url)?.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body(client, token, kind));
    let answer = answer(outbound, Authentication::of(client).apply(request), now).await?;
    match (answer.status, error_code(&answer).as_deref()) {
        // A token that is not known is as good as revoked; the RFC says 200, not everybody does.
        (200..300, None) | (400, Some("invalid_token" | "invalid_grant")) => Ok(Revoked::Yes),
        (400, Some("unsupported_token_type")) => Ok(Revoked::Unsupported),
        (_, code) => Err(refusal(&answer, code, &secrets(client, token))),
    }
}

fn body(client: &Client, token: &SecretString, kind: &str) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("token", token.expose_secret()).append_pair("token_type_hint", kind);
    form.extend_pairs(Authentication::of(client).fields()).finish()
}

/// The response, unless the provider is down or has had enough of us.
async fn answer(outbound: &Outbound, request: RequestBuilder, now: DateTime<Utc>) -> Result<Answer, RevocationFailure> {
    let answer = outbound.send(Endpoint::Revocation, request.header(ACCEPT, "application/json"), now).await?;
    if answer.status >= 500 || matches!(answer.status, 408 | 429) {
        return Err(refusal(&answer, None, &Redaction::default()));
    }
    // Whatever answers with a page is no revocation endpoint.
    if answer.body.trim_ascii_start().starts_with(b"<") {
        let problem = format!("status {} and a page; check the provider's revocation_url", answer.status);
        return Err(RevocationFailure::new(problem));
    }
    Ok(answer)
}

fn read_response(
    revocation: &Revocation,
    answer: &Answer,
    redaction: &Redaction,
) -> Result<Revoked, RevocationFailure> {
    let code = error_code(answer);
    let dead = match revocation.style {
        RevocationStyle::Github => matches!(answer.status, 404 | 422),
        RevocationStyle::PostBearer | RevocationStyle::DeleteBearer | RevocationStyle::Shopify => {
            answer.status == 401 || code.as_ref().is_some_and(|code| revocation.dead_access_token.contains(code))
        }
        RevocationStyle::Notion => code.as_deref() == Some("invalid_grant"),
        // Not read here, or no token goes there.
        RevocationStyle::Rfc7009 | RevocationStyle::Stripe => false,
    };
    match (answer.status, &code) {
        _ if dead => Ok(Revoked::AccessTokenDead),
        _ if revocation.style == RevocationStyle::Stripe && says(answer, STRIPE_NOT_CONNECTED) => Ok(Revoked::Yes),
        (200..300, None) => Ok(Revoked::Yes),
        _ => Err(refusal(answer, code.as_deref(), redaction)),
    }
}

fn says(answer: &Answer, words: &str) -> bool {
    let fields: Option<Value> = serde_json::from_slice(&answer.body).ok();
    fields.is_some_and(|fields| fields["error_description"].as_str().is_some_and(|text| text.contains(words)))
}

/// The code of an error, whatever the status: `error` as text, `error.code`, `code` of an object that
/// calls itself an error, or `ok: false`.
fn error_code(answer: &Answer) -> Option<String> {
    let fields: Map<String, Value> = serde_json::from_slice(&answer.body).ok()?;
    match fields.get("error") {
        Some(Value::String(code)) => Some(code.clone()),
        Some(Value::Object(error)) => Some(error.get("code").map_or_else(|| "unknown".into(), Value::to_string)),
        _ if fields.get("object").is_some_and(|object| object == "error") => {
            Some(fields.get("code").and_then(Value::as_str).unwrap_or("unknown").to_owned())
        }
        _ => (fields.get("ok") == Some(&Value::Bool(false))).then(|| "unknown".into()),
    }
}

fn refusal(answer: &Answer, code: Option<&str>, redaction: &Redaction) -> RevocationFailure {
    let code = code.map(|code| format!(" ({})", redaction.printable(code, 64))).unwrap_or_default();
    RevocationFailure {
        problem: format!("the provider responded with status {}{code}", answer.status),
        retry_after: answer.retry_after,
        status: Some(answer.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::Catalog,
        model::{
            options::{ProviderOptions, TokenFormat},
            provider::example,
        },
    };

    fn client(token_url: &str) -> Client {
        Client { id: "Iv1.a/b".into(), token_url: token_url.to_owned(), ..example().client }
    }

    #[test]
    fn the_well_known_are_found_by_the_host_of_their_token_endpoint() {
        let catalog = Catalog::load(None).unwrap();
        for (token_url, revocation_url) in [
            ("https://oauth2.googleapis.com/token", Some("https://oauth2.googleapis.com/revoke")),
            (
                "https://github.com/login/oauth/access_token",
                Some("https://api.github.com/applications/Iv1.a%2Fb/grant"),
            ),
            ("https://slack.com/api/oauth.v2.access", Some("https://slack.com/api/auth.revoke")),
            (
                "https://acme.my.salesforce.com/services/oauth2/token",
                Some("https://acme.my.salesforce.com/services/oauth2/revoke"),
            ),
            ("https://graph.facebook.com/v22.0/oauth/access_token", Some("https://graph.facebook.com/me/permissions")),
            ("https://www.linkedin.com/oauth/v2/accessToken", Some("https://www.linkedin.com/oauth/v2/revoke")),
            ("https://api.notion.com/v1/oauth/token", Some("https://api.notion.com/v1/oauth/revoke")),
            ("https://connect.stripe.com/oauth/token", Some("https://connect.stripe.com/oauth/deauthorize")),
            (
                "https://acme.zendesk.com/oauth/tokens",
                Some("https://acme.zendesk.com/api/v2/oauth/tokens/current.json"),
            ),
            ("https://acme.myshopify.com/admin/oauth/access_token", None),
            ("https://my.salesforce.com.evil.example/token", None),
            ("https://github.com.evil.example/token", None),
            ("https://login.microsoftonline.com/common/oauth2/v2.0/token", None),
            ("no url", None),
        ] {
            assert_eq!(catalog.revocation_url_of(&client(token_url)).as_deref(), revocation_url, "{token_url}");
        }
    }

    #[test]
    fn each_known_address_is_revoked_at_in_its_own_way() {
        let catalog = Catalog::load(None).unwrap();
        let json = ProviderOptions { token_format: TokenFormat::Json, ..ProviderOptions::default() };
        let style = |client: &Client, url: &str| catalog.revocation_at(client, url).style;
        for (host, expected) in [
            ("github.com", RevocationStyle::Github),
            ("slack.com", RevocationStyle::PostBearer),
            ("api.dropboxapi.com", RevocationStyle::PostBearer),
            ("graph.facebook.com", RevocationStyle::DeleteBearer),
            ("acme.zendesk.com", RevocationStyle::DeleteBearer),
            ("api.notion.com", RevocationStyle::Notion),
            ("connect.stripe.com", RevocationStyle::Stripe),
            ("www.linkedin.com", RevocationStyle::Rfc7009),
            ("zoom.us", RevocationStyle::Rfc7009),
        ] {
            let client = Client { options: json.clone(), ..client(&format!("https://{host}/token")) };
            let url = catalog.revocation_url_of(&client).unwrap();
            assert_eq!(style(&client, &url), expected, "{host}");
            let elsewhere = Client { token_url: "https://as.example/token".into(), ..client };
            assert_eq!(style(&elsewhere, &url), expected, "{host}: by its path");
        }
        let (common, as_example) = ("https://as.example/v1/oauth/revoke", client("https://as.example/token"));
        assert_eq!(style(&as_example, common), RevocationStyle::Rfc7009, "by the book where the token endpoint is");
    }

    #[test]
    fn others_of_the_account_are_spared_where_that_can_be() {
        let catalog = Catalog::load(None).unwrap();
        let as_example = client("https://as.example/token");
        let spared = |url| endpoint_of_one_token(url, &catalog.revocation_at(&as_example, url));
        assert_eq!(
            spared("https://api.github.com/applications/Iv1/grant").as_deref(),
            Some("https://api.github.com/applications/Iv1/token")
        );
        assert_eq!(spared("https://as.example/revoke").as_deref(), Some("https://as.example/revoke"));
        assert_eq!(spared("https://connect.stripe.com/oauth/deauthorize"), None);
        assert_eq!(spared("https://graph.facebook.com/me/permissions"), None);
    }

    #[test]
    fn the_codes_of_errors_are_read_from_every_place() {
        for (body, code) in [
            ("{\"ok\":false,\"error\":\"token_revoked\"}", Some("token_revoked")),
            ("{\"ok\":false}", Some("unknown")),
            ("{\"error\":{\"type\":\"OAuthException\",\"code\":190}}", Some("190")),
            ("{\"error\":{\".tag\":\"expired_access_token\"}}", Some("unknown")),
            ("{\"object\":\"error\",\"status\":400,\"code\":\"invalid_grant\"}", Some("invalid_grant")),
            ("{\"ok\":true,\"revoked\":true}", None),
            ("{\"success\":true}", None),
            ("null", None),
            ("", None),
        ] {
            let answer = Answer {
                status: 200,
                content_type: String::new(),
                retry_after: None,
                body: body.as_bytes().to_vec().into(),
            };
            assert_eq!(error_code(&answer).as_deref(), code, "{body}");
        }
    }
}
