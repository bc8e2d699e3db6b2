//! What every request is checked for before its route sees it: nothing in it may be ambiguous or unreadable.
//! Owns: these checks.
//! Must not know: what a route does with a header or a parameter.

use axum::{
    extract::Request,
    http::{HeaderName, Version, header},
};
use serde_json::Value;
use url::form_urlencoded;

use super::error::{ApiError, Fault};

/// The largest head of a request, in bytes.
pub(super) const HEAD_MAX: usize = 32 * 1024;
/// The longest path and query.
const URL_MAX: usize = 16 * 1024;
/// Headers that say who calls, for whom, and where to. If one came twice, a proxy in front of the server might have
/// judged the other one.
const SINGLE_HEADERS: [HeaderName; 6] = [
    header::HOST,
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-service-key"),
    HeaderName::from_static("x-tenant-id"),
    HeaderName::from_static("x-user-id"),
];
/// The parameters that this server reads. (RFC 6749 section 3.1: parameters must not be included more than once.)
const SINGLE_PARAMETERS: [&str; 9] =
    ["code", "state", "error", "error_description", "iss", "installation_id", "setup_action", "provider_id", "timeout"];

/// Checks the head of a request.
pub(super) fn check(request: &Request) -> Result<(), ApiError> {
    let (uri, headers) = (request.uri(), request.headers());
    if uri.path().len() + uri.query().map_or(0, str::len) > URL_MAX {
        return Err(ApiError::UrlTooLong);
    }
    // hyper stops reading when it has this much and no end of the head; it may have got more with the last read.
    let header_bytes =
        headers.iter().map(|(name, value)| name.as_str().len() + ": \r\n".len() + value.len()).sum::<usize>();
    if request_line(request) + header_bytes + "\r\n".len() > HEAD_MAX {
        return Err(ApiError::HeadTooLarge);
    }
    // RFC 9112 section 3.2: 400 for a request of HTTP/1.1 without Host, with more than one, or with an invalid one.
    match headers.get(header::HOST) {
        Some(host) if !is_host(host.as_bytes()) => {
            return Err(ApiError::BadRequest(
                "The Host header is not a host name or address with an optional port.".into(),
            ));
        }
        None if request.version() == Version::HTTP_11 => {
            return Err(ApiError::BadRequest("The Host header is missing.".into()));
        }
        _ => {}
    }
    // Fewer names than values: something came more than once.
    if headers.keys_len() < headers.len() {
        let twice = |name: &&HeaderName| headers.get_all(*name).iter().nth(1).is_some();
        if let Some(name) = SINGLE_HEADERS.iter().find(twice) {
            return Err(ApiError::BadRequest(format!("The header {name} was sent more than once.")));
        }
    }
    if !decodes(uri.path()) {
        return Err(ApiError::BadRequest("The path is not UTF-8 when its percent-encoding is decoded.".into()));
    }
    not_doubled(uri.query().unwrap_or_default(), &SINGLE_PARAMETERS)
}

/// Checks that a query has none of these names more than once.
pub(super) fn not_doubled(query: &str, names: &[&'static str]) -> Result<(), ApiError> {
    match doubled(query.as_bytes(), names) {
        Some(name) => Err(ApiError::BadRequest(format!("The query parameter {name} was sent more than once."))),
        None => Ok(()),
    }
}

/// Reads each parameter of a query that has a value by `take`, and reports all that it refuses. None of `names` may be there
/// more than once.
pub(super) fn read_parameters(
    query: &str,
    names: &[&'static str],
    mut take: impl FnMut(&str, &str) -> Result<(), (&'static str, String)>,
) -> Result<(), ApiError> {
    not_doubled(query, names)?;
    let mut faults = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
        if let Err((kind, msg)) = take(&name, &value) {
            faults.push(Fault { loc: vec![Value::from("query"), name.as_ref().into()], msg, kind });
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(ApiError::Faults(faults)) }
}

/// The query of an operation, if it can be read. (At a callback, which browsers open, a provider's text may have any bytes.)
pub(super) fn readable(query: Option<&str>) -> Result<&str, ApiError> {
    let query = query.unwrap_or_default();
    if decodes(query) {
        Ok(query)
    } else {
        Err(ApiError::BadRequest("The query is not UTF-8 when its percent-encoding is decoded.".into()))
    }
}

/// The bytes of the request line. (The target is nearly always a path.)
fn request_line(request: &Request) -> usize {
    let uri = request.uri();
    let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    request.method().as_str().len() + target + "  HTTP/1.1\r\n".len()
}

/// True for a host and an optional port (RFC 3986 section 3.2), or nothing (RFC 9112 section 3.2).
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return false,
        },
        _ => value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len())),
    };
    let is_literal = value.first() == Some(&b'[');
    let in_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    let is_port = matches!(port, [] | [b':', ..]) && port.iter().skip(1).all(u8::is_ascii_digit);
    is_port && (!is_literal || !host.is_empty()) && host.iter().all(|byte| in_host(byte) || is_literal && *byte == b':')
}

/// The first of these names that a form or a query has more than once.
pub(super) fn doubled(form: &[u8], names: &[&'static str]) -> Option<&'static str> {
    let mut seen = vec![false; names.len()];
    for (name, _) in form_urlencoded::parse(form) {
        let Some(at) = names.iter().position(|known| *known == name) else { continue };
        if std::mem::replace(&mut seen[at], true) {
            return Some(names[at]);
        }
    }
    None
}

/// True when a path or a query is UTF-8 after decoding. A `%` without two hexadecimal digits stands for itself.
fn decodes(text: &str) -> bool {
    if !text.contains('%') {
        return true;
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let mut byte = [*first];
        rest = match after {
            [high, low, after @ ..] if *first == b'%' && hex::decode_to_slice([*high, *low], &mut byte).is_ok() => {
                after
            }
            _ => after,
        };
        decoded.push(byte[0]);
    }
    std::str::from_utf8(&decoded).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_that_decodes_to_utf8_is_accepted() {
        for path in ["/", "/a%20b", "/%", "/100%", "/%zz", "/%c3%a9", "/%C3%A9/x"] {
            assert!(decodes(path), "{path}");
        }
        for path in ["/%ff", "/a%ffb", "/%c3", "/%c3/%a9", "/%ED%A0%80"] {
            assert!(!decodes(path), "{path}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for host in [
            "",
            "x",
            "a.example:8080",
            "a_b.example",
            "127.0.0.1",
            "[::1]:80",
            "[v1.a:b]",
            "a:",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b", "a/b", "a@b", "a:b", "a:80:80", "::1", "[::1", "[]", "[::1]x", "a\"", "a\\b", "\u{e9}", "a?b", "a#b",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_parameter_is_doubled_however_it_is_encoded() {
        assert_eq!(doubled(b"code=1&state=2", &SINGLE_PARAMETERS), None);
        assert_eq!(doubled(b"other=1&other=2", &SINGLE_PARAMETERS), None);
        assert_eq!(doubled(b"code=1&c%6fde=1", &SINGLE_PARAMETERS), Some("code"));
        assert_eq!(doubled(b"state&x=1&state", &SINGLE_PARAMETERS), Some("state"));
    }
}
