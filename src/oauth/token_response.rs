//! Token responses: a lenient reading of what providers really send.
//! Owns: every way in which a success or an error is written (RFC 6749 sections 5.1 and 5.2, and beyond).
//! Must not know: what the response is for.

use std::{collections::HashSet, time::Duration};

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::{model::quirks::Quirks, outbound::client::Answer};

/// A lifetime beyond ten years is a mistake or "never": unknown.
const LIFETIME_MAX_SECONDS: f64 = 10.0 * 365.0 * 86_400.0;
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
    /// How long the access token lives, if that is known.
    pub expires_in: Option<Duration>,
    /// How long the refresh token lives, if that is known.
    pub refresh_token_expires_in: Option<Duration>,
    /// The fields an API of the provider needs beside the token.
    pub metadata: Map<String, Value>,
    /// The whole response, for finding out whose account it is. Holds secrets.
    pub(super) fields: Map<String, Value>,
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
    /// Neither: HTML, an empty body, JSON without a token.
    Unreadable,
}

/// Reads a response of a token endpoint.
#[must_use]
pub fn read(answer: &Answer, quirks: &Quirks) -> Reading {
    let Some(fields) = fields(answer) else { return Reading::Unreadable };
    if let Some(refused) = error(&fields) {
        return Reading::Refused(refused);
    }
    if !(200..300).contains(&answer.status) {
        return Reading::Unreadable;
    }
    granted(fields, quirks).map_or(Reading::Unreadable, |granted| Reading::Granted(Box::new(granted)))
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

fn error(fields: &Map<String, Value>) -> Option<ErrorResponse> {
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
            _ => None,
        },
        _ => None,
    }
}

fn granted(fields: Map<String, Value>, quirks: &Quirks) -> Option<TokenResponse> {
    let response = Value::Object(fields);
    let places = quirks.token_paths.iter().filter_map(|path| response.pointer(path));
    let grant = std::iter::once(&response)
        .chain(places)
        .filter_map(Value::as_object)
        .find(|object| secret(object.get("access_token")).is_some())?
        .clone();
    let Value::Object(fields) = response else { return None };
    Some(TokenResponse {
        access_token: secret(grant.get("access_token"))?,
        refresh_token: secret(grant.get("refresh_token")),
        // Some send `scopes`.
        scopes: scopes(grant.get("scope").or_else(|| grant.get("scopes"))),
        expires_in: lifetime(grant.get("expires_in")),
        refresh_token_expires_in: lifetime(
            grant.get("refresh_token_expires_in").or_else(|| grant.get("refresh_expires_in")),
        ),
        metadata: metadata(&fields, &quirks.metadata),
        fields,
    })
}

fn secret(value: Option<&Value>) -> Option<SecretString> {
    value?.as_str().filter(|text| !text.is_empty() && !text.contains('\0')).map(SecretString::from)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A string with spaces or commas between, or a list. Nothing in it means that the response does not say.
fn scopes(value: Option<&Value>) -> Option<Vec<String>> {
    let split = |text: &str| -> Vec<String> {
        text.split(|c: char| c == ',' || c.is_whitespace())
            .filter(|scope| !scope.is_empty() && !scope.contains('\0'))
            .map(ToOwned::to_owned)
            .collect()
    };
    let mut scopes = match value? {
        Value::String(text) => split(text),
        Value::Array(list) => list.iter().filter_map(Value::as_str).flat_map(split).collect(),
        _ => return None,
    };
    scopes.truncate(SCOPES_MAX);
    let mut seen = HashSet::new();
    scopes.retain(|scope| seen.insert(scope.clone()));
    Some(scopes).filter(|scopes| !scopes.is_empty())
}

/// Seconds as a number, a fraction or text. What is not a positive, sane number is unknown.
pub(super) fn lifetime(value: Option<&Value>) -> Option<Duration> {
    let seconds = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    (1.0..=LIFETIME_MAX_SECONDS).contains(&seconds).then(|| Duration::from_secs_f64(seconds.floor()))
}

fn metadata(fields: &Map<String, Value>, kept: &[String]) -> Map<String, Value> {
    kept.iter()
        .filter_map(|name| Some((name.clone(), fields.get(name)?.clone())))
        .filter(|(_, value)| value.to_string().len() <= 2048 && !value.to_string().contains("\\u0000"))
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::{catalog::Catalog, model::provider::example};

    fn read(answer: &Answer) -> Reading {
        let catalog = Catalog::load(None).unwrap();
        super::read(answer, catalog.quirks_of(&example().client))
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
            Reading::Unreadable => panic!("unreadable: {body}"),
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
              \"incoming_webhook\":{\"url\":\"secret\"},\"team\":{\"id\":\"T1\"}}",
        );
        let names: Vec<&str> = response.metadata.keys().map(String::as_str).collect();
        assert_eq!(names, ["instance_url", "team"]);
    }
}
