//! The `WWW-Authenticate` header: what a protected resource says it wants (RFC 9110 section 11.6.1, RFC 6750 section 3).
//! Owns: finding the Bearer challenge among others, and a lenient reading of its parameters.
//! Must not know: what is done with them.

use super::scopes::is_scope;

/// What a Bearer challenge says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Where the resource's metadata is (RFC 9728 section 5.1). Some servers name several, the first of them dead.
    pub resource_metadata: Vec<String>,
    /// The scopes that are wanted.
    pub scopes: Vec<String>,
}

/// More than this of a header is not looked at.
const LENGTH_MAX: usize = 8192;

impl Challenge {
    /// The Bearer challenges of these headers as one; `None` if they have no such challenge.
    #[must_use]
    pub fn of_headers<'h>(headers: impl IntoIterator<Item = &'h str>) -> Option<Self> {
        let mut found: Option<Self> = None;
        for header in headers {
            let mut is_bearer = false;
            for part in parts(header) {
                match part {
                    Part::Scheme(scheme) => {
                        is_bearer = scheme.eq_ignore_ascii_case("bearer");
                        if is_bearer {
                            found.get_or_insert_default();
                        }
                    }
                    Part::Parameter(name, value) if is_bearer => {
                        let challenge = found.get_or_insert_default();
                        if name.eq_ignore_ascii_case("resource_metadata") {
                            challenge.resource_metadata.push(value);
                        } else if name.eq_ignore_ascii_case("scope") && challenge.scopes.is_empty() {
                            challenge.scopes = value
                                .split_ascii_whitespace()
                                .filter(|scope| is_scope(scope))
                                .map(ToOwned::to_owned)
                                .collect();
                        }
                    }
                    Part::Parameter(..) => {}
                }
            }
        }
        found
    }
}

enum Part<'h> {
    Scheme(&'h str),
    Parameter(String, String),
}

/// The schemes and parameters of a header, in order. What cannot be understood is passed over.
fn parts(header: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = header.get(..LENGTH_MAX).unwrap_or(header);
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | ',')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        if word.is_empty() && after.is_empty() {
            return parts;
        }
        match after.strip_prefix('=') {
            Some(value) if !word.is_empty() => {
                let (value, after) = value_of(value.trim_start_matches([' ', '\t']));
                parts.push(Part::Parameter(word.to_owned(), value));
                rest = after;
            }
            Some(after) => rest = after,
            None => {
                if !word.is_empty() {
                    parts.push(Part::Scheme(word));
                }
                rest = after;
            }
        }
    }
}

/// A token or a quoted string, and what comes after it. Single quotes are met in the wild.
fn value_of(text: &str) -> (String, &str) {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else {
        let end = text.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            c if c == quote => return (value, &text[at + 1..]),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[&str]) -> (Vec<String>, Vec<String>) {
        let challenge = Challenge::of_headers(headers.iter().copied()).expect("a Bearer challenge");
        (challenge.resource_metadata, challenge.scopes)
    }

    #[test]
    fn parameters_are_read_however_they_are_written() {
        let url = "https://a.example/.well-known/oauth-protected-resource/mcp";
        for header in [
            format!(r#"Bearer resource_metadata="{url}", scope="read write""#),
            format!(r#"bearer scope = "read write" ,resource_metadata = {url}"#),
            format!(
                r#"BEARER error="invalid_token", error_description="no, \"really\", no", resource_metadata='{url}', scope='read write'"#
            ),
            format!(r#"Basic realm="x, Bearer y=z", Bearer scope="read write",resource_metadata="{url}""#),
            format!(r#"Bearer resource_metadata="{url}", scope="read write", DPoP scope="other""#),
        ] {
            assert_eq!(
                read(&[&header]),
                (vec![url.to_owned()], vec!["read".to_owned(), "write".to_owned()]),
                "{header}"
            );
        }
    }

    #[test]
    fn several_headers_and_doubled_parameters_are_all_read() {
        let headers =
            ["Basic realm=\"x\"", r#"Bearer resource_metadata="https://dead", resource_metadata="https://b""#];
        assert_eq!(read(&headers).0, ["https://dead", "https://b"]);
        assert_eq!(Challenge::of_headers(["Basic realm=\"x\", DPoP algs=\"ES256\""]), None);
        assert_eq!(Challenge::of_headers(["Bearer"]), Some(Challenge::default()));
    }

    #[test]
    fn nonsense_is_passed_over_and_ends() {
        for header in ["", "=", "==,,==", "Bearer \"", "Bearer a=\"\\", "Bearer =x", ", , ,", "Bearer é=ü"] {
            let _ = Challenge::of_headers([header]);
        }
        let long = format!("Bearer scope=\"{}\"", "a ".repeat(100_000));
        assert!(read(&[&long]).1.len() < LENGTH_MAX);
    }
}
