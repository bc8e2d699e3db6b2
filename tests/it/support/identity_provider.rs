//! A scripted identity provider with keys of its own, and an application whose console people sign in to through it.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_auth::config::Settings;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::answer::Answer;
use super::app::{Ready, TestApp};
use super::authorization_server::{AuthorizationServer, Reply};
use super::browser::Browser;
use super::caller::with;
use super::database::{Database, PUBLIC_URL};

pub const CLIENT_ID: &str = "agent-auth-console";
pub const CLIENT_SECRET: &str = "console-client-secret-81c2";
pub const METADATA: &str = "/.well-known/openid-configuration";
pub const KEYS: &str = "/jwks";
pub const TOKEN: &str = "/token";

/// A key of the provider.
pub struct SigningKey {
    kid: &'static str,
    pair: Pair,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl SigningKey {
    pub fn es256(kid: &'static str) -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self { kid, pair: Pair::Es256(EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).unwrap()) }
    }

    pub fn ed_dsa(kid: &'static str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { kid, pair: Pair::EdDsa(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap()) }
    }

    /// The public key, as it is published.
    pub fn published(&self) -> Value {
        let key = match &self.pair {
            Pair::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
            }
            Pair::EdDsa(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref())})
            }
        };
        with(key, json!({"kid": self.kid, "use": "sig"}))
    }

    /// A signed token.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"kid": self.kid}), claims)
    }

    /// The same with more in its header.
    pub fn sign_as(&self, more: &Value, claims: &Value) -> String {
        let alg = match &self.pair {
            Pair::Es256(_) => "ES256",
            Pair::EdDsa(_) => "EdDSA",
        };
        let signed = unsigned(&with(json!({"alg": alg}), more.clone()), claims);
        let signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::EdDsa(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The header and the claims of a token, without a signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".")
}

pub struct WithIdentityProvider {
    app: TestApp,
    pub provider: AuthorizationServer,
    pub key: SigningKey,
    codes: AtomicU64,
}

impl Ready for WithIdentityProvider {
    async fn on(database: Database) -> Self {
        Self::start_with(database, |_| ()).await
    }
}

impl Deref for WithIdentityProvider {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}

impl WithIdentityProvider {
    pub async fn start_with(database: Database, change: impl FnOnce(&mut Settings)) -> Self {
        let (provider, key) = (AuthorizationServer::silent().await, SigningKey::es256("first"));
        provider.show(METADATA, Reply::json(metadata(&provider)));
        provider.show(KEYS, Reply::json(json!({"keys": [key.published(), {"kty": "of the future"}]})));
        let app = TestApp::start_with(database, |settings| {
            settings.console_oidc_issuer = Some(provider.at(""));
            settings.console_oidc_client_id = Some(CLIENT_ID.into());
            settings.console_oidc_client_secret = Some(SecretString::from(CLIENT_SECRET));
            settings.console_oidc_admin_groups = "platform, on-call".into();
            settings.console_oidc_viewer_groups = "support".into();
            change(settings);
        })
        .await;
        Self { app, provider, key, codes: AtomicU64::default() }
    }

    /// Begins a sign-in; gives where the browser is sent.
    pub async fn begin(&self, browser: &Browser) -> Url {
        let answer = browser.open(&format!("{PUBLIC_URL}/console/sign-in/openid")).await;
        assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
        Url::parse(answer.header("location")).unwrap()
    }

    /// What the provider says of Ada in the sign-in that was begun with this address.
    pub fn claims(&self, begun: &Url) -> Value {
        let now = self.clock.now().timestamp();
        json!({
            "iss": self.provider.at(""),
            "sub": "ada-7",
            "aud": CLIENT_ID,
            "exp": now + 300,
            "iat": now,
            "nonce": parameter(begun, "nonce"),
            "name": "Ada Lovelace",
            "email": "ada@example.com",
            "groups": ["staff", "platform"],
        })
    }

    /// Comes back with a code for which the provider gives this ID token.
    pub async fn come_back(&self, browser: &Browser, begun: &Url, id_token: &str) -> Answer {
        let code = format!("code-{}", self.codes.fetch_add(1, Ordering::Relaxed));
        let response = json!({"access_token": "opaque", "token_type": "Bearer", "id_token": id_token});
        self.provider.answer(TOKEN, Reply::json(response));
        let answer = browser.open(&callback(begun, &code)).await;
        // A response that was not asked for must not be given to the next.
        self.provider.forget_answers();
        answer
    }

    /// Signs somebody in of whom the provider also says this.
    pub async fn sign_in(&self, browser: &Browser, more: Value) -> Answer {
        let begun = self.begin(browser).await;
        let token = self.key.sign(&with(self.claims(&begun), more));
        self.come_back(browser, &begun, &token).await
    }

    /// How often the provider was asked at this path.
    pub fn asked(&self, path: &str) -> usize {
        self.provider.all_requests().iter().filter(|request| request.path == path).count()
    }
}

/// What the provider publishes of itself.
pub fn metadata(provider: &AuthorizationServer) -> Value {
    json!({
        "issuer": provider.at(""),
        "authorization_endpoint": provider.at("/authorize?tenant=one"),
        "token_endpoint": provider.at(TOKEN),
        "jwks_uri": provider.at(KEYS),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    })
}

/// Where the provider sends the browser with this code.
pub fn callback(begun: &Url, code: &str) -> String {
    let mut url = Url::parse(&parameter(begun, "redirect_uri")).unwrap();
    url.query_pairs_mut().append_pair("code", code).append_pair("state", &parameter(begun, "state"));
    url.into()
}

/// A parameter of an address.
pub fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}
