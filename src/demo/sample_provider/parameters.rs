//! Form-encoded parameters as OAuth reads them, from a query or a body.
//! Owns decoding, the ban on repetition and the shape of a scope.
//! Must not know what any parameter means.

use std::collections::HashMap;

use url::form_urlencoded;

/// Decoded parameters.
#[derive(Default)]
pub(super) struct Parameters(HashMap<String, String>);

/// A parameter appears more than once.
pub(super) struct Repeated;

impl Parameters {
    /// No parameter may be repeated (RFC 6749, section 3.1).
    pub(super) fn parse(encoded: &[u8]) -> Result<Self, Repeated> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(encoded) {
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Repeated);
            }
        }
        Ok(Self(parameters))
    }

    /// An empty value counts as none (RFC 6749, section 3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// One form-encoded value. A reserved character that should have been encoded ends it.
pub(super) fn decoded(value: &str) -> String {
    form_urlencoded::parse(value.as_bytes()).next().map(|(value, _)| value.into_owned()).unwrap_or_default()
}

/// The scope tokens of a `scope` (RFC 6749, section 3.3), each once; None when it is malformed or names none.
pub(super) fn scopes(scope: &str) -> Option<Vec<String>> {
    let mut scopes: Vec<String> = Vec::new();
    for token in scope.split(' ').filter(|token| !token.is_empty()) {
        if !token.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)) {
            return None;
        }
        if !scopes.iter().any(|known| known == token) {
            scopes.push(token.to_owned());
        }
    }
    (!scopes.is_empty()).then_some(scopes)
}
