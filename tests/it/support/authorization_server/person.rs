//! The person in front of the authorization server: they consent, grant less, or refuse.

use url::Url;

use super::AuthorizationServer;
use crate::support::database::random_text;

impl AuthorizationServer {
    /// The person at `url` agrees; returns where the server sends the browser then.
    pub fn consent(&self, url: &str) -> Url {
        let scope = parameter(url, "scope").unwrap_or_default();
        self.consent_to(url, &scope)
    }

    /// The person grants only `scope`.
    pub fn consent_to(&self, url: &str, scope: &str) -> Url {
        let code = random_text("code-");
        self.state.codes.lock().unwrap().insert(code.clone(), scope.to_owned());
        self.send_back(url, &[("code", &code)])
    }

    /// The person refuses.
    pub fn deny(&self, url: &str) -> Url {
        self.send_back(url, &[("error", "access_denied")])
    }

    /// Sends the browser back with these parameters and the state.
    pub fn send_back(&self, url: &str, parameters: &[(&str, &str)]) -> Url {
        assert!(url.starts_with(&self.at("/")), "{url} leads to another server");
        let target = parameter(url, "redirect_uri").expect("a redirect_uri");
        let mut target = Url::parse(&target).expect("redirect_uri is a URL");
        let mut query = target.query_pairs_mut();
        query.extend_pairs(parameters);
        if let Some(state) = parameter(url, "state") {
            query.append_pair("state", &state);
        }
        drop(query);
        target
    }
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).expect("a URL");
    let mut pairs = url.query_pairs();
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
