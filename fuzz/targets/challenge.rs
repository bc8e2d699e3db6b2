//! `WWW-Authenticate` headers, one a line.
#![no_main]

use agent_auth::oauth::challenge::Challenge;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(challenge) = Challenge::of_headers(text.lines()) else { return };
    assert!(text.to_ascii_lowercase().contains("bearer"));
    for scope in challenge.scopes {
        assert!(scope.bytes().all(|byte| matches!(byte, 0x21..=0x7e)), "a scope");
    }
});
