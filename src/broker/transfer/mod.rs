//! Transfer: providers and grants that come from another program or installation, or go to another one.
//! Owns: what is taken and what is not, and that a grant from elsewhere is not trusted before its first refresh.
//! Must not know: the formats they come in and go out.

pub mod export;
pub mod first_refresh;
pub mod import;
pub mod records;
mod rules;
mod seen;
