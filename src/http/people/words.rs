//! The state of a connection, in the words of the person whose it is.
//! Owns: these words.
//! Must not know: HTML: the templates escape.

use crate::model::token_state::Condition;

/// Its state in one word.
pub(super) fn state(condition: Condition) -> &'static str {
    match condition {
        Condition::Active | Condition::Refreshing => "Connected",
        Condition::Failing => "Interrupted",
        Condition::ConsentNeeded => "Ended",
    }
}

/// What that means, and what to do.
pub(super) fn what_to_do(condition: Condition) -> &'static str {
    match condition {
        Condition::Active | Condition::Refreshing => "It works. There is nothing to do.",
        Condition::Failing => {
            "The provider did not renew the access the last time. This server tries again by itself; there is nothing to do."
        }
        Condition::ConsentNeeded => "The provider has ended the access. Agents cannot use it until you reconnect it.",
    }
}

/// What is said after a form was taken, by the name in the address.
pub(super) fn notice(done: &str) -> Option<&'static str> {
    match done {
        "connected" => Some("You came back from the provider. Your connections are listed here as they are now."),
        "revoked" => Some("The connection was ended, here and at the provider."),
        "revoking" => Some("The connection was ended here. It is being ended at the provider too, in the background."),
        "not-revocable" => Some(
            "The connection was ended here. The provider offers no way to end it there from here: to be sure, remove it in \
             your account's settings at the provider too.",
        ),
        "gone" => Some("It was ended already."),
        _ => None,
    }
}
