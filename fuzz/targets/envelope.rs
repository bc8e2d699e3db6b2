//! Sealed envelopes: nothing but what was sealed opens, and only in its place. The first byte chooses the algorithm.
#![no_main]

use std::{str, sync::LazyLock};

use agent_auth::cipher::{KeyRing, SealContext, key_list::KeyList};
use libfuzzer_sys::fuzz_target;
use secrecy::SecretString;
use uuid::Uuid;

const CONTEXT: SealContext<'static> = SealContext {
    column: ("tokens", "access_token"),
    organization: "organization",
    workspace: "workspace",
    row: Uuid::nil(),
    generation: 1,
};
/// The seeds name them: one key of each algorithm.
const KEYS: &str = "first:p5N7ZLjKpY8Dchu2us9ceMsjX+vg5wsbhM2ZVBRhoI4=,\
                    second:aes256gcm:FjZ6rLZ6SgF8jairlWgsyzkIY3gPcRTdoKDgxVZEx8Q=";

static SEALED: LazyLock<(KeyRing, [Vec<u8>; 2])> = LazyLock::new(|| {
    let ring = KeyRing::parse(&SecretString::from(KEYS)).expect("keys");
    let seal = |key| ring.seal_with(key, &CONTEXT, &SecretString::from("the value")).expect("a sealed value");
    let sealed = ["first", "second"].map(seal);
    (ring, sealed)
});

fuzz_target!(|data: &[u8]| {
    let (ring, values) = &*SEALED;
    let Some((choice, data)) = data.split_first() else { return };
    // The fuzzer sees what bytes are compared with, so it can find a sealed value.
    assert_eq!(
        ring.open(&CONTEXT, data).is_ok(),
        values.iter().any(|sealed| data == sealed),
        "made-up bytes do not open"
    );
    let sealed = &values[usize::from(choice % 2)];
    if let Ok(text) = str::from_utf8(data) {
        let elsewhere = SealContext { organization: text, ..CONTEXT };
        assert_eq!(ring.open(&elsewhere, sealed).is_ok(), text == CONTEXT.organization, "it opens in its place only");
        let _ = KeyList::parse(&SecretString::from(text)).and_then(|list| KeyRing::new(&list));
    }
    // The same bytes, laid over the sealed value: where they begin is in the first of them.
    let Some((at, bytes)) = data.split_first() else { return };
    let mut changed = sealed.clone();
    for (byte, change) in changed.iter_mut().skip(usize::from(*at)).zip(bytes) {
        *byte ^= change;
    }
    assert_eq!(ring.open(&CONTEXT, &changed).is_ok(), changed == *sealed, "a changed value does not open");
});
