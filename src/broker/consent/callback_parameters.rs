//! Parameters of a redirect that a provider's API needs, such as the company that a person chose (`QuickBooks`).
//! Owns: which of them are read, and how they are kept beside a code until the application confirms the user.
//! Must not know: what they mean; they are read like fields of the token response.

use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use super::completion::CodeResponse;
use crate::model::web_address;

/// Between a kept code and its parameters. No code contains it (RFC 6749 appendix A.11).
const SEPARATOR: char = '\n';

/// The parameters of a redirect's query that are called like one of `names`. They passed through a browser, where they can
/// be changed, and agents build URLs of them: a value that is more than an identifier is not read.
pub(super) fn read(query: Option<&SecretString>, names: &[String]) -> Vec<(String, String)> {
    let Some(query) = query.filter(|_| !names.is_empty()) else { return Vec::new() };
    form_urlencoded::parse(query.expose_secret().as_bytes())
        .filter(|(name, value)| names.iter().any(|known| known == name) && web_address::is_part(value))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// A code that waits for the application's confirmation, with the parameters that came with it.
pub(super) struct KeptCode {
    /// The code.
    pub code: SecretString,
    /// The parameters, as a query.
    pub query: Option<SecretString>,
}

impl KeptCode {
    /// The text that is kept of a response: its code, and the parameters called like one of `names`.
    pub fn text(response: &CodeResponse, names: &[String]) -> SecretString {
        let parameters = read(response.query.as_ref(), names);
        if parameters.is_empty() {
            return response.code.clone();
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        format!("{}{SEPARATOR}{query}", response.code.expose_secret()).into()
    }

    /// The reverse.
    pub fn read(text: &SecretString) -> Self {
        match text.expose_secret().split_once(SEPARATOR) {
            Some((code, query)) => Self { code: code.into(), query: Some(query.into()) },
            None => Self { code: text.clone(), query: None },
        }
    }
}
