//! Tokens: the stored grant of one subject at one provider.
//! Owns: the table `tokens`; nothing else writes it.
//! Must not know: when a token is due, or how a provider is called.

mod change;
pub(in crate::store) mod delete;
pub mod due;
pub mod ended;
mod ending;
mod grant;
pub mod lease;
mod list;
mod matching;
pub(in crate::store) mod row;
pub(in crate::store) mod state;
mod usable;
pub mod usage;
pub mod workspace;
