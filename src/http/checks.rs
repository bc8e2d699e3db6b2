//! What every request is checked for before its route sees it: nothing in it may be ambiguous or unreadable.
//! Owns: these checks. The size of a head is limited where it is read, in `serve`.
//! Must not know: what a route does with a header or a parameter.

use axum::{
    extract::Request,
    http::{HeaderName, Version, header},
};
use url::form_urlencoded;

use super::error::ApiError;

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
    // RFC 9112 section 3.2: 400 for a request of HTTP/1.1 without Host, or with more than one.
    if request.version() == Version::HTTP_11 && !headers.contains_key(header::HOST) {
        return Err(ApiError::BadRequest("The Host header is missing.".into()));
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
    if let Some(name) = uri.query().and_then(|query| doubled(query.as_bytes(), &SINGLE_PARAMETERS)) {
        return Err(ApiError::BadRequest(format!("The query parameter {name} was sent more than once.")));
    }
    Ok(())
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

/// True when a path is UTF-8 after decoding. A `%` without two hexadecimal digits stands for itself.
fn decodes(path: &str) -> bool {
    if !path.contains('%') {
        return true;
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
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
    fn a_parameter_is_doubled_however_it_is_encoded() {
        assert_eq!(doubled(b"code=1&state=2", &SINGLE_PARAMETERS), None);
        assert_eq!(doubled(b"other=1&other=2", &SINGLE_PARAMETERS), None);
        assert_eq!(doubled(b"code=1&c%6fde=1", &SINGLE_PARAMETERS), Some("code"));
        assert_eq!(doubled(b"state&x=1&state", &SINGLE_PARAMETERS), Some("state"));
    }
}
