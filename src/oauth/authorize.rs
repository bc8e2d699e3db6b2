//! The authorization endpoint: the URL a person's browser is sent to (RFC 6749 section 4.1.1).
//! Owns: state, PKCE, and which parameters nobody may override.
//! Must not know: who the person is, or where the state is kept.

use oauth2::{AuthUrl, AuthorizationRequest, ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, basic::BasicClient};
use secrecy::SecretString;
use url::Url;

use crate::model::{options::ProviderOptions, provider::Provider, quirks::AuthorizationQuirks};

/// The parameters of the protocol itself. `authorization_params` and an endpoint's own query cannot set them.
const RESERVED: [&str; 9] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
];

/// State and PKCE verifier have this many random bytes.
const RANDOM_BYTES: u32 = 32;

/// An authorization URL and what has to be remembered until the person comes back.
pub struct Begun {
    /// Where the browser goes.
    pub url: Url,
    /// The state in the URL.
    pub state: SecretString,
    /// The PKCE verifier whose challenge is in the URL.
    pub code_verifier: Option<SecretString>,
}

/// Begins an authorization at a provider: the URL, with a new state and a new code verifier.
///
/// # Errors
/// The provider's record has no valid URL, which its validation should have prevented.
pub fn begin(
    provider: &Provider,
    quirks: &AuthorizationQuirks,
    redirect_uri: &str,
    scopes: &[String],
    login_hint: Option<&str>,
) -> Result<Begun, url::ParseError> {
    let options = &provider.client.options;
    let parameters = &provider.authorization_params;
    let state = CsrfToken::new_random_len(RANDOM_BYTES);
    let remembered = SecretString::from(state.secret().clone());
    let client = BasicClient::new(ClientId::new(provider.client.id.clone()))
        .set_auth_uri(AuthUrl::from_url(endpoint(&provider.auth_url)?))
        .set_redirect_uri(RedirectUrl::new(redirect_uri.to_owned())?);
    let mut request: AuthorizationRequest<'_> = client.authorize_url(|| state);

    // Only S256 is ever sent (RFC 9700 section 2.1.1), whatever the provider's record says.
    let mut code_verifier = None;
    if provider.uses_pkce {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256_len(RANDOM_BYTES);
        request = request.set_pkce_challenge(challenge);
        code_verifier = Some(SecretString::from(verifier.into_secret()));
    }
    let scope = requested_scopes(scopes, options, quirks);
    let other = quirks.scope_parameter.as_deref().filter(|name| parameters.contains_key(*name));
    if !scope.is_empty() {
        request = request.add_extra_param(other.unwrap_or("scope"), scope);
    }
    if let Some(resource) = options.resource() {
        request = request.add_extra_param("resource", resource);
    }
    if let Some(hint) = login_hint {
        request = request.add_extra_param("login_hint", hint);
    }
    let taken = |name: &str, value: &str| {
        (name == "login_hint" && login_hint.is_some())
            || is_reserved(name, value)
            || name == options.client_id_parameter()
            || other == Some(name)
            || (name == "resource" && options.resource.is_some())
    };
    let quirks = quirks.parameters.iter().filter(|(name, _)| !parameters.contains_key(*name));
    for (name, value) in parameters.iter().chain(quirks).filter(|(name, value)| !taken(name, value)) {
        request = request.add_extra_param(name.as_str(), value.as_str());
    }
    let (url, _) = request.url();
    Ok(Begun { url: with_client_id_as(options.client_id_parameter(), url), state: remembered, code_verifier })
}

/// The endpoint with its own query, without the reserved parameters.
fn endpoint(auth_url: &str) -> Result<Url, url::ParseError> {
    let mut endpoint = Url::parse(auth_url)?;
    let kept: Vec<(String, String)> = endpoint
        .query_pairs()
        .filter(|(name, value)| !is_reserved(name, value))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    endpoint.set_query(None);
    if !kept.is_empty() {
        endpoint.query_pairs_mut().extend_pairs(kept);
    }
    Ok(endpoint)
}

/// Whether a parameter is one of the protocol's. `request` is one where it holds a request object, which has dots because it
/// is a JWT (RFC 9101 section 2.1); to `BambooHR` it is something else.
fn is_reserved(name: &str, value: &str) -> bool {
    RESERVED.contains(&name) && (name != "request" || value.contains('.'))
}

/// The URL with the provider's own name for the parameter `client_id`.
fn with_client_id_as(name: &str, mut url: Url) -> Url {
    if name != "client_id" {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let renamed = pairs.iter().map(|(key, value)| (if key == "client_id" { name } else { key }, value));
        url.query_pairs_mut().clear().extend_pairs(renamed);
    }
    url
}

/// The scopes of a request for a person's consent, as one text.
pub(super) fn requested_scopes(asked: &[String], options: &ProviderOptions, quirks: &AuthorizationQuirks) -> String {
    let scopes = all_scopes(asked, options, quirks);
    scopes.join(options.scope_separator.as_deref().or(quirks.scope_separator.as_deref()).unwrap_or(" "))
}

/// The scopes of a request for a person's consent: those that are asked for, or else those of the provider's record, and
/// those that are always requested.
#[must_use]
pub fn all_scopes<'a>(
    asked: &'a [String],
    options: &'a ProviderOptions,
    quirks: &'a AuthorizationQuirks,
) -> Vec<&'a str> {
    let asked = if asked.is_empty() { &options.default_scopes } else { asked };
    let mut scopes: Vec<&str> = asked.iter().map(String::as_str).collect();
    for scope in quirks.always_scopes.iter().chain(&options.always_scopes) {
        if !scopes.contains(&scope.as_str()) {
            scopes.push(scope);
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use secrecy::ExposeSecret;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::{catalog::Catalog, model::provider::example};

    fn begun(
        auth_url: &str,
        provider_type: Option<&str>,
        parameters: &[(&str, &str)],
    ) -> (Begun, Vec<(String, String)>) {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let provider = Provider {
            auth_url: auth_url.to_owned(),
            provider_type: provider_type.map(ToOwned::to_owned),
            uses_pkce: true,
            authorization_params: parameters,
            ..example()
        };
        let scopes = ["a".to_owned(), "b:c".to_owned()];
        let catalog = Catalog::load(None).unwrap();
        let quirks = catalog.authorization_quirks_of(&provider);
        let begun = begin(&provider, quirks, "https://auth.example/host-oauth-callback/p", &scopes, None).unwrap();
        let pairs = begun.url.query_pairs().into_owned().collect();
        (begun, pairs)
    }

    fn values<'a>(pairs: &'a [(String, String)], name: &str) -> Vec<&'a str> {
        pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn state_has_256_bits_and_the_challenge_is_of_the_verifier() {
        let (begun, pairs) = begun("https://p.example/authorize", None, &[]);
        assert_eq!(URL_SAFE_NO_PAD.decode(values(&pairs, "state")[0]).unwrap().len(), 32);
        let verifier = begun.code_verifier.unwrap();
        assert_eq!(verifier.expose_secret().len(), 43);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose_secret()));
        assert_eq!(values(&pairs, "code_challenge"), [challenge]);
        assert_eq!(values(&pairs, "code_challenge_method"), ["S256"]);
        assert_eq!(values(&pairs, "state"), [begun.state.expose_secret()]);
    }

    #[test]
    fn neither_parameters_nor_the_endpoints_query_override_the_protocol() {
        let evil: Vec<(&str, &str)> = RESERVED.iter().map(|name| (*name, "e.v.il")).collect();
        let (_, pairs) = begun("https://p.example/authorize?tenant=1&state=e.v.il&client_id=e.v.il", None, &evil);
        assert_eq!(values(&pairs, "tenant"), ["1"]);
        assert!(pairs.iter().all(|(_, value)| value != "e.v.il"), "{pairs:?}");
    }

    #[test]
    fn a_request_that_is_no_request_object_is_a_parameter_of_the_provider() {
        let (_, pairs) = begun("https://p.example/authorize", None, &[("request", "authorize")]);
        assert_eq!(values(&pairs, "request"), ["authorize"]);
    }

    #[test]
    fn habits_of_providers_are_met() {
        let (_, google) = begun("https://accounts.google.com/o/oauth2/v2/auth", None, &[("prompt", "select_account")]);
        assert_eq!(
            (values(&google, "access_type"), values(&google, "prompt")),
            (vec!["offline"], vec!["select_account"])
        );
        let (_, slack) = begun("https://slack.com/oauth/v2/authorize", Some("slack"), &[]);
        assert_eq!(values(&slack, "scope"), ["a,b:c"]);
        let (_, person) = begun("https://slack.com/oauth/v2/authorize", Some("slack"), &[("user_scope", "")]);
        assert_eq!((values(&person, "user_scope"), values(&person, "scope")), (vec!["a,b:c"], vec![]));
        let (_, microsoft) = begun("https://login.microsoftonline.com/x/authorize", Some("microsoft"), &[]);
        assert_eq!(values(&microsoft, "scope"), ["a b:c offline_access"]);
    }
}
