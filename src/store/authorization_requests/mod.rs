//! Authorization requests: one attempt each to get a person's consent.
//! Owns: the table `authorization_requests`; that a state is taken once.
//! Must not know: what an authorization URL looks like, or what a code is exchanged for.

/// What a request that has ended loses: its secrets, and the next poll. For the SET of a statement.
macro_rules! without_secrets {
    () => {
        "code_verifier = NULL, client_secret = NULL, device_code = NULL, poll_at = NULL, authorization_url = NULL,
         user_code = NULL, code = NULL"
    };
}

mod interaction;
pub(in crate::store) mod outcome;
mod polls;
pub mod row;
mod take;
mod under_way;
