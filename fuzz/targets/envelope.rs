//! Sealed envelopes: nothing but what was sealed for this place opens.
#![no_main]

use std::sync::LazyLock;

use agent_auth::cipher::{KeyRing, SealContext};
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

static SEALED: LazyLock<(KeyRing, Vec<u8>)> = LazyLock::new(|| {
    let ring = KeyRing::parse(&KeyRing::generate()).expect("a key");
    let sealed = ring.seal(&CONTEXT, &SecretString::from("the value")).expect("a sealed value");
    (ring, sealed)
});

fuzz_target!(|data: &[u8]| {
    let (ring, sealed) = &*SEALED;
    assert!(ring.open(&CONTEXT, data).is_err(), "made-up bytes do not open");
    // The same bytes, laid over a real envelope: where they begin is in the first of them.
    let Some((at, bytes)) = data.split_first() else { return };
    let mut changed = sealed.clone();
    for (byte, change) in changed.iter_mut().skip(usize::from(*at)).zip(bytes) {
        *byte ^= change;
    }
    assert_eq!(ring.open(&CONTEXT, &changed).is_ok(), changed == *sealed, "a changed value does not open");
    let _ = KeyRing::parse(&SecretString::from(String::from_utf8_lossy(data).into_owned()));
});
