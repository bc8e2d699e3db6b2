//! Token responses. The first byte chooses the status and the media type, the rest is the body.
#![no_main]

use std::sync::LazyLock;

use agent_auth::{
    catalog::Catalog,
    model::{
        client::{Client, ClientAuthentication},
        quirks::Quirks,
    },
    oauth::{
        account::Account,
        token_response::{Reading, read},
    },
    outbound::client::Answer,
};
use bytes::Bytes;
use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret;

static QUIRKS: LazyLock<Quirks> = LazyLock::new(|| {
    let catalog = Catalog::load(None).expect("the built-in catalogue");
    catalog.quirks_of(&Client::new(String::new(), None, ClientAuthentication::None)).clone()
});

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let answer = Answer {
        status: [200, 201, 400, 401][usize::from(choice % 4)],
        content_type: ["application/json", "text/html", "text/plain", ""][usize::from(choice / 4 % 4)].to_owned(),
        retry_after: None,
        body: Bytes::copy_from_slice(body),
    };
    let now = DateTime::from_timestamp(1_795_777_200, 0).expect("a time");
    let Reading::Granted(granted) = read(&answer, &QUIRKS, now) else { return };
    assert!(answer.status < 300);
    let token = granted.access_token.expose_secret();
    assert!(!token.is_empty() && token.bytes().all(|byte| matches!(byte, 0x20..=0x7e)), "it fits a header");
    for scope in granted.scopes.iter().flatten() {
        assert!(scope.bytes().all(|byte| matches!(byte, 0x21..=0x7e)), "a scope");
    }
    if let Some(account) = Account::of(&granted, &QUIRKS.accounts) {
        assert!(!account.id.contains('\0') && !account.label.is_some_and(|label| label.contains('\0')));
    }
});
