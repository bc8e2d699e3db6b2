//! What does not sign anybody in: responses and ID tokens that prove nothing.

use agent_auth::broker::audit::record_refusals;
use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use super::super::{at, events};
use super::{CONSOLE_COOKIE, SIGN_IN_COOKIE, is_in, is_signed_in};
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::browser::Browser;
use crate::support::caller::{with, without};
use crate::support::database::Database;
use crate::support::identity_provider::{
    CLIENT_ID, KEYS, METADATA, SigningKey, TOKEN, WithIdentityProvider, callback, metadata, parameter, unsigned,
};

both_databases! {
    an_id_token_with_a_wrong_claim_signs_nobody_in,
    an_id_token_that_is_not_signed_by_the_provider_signs_nobody_in,
    a_state_of_another_browser_signs_nobody_in,
    a_state_that_was_changed_or_is_too_old_signs_nobody_in,
    a_response_signs_in_once,
    a_response_of_another_issuer_is_refused_before_the_code_is_sent,
    a_refusal_of_the_provider_is_said_and_signs_nobody_in,
    another_site_cannot_begin_a_sign_in,
    a_preview_of_the_callback_uses_up_nothing,
    failed_sign_ins_are_throttled_and_audited,
}

/// What is wrong, and the ID token made of right claims.
type Forgery<'f> = (&'static str, Box<dyn Fn(&Value) -> String + 'f>);

/// Nobody is signed in.
#[track_caller]
fn is_refused(what: &str, answer: &crate::support::answer::Answer, browser: &Browser) {
    let page = answer.expect_html(401);
    assert!(page.contains("does not prove who you are"), "{what}: {page}");
    assert!(!browser.cookies().contains_key(CONSOLE_COOKIE), "{what}");
}

/// Nothing counts the many attempts of these tests.
async fn unthrottled(database: Database) -> WithIdentityProvider {
    WithIdentityProvider::start_with(database, |settings| settings.failed_keys_per_minute = 0).await
}

async fn an_id_token_with_a_wrong_claim_signs_nobody_in(database: Database) {
    let app = unthrottled(database).await;
    let now = app.clock.now().timestamp();
    for (what, wrong) in [
        ("another nonce", json!({"nonce": "of-another-sign-in"})),
        ("no nonce", json!({"nonce": null})),
        ("another audience", json!({"aud": "another-client"})),
        ("no audience", json!({"aud": []})),
        ("other audiences, and no azp", json!({"aud": [CLIENT_ID, "another-client"]})),
        ("another azp", json!({"aud": CLIENT_ID, "azp": "another-client"})),
        ("expired", json!({"exp": now - 61, "iat": now - 400})),
        ("expiry as text", json!({"exp": "tomorrow"})),
        ("not valid yet", json!({"nbf": now + 120})),
        ("made in the future", json!({"iat": now + 120})),
        ("another issuer", json!({"iss": "https://evil.example"})),
        ("the issuer with a slash", json!({"iss": app.provider.at("/")})),
        ("several issuers", json!({"iss": [app.provider.at("")]})),
        ("no subject", json!({"sub": ""})),
        ("a subject that no provider has", json!({"sub": "a\u{0}b"})),
    ] {
        let browser = Browser::new(&app);
        is_refused(what, &app.sign_in(&browser, wrong).await, &browser);
    }
    let browser = Browser::new(&app);
    for required in ["iss", "sub", "aud", "exp", "iat", "nonce"] {
        let begun = app.begin(&browser).await;
        let token = app.key.sign(&without(app.claims(&begun), required));
        is_refused(required, &app.come_back(&browser, &begun, &token).await, &browser);
    }
    let both = json!({"aud": [CLIENT_ID, "another-client"], "azp": CLIENT_ID, "exp": now - 30, "nbf": now + 30});
    is_in(&app.sign_in(&browser, both).await);
}

async fn an_id_token_that_is_not_signed_by_the_provider_signs_nobody_in(database: Database) {
    let app = unthrottled(database).await;
    let browser = Browser::new(&app);
    let stranger = SigningKey::es256("first");
    let unknown = SigningKey::es256("unknown");
    let public = app.key.published();
    let forge = |header: &Value, claims: &Value, secret: &[u8]| {
        let signed = unsigned(header, claims);
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    let point = [URL_SAFE_NO_PAD.decode(public["x"].as_str().unwrap()).unwrap(), vec![4]].concat();
    let forgeries: Vec<Forgery<'_>> = vec![
        ("alg none", Box::new(|claims| format!("{}.", unsigned(&json!({"alg": "none"}), claims)))),
        ("alg None", Box::new(|claims| format!("{}.", unsigned(&json!({"alg": "None", "kid": "first"}), claims)))),
        ("no alg", Box::new(|claims| format!("{}.", unsigned(&json!({"kid": "first"}), claims)))),
        ("no signature", Box::new(|claims| format!("{}.", unsigned(&json!({"alg": "ES256", "kid": "first"}), claims)))),
        (
            "HS256 with the public key",
            Box::new(|claims| forge(&json!({"alg": "HS256", "kid": "first"}), claims, &point)),
        ),
        (
            "HS256 with the published key",
            Box::new(|claims| forge(&json!({"alg": "HS256", "kid": "first"}), claims, public.to_string().as_bytes())),
        ),
        ("HS256 with nothing", Box::new(|claims| forge(&json!({"alg": "HS256"}), claims, b""))),
        ("a stranger's key under a known name", Box::new(|claims| stranger.sign(claims))),
        ("an unknown key", Box::new(|claims| unknown.sign(claims))),
        (
            "a key that comes along",
            Box::new(|claims| stranger.sign_as(&json!({"kid": "first", "jwk": stranger.published()}), claims)),
        ),
        ("a critical extension", Box::new(|claims| app.key.sign_as(&json!({"kid": "first", "crit": ["x"]}), claims))),
        (
            "another algorithm of the name",
            Box::new(|claims| app.key.sign_as(&json!({"kid": "first", "alg": "ES384"}), claims)),
        ),
        (
            "changed claims",
            Box::new(|claims| {
                let token = app.key.sign(claims);
                let (signed, signature) = token.rsplit_once('.').unwrap();
                let (header, _) = signed.split_once('.').unwrap();
                let claims = URL_SAFE_NO_PAD.encode(with(claims.clone(), json!({"sub": "eve"})).to_string());
                format!("{header}.{claims}.{signature}")
            }),
        ),
        ("no token", Box::new(|_| String::new())),
        ("four parts", Box::new(|claims| format!("{}.x", app.key.sign(claims)))),
        ("not base64url", Box::new(|_| "a b.c d.e f".to_owned())),
    ];
    for (what, forge) in forgeries {
        let begun = app.begin(&browser).await;
        is_refused(what, &app.come_back(&browser, &begun, &forge(&app.claims(&begun))).await, &browser);
    }
    is_in(&app.sign_in(&browser, json!({})).await);
}

async fn a_state_of_another_browser_signs_nobody_in(app: WithIdentityProvider) {
    let (attacker, victim) = (Browser::new(&app), Browser::new(&app));
    // The attacker brings the victim to their own account: the victim has no cookie, or that of another sign-in.
    let begun = app.begin(&attacker).await;
    let token = app.key.sign(&with(app.claims(&begun), json!({"sub": "eve"})));
    let answer = app.come_back(&victim, &begun, &token).await;
    assert!(answer.expect_html(400).contains("was not begun in this browser"), "{}", answer.text());
    let own = app.begin(&victim).await;
    app.come_back(&victim, &begun, &token).await.expect_html(400);
    assert_eq!(app.asked(TOKEN), 0, "the code is not even exchanged");
    // What the victim began goes on nevertheless.
    is_in(&app.come_back(&victim, &own, &app.key.sign(&app.claims(&own))).await);
    // A code of somebody else in one's own sign-in: its ID token has another nonce.
    let begun = app.begin(&attacker).await;
    let stolen = app.key.sign(&app.claims(&own));
    is_refused("injected code", &app.come_back(&attacker, &begun, &stolen).await, &attacker);
}

async fn a_state_that_was_changed_or_is_too_old_signs_nobody_in(database: Database) {
    let app = unthrottled(database).await;
    let browser = Browser::new(&app);
    let begun = app.begin(&browser).await;
    let state = parameter(&begun, "state");
    let (at_time, proof) = state.split_once('.').unwrap();
    let later = at_time.parse::<i64>().unwrap() + 1;
    for wrong in [String::new(), "x".into(), format!("{later}.{proof}"), format!("{at_time}."), state.to_uppercase()] {
        let url = at(&format!("/sign-in/openid/callback?code=c&state={wrong}"));
        browser.open(&url).await.expect_html(400);
    }
    browser.open(&at("/sign-in/openid/callback?code=c")).await.expect_html(400);
    app.advance(601);
    let token = app.key.sign(&app.claims(&begun));
    app.come_back(&browser, &begun, &token).await.expect_html(400);
    assert_eq!(app.asked(TOKEN), 0);
}

async fn a_response_signs_in_once(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    let begun = app.begin(&browser).await;
    let kept = browser.cookies()[SIGN_IN_COOKIE].clone();
    let token = app.key.sign(&app.claims(&begun));
    is_in(&app.come_back(&browser, &begun, &token).await);
    let replayed = browser.open(&callback(&begun, "code-0")).await;
    assert!(replayed.expect_html(400).contains("finished already"));
    // Also with the cookie: the provider gives nothing for a code that was used.
    let thief = Browser::new(&app);
    thief.plant(SIGN_IN_COOKIE, &kept);
    app.provider.answer(TOKEN, Reply::json(json!({"error": "invalid_grant"})).status(400));
    is_refused("used code", &thief.open(&callback(&begun, "code-0")).await, &thief);
    assert!(is_signed_in(&browser).await && !is_signed_in(&thief).await);
}

async fn a_response_of_another_issuer_is_refused_before_the_code_is_sent(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    let open = async |more: &str| {
        let begun = app.begin(&browser).await;
        browser.open(&format!("{}{more}", callback(&begun, "c"))).await
    };
    is_refused("another issuer", &open("&iss=https%3A%2F%2Fevil.example").await, &browser);
    let names_itself = with(metadata(&app.provider), json!({"authorization_response_iss_parameter_supported": true}));
    app.provider.show(METADATA, Reply::json(names_itself));
    app.advance(3601);
    is_refused("no issuer, where it must be named", &open("").await, &browser);
    assert_eq!(app.asked(TOKEN), 0);
    let begun = app.begin(&browser).await;
    let token = app.key.sign(&app.claims(&begun));
    app.provider.answer(TOKEN, Reply::json(json!({"access_token": "x", "token_type": "Bearer", "id_token": token})));
    let mut url = Url::parse(&callback(&begun, "c")).unwrap();
    url.query_pairs_mut().append_pair("iss", &app.provider.at(""));
    is_in(&browser.open(url.as_str()).await);
}

async fn a_refusal_of_the_provider_is_said_and_signs_nobody_in(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    for (error, said) in
        [("access_denied", "did not sign you in (access_denied)."), ("%3Cscript%3E", "did not sign you in.")]
    {
        let state = parameter(&app.begin(&browser).await, "state");
        let url = at(&format!("/sign-in/openid/callback?error={error}&error_description=%3Cb%3E&state={state}"));
        let page = browser.open(&url).await.expect_html(400);
        assert!(page.contains(said) && !page.contains("<script>") && !page.contains("<b>"), "{page}");
        assert!(page.contains("href=\"/console/sign-in/openid\""), "one can try again");
    }
}

async fn another_site_cannot_begin_a_sign_in(app: WithIdentityProvider) {
    for site in ["cross-site", "same-site"] {
        let answer = app.browser().with("sec-fetch-site", site).get("/console/sign-in/openid").await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/console/sign-in"));
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    let own = app.browser().with("sec-fetch-site", "same-origin").get("/console/sign-in/openid").await;
    assert!(own.header("location").starts_with(&app.provider.at("/authorize")));
    let set = own.header("set-cookie").split_once("; ").unwrap().1;
    assert_eq!(set, "Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure");
}

async fn a_preview_of_the_callback_uses_up_nothing(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    let begun = app.begin(&browser).await;
    let cookie = format!("{SIGN_IN_COOKIE}={}", browser.cookies()[SIGN_IN_COOKIE]);
    let path = callback(&begun, "c").split_once("//").unwrap().1.split_once('/').unwrap().1.to_owned();
    let path = format!("/{path}");
    let previewer = app.browser().with("cookie", &cookie);
    let head = previewer.send(Method::HEAD, &path, axum::body::Body::empty()).await;
    let ahead = previewer.with("sec-purpose", "prefetch").get(&path).await;
    assert_eq!((head.status.as_u16(), ahead.status.as_u16(), app.asked(TOKEN)), (204, 204, 0));
    is_in(&app.come_back(&browser, &begun, &app.key.sign(&app.claims(&begun))).await);
}

async fn failed_sign_ins_are_throttled_and_audited(database: Database) {
    let app = WithIdentityProvider::start_with(database, |settings| settings.failed_keys_per_minute = 3).await;
    let guesser = app.browser().at_address("192.0.2.7");
    for _ in 0..2 {
        guesser.get("/console/sign-in/openid/callback?code=x&state=y").await.expect_html(400);
    }
    let begun = guesser.get("/console/sign-in/openid").await;
    let cookie = begun.header("set-cookie").split(';').next().unwrap().to_owned();
    let begun = Url::parse(begun.header("location")).unwrap();
    let path = format!("/console/sign-in/openid/callback?code=c&state={}", parameter(&begun, "state"));
    app.provider.answer(TOKEN, Reply::json(json!({"error": "invalid_grant"})).status(400));
    let with_cookie = guesser.with("cookie", &cookie);
    with_cookie.get(&path).await.expect_html(401);
    let answer = with_cookie.get(&path).await;
    assert!(answer.expect_html(429).contains("too many sign-ins"), "{}", answer.text());
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(app.asked(TOKEN), 1, "no more requests to the provider");
    record_refusals(&app.app.broker).await.unwrap();
    let refused = events(&app, "console.sign_in_refused").await;
    let counted = |reason: &str| {
        let event = refused.iter().find(|event| event["error"] == reason).unwrap();
        assert_eq!((&event["address"], &event["actor"]), (&json!("192.0.2.7"), &json!("unknown")));
        event["details"]["count"].clone()
    };
    assert_eq!((counted("other_browser"), counted("code")), (json!("2"), json!("1")));
    assert_eq!(app.asked(KEYS), 0);
}
