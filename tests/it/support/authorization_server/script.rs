//! What the scripted authorization server answers, where a test wants something else than the default.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{AuthorizationServer, Reply, TOKEN, USERINFO, token_response};

impl AuthorizationServer {
    /// The next request to `path` is answered with this.
    pub fn answer(&self, path: &str, reply: Reply) {
        self.state.next.lock().unwrap().entry(path.to_owned()).or_default().push_back(reply);
    }

    pub fn answer_token(&self, reply: Reply) {
        self.answer(TOKEN, reply);
    }

    pub fn answer_userinfo(&self, reply: Reply) {
        self.answer(USERINFO, reply);
    }

    pub fn answer_revocation(&self, reply: Reply) {
        let path = self.revocation_path();
        self.answer(&path, reply);
    }

    /// The next token response says, in an ID token, that this is its account.
    pub fn answer_token_for_account(&self, account: &str) {
        let claims = json!({"iss": self.at(""), "sub": account, "aud": "acme-client"});
        let parts = [json!({"alg": "none"}).to_string(), claims.to_string(), "signature".to_owned()];
        let id_token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let mut response = token_response();
        response["id_token"] = Value::from(id_token);
        self.answer_token(Reply::json(response));
    }

    /// Every request to `path` is answered with this from now on.
    pub fn show(&self, path: &str, reply: Reply) {
        self.state.shown.lock().unwrap().insert(path.to_owned(), reply);
    }

    pub fn hide(&self, path: &str) {
        self.state.shown.lock().unwrap().remove(path);
    }

    /// Answers that were not given yet are forgotten.
    pub fn forget_answers(&self) {
        self.state.next.lock().unwrap().clear();
    }

    /// The revocation endpoint is there, and no longer at `/revoke`.
    pub fn revoke_at(&self, path: &str) {
        path.clone_into(&mut self.state.revocation_path.lock().unwrap());
    }

    fn revocation_path(&self) -> String {
        self.state.revocation_path.lock().unwrap().clone()
    }

    /// Token responses are held back from now on; the requests take effect nevertheless.
    pub fn hold(&self) {
        self.state.held.send_replace(true);
    }

    /// Token responses are sent again, also those that were held.
    pub fn release(&self) {
        self.state.held.send_replace(false);
    }

    /// Waits until so many token responses are held.
    pub async fn until_held(&self, responses: usize) {
        let begun = Instant::now();
        while self.state.holding.load(Ordering::SeqCst) < responses {
            assert!(begun.elapsed() < Duration::from_secs(30), "the token endpoint was never asked");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
