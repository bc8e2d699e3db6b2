//! The cookies that bind a consent, or the console, to a browser, and the check that a form was sent from our own page.
//! Owns: the cookies' names and attributes, and which requests are from the same origin.
//! Must not know: what is bound.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// A cookie of ours.
pub(crate) struct Cookie {
    /// Browsers accept a cookie of this name only from this very host, over https (RFC 6265bis section 4.1.3.2): no other
    /// subdomain can plant one.
    name: &'static str,
    /// Its name where the server is reached over plain http, as on loopback.
    plain_name: &'static str,
}

/// What a consent is bound to.
const BROWSER: Cookie = Cookie { name: "__Host-agent-auth", plain_name: "agent-auth" };
/// The session of the console.
pub(crate) const CONSOLE: Cookie = Cookie { name: "__Host-agent-auth-console", plain_name: "agent-auth-console" };
/// What a sign-in to the console is bound to while its person is at the identity provider.
pub(in crate::http) const SIGN_IN: Cookie =
    Cookie { name: "__Host-agent-auth-sign-in", plain_name: "agent-auth-sign-in" };
/// The session of a connect link.
pub(in crate::http) const PERSON: Cookie = Cookie { name: "__Host-agent-auth-person", plain_name: "agent-auth-person" };
const RANDOM_BYTES: usize = 32;

/// The cookie that binds a consent; `None` if the browser has none, or several of that name.
pub(super) fn browser_cookie(headers: &HeaderMap, public_url: &str) -> Option<SecretString> {
    cookie_of(&BROWSER, headers, public_url)
}

/// This cookie of a browser; `None` if it has none, or several of that name.
pub(in crate::http) fn cookie_of(cookie: &Cookie, headers: &HeaderMap, public_url: &str) -> Option<SecretString> {
    let name = if is_https(public_url) { cookie.name } else { cookie.plain_name };
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(found, _)| *found == name).map(|(_, value)| value);
    let value = values.next().filter(|value| is_random(value))?;
    values.next().is_none().then(|| SecretString::from(value))
}

/// A value for a browser that has no cookie yet. It is in the form of our page, and becomes the cookie when the form is
/// sent: a second click on the button sends the same one.
pub(in crate::http) fn new_value() -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>()))
}

/// Whether a text is a value that this server may have made.
pub(in crate::http) fn is_random(value: &str) -> bool {
    URL_SAFE_NO_PAD.decode(value).is_ok_and(|bytes| bytes.len() == RANDOM_BYTES)
}

/// The header that sets the cookie that binds a consent. `Lax`, because the provider sends the browser back from another
/// site.
pub(super) fn set_cookie(value: &SecretString, public_url: &str, max_age: i64) -> Option<HeaderValue> {
    set_cookie_of(&BROWSER, value, public_url, max_age)
}

/// The header that sets this cookie for `max_age` seconds; with zero, the one that deletes it.
pub(crate) fn set_cookie_of(
    cookie: &Cookie,
    value: &SecretString,
    public_url: &str,
    max_age: i64,
) -> Option<HeaderValue> {
    let rules = if is_https(public_url) { "SameSite=Lax; Secure" } else { "SameSite=Lax" };
    header_of(cookie, value, public_url, max_age, rules)
}

/// The same for a page inside one of another site. It is partitioned: the browser keeps it for this page inside that site,
/// and sends it nowhere else.
pub(in crate::http) fn set_embedded_cookie_of(
    cookie: &Cookie,
    value: &SecretString,
    public_url: &str,
    max_age: i64,
) -> Option<HeaderValue> {
    // Browsers accept `Secure` from loopback too.
    header_of(cookie, value, public_url, max_age, "SameSite=None; Secure; Partitioned")
}

fn header_of(
    cookie: &Cookie,
    value: &SecretString,
    public_url: &str,
    max_age: i64,
    rules: &str,
) -> Option<HeaderValue> {
    let name = if is_https(public_url) { cookie.name } else { cookie.plain_name };
    let value = value.expose_secret();
    let text = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; {rules}");
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Whether a form was sent from a page of this server. `Sec-Fetch-Site` cannot be set by a page; where it is absent (older
/// browsers, and plain http), `Origin` must be ours.
pub(crate) fn is_same_origin(headers: &HeaderMap, public_url: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let own = Url::parse(public_url).map(|url| url.origin().ascii_serialization());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => own.is_ok_and(|own| own == origin),
        (None, None) => false,
    }
}

fn is_https(public_url: &str) -> bool {
    public_url.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_one_cookie_of_the_right_name_counts() {
        let (first, second) = (new_value(), new_value());
        let (first, second) = (first.expose_secret(), second.expose_secret());
        let found = |cookie: &str, url| {
            browser_cookie(&headers(&[("cookie", cookie)]), url).map(|value| value.expose_secret().to_owned())
        };
        let url = "https://auth.example";
        assert_eq!(found(&format!("a=b; __Host-agent-auth={first}"), url).as_deref(), Some(first));
        assert_eq!(found(&format!("agent-auth={first}"), url), None, "a cookie that another host could have planted");
        assert_eq!(found(&format!("__Host-agent-auth={first}; __Host-agent-auth={second}"), url), None);
        assert_eq!(found("__Host-agent-auth=short", url), None);
        assert_eq!(found(&format!("agent-auth={first}"), "http://127.0.0.1:8080").as_deref(), Some(first));
    }

    #[test]
    fn a_form_counts_only_from_our_own_origin() {
        let sent = |pairs: &[(&'static str, &str)]| is_same_origin(&headers(pairs), "https://auth.example/base");
        assert!(sent(&[("sec-fetch-site", "same-origin"), ("origin", "https://auth.example")]));
        assert!(sent(&[("origin", "https://auth.example")]));
        for refused in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "https://evil.example")],
            &[("origin", "https://auth.example.evil.example")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://auth.example")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(!sent(refused), "{refused:?}");
        }
    }
}
