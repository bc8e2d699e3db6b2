//! Rules for single texts: how long, which characters, which URLs.
//! Owns: the limits, and what is said about a text that breaks one.
//! Must not know: which field a text is.

use serde_json::Value;
use url::Url;

use crate::{
    model::web_address,
    outbound::address::{AddressGuard, Refusal},
};

/// What is wrong with a text: a name for programs (those of pydantic, which clients know), and a sentence.
pub type Problem = (&'static str, String);

/// A problem and the field that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, and the index or the key inside it.
    pub path: Vec<Value>,
    /// The problem's name for programs.
    pub kind: &'static str,
    /// The problem in a sentence.
    pub message: String,
}

impl Fault {
    /// A problem of a field.
    #[must_use]
    pub fn of(field: &'static str, (kind, message): Problem) -> Self {
        Self { path: vec![field.into()], kind, message }
    }

    /// The field that has the problem.
    #[must_use]
    pub fn field(&self) -> &str {
        self.path.first().and_then(Value::as_str).unwrap_or_default()
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = self.path.last().filter(|_| self.path.len() > 1).and_then(Value::as_str);
        write!(f, "{}: {}", inner.unwrap_or(self.field()), self.message)
    }
}

/// Scopes of one request.
pub const SCOPES_MAX: usize = 200;
/// Redirect URIs of one provider.
pub const REDIRECT_URIS_MAX: usize = 50;
/// Extra authorization parameters of one provider.
pub const PARAMETERS_MAX: usize = 50;
/// Providers in one batch request.
pub const BATCH_MAX: usize = 200;
/// Providers of one connect link.
pub const LINK_PROVIDERS_MAX: usize = 50;
/// The largest `min_ttl`, in seconds.
pub const MIN_TTL_MAX: i64 = 86_400;
/// The longest name for people, in characters.
pub const DISPLAY_NAME_MAX: usize = 256;
const URL_MAX: usize = 2048;
/// What stands in the place of a provider's id in a path of the API.
const RESERVED_IDS: [&str; 1] = ["mcp-discover"];

/// A name for people.
pub fn display_name(text: &str) -> Result<(), Problem> {
    printable(text, 1, DISPLAY_NAME_MAX)
}

/// An id that others made: of a user, an agent, a client.
pub fn identifier(text: &str) -> Result<(), Problem> {
    printable(text, 1, 512)
}

/// A client secret.
pub fn secret(text: &str) -> Result<(), Problem> {
    printable(text, 1, 8192)
}

/// A code or a state that a provider handed to an application.
pub fn opaque(text: &str) -> Result<(), Problem> {
    printable(text, 1, 8192)
}

/// The value of an extra authorization parameter.
pub fn parameter_value(text: &str) -> Result<(), Problem> {
    printable(text, 0, 2048)
}

/// The name of an extra authorization parameter.
pub fn parameter_name(text: &str) -> Result<(), Problem> {
    printable(text, 1, 128)
}

/// A provider's name on the wire. It becomes part of paths, so it is plain.
pub fn provider_id(text: &str) -> Result<(), Problem> {
    printable(text, 1, 128)?;
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.contains("..");
    let problem = "String should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]*$' and not contain '..'";
    if plain { Ok(()) } else { Err(("string_pattern_mismatch", problem.into())) }
}

/// The name of a new provider. One that is a path of our own could never be read, changed or deleted.
pub fn new_provider_id(text: &str) -> Result<(), Problem> {
    provider_id(text)?;
    if RESERVED_IDS.contains(&text) {
        return Err(("value_error", format!("`{text}` is a path of the API: choose another id")));
    }
    Ok(())
}

/// A scope: visible ASCII without `"` and `\` (RFC 6749 section 3.3).
pub fn scope(text: &str) -> Result<(), Problem> {
    printable(text, 1, 512)?;
    let token = text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    let problem = "String should be one scope: visible ASCII characters without spaces, quotes and backslashes";
    if token { Ok(()) } else { Err(("string_pattern_mismatch", problem.into())) }
}

/// The separator between two scopes.
pub fn scope_separator(text: &str) -> Result<(), Problem> {
    if [" ", ",", ";", "+"].contains(&text) {
        Ok(())
    } else {
        Err(("literal_error", "Input should be ' ', ',', ';' or '+'".into()))
    }
}

/// A resource indicator: an absolute URI without a fragment (RFC 8707 section 2).
pub fn resource(text: &str) -> Result<(), Problem> {
    printable(text, 1, URL_MAX)?;
    let is_web =
        text.split_once(':').is_some_and(|(scheme, _)| matches!(&*scheme.to_ascii_lowercase(), "http" | "https"));
    let url = if is_web { web_address::parse(text) } else { Url::parse(text).ok() };
    let absolute = url.is_some_and(|url| url.fragment().is_none()) && !text.contains([' ', '\\']);
    if absolute { Ok(()) } else { Err(("url_parsing", "Input should be an absolute URI without a fragment".into())) }
}

/// An endpoint of a provider.
pub fn endpoint(guard: &AddressGuard, text: &str) -> Result<(), Problem> {
    // As a host they do not parse, as a path they do: either way this is what is wrong.
    if text.contains(['{', '}', '<', '>']) || text.contains("YOUR_") || text.contains("YOUR-") {
        let problem = "The URL still has a placeholder, such as {tenant}, <tenant> or YOUR_TENANT: put your own value";
        return Err(("value_error", problem.into()));
    }
    let url = parsed(text)?;
    guard.check_url(&url).map_err(|refusal| {
        let kind = match refusal {
            Refusal::Scheme => "url_scheme",
            Refusal::PrivateAddress => "value_error",
        };
        (kind, format!("The URL {refusal}"))
    })
}

/// Where an application receives a redirect: https, or http on the machine itself (RFC 8252 section 7.3).
pub fn redirect_uri(text: &str) -> Result<(), Problem> {
    let url = parsed(text)?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        _ => Err(("url_scheme", "URL scheme should be 'https', or 'http' on a loopback address".into())),
    }
}

fn parsed(text: &str) -> Result<Url, Problem> {
    printable(text, 1, URL_MAX)?;
    let Some(url) = web_address::parse(text) else {
        let is_other = Url::parse(text).is_ok_and(|url| !matches!(url.scheme(), "https" | "http"));
        return Err(if is_other {
            ("url_scheme", "URL scheme should be 'https'".into())
        } else {
            ("url_parsing", "Input should be a valid URL".to_owned())
        });
    };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(("value_error", "The URL should have neither user, password nor fragment".into()));
    }
    Ok(url)
}

fn printable(text: &str, min: usize, max: usize) -> Result<(), Problem> {
    let length = text.chars().count();
    if length < min {
        return Err(("string_too_short", format!("String should have at least {min} character")));
    }
    if length > max {
        return Err(("string_too_long", format!("String should have at most {max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(("value_error", "String should not have control characters".into()));
    }
    Ok(())
}
