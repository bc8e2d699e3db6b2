//! `/v2/auth/tokens`: the records, the state of each, reports of refused tokens, and when a token was last used.

mod records;
mod reports;
mod stage;
mod state;
mod usage;
