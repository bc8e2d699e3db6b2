//! Token responses: a lenient reading of what providers really send.
//! Owns: every way in which a success or an error is written (RFC 6749 sections 5.1 and 5.2, and beyond), and which
//! characters a provider's values may have.
//! Must not know: what the response is for.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{
    lifetime::{left_until, lifetime},
    redaction::Redaction,
    scopes::is_scope,
};
use crate::{model::quirks::Quirks, outbound::client::Answer};

/// More scopes than any provider has.
const SCOPES_MAX: usize = 1000;

/// What a provider granted.
pub struct TokenResponse {
    /// The access token.
    pub access_token: SecretString,
    /// The refresh token, if one came.
    pub refresh_token: Option<SecretString>,
    /// The granted scopes; `None` means those that were asked for (RFC 6749 section 5.1).
    pub scopes: Option<Vec<String>>,
    /// How long the access token lives, if that is known. Zero: the provider says that it has expired already.
    pub expires_in: Option<Duration>,
    /// How long the refresh token lives, if that is known.
    pub refresh_token_expires_in: Option<Duration>,
    /// The fields an API of the provider needs beside the token.
    pub metadata: Map<String, Value>,
    /// The whole response, for finding out whose account it is. Holds secrets.
    pub(super) fields: Map<String, Value>,
    /// What must not be kept as anything but a token.
    pub(super) redaction: Redaction,
}

impl TokenResponse {
    /// The ID token, if one came. It proves nothing before it is verified.
    pub(super) fn id_token(&self) -> Option<&str> {
        self.fields.get("id_token")?.as_str()
    }

    /// Leaves out what repeats a secret of its request or one of its own tokens.
    pub(super) fn redact(&mut self, mut redaction: Redaction) {
        redaction.add(self.access_token.expose_secret());
        if let Some(refresh_token) = &self.refresh_token {
            redaction.add(refresh_token.expose_secret());
        }
        self.metadata.retain(|_, value| !redaction.is_repeated_in(&value.to_string()));
        if let Some(scopes) = &mut self.scopes {
            scopes.retain(|scope| !redaction.is_repeated_in(scope));
        }
        self.redaction = redaction;
    }

    /// Adds parameters of the redirect, where the response itself does not have a field of that name.
    pub fn add_callback_parameters(&mut self, parameters: Vec<(String, String)>, quirks: &Quirks) {
        for (name, value) in parameters {
            self.fields.entry(name).or_insert(Value::String(value));
        }
        self.metadata = metadata(&self.fields, &quirks.metadata);
        self.metadata.retain(|_, value| !self.redaction.is_repeated_in(&value.to_string()));
    }
}

/// What an error response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The provider's code.
    pub error: String,
    /// The provider's explanation.
    pub error_description: Option<String>,
}

/// What a response turned out to be.
pub enum Reading {
    /// Tokens.
    Granted(Box<TokenResponse>),
    /// An error that the provider names, whatever the status was.
    Refused(ErrorResponse),
    /// A token that cannot be used, and why.
    Malformed(&'static str),
    /// Neither: HTML, an empty body, JSON without a token.
    Unreadable,
}

/// Reads a response of a token endpoint.
#[must_use]
pub fn read(answer: &Answer, quirks: &Quirks, now: DateTime<Utc>) -> Reading {
    let Some(fields) = fields(answer) else { return Reading::Unreadable };
    if let Some(refused) = error(&fields, answer.status) {
        return Reading::Refused(refused);
    }
    if !(200..300).contains(&answer.status) {
        return Reading::Unreadable;
    }
    match granted(fields, quirks, now) {
        Ok(Some(granted)) => Reading::Granted(Box::new(granted)),
        Ok(None) => Reading::Unreadable,
        Err(problem) => Reading::Malformed(problem),
    }
}

/// Reads the JSON of a token response that another program has kept. `None`: the JSON is not a token response.
#[must_use]
pub fn stored_response(json: &SecretString, quirks: &Quirks, now: DateTime<Utc>) -> Option<TokenResponse> {
    let body = json.expose_secret().to_owned().into();
    let answer = Answer { status: 200, content_type: "application/json".into(), retry_after: None, body };
    let Reading::Granted(mut response) = read(&answer, quirks, now) else { return None };
    response.redact(Redaction::default());
    Some(*response)
}

/// JSON whatever the media type says, if it looks like it; else form fields, if they are what we look for.
fn fields(answer: &Answer) -> Option<Map<String, Value>> {
    let body = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body).trim_ascii();
    if body.first() == Some(&b'{') {
        return serde_json::from_slice(body).ok();
    }
    if answer.content_type == "text/html" || body.first() == Some(&b'<') {
        return None;
    }
    let pairs: Map<String, Value> = form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    (pairs.contains_key("access_token") || pairs.contains_key("error")).then_some(pairs)
}

fn error(fields: &Map<String, Value>, status: u16) -> Option<ErrorResponse> {
    let refused = |error: String, error_description: Option<&Value>| ErrorResponse {
        error,
        error_description: error_description.and_then(text),
    };
    match fields.get("error") {
        Some(Value::String(code)) if !code.is_empty() => {
            let description = fields.get("error_description").or_else(|| fields.get("message"));
            Some(refused(code.clone(), description))
        }
        // Errors of some providers are objects, as in the rest of their APIs.
        Some(Value::Object(object)) => {
            let code = ["type", "status", "code"].iter().find_map(|name| object.get(*name).and_then(text));
            Some(refused(code.unwrap_or_else(|| "provider_error".to_owned()), object.get("message")))
        }
        _ if fields.get("ok") == Some(&Value::Bool(false)) => Some(refused("provider_error".to_owned(), None)),
        // Others send `status: BAD_REFRESH_TOKEN`, without any `error`.
        _ if !fields.contains_key("access_token") => match fields.get("status") {
            Some(Value::String(code)) if code.starts_with("BAD_") => {
                Some(refused(code.to_ascii_lowercase(), fields.get("message")))
            }
            // Or no code at all, only a text.
            _ if matches!(status, 400 | 401) => {
                let message =
                    ["message", "error_description", "error_message"].iter().find_map(|name| fields.get(*name));
                Some(refused("provider_error".to_owned(), Some(message.filter(|text| text.is_string())?)))
            }
            _ => None,
        },
        _ => None,
    }
}

/// `None`: there is no token.
fn granted(
    fields: Map<String, Value>,
    quirks: &Quirks,
    now: DateTime<Utc>,
) -> Result<Option<TokenResponse>, &'static str> {
    let response = Value::Object(fields);
    let places = quirks.token_paths.iter().filter_map(|path| response.pointer(path));
    let with_token = |object: &&Map<String, Value>| filled(object.get("access_token")).is_some();
    let grant = std::iter::once(&response).chain(places).filter_map(Value::as_object).find(with_token).cloned();
    let (Some(grant), Value::Object(fields)) = (grant, response) else { return Ok(None) };
    let Some(access_token) = filled(grant.get("access_token")) else { return Ok(None) };
    // The outer spaces of a header's value are not part of it (RFC 9110 section 5.5): such a token cannot be sent.
    if !is_visible(access_token) || access_token.trim() != access_token {
        return Err("its access_token has characters that an access token cannot have (RFC 6749 appendix A.12)");
    }
    let refresh_token = filled(grant.get("refresh_token"));
    if !refresh_token.is_none_or(is_visible) {
        return Err("its refresh_token has characters that a refresh token cannot have (RFC 6749 appendix A.17)");
    }
    let until = |name| left_until(grant.get(name)?, now);
    Ok(Some(TokenResponse {
        access_token: access_token.into(),
        refresh_token: refresh_token.map(SecretString::from),
        // Some send `scopes`.
        scopes: scopes(grant.get("scope").or_else(|| grant.get("scopes")))?,
        expires_in: lifetime(grant.get("expires_in")).or_else(|| until("expires_at")),
        refresh_token_expires_in: lifetime(
            grant.get("refresh_token_expires_in").or_else(|| grant.get("refresh_expires_in")),
        )
        .or_else(|| until("refresh_token_expires_at")),
        metadata: metadata(&fields, &quirks.metadata),
        redaction: Redaction::default(),
        fields,
    }))
}

fn filled(value: Option<&Value>) -> Option<&str> {
    value?.as_str().filter(|text| !text.is_empty())
}

/// The characters of tokens, codes, client ids and client secrets (`VSCHAR`, RFC 6749 appendix A).
pub(super) fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A string with spaces or commas between, or a list. Nothing in it means that the response does not say. What is not a
/// scope (RFC 6749 section 3.3) is left out.
fn scopes(value: Option<&Value>) -> Result<Option<Vec<String>>, &'static str> {
    let split = |text: &str| -> Vec<String> {
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        parts.filter(|scope| !scope.is_empty()).map(ToOwned::to_owned).collect()
    };
    let mut scopes = match value {
        Some(Value::String(text)) => split(text),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).flat_map(split).collect(),
        _ => return Ok(None),
    };
    if scopes.is_empty() {
        return Ok(None);
    }
    let mut seen = HashSet::new();
    scopes.retain(|scope| is_scope(scope) && seen.insert(scope.clone()));
    scopes.truncate(SCOPES_MAX);
    if scopes.is_empty() {
        // To take them for those that were requested would be more than the provider says.
        return Err("its scope has no scope in it that a client could request (RFC 6749 section 3.3)");
    }
    Ok(Some(scopes))
}

fn metadata(fields: &Map<String, Value>, kept: &[String]) -> Map<String, Value> {
    kept.iter()
        .filter_map(|name| Some((name.clone(), fields.get(name)?.clone())))
        .filter(|(_, value)| value.to_string().len() <= 2048 && is_printable(value))
        .collect()
}

/// Whether no text in it has control characters: agents build URLs and headers of it.
#[must_use]
pub fn is_printable(value: &Value) -> bool {
    match value {
        Value::String(text) => is_printable_text(text),
        Value::Array(list) => list.iter().all(is_printable),
        Value::Object(object) => object.iter().all(|(name, value)| is_printable_text(name) && is_printable(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The same for one text.
#[must_use]
pub fn is_printable_text(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::{catalog::Catalog, model::provider::example};

    fn read(answer: &Answer) -> Reading {
        let catalog = Catalog::load(None).unwrap();
        super::read(answer, catalog.quirks_of(&example().client), now())
    }

    fn answer(status: u16, content_type: &str, body: &str) -> Answer {
        Answer {
            status,
            content_type: content_type.to_owned(),
            retry_after: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn granted(body: &str) -> TokenResponse {
        match read(&answer(200, "application/json", body)) {
            Reading::Granted(granted) => *granted,
            Reading::Refused(refused) => panic!("{refused:?}"),
            Reading::Malformed(problem) => panic!("{problem}: {body}"),
            Reading::Unreadable => panic!("unreadable: {body}"),
        }
    }

    fn now() -> DateTime<Utc> {
        "2026-11-27T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_token_with_characters_that_no_token_has_is_refused() {
        for token in ["a\\r\\nX-Evil: 1", "a\\u0000", "a\\tb", "t\\u007f", "tök", " t", "t ", "t\\n", " "] {
            for body in [
                format!("{{\"access_token\":\"{token}\"}}"),
                format!("{{\"access_token\":\"{token}\",\"authed_user\":{{\"access_token\":\"t\"}}}}"),
            ] {
                let reading = read(&answer(200, "application/json", &body));
                assert!(matches!(reading, Reading::Malformed(problem) if problem.contains("access_token")), "{body}");
            }
        }
        for (token, is_kept) in [("r\\n", false), ("r\\u0000", false), ("ré", false), (" r ", true), ("~!#", true)] {
            let body = format!("{{\"access_token\":\"a b!~\",\"refresh_token\":\"{token}\"}}");
            let reading = read(&answer(200, "application/json", &body));
            match reading {
                Reading::Granted(granted) => assert_eq!(granted.refresh_token.unwrap().expose_secret(), token),
                Reading::Malformed(problem) => assert!(!is_kept && problem.contains("refresh_token"), "{token}"),
                _ => panic!("{token}"),
            }
        }
    }

    #[test]
    fn what_is_not_a_scope_is_left_out_and_means_nothing_else() {
        let scopes = |value: &str| granted(&format!("{{\"access_token\":\"t\",\"scope\":{value}}}")).scopes;
        assert_eq!(scopes("[\"a\",\"b\\u0000\",\"c\\\"d\",\"é\"]").unwrap(), ["a"]);
        for value in ["\"\\u0000\"", "[\"\\\"\"]", "\"é\""] {
            let body = format!("{{\"access_token\":\"t\",\"scope\":{value}}}");
            assert!(matches!(read(&answer(200, "application/json", &body)), Reading::Malformed(_)), "{value}");
        }
    }

    #[test]
    fn lifetimes_of_every_kind_are_read_or_unknown() {
        for (value, seconds) in [
            ("3600", Some(3600)),
            ("\"3600\"", Some(3600)),
            ("3599.5", Some(3599)),
            ("\" 60 \"", Some(60)),
            ("0", None),
            ("-1", None),
            ("1e12", None),
            ("1e400", None),
            ("\"soon\"", None),
            ("\"NaN\"", None),
            ("null", None),
            ("[]", None),
        ] {
            let body = format!("{{\"access_token\":\"t\",\"expires_in\":{value}}}");
            if value == "1e400" {
                assert!(matches!(read(&answer(200, "application/json", &body)), Reading::Unreadable));
                continue;
            }
            assert_eq!(granted(&body).expires_in, seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn scopes_are_split_at_spaces_and_commas_and_read_from_lists() {
        for value in ["\"a b\"", "\"a,b\"", "\"b, a\"", "[\"a\",\"b\"]", "[\"a b\"]", "\"a\\tb a\""] {
            let body = format!("{{\"access_token\":\"t\",\"scope\":{value}}}");
            let mut scopes = granted(&body).scopes.unwrap();
            scopes.sort();
            assert_eq!(scopes, ["a", "b"], "{value}");
        }
        assert_eq!(granted("{\"access_token\":\"t\",\"scopes\":[\"a\",\"b\"]}").scopes.unwrap(), ["a", "b"]);
        for value in ["\"\"", "\" \"", "[]", "null", "7"] {
            let body = format!("{{\"access_token\":\"t\",\"scope\":{value}}}");
            assert_eq!(granted(&body).scopes, None, "{value}");
        }
    }

    #[test]
    fn an_error_is_an_error_whatever_the_status() {
        for (body, code) in [
            ("{\"error\":\"bad_verification_code\"}", "bad_verification_code"),
            ("{\"ok\":false,\"error\":\"invalid_code\"}", "invalid_code"),
            ("{\"ok\":false}", "provider_error"),
            ("{\"error\":{\"type\":\"OAuthException\",\"message\":\"m\",\"code\":190}}", "OAuthException"),
            ("error=access_denied&error_description=no", "access_denied"),
            ("{\"status\":\"BAD_REFRESH_TOKEN\",\"message\":\"m\"}", "bad_refresh_token"),
        ] {
            let Reading::Refused(refused) = read(&answer(200, "text/plain", body)) else { panic!("{body}") };
            assert_eq!(refused.error, code);
        }
    }

    #[test]
    fn what_is_no_token_response_is_unreadable() {
        for (content_type, body) in [
            ("text/html", "<html>access_token=x</html>"),
            ("application/json", "{}"),
            ("application/json", "{\"access_token\":\"\"}"),
            ("application/json", "{\"access_token\":7}"),
            ("application/json", "{\"id_token\":\"x.y.z\"}"),
            ("application/json", "[]"),
            ("application/json", ""),
            ("application/json", "{\"access_token\":"),
        ] {
            assert!(matches!(read(&answer(200, content_type, body)), Reading::Unreadable), "{body}");
        }
    }

    #[test]
    fn slack_gives_a_persons_token_inside_authed_user() {
        let only_user =
            granted("{\"ok\":true,\"authed_user\":{\"id\":\"U1\",\"scope\":\"s\",\"access_token\":\"xoxp\"}}");
        assert_eq!(only_user.access_token.expose_secret(), "xoxp");
        assert_eq!(only_user.scopes.unwrap(), ["s"]);
        let both = granted("{\"ok\":true,\"access_token\":\"xoxb\",\"authed_user\":{\"access_token\":\"xoxp\"}}");
        assert_eq!(both.access_token.expose_secret(), "xoxb");
    }

    #[test]
    fn metadata_keeps_what_apis_need_and_no_secret() {
        let response = granted(
            "{\"access_token\":\"t\",\"refresh_token\":\"r\",\"instance_url\":\"https://x\",
              \"api_domain\":\"x\\r\\ny\",\"app_id\":{\"a\\u0000\":1},
              \"incoming_webhook\":{\"url\":\"secret\"},\"team\":{\"id\":\"T1\"}}",
        );
        let names: Vec<&str> = response.metadata.keys().map(String::as_str).collect();
        assert_eq!(names, ["instance_url", "team"]);
    }
}
