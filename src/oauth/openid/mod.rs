//! `OpenID` Connect, for the people of the console: one file for each step from the provider to who somebody is.
//! Owns: the list of these files.
//! Must not know: who may do what.

mod documents;
pub mod error;
pub mod id_token;
mod keys;
pub mod provider;
